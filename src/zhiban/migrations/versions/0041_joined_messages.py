"""Which messages of a ticket were put to it after it was opened."""

from alembic import op

from zhiban.migrations.tickets import JOINED

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(JOINED)

"""How long finished tickets keep what was said."""

from alembic import op

from zhiban.migrations.tickets import FORGETTING

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(FORGETTING)

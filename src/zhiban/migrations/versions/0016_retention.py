"""How long what is kept."""

from alembic import op

from zhiban.migrations.retention import FORGET_EVENTS, RETENTION, TABLES
from zhiban.migrations.rules import protect

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(RETENTION)
    protect(*TABLES)
    op.execute(FORGET_EVENTS)

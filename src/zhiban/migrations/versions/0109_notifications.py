"""What single agents are told."""

from alembic import op

from zhiban.migrations.notifications import NOTIFICATIONS, TABLES
from zhiban.migrations.rules import protect

revision = "0109"
down_revision = "0108"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(NOTIFICATIONS)
    protect(*TABLES)

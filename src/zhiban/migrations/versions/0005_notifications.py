"""What single agents are told, and how each wants to hear of it."""

from alembic import op

from zhiban.migrations.notifications import NOTIFICATIONS, TABLES
from zhiban.migrations.rules import protect

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(NOTIFICATIONS)
    protect(*TABLES)

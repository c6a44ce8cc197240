"""What members of groups do by quoting a message about an issue."""

from alembic import op

from zhiban.migrations.rules import protect
from zhiban.migrations.trackers import CARD_TABLES, CARDS

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(CARDS)
    protect(*CARD_TABLES)

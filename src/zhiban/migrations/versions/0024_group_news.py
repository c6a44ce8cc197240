"""What groups hear of the repositories that they are linked with."""

from alembic import op

from zhiban.migrations.rules import protect
from zhiban.migrations.trackers import GROUP_NEWS

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(GROUP_NEWS)
    protect("group_news")

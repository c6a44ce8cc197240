"""The index by which issues are found, with their repository."""

from alembic import op

from zhiban.migrations.trackers import ISSUE_KEYS

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(ISSUE_KEYS)

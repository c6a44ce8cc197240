"""Trackers: connections to them, repositories, issues, and calls on their way."""

from alembic import op

from zhiban.migrations.rules import protect
from zhiban.migrations.trackers import CONNECTIONS, TABLES, TRACKERS

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(CONNECTIONS)
    op.execute(TRACKERS)
    protect(*TABLES)

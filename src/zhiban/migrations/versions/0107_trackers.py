"""Trackers: what we know of their repositories and issues, what we write there, and who hears of it."""

from alembic import op

from zhiban.migrations.rules import protect
from zhiban.migrations.trackers import (
    CARDS,
    GROUP_NEWS,
    ISSUE_INDEX,
    ISSUE_INDEX_POLICY,
    ISSUE_VECTORS,
    MEMBER_LOGINS,
    MIRROR_PAUSES,
    TABLES,
    TRACKERS,
)

revision = "0107"
down_revision = "0106"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for ddl in (TRACKERS, ISSUE_INDEX, ISSUE_VECTORS, GROUP_NEWS, CARDS, MIRROR_PAUSES, MEMBER_LOGINS):
        op.execute(ddl)
    protect(*TABLES)
    op.execute(ISSUE_INDEX_POLICY)

"""Calls of an issue, and notices of a connection, are looked up by it."""

from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "create index ix_tracker_call_issue_id on tracker_call (workspace_id, issue_id) where issue_id is not null"
    )
    op.execute(
        "create index ix_notification_connection_id on notification (workspace_id, connection_id) "
        "where connection_id is not null"
    )

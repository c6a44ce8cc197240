"""By which id a vendor knows a message of ours, where that is not our own key.

The index serves answers, recalls and receipts, which name the message by it.
"""

from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table message add column vendor_id text")
    op.execute(
        "create index ix_message_vendor_id on message (workspace_id, inbox_id, vendor_id) where vendor_id is not null"
    )

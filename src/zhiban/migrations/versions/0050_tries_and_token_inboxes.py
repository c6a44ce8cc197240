"""Since when a message may be on its way whose repeat would be heard twice, where nobody knows what became of it.

What was kept of lost answers of one kind of channel gives way to it. And the inboxes that an API token sees: tokens
that are there see every one, as they did.
"""

from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table message add column tried_at timestamptz")
    op.execute("drop table gateway_lost")
    op.execute("alter table api_token add column inbox_ids bigint[]")

"""Which inboxes whoever joins by a provider sees: none, unless an owner says so."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Null: every inbox, those to come included, as in agent.inbox_ids.
    op.execute("alter table sign_in_provider add column joins_inboxes bigint[] default '{}'")

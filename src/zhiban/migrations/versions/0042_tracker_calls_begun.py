"""Since when a call to a tracker has been tried."""

from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table tracker_call add column begun_at timestamptz")

"""A connection may be paused."""

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table connection add column paused_at timestamptz")

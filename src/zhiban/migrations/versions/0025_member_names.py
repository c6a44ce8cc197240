"""What the vendor calls the members of a group, so that they can be named with @."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table participant add column external_id text not null default ''")

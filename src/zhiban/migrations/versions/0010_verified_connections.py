"""When a vendor first proved that it reaches our address."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table connection add column if not exists verified_at timestamptz")

"""When an agent closed what is left to do at first. Who is there already has begun, and is not told."""

from alembic import op

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table agent add column steps_closed_at timestamptz")
    op.execute("update agent set steps_closed_at = now()")

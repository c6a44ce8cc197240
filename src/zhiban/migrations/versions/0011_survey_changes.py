"""How often a survey was answered, and when an agent last tried how they are reached."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table survey add column changes smallint not null default 0")
    op.execute("alter table notification_setting add column tried_at timestamptz")

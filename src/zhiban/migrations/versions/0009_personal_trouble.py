"""Why an agent could not be reached without the desk."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table notification_setting add column trouble text not null default ''")

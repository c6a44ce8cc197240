"""What reports are read from, made of the event log."""

from alembic import op

from zhiban.migrations.reports import REPORTS, TABLES
from zhiban.migrations.rules import protect

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(REPORTS)
    protect(*TABLES)

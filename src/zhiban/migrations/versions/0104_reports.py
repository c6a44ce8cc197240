"""What reports are read from."""

from alembic import op

from zhiban.migrations.reports import REPORTS, TABLES
from zhiban.migrations.rules import protect

revision = "0104"
down_revision = "0103"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(REPORTS)
    protect(*TABLES)

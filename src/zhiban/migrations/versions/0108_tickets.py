"""Tickets, drafts of them, and reminders."""

from alembic import op

from zhiban.migrations.rules import protect
from zhiban.migrations.tickets import REMINDERS, TABLES, TICKETS

revision = "0108"
down_revision = "0107"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(TICKETS)
    op.execute(REMINDERS)
    protect(*TABLES)

"""Tickets: what people promised, what was said about it, and what waits for somebody's word."""

from alembic import op

from zhiban.migrations.rules import protect
from zhiban.migrations.tickets import TABLES, TICKETS

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(TICKETS)
    protect(*TABLES)

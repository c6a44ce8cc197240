"""How our people are reminded of tickets."""

from alembic import op

from zhiban.migrations.rules import protect
from zhiban.migrations.tickets import REMINDERS

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(REMINDERS)
    protect("ticket_reminders", "ticket_day_list")

"""How long what is kept, and the one way in which facts of the log are ever deleted."""

from alembic import op

from zhiban.migrations.forgetting import FORGET_EVENTS, FORGET_WORDS
from zhiban.migrations.retention import RETENTION, TABLES
from zhiban.migrations.rules import lend, protect

revision = "0111"
down_revision = "0110"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(RETENTION)
    protect(*TABLES)
    op.execute(FORGET_EVENTS)
    op.execute(FORGET_WORDS)
    lend("forget_events(bigint, integer, timestamptz)", of="event")
    lend("forget_words(bigint[], timestamptz[])", of="event")

"""What facts and words are forgotten, and a clock that is doubted."""

from alembic import op

from zhiban.migrations.forgetting import FORGET_EVENTS, FORGET_WORDS, PROGRESS

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(PROGRESS)
    op.execute(FORGET_EVENTS)
    op.execute(FORGET_WORDS)

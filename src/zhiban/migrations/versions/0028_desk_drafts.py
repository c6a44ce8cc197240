"""Drafts of tickets that colleagues make at the desk."""

from alembic import op

from zhiban.migrations.tickets import DESK_DRAFTS

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(DESK_DRAFTS)

"""Whom a draft of a ticket is assigned to at the tracker."""

from alembic import op

from zhiban.migrations.tickets import DRAFT_ASSIGNEES

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(DRAFT_ASSIGNEES)

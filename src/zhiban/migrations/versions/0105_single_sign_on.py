"""Whom a workspace trusts to say who its people are."""

from alembic import op

from zhiban.migrations.rules import protect
from zhiban.migrations.single_sign_on import SINGLE_SIGN_ON, TABLES

revision = "0105"
down_revision = "0104"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(SINGLE_SIGN_ON)
    protect(*TABLES)

"""Members who write at a tracker under their own account."""

from alembic import op

from zhiban.migrations.rules import protect
from zhiban.migrations.trackers import MEMBER_LOGINS

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(MEMBER_LOGINS)
    protect("member_login")

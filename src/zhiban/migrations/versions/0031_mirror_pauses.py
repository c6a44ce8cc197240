"""Issues of which nothing is mirrored for a while."""

from alembic import op

from zhiban.migrations.rules import protect
from zhiban.migrations.trackers import MIRROR_PAUSES

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(MIRROR_PAUSES)
    protect("mirror_pause")

"""Whether the marks in a draft are meant as formatting."""

from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table draft add column formatted boolean not null default false")

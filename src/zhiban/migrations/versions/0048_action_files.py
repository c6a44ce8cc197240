"""Files that rules and macros send."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
create table action_file (
  workspace_id bigint not null, id bigint generated always as identity, filename text not null,
  content_type text not null, size bigint not null, sha256 text not null, width int, height int,
  added_by bigint, created_at timestamptz not null,
  constraint pk_action_file primary key (workspace_id, id))"""
    )
    protect("action_file")

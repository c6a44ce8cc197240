"""What organisations fill in of conversations. The values stand in `conversation.attributes` by name."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

FIELDS = """
create table conversation_field (
  workspace_id bigint not null, id bigint generated always as identity,
  name text not null, kind text not null, choices text[] not null default '{}',
  created_at timestamptz not null, removed_at timestamptz,
  constraint pk_conversation_field primary key (workspace_id, id),
  constraint ck_conversation_field_kind check (kind in ('text', 'number', 'date', 'list', 'checkbox')));
create unique index uq_conversation_field_name on conversation_field (workspace_id, lower(name))
  where removed_at is null;
"""


def upgrade() -> None:
    op.execute(FIELDS)
    protect("conversation_field")

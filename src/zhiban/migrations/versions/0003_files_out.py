"""Files that wait beside a reply, and until when a vendor keeps what was handed over to it."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Of one agent in one conversation, until they are sent; the contents lie in the file store, by their digest.
FILES = """
create table draft_file (
  workspace_id bigint not null, id bigint generated always as identity,
  conversation_id bigint not null, agent_id bigint not null,
  kind text not null, filename text not null, content_type text not null, size bigint not null, sha256 text not null,
  width int, height int, created_at timestamptz not null,
  constraint pk_draft_file primary key (workspace_id, id),
  constraint fk_draft_file_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade,
  constraint fk_draft_file_agent_id foreign key (workspace_id, agent_id) references agent on delete cascade);
create index ix_draft_file_conversation_id on draft_file (workspace_id, conversation_id, agent_id, id);
create index ix_draft_file_agent_id on draft_file (workspace_id, agent_id);

-- Of a file of ours: `reference` is the vendor's name for it, and may be used until then.
alter table attachment add column reference_until timestamptz;
"""


def upgrade() -> None:
    op.execute(FILES)
    protect("draft_file")

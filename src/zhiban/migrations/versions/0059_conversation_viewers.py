"""Who has which conversation open."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0059"
down_revision = "0057"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
create table conversation_viewer (
  workspace_id bigint not null, conversation_id bigint not null, agent_id bigint not null,
  seen_at timestamptz not null,
  constraint pk_conversation_viewer primary key (workspace_id, conversation_id, agent_id),
  constraint fk_conversation_viewer_conversation_id foreign key (workspace_id, conversation_id) references conversation,
  constraint fk_conversation_viewer_agent_id foreign key (workspace_id, agent_id) references agent)
  with (fillfactor = 50)"""
    )
    op.execute("create index ix_conversation_viewer_agent_id on conversation_viewer (workspace_id, agent_id)")
    protect("conversation_viewer")

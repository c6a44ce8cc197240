"""Replies of agents that became knowledge."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# A reply is in the knowledge once: as the answer of an entry, or because its question was taught to one.
KEPT = """
create table kept_reply (
  workspace_id bigint not null, message_id bigint not null, article_id bigint not null,
  agent_id bigint, kept_at timestamptz not null,
  constraint pk_kept_reply primary key (workspace_id, message_id),
  constraint fk_kept_reply_message_id foreign key (workspace_id, message_id) references message on delete cascade,
  constraint fk_kept_reply_article_id foreign key (workspace_id, article_id) references article on delete cascade,
  constraint fk_kept_reply_agent_id foreign key (workspace_id, agent_id) references agent
    on delete set null (agent_id));
create index ix_kept_reply_article_id on kept_reply (workspace_id, article_id);
"""


def upgrade() -> None:
    op.execute(KEPT)
    protect("kept_reply")

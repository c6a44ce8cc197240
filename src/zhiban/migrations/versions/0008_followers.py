"""Agents who follow a conversation besides its assignee."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# `told_until`: the contact's messages up to this moment, the follower has been told of.
FOLLOWERS = """
create table follower (
  workspace_id bigint not null, conversation_id bigint not null, agent_id bigint not null,
  since timestamptz not null, told_until timestamptz not null,
  constraint pk_follower primary key (workspace_id, conversation_id, agent_id),
  constraint fk_follower_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade,
  constraint fk_follower_agent_id foreign key (workspace_id, agent_id) references agent on delete cascade);
create index ix_follower_agent_id on follower (workspace_id, agent_id);
"""


def upgrade() -> None:
    op.execute(FOLLOWERS)
    protect("follower")

"""Groups: what is set for each, and what its members let us keep."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# `listed_at`: since when all members are known. `left_at`: since when our own account is out of it.
GROUPS = """
create table group_chat (
  workspace_id bigint not null, conversation_id bigint not null,
  policy jsonb not null default '{}', listed_at timestamptz, left_at timestamptz,
  constraint pk_group_chat primary key (workspace_id, conversation_id),
  constraint fk_group_chat_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade);
alter table participant add column consent text not null default 'all',
  add constraint ck_participant_consent check (consent in ('all', 'unquoted', 'unstored'));
-- The desk's list of groups.
create index ix_conversation_group on conversation (workspace_id, last_activity_at desc) where kind = 'group';
"""


def upgrade() -> None:
    op.execute(GROUPS)
    protect("group_chat")

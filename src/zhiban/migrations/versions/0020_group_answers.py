"""What the assistant said in groups, to whom, and what it is to say there no more."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# `silenced_by`: the contact who said that the article is wrong for what they had asked.
ANSWERS = """
alter table group_chat add column welcomed_at timestamptz;
alter table turn add column asked_by bigint;
create table group_silence (
  workspace_id bigint not null, conversation_id bigint not null, article_id bigint not null,
  silenced_by bigint not null, silenced_at timestamptz not null,
  constraint pk_group_silence primary key (workspace_id, conversation_id, article_id),
  constraint fk_group_silence_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade,
  constraint fk_group_silence_article_id foreign key (workspace_id, article_id) references article
    on delete cascade,
  constraint fk_group_silence_silenced_by foreign key (workspace_id, silenced_by) references contact
    on delete cascade);
create index ix_group_silence_article_id on group_silence (workspace_id, article_id);
create index ix_group_silence_silenced_by on group_silence (workspace_id, silenced_by);
"""


def upgrade() -> None:
    op.execute(ANSWERS)
    protect("group_silence")

"""Conversations that are sent by mail."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

MAILS = """
create table transcript_mail (
  workspace_id bigint not null, id bigint generated always as identity,
  conversation_id bigint not null, recipient text not null, language text not null, key text not null,
  actor_kind text not null, actor_id bigint, actor_ref text,
  state text not null default 'queued', attempts int not null default 0, problem text not null default '',
  created_at timestamptz not null, settled_at timestamptz,
  constraint pk_transcript_mail primary key (workspace_id, id),
  constraint uq_transcript_mail_key unique (workspace_id, key),
  constraint ck_transcript_mail_state check (state in ('queued', 'sending', 'sent', 'refused', 'unknown')),
  constraint ck_transcript_mail_language check (language in ('zh', 'en')),
  constraint fk_transcript_mail_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade);
create index ix_transcript_mail_conversation on transcript_mail (workspace_id, conversation_id, id);
create index ix_transcript_mail_created on transcript_mail (workspace_id, created_at);
"""


def upgrade() -> None:
    op.execute(MAILS)
    protect("transcript_mail")

"""What people at the desk keep and leave beside conversations: files, followers, fields, translations, ratings."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0103"
down_revision = "0102"
branch_labels = None
depends_on = None

# Of one agent or program in one conversation, until they are sent; the contents lie in the file store, by their digest.
DRAFT_FILES = """
create table draft_file (
  workspace_id bigint not null, id bigint generated always as identity,
  conversation_id bigint not null, agent_id bigint, token_id bigint,
  kind text not null, filename text not null, content_type text not null, size bigint not null, sha256 text not null,
  width int, height int, created_at timestamptz not null,
  constraint pk_draft_file primary key (workspace_id, id),
  constraint fk_draft_file_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade,
  constraint fk_draft_file_agent_id foreign key (workspace_id, agent_id) references agent on delete cascade,
  constraint fk_draft_file_token_id foreign key (workspace_id, token_id) references api_token on delete cascade,
  constraint ck_draft_file_owner check (num_nonnulls(agent_id, token_id) > 0));
create index ix_draft_file_conversation_id on draft_file (workspace_id, conversation_id, agent_id, id);
create index ix_draft_file_agent_id on draft_file (workspace_id, agent_id);
create index ix_draft_file_token_id on draft_file (workspace_id, token_id) where token_id is not null;
"""

# Of the resolution: who it was (an agent, or nobody of ours) and for which team. Reports read the facts of the log.
SURVEYS = """
create table survey (
  workspace_id bigint not null, id bigint generated always as identity,
  conversation_id bigint not null, inbox_id bigint not null, cycle int not null, agent_id bigint, team_id bigint,
  asked_at timestamptz not null, rating smallint, comment text not null default '',
  rated_at timestamptz, changed_at timestamptz, changes smallint not null default 0,
  constraint pk_survey primary key (workspace_id, id),
  constraint uq_survey_conversation_id unique (workspace_id, conversation_id, cycle),
  constraint fk_survey_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade,
  constraint ck_survey_rating check (rating between 1 and 5));
"""

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

TRANSLATIONS = """
create table message_translation (
  workspace_id bigint not null, message_id bigint not null, language text not null, text text not null,
  agent_id bigint, created_at timestamptz not null,
  constraint pk_message_translation primary key (workspace_id, message_id, language),
  constraint ck_message_translation_language check (language in ('zh', 'en')),
  constraint fk_message_translation_message_id foreign key (workspace_id, message_id) references message
    on delete cascade,
  constraint fk_message_translation_agent_id foreign key (workspace_id, agent_id) references agent
    on delete set null (agent_id));
"""

# A call without `ended_at` is a claim until `claimed_until`; one at a time for a message in a language.
TRANSLATION_CALLS = """
create table translation_call (
  workspace_id bigint not null, id bigint generated always as identity,
  message_id bigint not null, language text not null, agent_id bigint,
  started_at timestamptz not null, claimed_until timestamptz not null, ended_at timestamptz,
  outcome text, surface text,
  model text, input_tokens int not null default 0, output_tokens int not null default 0,
  cost numeric(12, 6) not null default 0,
  constraint pk_translation_call primary key (workspace_id, id),
  constraint ck_translation_call_outcome check (outcome in ('done', 'refused', 'failed', 'lost')),
  constraint ck_translation_call_ended_at check ((ended_at is null) = (outcome is null)),
  constraint ck_translation_call_surface check ((surface is not null) = (outcome is not distinct from 'refused')),
  constraint fk_translation_call_message_id foreign key (workspace_id, message_id) references message
    on delete cascade,
  constraint fk_translation_call_agent_id foreign key (workspace_id, agent_id) references agent
    on delete set null (agent_id));
create unique index uq_translation_call_claim on translation_call (workspace_id, message_id, language)
  where ended_at is null;
create index ix_translation_call_message_id on translation_call (workspace_id, message_id, id);
create index ix_translation_call_agent_id on translation_call (workspace_id, agent_id, started_at);
"""

CONVERSATION_FIELDS = """
create table conversation_field (
  workspace_id bigint not null, id bigint generated always as identity,
  name text not null, kind text not null, choices text[] not null default '{}',
  created_at timestamptz not null, removed_at timestamptz,
  constraint pk_conversation_field primary key (workspace_id, id),
  constraint ck_conversation_field_kind check (kind in ('text', 'number', 'date', 'list', 'checkbox')));
create unique index uq_conversation_field_name on conversation_field (workspace_id, lower(name))
  where removed_at is null;
"""

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

# Beside the contact, whose row is read with every message: only who asks for labels reads these.
CONTACT_LABELS = """
create table contact_label (
  workspace_id bigint not null, contact_id bigint not null, label_id bigint not null,
  constraint pk_contact_label primary key (workspace_id, contact_id, label_id),
  constraint fk_contact_label_contact_id foreign key (workspace_id, contact_id) references contact on delete cascade,
  constraint fk_contact_label_label_id foreign key (workspace_id, label_id) references label);
create index ix_contact_label_label_id on contact_label (workspace_id, label_id, contact_id desc);
"""

# What actions of rules, macros and flows send along; the contents lie in the file store, by their digest.
ACTION_FILES = """
create table action_file (
  workspace_id bigint not null, id bigint generated always as identity, filename text not null,
  content_type text not null, size bigint not null, sha256 text not null, width int, height int,
  added_by bigint, created_at timestamptz not null,
  constraint pk_action_file primary key (workspace_id, id));
"""

# Who has a conversation on their screen, and when they were last seen there.
VIEWERS = """
create table conversation_viewer (
  workspace_id bigint not null, conversation_id bigint not null, agent_id bigint not null,
  seen_at timestamptz not null,
  constraint pk_conversation_viewer primary key (workspace_id, conversation_id, agent_id),
  constraint fk_conversation_viewer_conversation_id foreign key (workspace_id, conversation_id) references conversation,
  constraint fk_conversation_viewer_agent_id foreign key (workspace_id, agent_id) references agent)
  with (fillfactor = 50);
create index ix_conversation_viewer_agent_id on conversation_viewer (workspace_id, agent_id);
"""

TABLES = [
    "draft_file",
    "survey",
    "follower",
    "message_translation",
    "translation_call",
    "conversation_field",
    "transcript_mail",
    "contact_label",
    "action_file",
    "conversation_viewer",
]


def upgrade() -> None:
    for ddl in (
        DRAFT_FILES,
        SURVEYS,
        FOLLOWERS,
        TRANSLATIONS,
        TRANSLATION_CALLS,
        CONVERSATION_FIELDS,
        MAILS,
        CONTACT_LABELS,
        ACTION_FILES,
        VIEWERS,
    ):
        op.execute(ddl)
    protect(*TABLES)

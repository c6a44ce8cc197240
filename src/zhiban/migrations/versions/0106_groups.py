"""Groups, what the assistant does not answer in them, the gateways that lead to them, and slots for replies."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0106"
down_revision = "0105"
branch_labels = None
depends_on = None

# `listed_at`: since when all members are known. `left_at`: since when our own account is out of it.
GROUPS = """
create table group_chat (
  workspace_id bigint not null, conversation_id bigint not null,
  policy jsonb not null default '{}', listed_at timestamptz, left_at timestamptz, welcomed_at timestamptz,
  constraint pk_group_chat primary key (workspace_id, conversation_id),
  constraint fk_group_chat_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade);
"""

# `silenced_by`: the contact who said that the article is wrong for what they had asked.
SILENCES = """
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

# What a gateway says of itself, and what waits for its answer. The calls are not logged: they hold what is under way
# for seconds, files among it; after a crash nobody waits for it any more.
GATEWAYS = """
create table gateway_state (
  workspace_id bigint not null, connection_id bigint not null,
  leased_by bigint, lease_expires_at timestamptz, misses int not null default 0, retry_at timestamptz,
  configured_at timestamptz,
  state text not null default 'connecting', since timestamptz not null,
  account text not null default '', account_name text not null default '', qr_code text not null default '',
  reason text not null default '', heard_at timestamptz, message_at timestamptz, cursor text not null default '',
  refused_account text not null default '', refused_at timestamptz, refused_why text not null default '',
  constraint pk_gateway_state primary key (workspace_id, connection_id),
  constraint fk_gateway_state_connection_id foreign key (workspace_id, connection_id) references connection,
  constraint ck_gateway_state_state check (state in ('connecting', 'scan', 'online', 'logged_out', 'refused')))
  with (fillfactor = 50);

-- Which connection hears an account, in the whole installation. Ids only, no row-level security.
create table heard_account (
  vendor text not null, account text not null, workspace_id bigint not null, connection_id bigint not null,
  held_by bigint not null, held_until timestamptz not null,
  constraint pk_heard_account primary key (vendor, account)) with (fillfactor = 50);
create index ix_heard_account_connection_id on heard_account (workspace_id, connection_id);

create unlogged table gateway_call (
  workspace_id bigint not null, id bigint generated always as identity, connection_id bigint not null,
  key text not null, frame text not null, seconds double precision not null,
  state text not null default 'waiting', answer text, created_at timestamptz not null,
  constraint pk_gateway_call primary key (workspace_id, id),
  constraint fk_gateway_call_connection_id foreign key (workspace_id, connection_id) references connection,
  constraint ck_gateway_call_state check (state in ('waiting', 'sent', 'answered', 'unsent', 'lost')));
create index ix_gateway_call_waiting on gateway_call (workspace_id, connection_id, id) where state = 'waiting';
"""

# Where a vendor wants an answer under the name of what it asked.
REPLY_SLOTS = """
create table reply_slot (
  workspace_id bigint not null, connection_id bigint not null, key text not null,
  inbox_id bigint not null, thread text not null, message text not null, how text not null,
  address text not null default '', otherwise text not null default '', superseded text not null default '',
  opened_at timestamptz not null, until timestamptz not null, asked_at timestamptz,
  message_key text, text text, tried_at timestamptz, given_at timestamptz, closed_at timestamptz,
  constraint pk_reply_slot primary key (workspace_id, connection_id, key),
  constraint fk_reply_slot_connection_id foreign key (workspace_id, connection_id) references connection,
  constraint ck_reply_slot_how check (how in ('fetched', 'posted')))
  with (fillfactor = 70);
create index ix_reply_slot_thread on reply_slot (workspace_id, connection_id, thread, opened_at);
create unique index uq_reply_slot_message_key on reply_slot (workspace_id, connection_id, message_key)
  where message_key is not null;
"""

TABLES = ["group_chat", "group_silence", "gateway_state", "gateway_call", "reply_slot"]


def upgrade() -> None:
    for ddl in (GROUPS, SILENCES, GATEWAYS, REPLY_SLOTS):
        op.execute(ddl)
    protect(*TABLES)

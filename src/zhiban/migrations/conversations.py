"""The tables of conversations: whose turn it is, who is in them, what was said, and the assistant's turns."""

CONVERSATIONS = """
create table label (
  workspace_id bigint not null, id bigint generated always as identity,
  name text not null, color smallint not null default 1, created_at timestamptz not null default now(),
  removed_at timestamptz,
  constraint pk_label primary key (workspace_id, id),
  constraint ck_label_color check (color between 1 and 6));
-- A name is free again when its label is removed; facts of the past still say the old label by its id.
create unique index uq_label_name on label (workspace_id, lower(name)) where removed_at is null;

-- Whose turn it is. Written by conversations/transitions.py only; every change of a column has its event.
create table conversation (
  workspace_id bigint not null, id bigint generated always as identity,
  inbox_id bigint not null, kind text not null default 'direct', contact_id bigint, external_id text not null,
  status text not null default 'pending', assignee_id bigint, team_id bigint, priority smallint not null default 0,
  labels bigint[] not null default '{}', attributes jsonb not null default '{}', muted_at timestamptz,
  handoff_reason text, waiting_since timestamptz, first_reply_at timestamptz,
  opened_at timestamptz, resolved_at timestamptz, resolver_id bigint, snoozed_until timestamptz,
  cycle int not null default 1,
  created_at timestamptz not null default now(), last_activity_at timestamptz not null default now(),
  last_incoming_at timestamptz, replies_used int not null default 0, failures int not null default 0,
  native_state text, native_servicer text, subject text not null default '', flow_run_id bigint,
  constraint pk_conversation primary key (workspace_id, id),
  constraint uq_conversation_inbox_id unique (workspace_id, inbox_id, external_id),
  constraint fk_conversation_inbox_id foreign key (workspace_id, inbox_id) references inbox,
  constraint fk_conversation_contact_id foreign key (workspace_id, contact_id) references contact,
  constraint fk_conversation_assignee_id foreign key (workspace_id, assignee_id) references agent,
  constraint fk_conversation_team_id foreign key (workspace_id, team_id) references team,
  constraint ck_conversation_kind check (kind in ('direct', 'group')),
  constraint ck_conversation_priority check (priority between 0 and 4),
  constraint ck_conversation_status check (
    status in ('pending', 'open', 'snoozed', 'resolved'))) with (fillfactor = 50);
-- The desk's lists in their own order, and what timers look for.
create index ix_conversation_open on conversation (workspace_id, waiting_since, last_activity_at desc)
  where status = 'open';
create index ix_conversation_assignee_id
  on conversation (workspace_id, assignee_id, waiting_since, last_activity_at desc) include (inbox_id)
  where status = 'open';
create index ix_conversation_unassigned on conversation (workspace_id, waiting_since, last_activity_at desc)
  where status = 'open' and assignee_id is null;
create index ix_conversation_pending on conversation (workspace_id, last_activity_at desc) where status = 'pending';
create index ix_conversation_resolver_id on conversation (workspace_id, resolver_id, last_activity_at desc)
  where status = 'resolved' and resolver_id is not null;
create index ix_conversation_resolved on conversation (workspace_id, last_activity_at desc) where status = 'resolved';
create index ix_conversation_snoozed_until on conversation (workspace_id, snoozed_until) where status = 'snoozed';
-- The lists of who sees some inboxes only, and what is idle. The condition is always true and keeps it away from those
-- who look for one conversation of an inbox: on a young table it would look as good as that one's own index.
create index ix_conversation_inbox_id on conversation (workspace_id, inbox_id, status, last_activity_at desc)
  include (waiting_since) where status in ('pending', 'open', 'snoozed', 'resolved');
create index ix_conversation_inbox_open
  on conversation (workspace_id, inbox_id, waiting_since, last_activity_at desc) where status = 'open';
create index ix_conversation_contact_id on conversation (workspace_id, contact_id);
create index ix_conversation_team_id on conversation (workspace_id, team_id, id) where team_id is not null;
create index ix_conversation_team_open on conversation (workspace_id, team_id)
  where status = 'open' and team_id is not null;
create index ix_conversation_group on conversation (workspace_id, last_activity_at desc) where kind = 'group';
-- Those that are over, in the order in which nothing happened in them any more.
create index ix_conversation_over on conversation (workspace_id, greatest(resolved_at, last_activity_at), id)
  where status = 'resolved';
-- Who bears a label, once more: behind row-level security no index serves what an array contains.
create table conversation_label (
  workspace_id bigint not null, label_id bigint not null, conversation_id bigint not null,
  constraint pk_conversation_label primary key (workspace_id, label_id, conversation_id),
  constraint fk_conversation_label_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade);
create index ix_conversation_label_conversation_id on conversation_label (workspace_id, conversation_id);

-- What policies give away, for each inbox in its order.
create index ix_conversation_queue on conversation (workspace_id, inbox_id, waiting_since, id)
  include (last_activity_at)
  where status = 'open' and assignee_id is null;

-- When a policy last gave each agent a conversation.
create table assignment_turn (
  workspace_id bigint not null, agent_id bigint not null, given_at timestamptz not null,
  constraint pk_assignment_turn primary key (workspace_id, agent_id),
  constraint fk_assignment_turn_agent_id foreign key (workspace_id, agent_id) references agent on delete cascade)
  with (fillfactor = 50);

-- Who works on it; see conversations/work_state.py.
create table conversation_work (
  workspace_id bigint not null, conversation_id bigint not null,
  revision int not null default 0, leased_by bigint, lease_expires_at timestamptz, retry_at timestamptz,
  constraint pk_conversation_work primary key (workspace_id, conversation_id),
  constraint fk_conversation_work_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade) with (fillfactor = 50);
create index ix_conversation_work_leased_by on conversation_work (workspace_id, leased_by) where leased_by is not null;

-- Who is in a group, with the name they have there.
create table participant (
  workspace_id bigint not null, conversation_id bigint not null, contact_id bigint not null,
  external_id text not null default '', nickname text not null default '', role text not null default 'member',
  consent text not null default 'all', joined_at timestamptz, left_at timestamptz,
  constraint pk_participant primary key (workspace_id, conversation_id, contact_id),
  constraint fk_participant_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade,
  constraint fk_participant_contact_id foreign key (workspace_id, contact_id) references contact on delete cascade,
  constraint ck_participant_role check (role in ('member', 'admin', 'owner')),
  constraint ck_participant_consent check (consent in ('all', 'unquoted', 'unstored')));
create index ix_participant_contact_id on participant (workspace_id, contact_id);

create table message (
  workspace_id bigint not null, id bigint generated always as identity,
  conversation_id bigint not null, inbox_id bigint not null,
  direction text not null, author text not null, agent_id bigint, sender_contact_id bigint, sender_ref text,
  kind text not null, text text not null, choice text, content jsonb not null default '{}', external_id text,
  reply_to_id bigint, mentions jsonb not null default '[]',
  state text not null, attempts int not null default 0, failure text, failure_code int,
  turn_id bigint, client_key text, vendor_id text, tried_at timestamptz,
  sent_at timestamptz not null, created_at timestamptz not null default now(),
  delivered_at timestamptz, read_at timestamptz, recalled_at timestamptz,
  constraint pk_message primary key (workspace_id, id),
  constraint uq_message_external_id unique (workspace_id, inbox_id, external_id),
  constraint fk_message_conversation_id foreign key (workspace_id, conversation_id) references conversation,
  constraint ck_message_direction check (direction in ('in', 'out', 'internal')),
  constraint ck_message_author check (author in ('contact', 'assistant', 'agent', 'servicer', 'rule', 'campaign',
    'flow', 'tracker', 'api', 'system')),
  constraint ck_message_state check (
    state in ('pending', 'handled', 'queued', 'sent', 'failed', 'dropped', 'stored'))) with (fillfactor = 70);
create index ix_message_conversation_id on message (workspace_id, conversation_id, id);
create index ix_message_waiting on message (workspace_id, conversation_id, id) where state in ('pending', 'queued');
create unique index uq_message_client_key on message (workspace_id, conversation_id, client_key)
  where client_key is not null;
create index ix_message_vendor_id on message (workspace_id, inbox_id, vendor_id) where vendor_id is not null;

-- `reference` of a file of ours is the vendor's name for it, and may be used until `reference_until`.
create table attachment (
  workspace_id bigint not null, id bigint generated always as identity, message_id bigint not null,
  kind text not null, reference text not null, reference_until timestamptz,
  filename text not null default '', content_type text,
  size bigint, sha256 text, state text not null default 'pending', failure text,
  width int, height int, seconds real, playback_sha256 text, playback_size bigint, playback_failure text,
  created_at timestamptz not null default now(), fetched_at timestamptz,
  constraint pk_attachment primary key (workspace_id, id),
  constraint fk_attachment_message_id foreign key (workspace_id, message_id) references message on delete cascade,
  constraint ck_attachment_state check (state in ('pending', 'stored', 'failed')));
create index ix_attachment_message_id on attachment (workspace_id, message_id);
-- Whether another message uses a file.
create index ix_attachment_sha256 on attachment (workspace_id, sha256) where sha256 is not null;
create index ix_attachment_playback_sha256 on attachment (workspace_id, playback_sha256)
  where playback_sha256 is not null;

create table read_mark (
  workspace_id bigint not null, conversation_id bigint not null, agent_id bigint not null, message_id bigint not null,
  constraint pk_read_mark primary key (workspace_id, conversation_id, agent_id),
  constraint fk_read_mark_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade,
  constraint fk_read_mark_agent_id foreign key (workspace_id, agent_id) references agent on delete cascade);

create table draft (
  workspace_id bigint not null, conversation_id bigint not null, agent_id bigint not null,
  mode text not null, text text not null, formatted boolean not null default false,
  saved_at timestamptz not null default now(),
  constraint pk_draft primary key (workspace_id, conversation_id, agent_id, mode),
  constraint ck_draft_mode check (mode in ('reply', 'note')),
  constraint fk_draft_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade,
  constraint fk_draft_agent_id foreign key (workspace_id, agent_id) references agent on delete cascade);

create table contact_follow (
  workspace_id bigint not null, id bigint generated always as identity, connection_id bigint not null,
  contact_id bigint not null, external_id text not null, member text not null,
  source text, remark text not null default '', tags jsonb not null default '[]',
  state text not null, added_at timestamptz, removed_at timestamptz, seen_at timestamptz not null default now(),
  constraint pk_contact_follow primary key (workspace_id, id),
  constraint uq_contact_follow_connection_id unique (workspace_id, connection_id, external_id, member),
  constraint fk_contact_follow_connection_id foreign key (workspace_id, connection_id) references connection,
  constraint fk_contact_follow_contact_id foreign key (workspace_id, contact_id) references contact);

create table turn (
  workspace_id bigint not null, id bigint generated always as identity, conversation_id bigint not null,
  asked_by bigint, question text not null,
  decision text not null, reason text not null default '', zone text, confidence real,
  model text, input_tokens int not null default 0, output_tokens int not null default 0,
  cost numeric(12, 6) not null default 0, citations jsonb not null default '[]', steps jsonb not null default '[]',
  started_at timestamptz not null, finished_at timestamptz not null,
  constraint pk_turn primary key (workspace_id, id),
  constraint fk_turn_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade);
create index ix_turn_conversation_id on turn (workspace_id, conversation_id, id);
"""

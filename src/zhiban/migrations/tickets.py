"""The tables of tickets."""

# `inbox_id`: whose agents see it, null for all. `requester` is what they were called when they asked. What was said is
# in `ticket_message` as it stood then; what is recalled later is emptied there. What was put to it later (`joined`)
# stays inside: its issue has only what it was opened with. `forgotten_at`: when what it said was deleted.
TICKETS = """
create table ticket (
  workspace_id bigint not null, id bigint generated always as identity,
  number int not null, title text not null, summary text not null default '', note text not null default '',
  state text not null default 'open', priority smallint not null default 0, owner_id bigint, due_at timestamptz,
  labels bigint[] not null default '{}', conversation_id bigint, inbox_id bigint,
  requester_contact_id bigint, requester text not null default '', signature text not null default 'alias',
  repository_id bigint, issue_id bigint, tracker_state text not null default '', problem text not null default '',
  dropped_labels text[] not null default '{}', dropped_assignees text[] not null default '{}',
  client_key text not null, created_at timestamptz not null, changed_at timestamptz not null, done_at timestamptz,
  forgotten_at timestamptz,
  constraint pk_ticket primary key (workspace_id, id),
  constraint uq_ticket_number unique (workspace_id, number),
  constraint uq_ticket_client_key unique (workspace_id, client_key),
  constraint fk_ticket_owner_id foreign key (workspace_id, owner_id) references agent,
  constraint fk_ticket_conversation_id foreign key (workspace_id, conversation_id) references conversation,
  constraint fk_ticket_inbox_id foreign key (workspace_id, inbox_id) references inbox,
  constraint ck_ticket_priority check (priority between 0 and 4),
  constraint ck_ticket_state check (state in ('open', 'in_progress', 'waiting', 'done', 'cancelled')),
  constraint ck_ticket_tracker_state check (tracker_state in ('', 'waiting', 'opened', 'refused')));
create index ix_ticket_unfinished on ticket (workspace_id, due_at, id)
  where state in ('open', 'in_progress', 'waiting');
create index ix_ticket_over on ticket (workspace_id, done_at desc, id) where state in ('done', 'cancelled');
create index ix_ticket_issue_id on ticket (workspace_id, issue_id) where issue_id is not null;
create index ix_ticket_requester on ticket (workspace_id, conversation_id, created_at);

create table ticket_message (
  workspace_id bigint not null, ticket_id bigint not null, message_id bigint not null,
  conversation_id bigint not null, contact_id bigint, speaker text not null, name text not null, alias text not null,
  sent_at timestamptz not null, text text not null, quoted_name text not null default '',
  quoted text not null default '', joined boolean not null default false, recalled_at timestamptz,
  constraint pk_ticket_message primary key (workspace_id, ticket_id, message_id),
  constraint fk_ticket_message_ticket_id foreign key (workspace_id, ticket_id) references ticket on delete cascade);
create index ix_ticket_message_message_id on ticket_message (workspace_id, message_id);

-- What somebody asked for in a chat, or a colleague picked at the desk (`agent_id`), until they say yes. `lines` as in
-- ticket_message; `locale` answers in their words; `assignees` are logins at the tracker; `publish`
-- are the attachments that everybody may read with the issue.
create table ticket_draft (
  workspace_id bigint not null, id bigint generated always as identity,
  conversation_id bigint not null, requester_contact_id bigint, agent_id bigint, requester text not null,
  requester_ref text not null default '', message_id bigint not null, preview_message_id bigint,
  lines jsonb not null, title text not null, summary text not null default '', note text not null default '',
  priority smallint not null default 0, owner_id bigint, due_at timestamptz, labels bigint[] not null default '{}',
  repository_id bigint, assignees text[] not null default '{}', publish bigint[] not null default '{}',
  locale text not null default 'zh', state text not null default 'open', ticket_id bigint, client_key text not null,
  created_at timestamptz not null, expires_at timestamptz not null, ended_at timestamptz,
  constraint pk_ticket_draft primary key (workspace_id, id),
  constraint uq_ticket_draft_client_key unique (workspace_id, client_key),
  constraint fk_ticket_draft_agent_id foreign key (workspace_id, agent_id) references agent on delete cascade,
  constraint ck_ticket_draft_requester check ((requester_contact_id is null) <> (agent_id is null)),
  constraint fk_ticket_draft_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade,
  constraint ck_ticket_draft_state check (state in ('open', 'filed', 'joined', 'cancelled', 'replaced', 'expired')));
create unique index uq_ticket_draft_open on ticket_draft (workspace_id, conversation_id, requester_contact_id)
  where state = 'open';
create unique index uq_ticket_draft_open_at_desk on ticket_draft (workspace_id, conversation_id, agent_id)
  where state = 'open' and agent_id is not null;
create index ix_ticket_draft_expires_at on ticket_draft (workspace_id, expires_at) where state = 'open';

create table ticket_conversation (
  workspace_id bigint not null, ticket_id bigint not null, conversation_id bigint not null,
  linked_at timestamptz not null,
  constraint pk_ticket_conversation primary key (workspace_id, ticket_id, conversation_id),
  constraint fk_ticket_conversation_ticket_id foreign key (workspace_id, ticket_id) references ticket
    on delete cascade,
  constraint fk_ticket_conversation_conversation_id foreign key (workspace_id, conversation_id)
    references conversation on delete cascade);
create index ix_ticket_conversation_conversation_id on ticket_conversation (workspace_id, conversation_id);

create table ticket_comment (
  workspace_id bigint not null, id bigint generated always as identity, ticket_id bigint not null,
  author_kind text not null, agent_id bigint, contact_id bigint, name text not null default '',
  audience text not null default 'desk', text text not null, url text not null default '',
  issue_comment_id bigint, client_key text not null, created_at timestamptz not null,
  constraint pk_ticket_comment primary key (workspace_id, id),
  constraint uq_ticket_comment_client_key unique (workspace_id, client_key),
  constraint fk_ticket_comment_ticket_id foreign key (workspace_id, ticket_id) references ticket on delete cascade,
  constraint ck_ticket_comment_audience check (audience in ('desk', 'issue')));
create index ix_ticket_comment_ticket_id on ticket_comment (workspace_id, ticket_id, id);

create table ticket_watcher (
  workspace_id bigint not null, ticket_id bigint not null, agent_id bigint not null,
  constraint pk_ticket_watcher primary key (workspace_id, ticket_id, agent_id),
  constraint fk_ticket_watcher_ticket_id foreign key (workspace_id, ticket_id) references ticket on delete cascade,
  constraint fk_ticket_watcher_agent_id foreign key (workspace_id, agent_id) references agent on delete cascade);

-- Files that everybody may read who has the address, which ends with the secret: of a ticket, or of a comment on an
-- issue, named by its call. `contact_id` showed it; `sha256` is the copy that is read, null once it was taken back; the
-- actor wanted it.
create table published_file (
  workspace_id bigint not null, id bigint generated always as identity, ticket_id bigint, call_id bigint,
  conversation_id bigint not null, message_id bigint not null, attachment_id bigint not null, contact_id bigint,
  kind text not null, name text not null default '', state text not null default 'waiting', secret text not null,
  address text not null default '', sha256 text, content_type text, size bigint, problem text not null default '',
  actor_kind text not null, actor_id bigint, actor_ref text,
  created_at timestamptz not null, published_at timestamptz, withdrawn_at timestamptz,
  constraint pk_published_file primary key (workspace_id, id),
  constraint uq_published_file_attachment unique (workspace_id, ticket_id, attachment_id),
  constraint fk_published_file_ticket_id foreign key (workspace_id, ticket_id) references ticket on delete cascade,
  constraint ck_published_file_owner check ((ticket_id is null) <> (call_id is null)),
  constraint ck_published_file_kind check (kind in ('picture', 'file')),
  constraint ck_published_file_state check (state in ('waiting', 'published', 'refused', 'withdrawn')));
create index ix_published_file_call_id on published_file (workspace_id, call_id) where call_id is not null;
create index ix_published_file_message_id on published_file (workspace_id, message_id);
create index ix_published_file_contact_id on published_file (workspace_id, contact_id) where contact_id is not null;
create index ix_published_file_sha256 on published_file (workspace_id, sha256) where sha256 is not null;
create index ix_published_file_waiting on published_file (workspace_id, created_at) where state = 'waiting';

-- What a ticket went through is read from the log.
create index ix_event_ticket_id on event (workspace_id, ((data ->> 'ticket_id')::bigint), id)
  where data ? 'ticket_id';
"""

# How our people are reminded, and which owner has had the list of which day.
REMINDERS = """
create table ticket_reminders (
  workspace_id bigint not null, settings jsonb not null,
  constraint pk_ticket_reminders primary key (workspace_id));
create table ticket_day_list (
  workspace_id bigint not null, agent_id bigint not null, day date not null, told_at timestamptz not null,
  constraint pk_ticket_day_list primary key (workspace_id, agent_id, day),
  constraint fk_ticket_day_list_agent_id foreign key (workspace_id, agent_id) references agent on delete cascade);
"""

TABLES = [
    "ticket",
    "ticket_message",
    "ticket_draft",
    "ticket_conversation",
    "published_file",
    "ticket_comment",
    "ticket_watcher",
    "ticket_reminders",
    "ticket_day_list",
]

"""The tables of trackers: repositories, the groups that hear of them, issues as we know them, calls on their way."""

# `synced_at`: what changed at the tracker until then is known here. `alias`: what people may call it in a group.
TRACKERS = """
create table repository (
  workspace_id bigint not null, id bigint generated always as identity,
  connection_id bigint not null, external_id text not null, name text not null, alias text,
  private boolean not null default false, issues_enabled boolean not null default true,
  archived boolean not null default false, settings jsonb not null default '{}',
  created_at timestamptz not null, synced_at timestamptz, removed_at timestamptz,
  constraint pk_repository primary key (workspace_id, id),
  constraint uq_repository_external_id unique (workspace_id, connection_id, external_id),
  constraint fk_repository_connection_id foreign key (workspace_id, connection_id) references connection);
create index ix_repository_name on repository (workspace_id, lower(name)) where removed_at is null;

-- Which group hears of which repositories. The pattern is owner/name, with * for any part.
create table repository_link (
  workspace_id bigint not null, id bigint generated always as identity,
  conversation_id bigint not null, pattern text not null, settings jsonb not null default '{}',
  created_at timestamptz not null,
  constraint pk_repository_link primary key (workspace_id, id),
  constraint fk_repository_link_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade);
create unique index uq_repository_link_pattern on repository_link (workspace_id, conversation_id, lower(pattern));

-- `changed_at` is the tracker's: what is older than it is not believed.
create table issue (
  workspace_id bigint not null, id bigint generated always as identity,
  repository_id bigint not null, number int not null, url text not null, title text not null,
  body text not null default '', state text not null, reason text not null default '',
  author text not null default '', author_is_bot boolean not null default false,
  labels text[] not null default '{}', assignees text[] not null default '{}', comments int not null default 0,
  locked boolean not null default false, is_change boolean not null default false,
  created_at timestamptz not null, changed_at timestamptz not null, removed_at timestamptz,
  constraint pk_issue primary key (workspace_id, id),
  constraint uq_issue_number unique (workspace_id, repository_id, number),
  constraint fk_issue_repository_id foreign key (workspace_id, repository_id) references repository,
  constraint ck_issue_state check (state in ('open', 'closed')));

create table issue_comment (
  workspace_id bigint not null, id bigint generated always as identity,
  issue_id bigint not null, external_id text not null, url text not null, body text not null,
  author text not null, author_is_bot boolean not null default false, ours boolean not null default false,
  created_at timestamptz not null, changed_at timestamptz not null, removed_at timestamptz,
  constraint pk_issue_comment primary key (workspace_id, id),
  constraint uq_issue_comment_external_id unique (workspace_id, issue_id, external_id),
  constraint fk_issue_comment_issue_id foreign key (workspace_id, issue_id) references issue on delete cascade);

-- What we write to trackers. `key` stands in the text at the tracker, `client_key` is the caller's: nothing is asked
-- for twice. `tried_at`: when an attempt began of which nobody knows what came of it. `message_id` names what it says.
-- `login_id`: it is written under that account of a member.
create table tracker_call (
  workspace_id bigint not null, id bigint generated always as identity,
  connection_id bigint not null, repository_id bigint not null, kind text not null, key text not null,
  client_key text not null, ticket_id bigint, number int, message_id bigint, content jsonb not null,
  state text not null default 'queued', actor_kind text not null, actor_id bigint, actor_ref text,
  attempts int not null default 0, tried_at timestamptz, retry_at timestamptz,
  leased_by bigint, lease_expires_at timestamptz, begun_at timestamptz, login_id bigint,
  issue_id bigint, comment_id bigint, problem text, created_at timestamptz not null, settled_at timestamptz,
  constraint pk_tracker_call primary key (workspace_id, id),
  constraint uq_tracker_call_key unique (workspace_id, key),
  constraint uq_tracker_call_client_key unique (workspace_id, client_key),
  constraint fk_tracker_call_repository_id foreign key (workspace_id, repository_id) references repository,
  constraint ck_tracker_call_kind check (kind in ('open', 'comment', 'change', 'react')),
  constraint ck_tracker_call_state check (state in ('queued', 'done', 'refused'))) with (fillfactor = 70);
create index ix_tracker_call_queued on tracker_call (workspace_id, connection_id, id) where state = 'queued';
create index ix_tracker_call_issue_id on tracker_call (workspace_id, issue_id) where issue_id is not null;
create index ix_tracker_call_ticket_id on tracker_call (workspace_id, ticket_id) where ticket_id is not null;
create index ix_tracker_call_comment_id on tracker_call (workspace_id, comment_id) where comment_id is not null;
"""

# What issues are found by; none of those that nobody is to find. `keys` are the terms of title and text, each together
# with its repository: else what is frequent in one repository is read for all the others. `words`: how much each of
# them weighs. `digest`: of what an embedder reads.
ISSUE_INDEX = """
create table issue_index (
  workspace_id bigint not null, issue_id bigint not null, repository_id bigint not null,
  keys bigint[] not null, words sparsevec not null, digest bytea not null,
  constraint pk_issue_index primary key (workspace_id, issue_id),
  constraint fk_issue_index_issue_id foreign key (workspace_id, issue_id) references issue on delete cascade);
alter table issue_index alter column keys set storage external;
alter table issue_index alter column words set storage main;
alter table issue_index alter column keys set statistics 0;
alter table issue_index alter column words set statistics 0;
alter table issue_index set (toast_tuple_target = 8160);
create index ix_issue_index_repository_id on issue_index (repository_id, issue_id);
create index ix_issue_index_keys on issue_index using gin (keys) with (fastupdate = on);
"""

# A search has no choice but to use the index of keys: comparing them row by row is slow (as of `chunk_index`).
ISSUE_INDEX_POLICY = """
alter policy workspace on issue_index
  using (workspace_id + 0 = (select app_workspace())) with check (workspace_id = (select app_workspace()));
"""

# The vectors of one embedder for the issues of one repository, as bases have them. Nearest are looked for among all of
# a set, which needs no index: thousands of vectors are compared in milliseconds while they lie in their rows. `digest`:
# of the text that the vector was made of; where the issue says something else by now, it is made anew. `han`: whether
# that text is Chinese, since an embedder puts texts of one language nearer to each other than they are.
ISSUE_VECTORS = """
create table issue_vector_set (
  workspace_id bigint not null, id bigint generated always as identity, repository_id bigint not null,
  embedder text not null, dimensions integer not null, serving boolean not null default false,
  created_at timestamptz not null default now(),
  constraint pk_issue_vector_set primary key (workspace_id, id),
  constraint uq_issue_vector_set_embedder unique (workspace_id, repository_id, embedder),
  constraint ck_issue_vector_set_dimensions check (dimensions between 1 and 4000),
  constraint fk_issue_vector_set_repository_id foreign key (workspace_id, repository_id) references repository);
create unique index uq_issue_vector_set_serving on issue_vector_set (workspace_id, repository_id) where serving;

create table issue_vector (
  workspace_id bigint not null, set_id bigint not null, issue_id bigint not null,
  digest bytea not null, han boolean not null, vector halfvec not null,
  constraint pk_issue_vector primary key (workspace_id, set_id, issue_id),
  constraint fk_issue_vector_set_id foreign key (workspace_id, set_id) references issue_vector_set on delete cascade,
  constraint fk_issue_vector_issue_id foreign key (workspace_id, issue_id) references issue on delete cascade);
create index ix_issue_vector_issue_id on issue_vector (workspace_id, issue_id);
alter table issue_vector alter column vector set storage external;
alter table issue_vector set (toast_tuple_target = 8160);
"""

# What groups are to hear, or have heard: `due_at` gathers what happens within a minute, `listed` waits for a list.
GROUP_NEWS = """
create table group_news (
  workspace_id bigint not null, id bigint generated always as identity,
  conversation_id bigint not null, repository_id bigint not null, issue_id bigint,
  kind text not null, name text not null, text text not null, url text not null, digest text not null,
  listed boolean not null default false, at timestamptz not null, due_at timestamptz not null,
  told_at timestamptz, message_id bigint,
  constraint pk_group_news primary key (workspace_id, id),
  constraint uq_group_news_digest unique (workspace_id, conversation_id, digest),
  constraint fk_group_news_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade);
create index ix_group_news_due_at on group_news (workspace_id, due_at) where told_at is null;
create index ix_group_news_issue_id on group_news (workspace_id, conversation_id, issue_id);
create index ix_group_news_message_id on group_news (workspace_id, message_id) where message_id is not null;
"""

# Which issues a message of ours tells of, besides those in group_news: who quotes it means them. `card_reply` is what
# a member did so, with the call that carries it out, none where we declined; `outcome`: null while it waits.
CARDS = """
create table issue_card (
  workspace_id bigint not null, message_id bigint not null, issue_id bigint not null, conversation_id bigint not null,
  constraint pk_issue_card primary key (workspace_id, message_id, issue_id),
  constraint fk_issue_card_issue_id foreign key (workspace_id, issue_id) references issue on delete cascade,
  constraint fk_issue_card_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade);

create table card_reply (
  workspace_id bigint not null, id bigint generated always as identity,
  conversation_id bigint not null, message_id bigint not null, contact_id bigint not null,
  ref text not null default '', name text not null default '', locale text not null default 'zh',
  issue_id bigint not null, verb text not null, call_id bigint, outcome text,
  url text not null default '', dropped text[] not null default '{}',
  created_at timestamptz not null, settled_at timestamptz, recalled_at timestamptz,
  constraint pk_card_reply primary key (workspace_id, id),
  constraint uq_card_reply_message_id unique (workspace_id, message_id),
  constraint uq_card_reply_call_id unique (workspace_id, call_id),
  constraint fk_card_reply_issue_id foreign key (workspace_id, issue_id) references issue on delete cascade,
  constraint fk_card_reply_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade);
create index ix_card_reply_created_at on card_reply (workspace_id, conversation_id, created_at);
create index ix_card_reply_issue_id on card_reply (workspace_id, issue_id, created_at);
"""

# Issues of which nothing is mirrored for a while, because too much was.
MIRROR_PAUSES = """
create table mirror_pause (
  workspace_id bigint not null, issue_id bigint not null, paused_at timestamptz not null, ends_at timestamptz not null,
  missed int not null default 0,
  constraint pk_mirror_pause primary key (workspace_id, issue_id),
  constraint fk_mirror_pause_issue_id foreign key (workspace_id, issue_id) references issue on delete cascade);
"""

# Members who write under their own account at a tracker. `sealed` is the code that waits to be typed in, later the
# tokens.
MEMBER_LOGINS = """
create table member_login (
  workspace_id bigint not null, id bigint generated always as identity,
  connection_id bigint not null, contact_id bigint not null, state text not null default 'asked',
  login text not null default '', sealed bytea, interval_seconds float not null default 5, expires_at timestamptz,
  conversation_id bigint not null, ref text not null default '', name text not null default '',
  locale text not null default 'zh', created_at timestamptz not null, ended_at timestamptz,
  reason text not null default '',
  constraint pk_member_login primary key (workspace_id, id),
  constraint fk_member_login_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade,
  constraint ck_member_login_state check (state in ('asked', 'waiting', 'bound', 'ended')));
create unique index uq_member_login_bound on member_login (workspace_id, connection_id, contact_id)
  where state = 'bound';
create index ix_member_login_contact_id on member_login (workspace_id, contact_id, created_at);
"""

TABLES = [
    "repository",
    "repository_link",
    "issue",
    "issue_comment",
    "issue_index",
    "issue_vector_set",
    "issue_vector",
    "tracker_call",
    "group_news",
    "issue_card",
    "card_reply",
    "mirror_pause",
    "member_login",
]

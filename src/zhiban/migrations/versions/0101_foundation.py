"""People, connections, inboxes, conversations, messages, events, turns and the job queue."""

from alembic import op
from procrastinate.schema import SchemaManager

from zhiban.migrations.automation import RULES
from zhiban.migrations.conversations import CONVERSATIONS
from zhiban.migrations.desk import CONTACT_FIELDS, OWN
from zhiban.migrations.people import PEOPLE
from zhiban.migrations.rules import append_only, protect
from zhiban.migrations.search import FUNCTIONS, SEARCH
from zhiban.migrations.search import TABLES as SEARCH_TABLES
from zhiban.migrations.second_factor import SECOND_FACTOR
from zhiban.migrations.second_factor import TABLES as FACTOR_TABLES

revision = "0101"
down_revision = None
branch_labels = None
depends_on = None

ROUTING = """
create function app_workspace() returns bigint language sql stable parallel safe
  as $$ select nullif(current_setting('app.workspace', true), '')::bigint $$;

-- Ids and digests only, readable before a workspace is known. No row-level security.
create table directory (
  kind text not null, key text not null, workspace_id bigint not null, ref bigint,
  constraint pk_directory primary key (kind, key));
create index ix_directory_workspace_id on directory (workspace_id);

-- Attempts to sign in, counted before a password is looked at, when no workspace is known. Keys are digests.
create table login_attempt (
  key bytea not null, started_at timestamptz not null, attempts int not null,
  constraint pk_login_attempt primary key (key)) with (fillfactor = 50);
create index ix_login_attempt_started_at on login_attempt (started_at);
"""

PLACES = """
create table connection (
  workspace_id bigint not null, id bigint generated always as identity,
  part text not null default 'channel', public_id text not null, vendor text not null, name text not null,
  config jsonb not null default '{}', secrets bytea not null, contacts_off text,
  token bytea, token_expires_at timestamptz, token_leased_by bigint, token_lease_expires_at timestamptz,
  broken text, broken_at timestamptz, verified_at timestamptz, paused_at timestamptz, removed_at timestamptz,
  created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
  constraint pk_connection primary key (workspace_id, id),
  constraint uq_connection_public_id unique (workspace_id, public_id),
  constraint ck_connection_part check (part in ('channel', 'tracker')));

-- The policy names whom to tell by kind and digest; notify holds the addresses themselves, sealed.
create table inbox (
  workspace_id bigint not null, id bigint generated always as identity,
  public_id text not null, connection_id bigint not null, kind text not null, external_id text not null,
  name text not null, policy jsonb not null default '{}', notify bytea, base_id bigint,
  broken text, broken_at timestamptz, created_at timestamptz not null default now(),
  paused_at timestamptz, archived_at timestamptz, removed_at timestamptz,
  constraint pk_inbox primary key (workspace_id, id),
  constraint uq_inbox_public_id unique (workspace_id, public_id),
  constraint uq_inbox_kind unique (workspace_id, connection_id, kind, external_id),
  constraint fk_inbox_connection_id foreign key (workspace_id, connection_id) references connection);

-- Links and QR codes by which contacts become friends of members. Without its id one can never be changed.
create table contact_way (
  workspace_id bigint not null, connection_id bigint not null, id text not null,
  picture_url text not null, members jsonb not null, state text not null default '', remark text not null default '',
  skip_verify boolean not null, created_at timestamptz not null,
  constraint pk_contact_way primary key (workspace_id, connection_id, id),
  constraint fk_contact_way_connection_id foreign key (workspace_id, connection_id) references connection);

-- Where pulling an inbox stands: the cursor moves in the same transaction as the messages it brought.
create table pull_state (
  workspace_id bigint not null, inbox_id bigint not null,
  cursor text, token text, token_at timestamptz, drained boolean not null default false,
  leased_by bigint, lease_expires_at timestamptz,
  pulled_at timestamptz, retry_at timestamptz, misses int not null default 0,
  constraint pk_pull_state primary key (workspace_id, inbox_id),
  constraint fk_pull_state_inbox_id foreign key (workspace_id, inbox_id) references inbox) with (fillfactor = 50);

create table delivery (
  workspace_id bigint not null, id bigint generated always as identity,
  connection_id bigint not null, digest bytea not null, account text, token text, pulls boolean not null,
  body text not null, state text not null default 'pending', attempts int not null default 0, error text,
  received_at timestamptz not null default now(), handled_at timestamptz,
  constraint pk_delivery primary key (workspace_id, id),
  constraint uq_delivery_digest unique (workspace_id, digest),
  constraint fk_delivery_connection_id foreign key (workspace_id, connection_id) references connection,
  constraint ck_delivery_state check (state in ('pending', 'done', 'parked', 'failed'))) with (fillfactor = 70);
create index ix_delivery_pending on delivery (workspace_id, id) where state = 'pending';
create index ix_delivery_failed on delivery (workspace_id, id) where state = 'failed';
create index ix_delivery_received_at on delivery (workspace_id, received_at);
"""

TEAMS = """
create table team (
  workspace_id bigint not null, id bigint generated always as identity,
  name text not null, hours jsonb, -- null: those of the inbox
  created_at timestamptz not null default now(), removed_at timestamptz,
  constraint pk_team primary key (workspace_id, id));
create unique index uq_team_name on team (workspace_id, name) where removed_at is null;

create table team_member (
  workspace_id bigint not null, team_id bigint not null, agent_id bigint not null,
  constraint pk_team_member primary key (workspace_id, team_id, agent_id),
  constraint fk_team_member_team_id foreign key (workspace_id, team_id) references team on delete cascade,
  constraint fk_team_member_agent_id foreign key (workspace_id, agent_id) references agent on delete cascade);
create index ix_team_member_agent_id on team_member (workspace_id, agent_id);
"""

CALLS = """
-- Which calls to others are paused, for all processes; models belong to no workspace and stand under 0.
create table circuit (
  workspace_id bigint not null, key text not null,
  state text not null, openings int not null default 0, until timestamptz not null,
  pause double precision not null default 0, reason text not null default '',
  changed_at timestamptz not null default now(),
  constraint pk_circuit primary key (workspace_id, key),
  constraint ck_circuit_state check (state in ('closed', 'open', 'half_open'))) with (fillfactor = 50);

-- When the next call of a kind may be made that we ration ourselves.
create table call_budget (
  workspace_id bigint not null, key text not null, next_at timestamptz not null,
  constraint pk_call_budget primary key (workspace_id, key)) with (fillfactor = 50);
"""

# What reports ask for are columns; every other field of a fact stands in `data`. No foreign keys: what happened stays
# true when the rows are gone.
EVENTS = """
create table event (
  workspace_id bigint not null, id bigint generated always as identity,
  kind text not null, at timestamptz not null default now(),
  actor_kind text not null, actor_id bigint, actor_ref text,
  cause_kind text, cause_id bigint, cause_depth smallint not null default 0,
  conversation_id bigint, message_id bigint, contact_id bigint, inbox_id bigint,
  cycle int, assignee_id bigint, team_id bigint, data jsonb not null default '{}',
  constraint pk_event primary key (workspace_id, id),
  constraint ck_event_actor_kind check (actor_kind in ('contact', 'assistant', 'agent', 'servicer', 'rule', 'campaign',
    'flow', 'tracker', 'api', 'timer', 'system')));
create index ix_event_conversation_id on event (workspace_id, conversation_id, id) where conversation_id is not null;
create index ix_event_kind on event (workspace_id, kind, at);
create index ix_event_actor_id on event (workspace_id, actor_id, at) where actor_kind = 'agent';
create index ix_event_assignee_id on event (workspace_id, assignee_id, at) where assignee_id is not null;
"""

FILES = """
-- Contents of files, once for each workspace, by their digest; attachments name them. In parts, so that neither
-- side holds a whole film in memory. Not compressed: pictures and sound are already.
create table stored_file (
  workspace_id bigint not null, sha256 text not null, size bigint not null, stored_at timestamptz not null,
  constraint pk_stored_file primary key (workspace_id, sha256));
create table stored_file_part (
  workspace_id bigint not null, sha256 text not null, position int not null, content bytea not null,
  constraint pk_stored_file_part primary key (workspace_id, sha256, position),
  constraint fk_stored_file_part_sha256 foreign key (workspace_id, sha256) references stored_file on delete cascade);
alter table stored_file_part alter column content set storage external;
"""

TABLES = [
    "workspace",
    "agent",
    "agent_address",
    "agent_identity",
    "agent_presence",
    "agent_session",
    "setup_link",
    "api_token",
    "contact",
    "identity",
    "connection",
    "inbox",
    "contact_way",
    "pull_state",
    "delivery",
    "team",
    "team_member",
    "label",
    "conversation_label",
    "circuit",
    "call_budget",
    "conversation",
    "assignment_turn",
    "conversation_work",
    "participant",
    "message",
    "attachment",
    "read_mark",
    "draft",
    "contact_follow",
    "event",
    "turn",
    "rule",
    "rule_run",
    "rule_delay",
    "contact_field",
    "snippet",
    "macro",
    "saved_view",
    "stored_file",
    "stored_file_part",
]

SIGN_IN = """
create policy sign_in on agent_address for select
  using (digest = decode(nullif(current_setting('app.address', true), ''), 'hex'));
"""

# The queue turns over all the time: vacuum it early, leave room on its pages.
QUEUE = """
alter table jobs.procrastinate_jobs set (
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
  autovacuum_analyze_scale_factor = 0.05, fillfactor = 70);
"""


# A plan is kept until its table is analysed, and one made while a table was empty may look rows up by their workspace
# alone, one made when it had a dozen reads all of them: with every message the next would then cost more. PostgreSQL
# itself looks once a minute. So a small table is analysed whenever it has doubled. Only the owner may.
STATISTICS = """
create function analyze_grown_tables() returns void language plpgsql security definer
set search_path = public, pg_temp as $$
declare grown regclass;
begin
  for grown in
    select c.oid::regclass from pg_class c join pg_roles r on r.oid = c.relowner and r.rolname = current_user
    where c.relkind = 'r' and c.reltuples < 1000
      and pg_stat_get_live_tuples(c.oid) >= greatest(10, 2 * c.reltuples) order by c.oid
  loop
    execute format('analyze (skip_locked) %s', grown);
  end loop;
end $$;
"""


def upgrade() -> None:
    before = (ROUTING, PEOPLE, SECOND_FACTOR, TEAMS, PLACES, CALLS)
    for ddl in (*before, CONVERSATIONS, EVENTS, RULES, OWN, CONTACT_FIELDS, FILES, SEARCH):
        op.execute(ddl)
    protect(*TABLES, *FACTOR_TABLES, *SEARCH_TABLES)
    op.execute(FUNCTIONS)
    append_only("event")
    op.execute(SIGN_IN)
    # Procrastinate's text holds per cent signs, which SQLAlchemy would take for parameters: use the driver itself.
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        raise RuntimeError("Migrations need a live connection, not a script.")
    driver.execute("set local search_path = jobs")
    driver.execute(SchemaManager.get_schema())
    driver.execute(QUEUE)
    driver.execute("set local search_path = public, jobs")
    driver.execute(STATISTICS)

"""What reports are read from: sums by quarter of an hour, and what the counter remembers between two facts."""

# Which labels stood together, so that a sum names them by one number.
REPORTS = """
create table report_label_set (
  workspace_id bigint not null, id integer generated always as identity, labels bigint[] not null,
  constraint pk_report_label_set primary key (workspace_id, id),
  constraint uq_report_label_set_labels unique (workspace_id, labels));

-- How often something happened (`n`) and for how many seconds in all (`total`), by all that reports ask for. `quarter`:
-- quarters of an hour since 1970; 0 stands for nobody and for no labels; `bucket` is the class of a time
-- (insights/histogram.py), or what else is true of what is counted. By measure first: a report reads some of them over
-- its whole period.
create table report_sum (
  workspace_id bigint not null, measure smallint not null, quarter integer not null,
  inbox_id bigint not null, team_id bigint not null, agent_id bigint not null, label_set integer not null,
  who text not null, clock smallint not null, bucket smallint not null,
  n integer not null, total bigint not null,
  constraint pk_report_sum primary key (workspace_id, measure, quarter, inbox_id, agent_id, team_id, label_set, who,
    clock, bucket));

create table report_conversation (
  workspace_id bigint not null, conversation_id bigint not null,
  status text not null, inbox_id bigint not null, team_id bigint not null, agent_id bigint not null,
  labels bigint[] not null, remembered jsonb not null,
  constraint pk_report_conversation primary key (workspace_id, conversation_id)) with (fillfactor = 60);
create index ix_report_conversation_status on report_conversation (workspace_id, status) where status <> 'resolved';

create table report_agent (
  workspace_id bigint not null, agent_id bigint not null, status text not null, since timestamptz not null,
  constraint pk_report_agent primary key (workspace_id, agent_id));

-- Business hours as the log told of them last.
create table report_inbox (
  workspace_id bigint not null, inbox_id bigint not null, hours jsonb not null,
  constraint pk_report_inbox primary key (workspace_id, inbox_id));

-- Business hours of teams, likewise; null: those of the inbox.
create table report_team (
  workspace_id bigint not null, team_id bigint not null, hours jsonb,
  constraint pk_report_team primary key (workspace_id, team_id));

-- Events up to `counted_to` are in the sums, and none up to `settled_to` can turn up any more: every transaction that
-- was running when `settling_to` was read has to end first. `recipe` is the counter's; another one counts anew.
-- Facts up to `trimmed_to` may be gone: nothing can be counted anew from the log.
create table report_progress (
  workspace_id bigint not null, recipe integer not null,
  counted_to bigint not null default 0, counted_at timestamptz, trimmed_to bigint not null default 0,
  settled_to bigint not null default 0,
  settling_to bigint not null default 0, settling_xid xid8, settling_since timestamptz,
  constraint pk_report_progress primary key (workspace_id)) with (fillfactor = 50);
"""

TABLES = [
    "report_label_set",
    "report_sum",
    "report_conversation",
    "report_agent",
    "report_inbox",
    "report_team",
    "report_progress",
]

"""The tables of rules: what they are, what they did, and what they wait for."""

# A run keeps what a rule saw and did when it fired; rules that nobody wants any more stay for the sake of their runs.
RULES = """
create table rule (
  workspace_id bigint not null, id bigint generated always as identity,
  position int not null, name text not null, enabled boolean not null default false,
  stops boolean not null default false, definition jsonb not null, revision int not null default 1, shipped text,
  created_at timestamptz not null, changed_at timestamptz not null, changed_by bigint, enabled_at timestamptz,
  removed_at timestamptz,
  constraint pk_rule primary key (workspace_id, id));
create index ix_rule_position on rule (workspace_id, position, id) where removed_at is null;
create unique index uq_rule_shipped on rule (workspace_id, shipped) where shipped is not null and removed_at is null;

create table rule_run (
  workspace_id bigint not null, id bigint generated always as identity,
  rule_id bigint not null, revision int not null, trigger text not null, event_id bigint, conversation_id bigint,
  outcome text not null, reason text not null default '', facts jsonb not null default '{}',
  conditions jsonb not null default '{}', actions jsonb not null default '[]', at timestamptz not null,
  constraint pk_rule_run primary key (workspace_id, id),
  constraint fk_rule_run_rule_id foreign key (workspace_id, rule_id) references rule,
  constraint ck_rule_run_outcome check (outcome in ('acted', 'failed', 'cut', 'skipped')));
-- When a rule that waits is to be asked about a conversation. `done_at`: it was, for the wait that began at `since`.
create table rule_delay (
  workspace_id bigint not null, rule_id bigint not null, conversation_id bigint not null,
  since timestamptz not null, due_at timestamptz not null, done_at timestamptz,
  constraint pk_rule_delay primary key (workspace_id, rule_id, conversation_id),
  constraint fk_rule_delay_rule_id foreign key (workspace_id, rule_id) references rule,
  constraint fk_rule_delay_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade) with (fillfactor = 70);
create index ix_rule_delay_due_at on rule_delay (workspace_id, due_at) where done_at is null;
create index ix_rule_delay_conversation_id on rule_delay (workspace_id, conversation_id);

create index ix_rule_run_rule_id on rule_run (workspace_id, rule_id, at desc);
create index ix_rule_run_conversation_id on rule_run (workspace_id, conversation_id, id)
  where conversation_id is not null;
"""

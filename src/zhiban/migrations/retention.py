"""How long what is kept, how far deleting has come, and the one way in which facts of the log are ever deleted."""

# What is chosen: days, null for ever. What is under way: a run begins once a day and goes on where a process was
# killed; `messages_at` and `messages_id` name the last conversation that was done, of all runs, `earlier_id` the
# last message that this run has looked at, of conversations that go on. `doubted_at`: since when the clock is further
# ahead than it should be. The shortest times stand here, too, because `forget_events` trusts this table.
RETENTION = """
create table retention (
  workspace_id bigint not null,
  messages_days int, turns_days int, rule_runs_days int, events_days int, failed_deliveries_days int, tickets_days int,
  deliveries_days int not null default 4,
  started_at timestamptz, finished_at timestamptz, counts jsonb not null default '{}',
  messages_at timestamptz not null default 'epoch', messages_id bigint not null default 0,
  earlier_id bigint not null default 0, events_id bigint not null default 0, doubted_at timestamptz,
  constraint pk_retention primary key (workspace_id),
  constraint ck_retention_days check (least(messages_days, turns_days, rule_runs_days, events_days,
    failed_deliveries_days) >= 30 and deliveries_days >= 4),
  constraint ck_retention_tickets_days check (tickets_days >= 30)) with (fillfactor = 50);

-- How many messages of a conversation are gone, and when the last of them went.
create table forgotten (
  workspace_id bigint not null, conversation_id bigint not null, messages bigint not null, at timestamptz not null,
  constraint pk_forgotten primary key (workspace_id, conversation_id),
  constraint fk_forgotten_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade);
"""

TABLES = ["retention", "forgotten"]

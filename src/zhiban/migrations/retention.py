"""How long what is kept, how far deleting has come, and the one way in which facts of the log are ever deleted."""

# What is chosen: days, null for ever. What is under way: a run begins once a day and goes on where a process was
# killed; `messages_at` and `messages_id` name the last conversation that was done, of all runs. The shortest times
# stand here, too, because `forget_events` trusts this table.
RETENTION = """
create table retention (
  workspace_id bigint not null,
  messages_days int, turns_days int, rule_runs_days int, events_days int, failed_deliveries_days int,
  deliveries_days int not null default 4,
  started_at timestamptz, finished_at timestamptz, counts jsonb not null default '{}',
  messages_at timestamptz not null default 'epoch', messages_id bigint not null default 0,
  events_id bigint not null default 0,
  constraint pk_retention primary key (workspace_id),
  constraint ck_retention_days check (least(messages_days, turns_days, rule_runs_days, events_days,
    failed_deliveries_days) >= 30 and deliveries_days >= 4)) with (fillfactor = 50);

-- How many messages of a conversation are gone, and when the last of them went.
create table forgotten (
  workspace_id bigint not null, conversation_id bigint not null, messages bigint not null, at timestamptz not null,
  constraint pk_forgotten primary key (workspace_id, conversation_id),
  constraint fk_forgotten_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade);

-- Those that are over, in the order in which nothing happened in them any more.
create index ix_conversation_over on conversation (workspace_id, greatest(resolved_at, last_activity_at), id)
  where status = 'resolved';

-- Whether another message uses a file.
create index ix_attachment_sha256 on attachment (workspace_id, sha256) where sha256 is not null;
create index ix_attachment_playback_sha256 on attachment (workspace_id, playback_sha256)
  where playback_sha256 is not null;

-- Facts up to here may be gone: nothing can be counted anew from the log.
alter table report_progress add column trimmed_to bigint not null default 0;
"""

# The owner's right to delete facts, lent for what the workspace has chosen and for nothing else: old enough by the
# clock of the database, too, and at least 30 days old whatever is chosen; counted by reports, whose sums stay; of no
# conversation that is still in hand; never the newest. `looked_to` null: nothing older is left behind `after`.
FORGET_EVENTS = """
create function forget_events(after bigint, most integer, reading timestamptz,
  out looked_to bigint, out forgotten integer) language plpgsql security definer set search_path = public, pg_temp as $$
declare
  ours bigint := app_workspace();
  days integer := (select events_days from retention where workspace_id = ours);
  counted bigint := (select counted_to from report_progress where workspace_id = ours);
  newest bigint := (select max(id) from event where workspace_id = ours);
  before timestamptz := least(reading, now()) - make_interval(days => greatest(days, 30));
  old_ones integer;
begin
  looked_to := null;
  forgotten := 0;
  if days is null or counted is null or newest is null then
    return;
  end if;
  with seen as (
    select e.id, e.at, e.conversation_id from event e
    where e.workspace_id = ours and e.id > after and e.id <= counted and e.id < newest order by e.id limit most),
  gone as (
    delete from event e using seen s where e.workspace_id = ours and e.id = s.id and s.at < before
      and not exists (select from conversation c
        where c.workspace_id = ours and c.id = s.conversation_id and c.status <> 'resolved')
    returning e.id),
  trimmed as (
    update report_progress set trimmed_to = greatest(trimmed_to, (select max(id) from gone))
    where workspace_id = ours and exists (select from gone))
  select (select max(id) from seen), (select count(*) from seen where at < before), (select count(*) from gone)
  into looked_to, old_ones, forgotten;
  if old_ones = 0 then
    looked_to := null;
  end if;
end $$;
revoke execute on function forget_events(bigint, integer, timestamptz) from public;
do $$
declare other record;
begin
  for other in
    select distinct grantee::regrole::text as name from pg_class, aclexplode(relacl)
    where oid = 'event'::regclass and grantee <> relowner and grantee <> 0
  loop
    execute format('grant execute on function forget_events(bigint, integer, timestamptz) to %s', other.name);
  end loop;
end $$;
"""

TABLES = ["retention", "forgotten"]

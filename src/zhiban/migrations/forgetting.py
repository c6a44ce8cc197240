"""The only ways in which facts of the log are deleted and words in them blanked."""

# The owner's right to delete facts, lent for what the workspace has chosen and for nothing else: old enough by the
# clock of the database, too, and at least 30 days old whatever is chosen; counted by reports, whose sums stay; of no
# conversation that is still in hand; of no ticket that is not finished, whose history is read from them; never the
# newest. Of a conversation's assignments the newest to each of the last two agents stay, so that whoever comes back can
# go to who had it last. `looked_to` null: nothing older is left behind `after`.
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
      and not (e.data ? 'ticket_id' and exists (select from ticket t where t.workspace_id = ours
        and t.id = (e.data ->> 'ticket_id')::bigint and t.state not in ('done', 'cancelled')))
      and not (e.kind = 'conversation_assigned' and e.data ->> 'to_agent_id' is not null and (
        select count(distinct n.data ->> 'to_agent_id') < 2
          and coalesce(bool_and(n.data ->> 'to_agent_id' <> e.data ->> 'to_agent_id'), true)
        from event n where n.workspace_id = ours and n.conversation_id = e.conversation_id and n.id > e.id
          and n.kind = 'conversation_assigned' and n.data ->> 'to_agent_id' is not null))
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
"""

# What facts repeat of the words of contacts, of conversations whose messages go: old enough by what was chosen for
# messages and by the clock of the database, too. No number is counted from it.
FORGET_WORDS = """
create function forget_words(conversations bigint[], befores timestamptz[]) returns integer
language plpgsql security definer set search_path = public, pg_temp as $$
declare
  ours bigint := app_workspace();
  days integer := (select messages_days from retention where workspace_id = ours);
  blanked integer;
begin
  if days is null then
    return 0;
  end if;
  update event e set data = e.data - '{question,comment}'::text[]
  from unnest(conversations, befores) as f(id, before)
  where e.workspace_id = ours and e.conversation_id = f.id
    and e.at < least(f.before, now() - make_interval(days => greatest(days, 30)))
    and e.kind in ('conversation_handed_off', 'survey_rated')
    and (e.data ->> 'question' <> '' or e.data ->> 'comment' <> '');
  get diagnostics blanked = row_count;
  return blanked;
end $$;
"""

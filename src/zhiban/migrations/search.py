"""What messages and contacts are found by: the keys of their words, and how far the index has come."""

# No column of `message` itself, whose rows change three times while they are handled: each change would enter every key
# again. The list of keys that wait to be sorted into their index stays short, because each search reads all of it.
SEARCH = """
create table message_search (
  workspace_id bigint not null, message_id bigint not null, keys integer[] not null,
  constraint pk_message_search primary key (workspace_id, message_id),
  constraint fk_message_search_message_id foreign key (workspace_id, message_id) references message on delete cascade);
alter table message_search alter column keys set statistics 0;
create index ix_message_search_keys on message_search using gin (keys)
  with (fastupdate = on, gin_pending_list_limit = 256);

create table contact_search (
  workspace_id bigint not null, contact_id bigint not null, keys integer[] not null,
  constraint pk_contact_search primary key (workspace_id, contact_id),
  constraint fk_contact_search_contact_id foreign key (workspace_id, contact_id) references contact on delete cascade);
alter table contact_search alter column keys set statistics 0;
create index ix_contact_search_keys on contact_search using gin (keys)
  with (fastupdate = on, gin_pending_list_limit = 256);

-- Messages up to `indexed_to` are looked up, and what was there before the index from `backfilled_to` on. Up to
-- `settled_to` none can turn up any more: every transaction that was running when `settling_to` was read has to end.
create table search_progress (
  workspace_id bigint not null,
  indexed_to bigint not null, settled_to bigint not null,
  settling_to bigint not null, settling_xid xid8, settling_since timestamptz,
  backfill_from bigint not null, backfilled_to bigint not null,
  contacts_to bigint not null default 0,
  constraint pk_search_progress primary key (workspace_id)) with (fillfactor = 50);

-- The keys of terms in one segment of 2^17 ids, as kit/word_search.py reckons them.
create function search_keys(terms bigint[], segment bigint) returns integer[] language sql stable parallel safe as $$
  select array(select (((one + app_workspace() * 2654435761 + segment * 2246822507) & 4294967295) - 2147483648)::integer
    from unnest(terms) as one) $$;
"""

# Newest first, one segment after the other until there are enough: what stands in a fifth of all messages would
# otherwise be looked up two hundred thousand times for one page. Row-level security applies inside as it does outside.
# It keeps an index from operators that are not marked leakproof; where they are not, a segment's rows are compared.
# The statement names only the conditions that there are: one that may be absent would be no business of the index.
_FUNCTION = """
create function search_{what}s(
    wanted bigint[], any_of bigint[], also_any_of bigint[], before bigint, most integer)
  returns table (id bigint) language plpgsql stable set enable_seqscan = off as $$
declare
  looks_up boolean := (select bool_and(proleakproof) from pg_proc
    where oid in ('arraycontains(anyarray, anyarray)'::regprocedure, 'arrayoverlap(anyarray, anyarray)'::regprocedure));
  holds text := 'keys @> $1' || case when any_of is null then '' else ' and keys && $2' end
    || case when also_any_of is null then '' else ' and keys && $3' end;
  within text := '{what}_id >= $4 and {what}_id < $5';
  statement text := format('select {what}_id from (select {what}_id, keys from {what}_search where %s offset 0) found '
    'where %s order by 1 desc limit $6', case when looks_up then holds else within end,
    case when looks_up then within else holds end);
  segment bigint := (before - 1) >> 17;
  missing integer := most;
  came integer;
begin
  while segment >= 0 and missing > 0 loop
    return query execute statement using search_keys(wanted, segment), search_keys(any_of, segment),
      search_keys(also_any_of, segment), segment << 17, least(before, (segment + 1) << 17), missing;
    get diagnostics came = row_count;
    missing := missing - came;
    segment := segment - 1;
  end loop;
end $$;
alter policy workspace on {what}_search
  using (workspace_id + 0 = (select app_workspace())) with check (workspace_id = (select app_workspace()));
"""

FUNCTIONS = "".join(_FUNCTION.format(what=what) for what in ("message", "contact"))

TABLES = ["message_search", "contact_search", "search_progress"]

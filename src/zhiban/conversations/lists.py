"""What the desk's list shows: queues, their tabs, and how many need somebody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

from zhiban.conversations.labels import labels
from zhiban.conversations.list_models import (
    COUNTED,
    MOST_ROWS,
    NO_VIEW,
    NOTHING_OF_ONES_OWN,
    ROWS,
    WITHOUT_TABS,
    ConversationRow,
    Counts,
    ListFilter,
    ListView,
    OwnIds,
    Queue,
    Sort,
    StatusTab,
    ViewCount,
)
from zhiban.conversations.quotes import WITHOUT_LINK
from zhiban.conversations.view_sql import selected, with_contacts
from zhiban.kit.db import Transaction
from zhiban.people.permissions import Access

LOOKED_THROUGH = 5000  # conversations of a tab that a saved view is looked for in at first, those on top of its list

# The planner cannot look into it: else it would plan the counts anew each time, which costs more than counting.
_ARRAY = "(select %({})s::bigint[])"
_QUEUES = {
    Queue.MINE: "c.assignee_id = %(agent)s",
    Queue.UNASSIGNED: "c.assignee_id is null",
    Queue.ASSISTANT: "c.status = 'pending'",
    Queue.ALL: "true",
    Queue.GROUPS: "c.kind = 'group'",
    Queue.TEAMS: f"c.team_id = any({_ARRAY.format('teams')}::bigint[])",
    Queue.MENTIONED: f"c.id = any({_ARRAY.format('mentioned')}::bigint[])",
}
FEW = 5000  # of a label that no more conversations bear, each is looked up
_AMONG_FEW = " and c.id in (select l.conversation_id from conversation_label l where l.label_id = %(label)s)"
_AMONG_MANY = " and c.labels @> array[%(label)s]::bigint[]"  # read in the list's order, until enough bear it
# Who waits for us comes first, longest wait on top; then what the assistant has, newest first.
_OPEN = ("c.status = 'open'", "c.waiting_since asc nulls last, c.last_activity_at desc")
# What people have is never so much that an index of its own would pay for an order that few choose.
_OPEN_BY = {
    Sort.WAITING: _OPEN,
    Sort.PRIORITY: (_OPEN[0], "c.waiting_since is null, c.priority desc, c.waiting_since, c.last_activity_at desc"),
    Sort.NEWEST: (_OPEN[0], "c.waiting_since is null, c.last_activity_at desc"),
}
_PENDING = ("c.status = 'pending'", "c.last_activity_at desc")
_GROUPS = ("c.kind = 'group'", "c.last_activity_at desc")
# Of what teams have, an index serves which are open; they are few enough to be sorted.
_TEAMS = (_OPEN[0], "c.waiting_since is null, c.assignee_id is not null, c.waiting_since, c.last_activity_at desc")
_SNOOZED = ("c.status = 'snoozed'", "c.snoozed_until asc nulls last, c.id")
_RESOLVED = ("c.status = 'resolved' and c.kind = 'direct'", "c.last_activity_at desc")


def _parts(queue: Queue, tab: StatusTab, also: str = "", *, sort: Sort = Sort.WAITING) -> list[tuple[str, str]]:
    """The conditions and orders of the stretches that a list consists of; an index serves the usual order.

    `also`: a condition that all have to meet besides.
    """
    match tab:
        case _ if queue is Queue.GROUPS:
            parts = [_GROUPS]
        case _ if queue is Queue.MENTIONED:
            parts = [("true", _GROUPS[1])]
        case _ if queue is Queue.TEAMS:
            parts = [_TEAMS]
        case StatusTab.OPEN if queue is Queue.ASSISTANT:
            parts = [_PENDING]
        case StatusTab.OPEN if queue is Queue.ALL:
            parts = [_OPEN_BY[sort], _PENDING]
        case StatusTab.OPEN:
            parts = [_OPEN_BY[sort]]
        case StatusTab.SNOOZED:
            parts = [_SNOOZED]
        case StatusTab.RESOLVED if queue is Queue.MINE:
            # A resolved conversation is nobody's; it is mine to look back at when I resolved it.
            return [(f"c.status = 'resolved' and c.resolver_id = %(agent)s{also}", _RESOLVED[1])]
        case _:
            parts = [_RESOLVED]
    return [(f"{condition} and {_QUEUES[queue]}{also}", order) for condition, order in parts]


_EACH = {"inbox_id": "inboxes", "team_id": "teams"}  # what is looked up one by one, and where the ids stand


def _stretch(what: str, part: tuple[str, str], limit: str, *, each: str, also: str = "") -> str:
    """SQL for `what` of the first `limit` of one stretch, in its order.

    `each`: looked up for each inbox that the agent sees, or for each of their teams, because only so an index serves
    those who see few of many. `also`: what they see, where it is simply left out what they do not.
    """
    condition, order = part
    if not each:
        return f"select {what} from conversation c where {condition}{also} order by {order} limit {limit}"
    columns = selected("c", f"{what} {order}")
    return f"select {what} from {_of_each(columns, part, limit, each=each, also=also)} order by {order} limit {limit}"


def _of_each(what: str, part: tuple[str, str], limit: str, *, each: str, also: str) -> str:
    """SQL for the first `limit` of each of several inboxes or teams, one after the other."""
    condition, order = part
    seen = "" if each == "inbox_id" else also
    return (
        f"unnest({_ARRAY.format(_EACH[each])}) as one_of(id) cross join lateral ("
        f"select {what} from conversation c where c.{each} = one_of.id and {condition}{seen} "
        f"order by {order} limit {limit}) c"
    )


def looked_through(limit: int) -> int:
    """How many conversations of a tab a view is looked for in, to list `limit`: the further on, the more at once."""
    return LOOKED_THROUGH * max(1, limit // ROWS) ** 2


def _looked_through(what: str, condition: str, part: tuple[str, str], most: int, *, each: str, also: str) -> str:
    """SQL for `what` of the rows `c` of one stretch that meet a view's condition, in the order of the list.

    Of rows and their contacts `p` nothing is read but what is named. Each contact is looked up by itself, so that
    PostgreSQL stops as soon as it has found enough; joined, it would rather read all contacts that there are.
    """
    asked, contact = f"{what} {condition}", ""
    if names := selected("p", asked):
        key = "p.workspace_id = c.workspace_id and p.id = c.contact_id"
        contact = f"left join lateral (select {names} from contact p where {key} limit 1) p on true"
    rows = _stretch(selected("c", f"{asked} {contact} {part[1]}"), part, str(most), each=each, also=also)
    return f"select {what} from ({rows}) c {contact} where {condition} order by {part[1]} limit %(limit)s"


def _looks_at_each(queue: Queue, access: Access) -> str:
    """The column whose values are looked up one by one; empty for none.

    What is mine is little, and so are groups and mentions: of that, other inboxes are left out.
    """
    if queue is Queue.TEAMS:
        return "team_id"
    few = access.inbox_ids is None or queue in (Queue.MINE, Queue.GROUPS, Queue.MENTIONED)
    return "" if few else "inbox_id"


def _count(parts: Sequence[tuple[str, str]], queue: Queue, access: Access) -> str:
    """SQL for how many there are, at most COUNTED.

    In the order of the list, because only that keeps the planner on the list's index: told to take any thousand of
    many, it reads the table from its beginning, where what is long resolved lies.
    """
    each = _looks_at_each(queue, access)
    also = "" if access.inbox_ids is None else f" and c.inbox_id = any({_ARRAY.format('inboxes')}::bigint[])"
    if each:
        found = (_of_each("1", part, str(COUNTED), each=each, also=also) for part in parts)
        stretches = [f"select 1 from {of_each} limit {COUNTED}" for of_each in found]
    else:
        stretches = [_stretch("1", part, str(COUNTED), each="", also=also) for part in parts]
    every = " union all ".join(f"({stretch})" for stretch in stretches)
    return f"(select count(*) from (select 1 from ({every}) every limit {COUNTED}) counted)"


def _all_counts(access: Access, own: OwnIds, *, snoozed: Queue | None = None) -> str:
    """SQL for the fields of Counts, `snoozed` those of that queue. What the agent has none of is not asked for."""
    waiting = (f"{_OPEN[0]} and {_QUEUES[Queue.MINE]} and c.waiting_since is not null", _OPEN[1])
    none = {Queue.TEAMS: not own.teams, Queue.MENTIONED: not own.mentioned}
    counted = {one.value: "0" if none.get(one) else _count(_parts(one, StatusTab.OPEN), one, access) for one in Queue}
    every = counted.pop(Queue.ALL)
    counted["waiting"] = _count([waiting], Queue.MINE, access)
    counted["snoozed"] = "0" if snoozed is None else _count(_parts(snoozed, StatusTab.SNOOZED), snoozed, access)
    # Those of two queues are all among all: where they alone are as many as is counted, nobody counts again.
    return (
        f"with found as materialized (select {', '.join(f'{sql} as {name}' for name, sql in counted.items())}) "
        f"select *, case when unassigned + assistant >= {COUNTED} then {COUNTED} else {every} end as all from found"
    )


_ROWS = """
select c.id, c.kind, coalesce(nullif(p.remark, ''), nullif(p.name, ''), nullif(c.subject, ''), '') as name,
  upper(right(c.external_id, 4)) as tag, c.external_id, i.kind as channel, i.name as inbox_name, c.status, c.priority,
  c.assignee_id,
  a.name as assignee_name, c.waiting_since, c.last_activity_at, c.snoozed_until, unread.n as unread,
  last.kind as last_kind, last.text as last_text, last.author as last_author, left(d.text, 120) as draft,
  c.labels
from ({picked}) picked
join conversation c on c.id = picked.id
join inbox i on i.id = c.inbox_id
left join contact p on p.id = c.contact_id
left join agent a on a.id = c.assignee_id
left join read_mark r on r.conversation_id = c.id and r.agent_id = %(agent)s
left join lateral (
  select text from draft w where w.workspace_id = c.workspace_id and w.conversation_id = c.id and w.agent_id = %(agent)s
  order by w.saved_at desc limit 1) d on true
left join lateral (
  select kind, author, case when recalled_at is not null then ''
    else left(substring({words} from 1 + char_length(coalesce(content ->> 'above', ''))), 200) end as text
  from message m
  where m.workspace_id = c.workspace_id and m.conversation_id = c.id and m.kind not in ('activity', 'move', 'note')
    and m.state <> 'dropped' and (m.direction = 'in' or c.status <> 'open' or c.waiting_since is null)
  order by m.id desc limit 1) last on true
left join lateral (
  select count(*) as n from (
    select 1 from message m where m.workspace_id = c.workspace_id and m.conversation_id = c.id
      and m.direction = 'in' and m.author = 'contact' and m.id > coalesce(r.message_id, 0)
    limit 100) fresh) unread on true
order by picked.part, picked.n"""


async def has_conversations(tx: Transaction) -> bool:
    """Whether anybody has ever written."""
    return bool(await tx.value("select exists(select from conversation)"))


async def counts(
    tx: Transaction, access: Access, *, snoozed: Queue | None = None, own: OwnIds = NOTHING_OF_ONES_OWN
) -> Counts:
    """How many conversations need somebody, of those that this agent sees, and how many are snoozed in that queue."""
    sql = _all_counts(access, own, snoozed=snoozed)
    found = await tx.object(Counts, sql, agent=access.agent_id, **access.params, **own.params)
    return found or Counts()


async def conversation_list(
    tx: Transaction,
    access: Access,
    *,
    queue: Queue,
    tab: StatusTab,
    label: int | None = None,
    limit: int = ROWS,
    current: int | None = None,
    views: Sequence[ListFilter] = (),
    view: int | None = None,
    sort: Sort = Sort.WAITING,
    now: datetime | None = None,
    own: OwnIds = NOTHING_OF_ONES_OWN,
    inbox: int | None = None,
    team: int | None = None,
) -> ListView:
    """One page of a queue, or of what bears `label` in it: those who wait for us first, longest wait on top.

    Of the inboxes that `access` sees; with `view`, of what is in that one of `views`, as it is `now`.
    """
    chosen = _chosen(views, view)
    within, ours = _narrowed(access, own, inbox, team)
    looked = looked_through(limit)
    picked = await _picked(tx, within, queue=queue, tab=tab, label=label, view=chosen, sort=sort, looked=looked)
    found = await tx.objects(
        ConversationRow,
        _ROWS.format(picked=picked, words=WITHOUT_LINK),
        agent=access.agent_id,
        label=label,
        limit=limit + 1,
        now=now,
        **within.params,
        **ours.params,
        **(chosen.params if chosen else {}),
    )
    shown = found[:limit]
    waits = tab is StatusTab.OPEN and queue not in (Queue.ASSISTANT, Queue.GROUPS, Queue.MENTIONED)
    waiting = tuple(row for row in shown if waits and row.waiting_since is not None and row.status == "open")
    # Those of a label or a view would cost more to count than the list.
    tabs = label is None and chosen is None and inbox is None and queue not in WITHOUT_TABS
    counted = await counts(tx, access, snoozed=queue if tabs else None, own=own)
    others = len(found) > limit
    beyond = False
    if chosen not in (None, NO_VIEW) and not others:
        others = beyond = await _has_more(tx, within, ours, queue=queue, tab=tab, label=label, sort=sort, than=looked)
    return ListView(
        queue=queue,
        tab=tab,
        waiting=waiting,
        rest=tuple(row for row in shown if row not in waiting),
        counts=counted,
        tabs={"open": counted.of(queue), "snoozed": counted.snoozed} if tabs else {},
        limit=limit,
        more=limit + ROWS if others and limit + ROWS <= MOST_ROWS else None,
        full=others and limit + ROWS > MOST_ROWS,
        looked=looked if beyond else None,
        label=label,
        labels=await labels(tx),
        current=current,
        view=view,
        sort=sort,
        views=await view_counts(tx, access, views, now=now),
        in_team=bool(own.teams),
        inbox=inbox,
        team=team,
    )


async def _has_more(
    tx: Transaction,
    access: Access,
    own: OwnIds,
    *,
    queue: Queue,
    tab: StatusTab,
    label: int | None,
    sort: Sort,
    than: int,
) -> bool:
    """Whether there are conversations in a tab behind the first `than`, where a view was not looked for."""
    labelled = await _labelled(tx, label)
    each = "" if labelled == _AMONG_FEW else _looks_at_each(queue, access)
    also, parts = access.condition("c.inbox_id"), _of_views(_parts(queue, tab, labelled, sort=sort))
    every = (_stretch("c.id", part, str(than + 1), each=each, also=also) for part in parts)
    beyond = " union all ".join(f"(select 1 from ({stretch}) every offset {than})" for stretch in every)
    sql = f"select exists({beyond})"
    return bool(await tx.value(sql, agent=access.agent_id, label=label, **access.params, **own.params))


def _of_views(parts: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Views are of what people have, as they are counted."""
    return [part for part in parts if not part[0].startswith(_PENDING[0])]


def _narrowed(access: Access, own: OwnIds, inbox: int | None, team: int | None) -> tuple[Access, OwnIds]:
    """Access to this inbox alone, so that lists look it up as they do for whoever sees no other; alike for a team."""
    if inbox is not None:
        access = replace(access, inbox_ids=(inbox,) if access.sees(inbox) else ())
    if team is not None:
        own = replace(own, teams=(team,) if team in own.teams else ())
    return access, own


_OPEN_OF = """
select one_of.id, (select count(*) from (select 1 from conversation c where c.{column} = one_of.id
  and c.status = 'open' {seen} limit %(most)s) counted) from unnest(%(ids)s::bigint[]) as one_of(id)"""


async def open_in(
    tx: Transaction, access: Access, ids: Sequence[int], *, of: Literal["inbox_id", "team_id"]
) -> dict[int, int]:
    """How many are open in each of these inboxes or teams, as far as counting pays. What the assistant has is not read.

    An index of what is open of each serves it, however many others there are.
    """
    if not ids:
        return {}
    sql = _OPEN_OF.format(column=of, seen=access.condition("c.inbox_id"))
    return dict(await tx.rows(sql, ids=list(ids), most=COUNTED, **access.params))


def _chosen(views: Sequence[ListFilter], view: int | None) -> ListFilter | None:
    return None if view is None else next((one for one in views if one.id == view), NO_VIEW)


async def view_counts(
    tx: Transaction, access: Access, views: Sequence[ListFilter], *, now: datetime | None
) -> tuple[ViewCount, ...]:
    """How many are open, of each view: one look for all, through what waits longest."""
    if not views:
        return ()
    each, also = _looks_at_each(Queue.ALL, access), access.condition("c.inbox_id")
    counted = ", ".join(["count(*)", *(f"count(*) filter (where {one.condition})" for one in views)])
    rows = _stretch(selected("c", f"{counted} c.contact_id"), _OPEN, str(LOOKED_THROUGH + 1), each=each, also=also)
    params = {name: value for one in views for name, value in one.params.items()}
    row = await tx.row(with_contacts(counted, rows), agent=access.agent_id, now=now, **access.params, **params)
    through, *found = row or (0, *(0 for _ in views))
    more = through > LOOKED_THROUGH
    return tuple(ViewCount(one.id, one.name, int(n), more) for one, n in zip(views, found, strict=True))


async def matching(
    tx: Transaction,
    access: Access,
    *,
    queue: Queue,
    tab: StatusTab,
    label: int | None = None,
    limit: int,
    views: Sequence[ListFilter] = (),
    view: int | None = None,
    sort: Sort = Sort.WAITING,
    now: datetime | None = None,
    own: OwnIds = NOTHING_OF_ONES_OWN,
    inbox: int | None = None,
    team: int | None = None,
) -> list[int]:
    """The ids of everything in a list, in its order; at most `limit`. See `conversation_list`."""
    chosen = _chosen(views, view)
    access, own = _narrowed(access, own, inbox, team)
    looked = looked_through(limit)
    picked = await _picked(tx, access, queue=queue, tab=tab, label=label, view=chosen, sort=sort, looked=looked)
    return await tx.values(
        f"select id from ({picked}) picked order by part, n limit %(limit)s",
        agent=access.agent_id,
        label=label,
        limit=limit,
        now=now,
        **access.params,
        **own.params,
        **(chosen.params if chosen else {}),
    )


async def _picked(
    tx: Transaction,
    access: Access,
    *,
    queue: Queue,
    tab: StatusTab,
    label: int | None,
    view: ListFilter | None,
    sort: Sort,
    looked: int,
) -> str:
    """SQL for the list: id, part and place of the first `limit` of each of its stretches."""
    labelled = await _labelled(tx, label)
    each = "" if labelled == _AMONG_FEW else _looks_at_each(queue, access)
    also = access.condition("c.inbox_id")
    numbered = "c.id, {number} as part, row_number() over (order by {order}) as n"
    if view is not None:
        found = []
        for number, part in enumerate(_of_views(_parts(queue, tab, labelled, sort=sort))):
            what = numbered.format(number=number, order=part[1])
            found.append(f"({_looked_through(what, view.condition, part, looked, each=each, also=also)})")
        return " union all ".join(found)
    return " union all ".join(
        f"({_stretch(numbered.format(number=number, order=part[1]), part, '%(limit)s', each=each, also=also)})"
        for number, part in enumerate(_parts(queue, tab, labelled, sort=sort))
    )


async def _labelled(tx: Transaction, label: int | None) -> str:
    """The condition for those who bear a label: which one costs least depends on how many do."""
    if label is None:
        return ""
    borne = await tx.value(
        "select count(*) from (select 1 from conversation_label where label_id = %(label)s limit %(few)s) counted",
        label=label,
        few=FEW + 1,
    )
    return _AMONG_FEW if borne <= FEW else _AMONG_MANY


async def next_waiting(
    tx: Transaction,
    access: Access,
    *,
    queue: Queue,
    label: int | None = None,
    after: int,
    views: Sequence[ListFilter] = (),
    view: int | None = None,
    sort: Sort = Sort.WAITING,
    now: datetime | None = None,
    own: OwnIds = NOTHING_OF_ONES_OWN,
    inbox: int | None = None,
    team: int | None = None,
) -> int | None:
    """The conversation on top of this list, apart from the one just finished."""
    access, own = _narrowed(access, own, inbox, team)
    if view is not None:
        for limit in (2, MOST_ROWS):  # hardly ever is it so far down that one has to look further
            waiting = await matching(
                tx,
                access,
                queue=queue,
                tab=StatusTab.OPEN,
                label=label,
                limit=limit,
                views=views,
                view=view,
                sort=sort,
                now=now,
                own=own,
            )
            if found := [id_ for id_ in waiting if id_ != after]:
                return found[0]
        return None
    labelled = await _labelled(tx, label)
    each = "" if labelled == _AMONG_FEW else _looks_at_each(queue, access)
    order = (_TEAMS if queue is Queue.TEAMS else _OPEN_BY[sort])[1]
    part = (f"{_OPEN[0]} and c.id <> %(after)s and {_QUEUES[queue]}{labelled}", order)
    nearest: int | None = await tx.value(
        _stretch("c.id", part, "1", each=each, also=access.condition("c.inbox_id")),
        agent=access.agent_id,
        label=label,
        after=after,
        **access.params,
        **own.params,
    )
    return nearest

"""What is read of one conversation. Each query runs in a transaction, whose workspace row-level security enforces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from datetime import datetime
from typing import Any

from zhiban.conversations.attachments import Attachment, attachments_of
from zhiban.conversations.quotes import Quoted, quoted_messages
from zhiban.events import (
    COLUMNS,
    Actor,
    ActorKind,
    Cause,
    CauseKind,
    ConversationResolved,
    ConversationSnoozed,
    Event,
    decode,
)
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.contact_fields import ticked
from zhiban.people.permissions import Access, answering_in

PAGE = 30  # messages added by "older"
FIRST = 40  # messages of a conversation that is opened
BEFORE = 10  # messages shown before the one that is looked for


@frozen_dataclass
class ThreadHead:
    """One conversation, without its messages."""

    id: int
    kind: str
    name: str
    tag: str
    external_id: str
    contact_id: int | None
    contact_blocked: bool
    inbox_id: int
    channel: str
    inbox_name: str
    status: str
    assignee_id: int | None
    assignee_name: str | None
    team_id: int | None
    team_name: str | None
    snoozed_until: datetime | None
    handoff_reason: str | None
    waiting_since: datetime | None
    last_incoming_at: datetime | None
    replies_used: int
    priority: int
    labels: list[int]
    attributes: dict[str, str]  # what is filled in, by the names of fields, also of those that are offered no more
    created_at: datetime
    native_state: str | None = None  # who holds the session in the vendor's own view
    contact_name: str = ""  # as they call themselves; `name` may be what colleagues call them
    muted: bool = False  # what is written there calls nobody


@frozen_dataclass
class MessageRow:
    """One message as stored, with the names that belong to it."""

    id: int
    direction: str
    author: str
    agent_id: int | None
    agent_name: str | None
    kind: str
    text: str
    choice: str | None
    content: dict[str, Any]
    state: str
    failure: str | None
    client_key: str | None
    sent_at: datetime
    delivered_at: datetime | None
    recalled_at: datetime | None
    turn_id: int | None
    confidence: float | None
    zone: str | None
    citations: list[dict[str, Any]] | None
    reply_to_id: int | None = None
    sender_contact_id: int | None = None
    mentions: list[Any] = field(default_factory=list)  # in a group, those whom it names
    files: tuple[Attachment, ...] = ()
    quoted: Quoted | None = None  # what it answers


@frozen_dataclass
class PastCycle:
    at: datetime
    who: str | None


@frozen_dataclass
class ContactPanel:
    """The contact beside the thread."""

    name: str
    tag: str
    key: int
    channel: str
    remark: str
    external_id: str
    since: datetime
    attributes: tuple[tuple[str, str], ...] = ()
    ticked: frozenset[str] = frozenset()  # of these, what is a tick and no word
    members: int | None = None
    conversations: tuple[tuple[int, str, str, datetime], ...] = ()
    cycles: tuple[PastCycle, ...] = ()


@frozen_dataclass
class AgentName:
    """An agent as the menu of assignees shows them. `availability`: what others see, see people/presence.py."""

    id: int
    name: str
    availability: str


_HEAD = """
select c.id, c.kind, coalesce(nullif(p.remark, ''), nullif(p.name, ''), nullif(c.subject, ''), '') as name,
  upper(right(c.external_id, 4)) as tag, c.external_id, c.contact_id, p.blocked_at is not null as contact_blocked,
  c.inbox_id, i.kind as channel, i.name as inbox_name, c.status, c.assignee_id, a.name as assignee_name,
  c.team_id, t.name as team_name, c.snoozed_until, c.handoff_reason, c.waiting_since, c.last_incoming_at,
  c.replies_used, c.priority, c.labels, c.attributes, c.created_at, c.native_state,
  coalesce(p.name, '') as contact_name, c.muted_at is not null as muted
from conversation c
join inbox i on i.id = c.inbox_id
left join contact p on p.id = c.contact_id
left join agent a on a.id = c.assignee_id
left join team t on t.workspace_id = c.workspace_id and t.id = c.team_id
where c.id = %(id)s"""

# The thought behind a message belongs to the assistant; the desk shows its citations beside the words.
_MESSAGES = """
select m.id, m.direction, m.author, m.agent_id, a.name as agent_name, m.kind, m.text, m.choice, m.content, m.state,
  m.failure, m.client_key, m.sent_at, m.delivered_at, m.recalled_at, m.turn_id, t.confidence, t.zone, t.citations,
  m.reply_to_id, m.sender_contact_id, m.mentions
from message m
left join agent a on a.id = m.agent_id
left join turn t on t.id = m.turn_id and m.author = 'assistant'
where m.conversation_id = %(id)s and m.kind <> 'move' and m.state <> 'dropped' and m.id >= %(first)s
order by m.id desc limit %(limit)s"""

_NTH = """
select id from message where conversation_id = %(id)s and kind <> 'move' and id < %(before)s
order by id desc offset %(skip)s limit 1"""

_HAS_OLDER = """
select exists (select from message where conversation_id = %(id)s and kind <> 'move' and id < %(first)s)"""


_EVENTS = """
select id, kind, at, actor_kind, actor_id, actor_ref, cause_kind, cause_id, cause_depth, conversation_id, message_id,
  contact_id, inbox_id, cycle, assignee_id, team_id, data
from event where """
_EVENT = _EVENTS + "conversation_id = %(id)s"


@frozen_dataclass
class EventRow:
    """A row of the event log."""

    id: int
    kind: str
    at: datetime
    actor_kind: ActorKind
    actor_id: int | None
    actor_ref: str | None
    cause_kind: CauseKind | None
    cause_id: int | None
    cause_depth: int
    conversation_id: int | None
    message_id: int | None
    contact_id: int | None
    inbox_id: int | None
    cycle: int | None
    assignee_id: int | None
    team_id: int | None
    data: dict[str, Any]

    def event(self) -> Event:
        """The fact as it was recorded."""
        common = {name: getattr(self, name) for name in ("id", "at", *COLUMNS)}
        common["actor"] = Actor(self.actor_kind, self.actor_id, self.actor_ref)
        common["cause"] = Cause(self.cause_kind or "", self.cause_id, self.cause_depth)
        return decode(self.kind, common, self.data)


async def history(tx: Transaction, conversation_id: int) -> list[Event]:
    """Every fact about a conversation, in the order in which it was written."""
    rows = await tx.objects(EventRow, _EVENT + " order by id", id=conversation_id)
    return [row.event() for row in rows]


async def histories(tx: Transaction, ids: Sequence[int], *, limit: int) -> dict[int, list[Event]]:
    """The facts about these conversations, each in the order in which they were written; the newest `limit` of all."""
    rows = await tx.objects(
        EventRow,
        _EVENT.replace("conversation_id = %(id)s", "conversation_id = any(%(ids)s::bigint[])")
        + " order by id desc limit %(limit)s",
        ids=list(ids),
        limit=limit,
    )
    found: dict[int, list[Event]] = {}
    for row in reversed(rows):
        found.setdefault(row.conversation_id or 0, []).append(row.event())
    return found


async def events_between(tx: Transaction, after: int, until: int, *, kinds: Sequence[str], limit: int) -> list[Event]:
    """Facts of these kinds with ids above `after`, up to `until`, in the order in which they were written."""
    # Nothing but the ids may look like an index's business: all that there ever was of these kinds would be sorted.
    rows = await tx.objects(
        EventRow,
        _EVENTS + "id > %(after)s and id <= %(until)s and kind || '' = any(%(kinds)s::text[]) "
        "order by id limit %(limit)s",
        after=after,
        until=until,
        kinds=list(kinds),
        limit=limit,
    )
    return [row.event() for row in rows]


async def latest_facts(
    tx: Transaction, kinds: Sequence[str], *, limit: int, since: datetime | None = None
) -> list[Event]:
    """The newest facts of these kinds, not before `since`, oldest first."""
    rows = await tx.objects(
        EventRow,
        _EVENTS + "kind = any(%(kinds)s::text[]) and at >= coalesce(%(since)s::timestamptz, '-infinity') "
        "order by at desc, id desc limit %(limit)s",
        kinds=list(kinds),
        since=since,
        limit=limit,
    )
    return [row.event() for row in reversed(rows)]


async def event_by_id(tx: Transaction, event_id: int) -> Event | None:
    """One fact, None when there is none with this id."""
    row = await tx.object(EventRow, _EVENT.replace("conversation_id = %(id)s", "id = %(id)s"), id=event_id)
    return row.event() if row else None


async def last_resolution(tx: Transaction, conversation_id: int) -> ConversationResolved | None:
    """The fact that the conversation was resolved, the last time."""
    row = await tx.object(
        EventRow,
        _EVENT + " and kind = %(kind)s order by id desc limit 1",
        id=conversation_id,
        kind=ConversationResolved.kind(),
    )
    event = row.event() if row else None
    return event if isinstance(event, ConversationResolved) else None


async def last_resolutions(tx: Transaction, ids: Sequence[int]) -> dict[int, ConversationResolved]:
    """The facts that these conversations were resolved, the last time, by conversation."""
    found = await _last(tx, ids, ConversationResolved)
    return {event.conversation_id: event for event in found if isinstance(event, ConversationResolved)}


async def last_snoozes(tx: Transaction, ids: Sequence[int]) -> dict[int, ConversationSnoozed]:
    """The facts that these conversations were snoozed, the last time, by conversation."""
    found = await _last(tx, ids, ConversationSnoozed)
    return {event.conversation_id: event for event in found if isinstance(event, ConversationSnoozed)}


async def _last(tx: Transaction, ids: Sequence[int], kind: type[Event]) -> list[Event]:
    statement = _EVENT.replace("conversation_id = %(id)s", "conversation_id = any(%(ids)s::bigint[])")
    rows = await tx.objects(
        EventRow,
        statement.replace("select id", "select distinct on (conversation_id) id")
        + " and kind = %(kind)s order by conversation_id, id desc",
        ids=list(ids),
        kind=kind.kind(),
    )
    return [row.event() for row in rows]


async def is_recorded(tx: Transaction, conversation_id: int, vendor_event_id: str) -> bool:
    """Whether the vendor's event is in the log: a cursor that was lost or restored brings old ones again."""
    return bool(
        await tx.value(
            "select 1 from event where conversation_id = %(id)s and data ->> 'vendor_event_id' = %(event)s limit 1",
            id=conversation_id,
            event=vendor_event_id,
        )
    )


async def head(tx: Transaction, conversation_id: int) -> ThreadHead:
    """Raises NotFound."""
    found = await tx.object(ThreadHead, _HEAD, id=conversation_id)
    if found is None:
        raise NotFound("There is no such conversation.")
    return found


@frozen_dataclass
class MessagePage:
    """Part of a thread, oldest first."""

    rows: tuple[MessageRow, ...]
    first_id: int
    last_id: int
    has_older: bool


async def message_page(
    tx: Transaction, conversation_id: int, *, first: int | None, older_than: int | None = None
) -> MessagePage:
    """The newest messages, or everything from `first` on, or one page more than what begins at `older_than`."""
    start = first
    if older_than is not None:
        start = await tx.value(_NTH, id=conversation_id, before=older_than, skip=PAGE - 1) or 0
    elif first is None:
        start = await tx.value(_NTH, id=conversation_id, before=2**62, skip=FIRST - 1) or 0
    stored = await tx.objects(MessageRow, _MESSAGES, id=conversation_id, first=start, limit=1000)
    stored.reverse()
    files = await attachments_of(tx, [row.id for row in stored if row.kind not in ("text", "activity", "note")])
    answered = {row.reply_to_id for row in stored if row.reply_to_id is not None}
    quoted = await quoted_messages(tx, conversation_id, sorted(answered))
    rows = tuple(
        replace(row, files=tuple(files.get(row.id, ())), quoted=quoted.get(row.reply_to_id or 0)) for row in stored
    )
    if not rows:
        return MessagePage((), 0, 0, has_older=False)
    older = start and await tx.value(_HAS_OLDER, id=conversation_id, first=rows[0].id)
    return MessagePage(rows, rows[0].id, rows[-1].id, has_older=bool(older))


async def page_with(tx: Transaction, conversation_id: int, message_id: int) -> int | None:
    """Where a page begins that has this message and what was said before it; None where the newest page has it."""
    newest = await tx.value(_NTH, id=conversation_id, before=2**62, skip=FIRST - 1) or 0
    if message_id >= newest:
        return None
    return int(await tx.value(_NTH, id=conversation_id, before=message_id, skip=BEFORE - 1) or 1)


async def read_until(tx: Transaction, conversation_id: int, agent_id: int) -> int:
    """The last message this agent has read, 0 for none."""
    found = await tx.value(
        "select message_id from read_mark where conversation_id = %(id)s and agent_id = %(agent)s",
        id=conversation_id,
        agent=agent_id,
    )
    return int(found or 0)


async def contact_names(tx: Transaction, conversation_ids: Sequence[int]) -> dict[int, str]:
    """Whom these conversations are with; empty where nobody knows the name."""
    return dict(
        await tx.rows(
            "select c.id, coalesce(nullif(p.remark, ''), nullif(p.name, ''), c.subject) from conversation c "
            "left join contact p on p.id = c.contact_id where c.id = any(%(ids)s::bigint[])",
            ids=list(conversation_ids),
        )
    )


@frozen_dataclass
class Answerer:
    """Who answered a contact; the name of an agent, empty for others."""

    author: str
    name: str


async def answered_since(tx: Transaction, conversation_id: int, seen: int, *, by: int) -> Answerer | None:
    """Who answered the contact last, after this message and other than this agent: a colleague or the assistant.

    A program that sent a person's words is called by its name.
    """
    return await tx.object(
        Answerer,
        "select m.author, coalesce(a.name, m.content ->> 'program', '') as name "
        "from message m left join agent a on a.id = m.agent_id "
        "where m.conversation_id = %(id)s and m.id > %(seen)s and m.direction = 'out' "
        "and (m.author in ('agent', 'servicer', 'assistant', 'flow') "
        "or m.author = 'api' and m.content @> '{\"from_person\": true}') and m.agent_id is distinct from %(by)s "
        "and m.state <> 'dropped' order by m.id desc limit 1",
        id=conversation_id,
        seen=seen,
        by=by,
    )


async def wrote_since(tx: Transaction, conversation_id: int, seen: int) -> bool:
    """Whether the contact wrote after this message."""
    return bool(
        await tx.value(
            "select exists(select from message where conversation_id = %(id)s and id > %(seen)s "
            "and direction = 'in' and author = 'contact' and recalled_at is null)",
            id=conversation_id,
            seen=seen,
        )
    )


async def agent_names(tx: Transaction, inbox_id: int) -> tuple[AgentName, ...]:
    """Agents who may be given a conversation of this inbox by hand, or be mentioned in one."""
    return tuple(
        await tx.objects(
            AgentName,
            "select a.id, a.name, coalesce(p.status, 'offline') as availability "
            "from agent a left join agent_presence p on p.workspace_id = a.workspace_id and p.agent_id = a.id "
            f"where {answering_in('%(inbox)s')} order by a.name, a.id limit 200",
            inbox=inbox_id,
        )
    )


_PERSON = """
select name, remark, attributes, created_at, (
  select external_id from identity i where i.workspace_id = p.workspace_id and i.contact_id = p.id
  order by i.id limit 1) as account
from contact p where p.id = %(id)s"""

# A resolution that was taken back is no past: the next fact of the two says so.
_CYCLES = """
select at, name from (
  select e.id, e.at, e.kind, a.name, lead(e.kind) over (order by e.id) as after
  from event e left join agent a on e.actor_kind = 'agent' and a.id = e.actor_id
  where e.conversation_id = %(id)s and e.kind in ('conversation_resolved', 'conversation_resolution_undone')) ended
where kind = 'conversation_resolved' and after is distinct from 'conversation_resolution_undone'
order by id desc limit 5"""


async def contact_panel(tx: Transaction, of: ThreadHead, access: Access) -> ContactPanel:
    """The contact beside the thread: who they are, where else they wrote, when we finished with them before.

    Of the conversations elsewhere, those of inboxes that `access` sees.
    """
    person = None if of.contact_id is None else await tx.row(_PERSON, id=of.contact_id)
    others = await tx.rows(
        "select c.id, i.name, c.status, c.last_activity_at from conversation c join inbox i on i.id = c.inbox_id "
        f"where c.contact_id = %(contact)s and c.id <> %(id)s{access.condition('c.inbox_id')} "
        "order by c.last_activity_at desc limit 5",
        **access.params,
        contact=of.contact_id,
        id=of.id,
    )
    cycles = await tx.rows(_CYCLES, id=of.id)
    name, remark, attributes, created, account = person or ("", "", {}, of.created_at, None)
    return ContactPanel(
        name=name,
        tag=of.tag,
        key=of.contact_id or of.id,
        channel=of.channel,
        remark=remark,
        external_id=account or "",
        since=created,
        attributes=tuple((str(key), str(value)) for key, value in attributes.items() if value not in (None, "")),
        ticked=await ticked(tx, attributes),
        conversations=tuple((id_, inbox, status, at) for id_, inbox, status, at in others),
        cycles=tuple(PastCycle(at, who) for at, who in cycles),
    )


@frozen_dataclass
class Exchange:
    """When a contact wrote last, and when what was written to them since was sent."""

    received_at: datetime
    answered_at: datetime | None


_EXCHANGE = """
with newest as (
  select c.id, c.workspace_id from unnest(%(inboxes)s::bigint[]) as i(id),
    unnest(array['pending', 'open', 'snoozed', 'resolved']) as s(status),
    lateral (select id, workspace_id, last_activity_at from conversation where inbox_id = i.id and status = s.status
      order by last_activity_at desc limit 1) c
  order by c.last_activity_at desc limit 1),
written as (
  select m.id, m.conversation_id, m.created_at from newest n join message m on m.workspace_id = n.workspace_id
    and m.conversation_id = n.id where m.direction = 'in' order by m.id desc limit 1)
select w.created_at as received_at, (select min(m.sent_at) from message m where m.conversation_id = w.conversation_id
  and m.id > w.id and m.direction = 'out' and m.state = 'sent') as answered_at
from written w"""


async def last_exchange(tx: Transaction, inbox_ids: Sequence[int]) -> Exchange | None:
    """Of these inboxes, in the conversation where something happened last. None where no contact wrote in it."""
    return await tx.object(Exchange, _EXCHANGE, inboxes=list(inbox_ids))

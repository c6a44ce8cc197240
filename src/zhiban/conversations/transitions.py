"""The one way to change a conversation, and the only writer of its row.

`decide` is pure. `apply` locks, decides and writes; `apply_many` does it for many at once with as many statements as
for one. The facts are appended to the log in the same transaction, their activity lines stand in the thread, and
whoever reacts to them (`bootstrap.HANDLERS` and `JOBS`) does so before the commit, whoever brought them about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from zhiban.conversations import topics
from zhiban.conversations.activity import activity
from zhiban.conversations.changes import Change
from zhiban.conversations.decisions import decide
from zhiban.conversations.effects import Decision, Effects
from zhiban.conversations.evolution import born
from zhiban.conversations.models import ConversationState, Status
from zhiban.events import (
    DIRECT,
    SYSTEM,
    Actor,
    Cause,
    ContactCreated,
    ConversationAttributesChanged,
    ConversationContactChanged,
    ConversationCreated,
    ConversationEvent,
    ConversationLabelsChanged,
    FlowEnded,
    FlowStarted,
    GroupRenamed,
    MessageDropped,
)
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.json_safe import json_safe

__all__ = ["Applied", "Planned", "WorkLease", "apply", "apply_many", "create", "decide", "lock", "lock_many"]


@frozen_dataclass
class WorkLease:
    """Take the work of what is changed for this process, where nobody else has it."""

    process_id: int
    until: datetime


@frozen_dataclass
class Planned:
    """A change of a conversation that this transaction has locked."""

    state: ConversationState
    change: Change
    actor: Actor


@frozen_dataclass
class Applied:
    """What became of a change. `revision` is the work's after it; `leased`: this process works on it."""

    before: ConversationState
    state: ConversationState
    events: tuple[ConversationEvent, ...]
    effects: Effects
    revision: int | None = None
    leased: bool = False

    @property
    def changed(self) -> bool:
        return bool(self.events)


# The row's columns in the order of `ConversationState`.
STATE_COLUMNS = (
    "c.id, c.inbox_id, c.contact_id, c.external_id as thread, c.status, c.assignee_id, c.team_id, c.priority, "
    "c.labels, c.muted_at is not null as muted, c.handoff_reason, c.waiting_since, c.first_reply_at, c.opened_at, "
    "c.resolved_at, c.resolver_id, c.snoozed_until, c.cycle, c.last_activity_at, c.last_incoming_at, "
    "c.replies_used, c.failures, c.native_state, c.native_servicer, c.kind = 'group' as is_group, c.subject, "
    "c.attributes, c.flow_run_id"
)
STATE_FIELDS = tuple(column.name for column in fields(ConversationState))
# What no change writes, or a rare one by itself.
_FIXED = ("inbox_id", "contact_id", "thread", "is_group", "subject", "attributes", "flow_run_id")
_WRITTEN = tuple(name for name in STATE_FIELDS if name not in _FIXED)

# Whoever writes a row that names a conversation is not held up by these: no key of it ever changes. A transaction that
# names several (news for all groups of a repository) would wait in a ring with one that changes them in their order.
_LOCK = (
    f"select {STATE_COLUMNS} from conversation c where c.id = any(%(ids)s::bigint[]) order by c.id for no key update"
)

_LOCK_LEASED = f"""
select {STATE_COLUMNS} from conversation c
join conversation_work w on w.workspace_id = c.workspace_id and w.conversation_id = c.id
where c.id = %(id)s and (c.status = 'pending' or c.kind = 'group') and w.leased_by = %(process)s
  and (%(revision)s::int is null or w.revision = %(revision)s) for no key update"""

_CREATE = """
with made as (
  insert into conversation (workspace_id, inbox_id, contact_id, external_id, kind, status, opened_at, created_at,
    last_activity_at)
  select %(workspace)s, %(inbox)s, coalesce(p.merged_into, p.id), thread, %(kind)s, %(status)s,
    case when %(status)s = 'open' then %(now)s::timestamptz end, %(now)s, %(now)s
  from json_to_recordset(%(rows)s::json) as t(contact bigint, thread text)
  join contact p on p.workspace_id = %(workspace)s and p.id = t.contact and p.id = any(%(contacts)s::bigint[])
  order by thread for key share of p
  on conflict (workspace_id, inbox_id, external_id) do nothing
  returning workspace_id, external_id, id, contact_id),
work as (
  insert into conversation_work (workspace_id, conversation_id) select workspace_id, id from made)
select external_id, id, contact_id from made"""

_CREATE_GROUPS = """
with made as (
  insert into conversation (workspace_id, inbox_id, external_id, kind, status, created_at, last_activity_at)
  select %(workspace)s, %(inbox)s, thread, 'group', 'resolved', %(now)s, %(now)s
  from unnest(%(threads)s::text[]) as thread
  on conflict (workspace_id, inbox_id, external_id) do nothing returning workspace_id, external_id, id),
work as (
  insert into conversation_work (workspace_id, conversation_id) select workspace_id, id from made)
select external_id, id from made"""

# Without `any`, whoever plans this expects a hundred rows, and up to some ten thousand reads the whole table for them.
_WRITE = f"""
with written as (
  select * from json_to_recordset(%(rows)s::json) as v(id bigint, status text, assignee_id bigint, team_id bigint,
    priority smallint, labels bigint[], muted boolean, handoff_reason text, waiting_since timestamptz,
    first_reply_at timestamptz, opened_at timestamptz, resolved_at timestamptz, resolver_id bigint,
    snoozed_until timestamptz, cycle int, last_activity_at timestamptz, last_incoming_at timestamptz, replies_used int,
    failures int, native_state text, native_servicer text, wake boolean, work boolean)),
moved as (
  update conversation c set
    status = v.status, assignee_id = v.assignee_id, team_id = v.team_id, priority = v.priority,
    labels = v.labels, muted_at = case when v.muted then coalesce(c.muted_at, %(now)s) end,
    handoff_reason = v.handoff_reason, waiting_since = v.waiting_since, first_reply_at = v.first_reply_at,
    opened_at = v.opened_at, resolved_at = v.resolved_at,
    resolver_id = v.resolver_id, snoozed_until = v.snoozed_until, cycle = v.cycle,
    last_activity_at = v.last_activity_at, last_incoming_at = v.last_incoming_at, replies_used = v.replies_used,
    failures = v.failures, native_state = v.native_state, native_servicer = v.native_servicer
  from written v where c.id = v.id and c.id = any(%(ids)s::bigint[])),
{event_log.log_with()},
worked as (
  update conversation_work w set revision = w.revision + v.wake::int,
    leased_by = case when v.work and (w.leased_by is null or w.lease_expires_at < %(now)s)
      then %(process)s::bigint else w.leased_by end,
    lease_expires_at = case when v.work and (w.leased_by is null or w.lease_expires_at < %(now)s)
      then %(until)s::timestamptz else w.lease_expires_at end
  from written v where w.conversation_id = v.id and w.conversation_id = any(%(ids)s::bigint[])
  returning w.conversation_id, w.revision,
    v.work and w.leased_by = %(process)s and w.lease_expires_at = %(until)s as leased)
select id as logged, null as conversation_id, null as revision, null as leased from logged
union all select null, conversation_id, revision, leased from worked order by logged"""

# The assistant's unsent words, a flow's questions among them, and what it has not looked at are void once a person has
# the conversation.
_CANCEL = """
update message set state = case direction when 'in' then 'handled' else 'dropped' end
where conversation_id = any(%(ids)s::bigint[])
  and (state = 'pending' or (state = 'queued' and (turn_id is not null or content ? 'flow_step')))
returning id, conversation_id, state"""

_HANDLED = "update message set state = 'handled' where id = any(%(ids)s::bigint[]) and state = 'pending'"

_LABEL = """
with borne as (select * from json_to_recordset(%(rows)s::json) as t(conversation bigint, labels bigint[])),
gone as (
  delete from conversation_label l using borne b
  where l.conversation_id = b.conversation and l.conversation_id = any(%(ids)s::bigint[])
    and l.label_id <> all(b.labels))
insert into conversation_label (workspace_id, label_id, conversation_id)
select %(workspace)s, label, conversation from borne, unnest(labels) as label on conflict do nothing"""

# Of a few when contacts are merged; no other change writes whom a conversation is with.
_MOVE = """
update conversation c set contact_id = t.contact
from json_to_recordset(%(rows)s::json) as t(conversation bigint, contact bigint)
where c.id = t.conversation and c.id = any(%(ids)s::bigint[])"""

# Of groups, when they are called otherwise; no other change writes it.
_RENAME = """
update conversation c set subject = t.subject
from json_to_recordset(%(rows)s::json) as t(conversation bigint, subject text)
where c.id = t.conversation and c.id = any(%(ids)s::bigint[])"""

# What is filled in of a conversation; no other change writes it.
_FILL_IN = """
update conversation c set attributes = t.attributes
from json_to_recordset(%(rows)s::json) as t(conversation bigint, attributes jsonb)
where c.id = t.conversation and c.id = any(%(ids)s::bigint[])"""

# When flows begin and end; no other change writes it.
_FLOW = """
update conversation c set flow_run_id = t.run
from json_to_recordset(%(rows)s::json) as t(conversation bigint, run bigint)
where c.id = t.conversation and c.id = any(%(ids)s::bigint[])"""

_HEARD = "update message set state = 'handled' where conversation_id = any(%(ids)s::bigint[]) and state = 'pending'"

# What the contact asked since a person last answered.
_REQUEUE = """
update message m set state = 'pending'
where m.conversation_id = any(%(ids)s::bigint[]) and m.direction = 'in' and m.state = 'handled' and m.author = 'contact'
  and m.recalled_at is null and m.id > coalesce((
    select max(o.id) from message o where o.workspace_id = m.workspace_id and o.conversation_id = m.conversation_id
      and o.direction = 'out' and o.state in ('queued', 'sent')), 0)"""

_ACTIVITY = """
insert into message (workspace_id, conversation_id, inbox_id, direction, author, agent_id, kind, text, content, state,
  sent_at)
select %(workspace)s, conversation, inbox, 'internal', 'system', agent, 'activity', '', content, 'stored', at
from rows from (json_to_recordset(%(lines)s::json) as (conversation bigint, inbox bigint, agent bigint, content jsonb,
  at timestamptz)) with ordinality as t(conversation, inbox, agent, content, at, n)
order by n"""


async def lock(tx: Transaction, conversation_id: int) -> ConversationState:
    """The state of a conversation, locked until the end of the transaction. Raises NotFound."""
    found = await lock_many(tx, [conversation_id])
    if not found:
        raise NotFound("There is no such conversation.")
    return found[0]


async def lock_many(tx: Transaction, ids: Sequence[int]) -> list[ConversationState]:
    """The states of those that exist, locked in the order of their ids, so that no two of us wait for each other."""
    found = [as_state(row) for row in await tx.rows(_LOCK, ids=list(ids))]
    tx.latest.update((state.id, state) for state in found if state.id in tx.latest)
    return found


async def lock_leased(
    tx: Transaction, conversation_id: int, *, process_id: int, revision: int | None
) -> ConversationState | None:
    """The state, locked, if it is the assistant's, this process works on it, and nothing happened since `revision`.

    In groups the assistant may act whoever has them in hand.
    """
    row = await tx.row(_LOCK_LEASED, id=conversation_id, process=process_id, revision=revision)
    return None if row is None else as_state(row)


def as_state(row: Sequence[Any]) -> ConversationState:
    """A row of STATE_COLUMNS."""
    return state_in(dict(zip(STATE_FIELDS, row, strict=True)))


def state_in(row: Mapping[str, Any]) -> ConversationState:
    """The state in a row that has STATE_COLUMNS by name, among others."""
    values = {name: row[name] for name in STATE_FIELDS}
    values |= {"status": Status(values["status"]), "labels": tuple(values["labels"])}
    values["attributes"] = tuple(sorted(values["attributes"].items()))
    return ConversationState(**values)


async def create(
    tx: Transaction,
    inbox_id: int,
    contacts: dict[str, int],
    *,
    status: Status,
    now: datetime,
    kind: str = "direct",
    newcomers: Collection[str] = (),
) -> dict[str, ConversationState]:
    """Conversations for these threads, each with its contact. One that somebody else made meanwhile is left out.

    `newcomers`: the threads of contacts whom nobody knew before.
    """
    rows = await tx.rows(
        _CREATE,
        workspace=tx.workspace_id,
        inbox=inbox_id,
        kind=kind,
        status=status,
        rows=json_safe([{"contact": contact, "thread": thread} for thread, contact in contacts.items()]),
        contacts=list(contacts.values()),
        now=now,
    )
    events = [
        ConversationCreated(
            actor=Actor("contact", contact_id),
            at=now,
            conversation_id=id_,
            inbox_id=inbox_id,
            contact_id=contact_id,
            cycle=1,
            status=status.value,
            thread=thread,
            thread_kind=kind,
        )
        for thread, id_, contact_id in rows
    ]
    new = [
        ContactCreated(actor=event.actor, at=now, **born(event).about())
        for event in events
        if event.thread in newcomers
    ]
    await event_log.append(tx, *events, *new)
    return {event.thread: born(event) for event in events}


async def create_groups(
    tx: Transaction, inbox_id: int, threads: Sequence[str], *, now: datetime
) -> dict[str, ConversationState]:
    """Conversations for these groups, in which nobody has anything to do yet. One made meanwhile is left out."""
    rows = await tx.rows(_CREATE_GROUPS, workspace=tx.workspace_id, inbox=inbox_id, threads=sorted(threads), now=now)
    events = [
        ConversationCreated(
            actor=SYSTEM,
            at=now,
            conversation_id=id_,
            inbox_id=inbox_id,
            cycle=1,
            status=Status.RESOLVED.value,
            thread=thread,
            thread_kind="group",
        )
        for thread, id_ in rows
    ]
    await event_log.append(tx, *events)
    return {event.thread: born(event) for event in events}


async def apply(
    tx: Transaction, conversation_id: int, change: Change, *, actor: Actor, now: datetime, cause: Cause = DIRECT
) -> Applied:
    """Change one conversation. Raises NotFound, and Conflict where the change makes no sense."""
    return await apply_to(tx, await lock(tx, conversation_id), change, actor=actor, now=now, cause=cause)


async def apply_to(
    tx: Transaction, state: ConversationState, change: Change, *, actor: Actor, now: datetime, cause: Cause = DIRECT
) -> Applied:
    """`apply` for a conversation that this transaction has locked already."""
    return (await apply_many(tx, [Planned(state, change, actor)], now=now, cause=cause))[0]


async def apply_many(
    tx: Transaction, planned: Sequence[Planned], *, now: datetime, cause: Cause = DIRECT, lease: WorkLease | None = None
) -> list[Applied]:
    """Change many, each at most once; with `lease`, whatever then waits for the assistant is this process's work.

    What reacts to a change may change the same conversation again: a state that was read before that is replaced by
    what this transaction made of it, and what is answered is the state after all reactions.
    """
    states = [tx.latest.get(one.state.id, one.state) for one in planned]
    decided = [
        decide(state, one.change, now, actor=one.actor, cause=cause) for state, one in zip(states, planned, strict=True)
    ]
    changing = [one for one in decided if one.events]
    written = _Written()
    if changing:
        events = [event for one in changing for event in one.events]
        written = await _write(tx, changing, events, now=now, lease=lease)
        tx.latest.update((one.state.id, one.state) for one in changing)
        await _carry_out(tx, changing, now=now, cause=cause)
        await event_log.react(tx, events, written.event_ids)
    done = []
    for before, decision in zip(states, decided, strict=True):
        revision, leased = written.work.get(before.id, (None, False))
        if decision.effects.wake and not leased:
            tx.publish_after_commit(topics.CONVERSATION_WAITING, before.id)
        after = tx.latest.get(before.id, decision.state)
        done.append(Applied(before, after, decision.events, decision.effects, revision, leased))
    return done


@dataclass(slots=True)
class _Written:
    """What writing told: the ids of the events in order; each conversation's revision, and if its work is ours."""

    event_ids: list[int] = field(default_factory=list)
    work: dict[int, tuple[int, bool]] = field(default_factory=dict)


async def _write(
    tx: Transaction,
    decided: Sequence[Decision],
    events: Sequence[ConversationEvent],
    *,
    now: datetime,
    lease: WorkLease | None,
) -> _Written:
    """Write the rows and log the events, in one statement."""
    changed = [
        {name: value for name in _WRITTEN if (value := getattr(one.state, name)) is not None}
        | {"wake": one.effects.wake, "work": lease is not None and _is_work(one)}
        for one in decided
    ]
    rows = await tx.rows(
        _WRITE,
        ids=[one.state.id for one in decided],
        rows=json_safe(changed),
        workspace=tx.workspace_id,
        facts=event_log.facts(events),
        process=lease.process_id if lease else None,
        until=lease.until if lease else None,
        now=now,
    )
    written = _Written()
    for event_id, conversation_id, revision, leased in rows:
        if event_id is not None:
            written.event_ids.append(event_id)
        else:
            written.work[conversation_id] = revision, bool(leased)
    return written


def _is_work(decision: Decision) -> bool:
    """Whether the assistant may have something to do."""
    state = decision.state
    return decision.effects.wake if state.is_group else state.status is Status.PENDING


async def _carry_out(tx: Transaction, decided: Iterable[Decision], *, now: datetime, cause: Cause) -> None:
    """What the decisions mean for messages, and the lines that stand in the threads."""
    handled = [id_ for one in decided for id_ in one.effects.handled]
    cancelled = {one.state.id: one.state for one in decided if one.effects.cancel_assistant}
    requeued = [one.state.id for one in decided if one.effects.requeue]
    if handled:
        await tx.run(_HANDLED, ids=handled)
    if cancelled:
        rows = await tx.rows(_CANCEL, ids=list(cancelled))
        dropped = [(id_, cancelled[conversation_id]) for id_, conversation_id, state in rows if state == "dropped"]
        await event_log.append(tx, *(_dropped(id_, state, now=now, cause=cause) for id_, state in dropped))
    if requeued:
        await tx.run(_REQUEUE, ids=requeued)
    labelled = [one.state for one in decided if any(isinstance(each, ConversationLabelsChanged) for each in one.events)]
    if labelled:
        borne = json_safe([{"conversation": state.id, "labels": state.labels} for state in labelled])
        await tx.run(_LABEL, workspace=tx.workspace_id, rows=borne, ids=[state.id for state in labelled])
    moved = [one.state for one in decided if any(isinstance(each, ConversationContactChanged) for each in one.events)]
    if moved:
        whom = json_safe([{"conversation": state.id, "contact": state.contact_id} for state in moved])
        await tx.run(_MOVE, rows=whom, ids=[state.id for state in moved])
    renamed = [one.state for one in decided if any(isinstance(each, GroupRenamed) for each in one.events)]
    if renamed:
        names = json_safe([{"conversation": state.id, "subject": state.subject} for state in renamed])
        await tx.run(_RENAME, rows=names, ids=[state.id for state in renamed])
    filled = [one.state for one in decided if any(isinstance(x, ConversationAttributesChanged) for x in one.events)]
    if filled:
        values = json_safe([{"conversation": state.id, "attributes": dict(state.attributes)} for state in filled])
        await tx.run(_FILL_IN, rows=values, ids=[state.id for state in filled])
    flowing = [one.state for one in decided if any(isinstance(each, FlowStarted | FlowEnded) for each in one.events)]
    if flowing:
        runs = json_safe([{"conversation": state.id, "run": state.flow_run_id} for state in flowing])
        await tx.run(_FLOW, rows=runs, ids=[state.id for state in flowing])
    if heard := [one.state.id for one in decided if one.effects.heard]:
        await tx.run(_HEARD, ids=heard)
    await _write_activities(tx, [event for one in decided for event in one.events])


def _dropped(message_id: int, state: ConversationState, *, now: datetime, cause: Cause) -> MessageDropped:
    return MessageDropped(
        actor=SYSTEM,
        at=now,
        cause=cause,
        message_id=message_id,
        **state.about(),
    )


async def _write_activities(tx: Transaction, events: Sequence[ConversationEvent]) -> None:
    lines = [(event, line) for event in events if (line := activity(event)) is not None]
    if not lines:
        return
    await tx.run(
        _ACTIVITY,
        workspace=tx.workspace_id,
        lines=json_safe(
            [
                {
                    "conversation": event.conversation_id,
                    "inbox": event.inbox_id,
                    "agent": event.actor.id if event.actor.kind == "agent" else None,
                    "content": line,
                    "at": event.at,
                }
                for event, line in lines
            ]
        ),
    )

"""The verbs about notifications: tell agents, mark as read, and choose how to be told.

A notification is a row, written in the transaction of what it tells. The same key tells an agent once. Whoever does not
see the inbox, brought it about themselves, or switched the kind off, is not told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from zhiban.conversations.followers import WrittenTo, take_written
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.jobs import Job, enqueue_many
from zhiban.kit.json_safe import json_safe
from zhiban.kit.text import cut_bytes
from zhiban.notifications.models import (
    DEFAULT_WAYS,
    WAITING_MINUTES,
    NotificationKind,
    Way,
)
from zhiban.people.presence import assignable

NOTIFIED = "notified"  # topic: an agent has something new, or has read something; their id
TELL_AGENT = Job("tell_agent", attempts=6)
# Whoever sits at the desk sees it there, and needs no card about it.
PERSONAL_WAITS = timedelta(seconds=20)
TEXT_SIZE = 600  # bytes
KEPT = timedelta(days=60)
MOST_KEPT = 500  # of one agent
TOLD_OF_WAITS = timedelta(days=2)  # what waits for longer surprises people
AT_ONCE = 500
MOST_UNASSIGNED = 5  # unread ones of an agent about conversations that nobody has
TRIES_EVERY = timedelta(minutes=1)


@frozen_dataclass
class NewNotification:
    """Something to tell. `key` recognises a repeat; `actor` brought it about and is not told of it.

    It is about a conversation, about a ticket, which may belong to none, or about a connection: then `inbox_id` None is
    everybody's.
    """

    kind: NotificationKind
    key: str
    conversation_id: int | None
    inbox_id: int | None
    actor: Actor
    text: str = ""
    ticket_id: int | None = None
    connection_id: int | None = None


_WAYS = "coalesce(s.ways -> %(kind)s, %(usual)s::jsonb)"

_NOTIFY = f"""
insert into notification (workspace_id, agent_id, kind, key, conversation_id, ticket_id, connection_id, actor_kind,
  actor_id, actor_ref, text, ways, created_at)
select a.workspace_id, a.id, %(kind)s, %(key)s, %(conversation)s, %(ticket)s, %(connection)s, %(actor_kind)s,
  %(actor_id)s, %(actor_ref)s, %(text)s, array(select jsonb_array_elements_text({_WAYS})), %(now)s
from agent a left join notification_setting s on s.workspace_id = a.workspace_id and s.agent_id = a.id
where a.id = any(%(agents)s::bigint[]) and a.disabled_at is null and {_WAYS} <> '[]'
  and (a.inbox_ids is null or %(inbox)s::bigint is null or %(inbox)s = any(a.inbox_ids))
  and not (%(actor_kind)s = 'agent' and a.id = %(actor_id)s)
order by a.id on conflict (workspace_id, agent_id, key) do nothing returning id, agent_id, ways"""


async def notify(tx: Transaction, told: NewNotification, agent_ids: Sequence[int], *, now: datetime) -> int:
    """Tell these agents. Returns how many learn something new by it."""
    if not agent_ids:
        return 0
    rows = await tx.rows(
        _NOTIFY,
        kind=told.kind,
        usual=json_safe(DEFAULT_WAYS[told.kind]),
        key=told.key,
        conversation=told.conversation_id,
        ticket=told.ticket_id,
        connection=told.connection_id,
        inbox=told.inbox_id,
        actor_kind=told.actor.kind,
        actor_id=told.actor.id,
        actor_ref=told.actor.ref,
        text=cut_bytes(told.text, TEXT_SIZE),
        agents=list(agent_ids),
        now=now,
    )
    await _pass_on(tx, rows, now=now)
    return len(rows)


async def _pass_on(tx: Transaction, rows: Sequence[tuple[int, int, list[str]]], *, now: datetime) -> None:
    """Tell the open desks, once this is committed, and later those who are to be reached elsewhere."""
    for _, agent_id, _ in rows:
        tx.publish_after_commit(NOTIFIED, agent_id)
    await enqueue_many(
        tx,
        [TELL_AGENT.of(notification_id=id_, at=now + PERSONAL_WAITS) for id_, _, ways in rows if Way.PERSONAL in ways],
    )


# Whoever was told of a wait is not told of it again, however long it lasts.
_NOTIFY_WAITING = f"""
insert into notification (workspace_id, agent_id, kind, key, conversation_id, actor_kind, ways, created_at)
select c.workspace_id, c.assignee_id, %(kind)s, 'waiting-' || c.id || '-' || extract(epoch from c.waiting_since),
  c.id, 'timer', array(select jsonb_array_elements_text({_WAYS})), %(now)s
from conversation c join agent a on a.workspace_id = c.workspace_id and a.id = c.assignee_id
left join notification_setting s on s.workspace_id = a.workspace_id and s.agent_id = a.id
where c.status = 'open' and c.assignee_id is not null and a.disabled_at is null and {_WAYS} <> '[]'
  and (a.inbox_ids is null or c.inbox_id = any(a.inbox_ids))
  and c.waiting_since <= %(now)s - make_interval(mins => coalesce(s.waiting_minutes, %(minutes)s))
  and c.waiting_since > %(oldest)s
  and not exists (select from notification n where n.workspace_id = c.workspace_id and n.agent_id = c.assignee_id
    and n.key = 'waiting-' || c.id || '-' || extract(epoch from c.waiting_since))
order by c.assignee_id, c.waiting_since limit %(limit)s
on conflict (workspace_id, agent_id, key) do nothing returning id, agent_id, ways"""


async def notify_waiting(tx: Transaction, *, now: datetime) -> int:
    """Tell agents whose contacts have waited for longer than they allow. Returns how many, AT_ONCE at most."""
    rows = await tx.rows(
        _NOTIFY_WAITING,
        kind=NotificationKind.WAITING,
        usual=json_safe(DEFAULT_WAYS[NotificationKind.WAITING]),
        minutes=WAITING_MINUTES,
        oldest=now - TOLD_OF_WAITS,
        now=now,
        limit=AT_ONCE,
    )
    await _pass_on(tx, rows, now=now)
    return len(rows)


# Sessions that people have in the vendor's own client are taken there.
_NOTIFY_UNASSIGNED = f"""
with due as (
  select c.workspace_id, c.id, a.id as agent_id, {_WAYS} as ways,
    'unassigned-' || c.id || '-' || extract(epoch from c.waiting_since) as key,
    row_number() over (partition by a.id order by c.waiting_since, c.id) as place,
    (select count(*) from notification n where n.workspace_id = c.workspace_id and n.agent_id = a.id
      and n.kind = %(kind)s and n.read_at is null) as unread
  from conversation c
  join json_to_recordset(%(agents)s::json) as a(id bigint, teams bigint[], inbox_ids bigint[])
    on (a.inbox_ids is null or c.inbox_id = any(a.inbox_ids)) and (c.team_id is null or c.team_id = any(a.teams))
  left join notification_setting s on s.workspace_id = c.workspace_id and s.agent_id = a.id
  where c.status = 'open' and c.assignee_id is null and {_WAYS} <> '[]'
    and (c.native_state is null or c.native_state not in ('pool', 'human'))
    and c.waiting_since <= %(now)s - make_interval(mins => coalesce(s.waiting_minutes, %(minutes)s))
    and c.waiting_since > %(oldest)s
    and not exists (select from notification n where n.workspace_id = c.workspace_id and n.agent_id = a.id
      and n.key = 'unassigned-' || c.id || '-' || extract(epoch from c.waiting_since)))
insert into notification (workspace_id, agent_id, kind, key, conversation_id, actor_kind, ways, created_at)
select workspace_id, agent_id, %(kind)s, key, id, 'timer', array(select jsonb_array_elements_text(ways)), %(now)s
from due where place + unread <= %(most)s order by agent_id, place limit %(limit)s
on conflict (workspace_id, agent_id, key) do nothing returning id, agent_id, ways"""


async def notify_unassigned(tx: Transaction, *, now: datetime) -> int:
    """Tell those who are there of contacts who wait for longer than they allow and whom nobody has taken.

    Of a team's only its members; once for each wait; the longest first, and no more of them than MOST_UNASSIGNED while
    unread, as whoever comes to a long queue needs no bell for each. Returns how many were told, AT_ONCE at most.
    """
    there = await assignable(tx, now=now)
    if not there:
        return 0
    rows = await tx.rows(
        _NOTIFY_UNASSIGNED,
        kind=NotificationKind.UNASSIGNED,
        usual=json_safe(DEFAULT_WAYS[NotificationKind.UNASSIGNED]),
        agents=json_safe([{"id": one.id, "teams": one.teams, "inbox_ids": one.inbox_ids} for one in there]),
        minutes=WAITING_MINUTES,
        oldest=now - TOLD_OF_WAITS,
        most=MOST_UNASSIGNED,
        now=now,
        limit=AT_ONCE,
    )
    await _pass_on(tx, rows, now=now)
    return len(rows)


async def read_unassigned(tx: Transaction, conversation_id: int, *, now: datetime) -> None:
    """Somebody has taken this conversation, or it is over: nobody else is told any more that it waits."""
    for agent_id in await tx.values(
        "update notification set read_at = %(now)s where conversation_id = %(conversation)s and kind = %(kind)s "
        "and read_at is null returning agent_id",
        conversation=conversation_id,
        kind=NotificationKind.UNASSIGNED,
        now=now,
    ):
        tx.publish_after_commit(NOTIFIED, agent_id)


_NOT_READ = """
select n.conversation_id, n.agent_id from notification n
join unnest(%(conversations)s::bigint[], %(agents)s::bigint[]) as w(conversation_id, agent_id)
  on w.conversation_id = n.conversation_id and w.agent_id = n.agent_id
where n.kind = %(kind)s and n.actor_kind = 'contact' and n.read_at is null"""


async def _not_read(tx: Transaction, written: Sequence[WrittenTo]) -> set[tuple[int, int]]:
    """Conversations and agents who have not read yet that the contact wrote."""
    if not written:
        return set()
    rows = await tx.rows(
        _NOT_READ,
        kind=NotificationKind.FOLLOWED,
        conversations=[one.conversation_id for one in written],
        agents=[one.agent_id for one in written],
    )
    return {(conversation_id, agent_id) for conversation_id, agent_id in rows}


async def notify_followers(tx: Transaction, *, now: datetime) -> int:
    """Tell who follows an open conversation that its contact has written, once until they have read it.

    By a timer, so that what arrives costs nothing. Whoever has the conversation in hand knows. Returns how many were
    looked at, AT_ONCE at most.
    """
    found = await take_written(tx, limit=AT_ONCE)
    known = await _not_read(tx, found)
    for one in found:
        if one.agent_id == one.assignee_id or (one.conversation_id, one.agent_id) in known:
            continue
        told = NewNotification(
            kind=NotificationKind.FOLLOWED,
            key=f"written-{one.conversation_id}-{one.last_incoming_at.timestamp()}",
            conversation_id=one.conversation_id,
            inbox_id=one.inbox_id,
            actor=Actor("contact", one.contact_id),
        )
        await notify(tx, told, [one.agent_id], now=now)
    return len(found)


# -------------------------------------------------------------------------------------------------------- reading


async def read_about(tx: Transaction, agent_id: int, conversation_id: int, *, now: datetime) -> None:
    """The agent looks at this conversation: what they were told of it is read."""
    read = await tx.run(
        "update notification set read_at = %(now)s "
        "where agent_id = %(agent)s and conversation_id = %(conversation)s and ticket_id is null and read_at is null",
        agent=agent_id,
        conversation=conversation_id,
        now=now,
    )
    if read:
        tx.publish_after_commit(NOTIFIED, agent_id)


async def read_about_ticket(tx: Transaction, agent_id: int, ticket_id: int, *, now: datetime) -> None:
    """The agent looks at this ticket: what they were told of it is read."""
    read = await tx.run(
        "update notification set read_at = %(now)s "
        "where agent_id = %(agent)s and ticket_id = %(ticket)s and read_at is null",
        agent=agent_id,
        ticket=ticket_id,
        now=now,
    )
    if read:
        tx.publish_after_commit(NOTIFIED, agent_id)


async def read_all(tx: Transaction, agent_id: int, *, until: int, now: datetime) -> None:
    """Everything up to this notification is read."""
    read = await tx.run(
        "update notification set read_at = %(now)s where agent_id = %(agent)s and id <= %(until)s and read_at is null",
        agent=agent_id,
        until=until,
        now=now,
    )
    if read:
        tx.publish_after_commit(NOTIFIED, agent_id)


async def set_read(tx: Transaction, agent_id: int, notification_id: int, *, read: bool, now: datetime) -> None:
    """One is read, or unread again. Raises NotFound where it is not theirs."""
    found = await tx.run(
        "update notification set read_at = %(at)s where agent_id = %(agent)s and id = %(id)s",
        at=now if read else None,
        agent=agent_id,
        id=notification_id,
    )
    if not found:
        raise NotFound("There is no such notification.")
    tx.publish_after_commit(NOTIFIED, agent_id)


async def forget_old(tx: Transaction, *, now: datetime) -> int:
    """Forget what is older than KEPT, and of each agent all but MOST_KEPT, read ones first. Returns how many.

    What tells of a wait stays for as long as that wait could be told of again.
    """
    return await tx.run(
        "delete from notification n using (select id, row_number() over (partition by agent_id "
        "order by read_at is not null, id desc) as place from notification) old "
        "where old.id = n.id and (n.created_at < %(before)s or (old.place > %(most)s "
        "and (n.kind <> all(%(waiting)s::text[]) or n.created_at < %(told)s)))",
        before=now - KEPT,
        waiting=[NotificationKind.WAITING, NotificationKind.UNASSIGNED],
        told=now - TOLD_OF_WAITS,
        most=MOST_KEPT,
    )


async def forget_in(tx: Transaction, until: Mapping[int, datetime]) -> None:
    """Forget what agents were told about conversations whose messages go, up to a moment in each: it repeats them."""
    await tx.run(
        "delete from notification n using unnest(%(ids)s::bigint[], %(until)s::timestamptz[]) as u(id, until) "
        "where n.conversation_id = u.id and n.conversation_id = any(%(ids)s::bigint[]) and n.created_at < u.until",
        ids=list(until),
        until=list(until.values()),
    )

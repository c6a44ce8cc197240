"""The verbs of tickets. Each change of a column is one fact of the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from zhiban.conversations.labels import check_labels
from zhiban.conversations.models import Priority
from zhiban.events import DIRECT, Actor, Cause, Event, TicketChanged, TicketOpened
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.i18n import mark
from zhiban.kit.text import clean
from zhiban.people.permissions import Access, NotAllowed, Permission, access_of_agent
from zhiban.tickets.frozen_rows import add_lines, link_row
from zhiban.tickets.models import NewTicket, Ticket, TicketState
from zhiban.tickets.queries import tickets_where
from zhiban.tickets.rendering import shortened_title
from zhiban.tickets.topics import TICKET_CHANGED

LONGEST_NOTE = 4000
MOST_LABELS = 20

_OPEN = """
insert into ticket (workspace_id, number, title, summary, note, state, priority, owner_id, due_at, labels,
  conversation_id, inbox_id, requester_contact_id, requester, signature, repository_id, client_key, created_at,
  changed_at)
select %(workspace)s, coalesce(max(number), 0) + 1, %(title)s, %(summary)s, %(note)s, 'open', %(priority)s, %(owner)s,
  %(due)s, %(labels)s::bigint[], %(conversation)s, %(inbox)s, %(contact)s, %(requester)s, %(signature)s,
  %(repository)s, %(key)s, %(now)s, %(now)s
from ticket on conflict (workspace_id, client_key) do nothing returning id"""


async def open_ticket(
    tx: Transaction, new: NewTicket, *, key: str, by: Actor, now: datetime, cause: Cause = DIRECT
) -> Ticket:
    """Make a ticket; the same `key` is the same ticket. Raises Conflict, NotFound."""
    title = _title(new.title)
    await check_labels(tx, new.labels)
    # Two who open tickets at once do so one after the other, so that no number is given twice.
    await tx.value("select pg_advisory_xact_lock(hashtextextended('ticket', %(w)s))", w=tx.workspace_id)
    ticket_id = await tx.value(
        _OPEN,
        workspace=tx.workspace_id,
        title=title,
        summary=clean(new.summary)[:LONGEST_NOTE],
        note=clean(new.note)[:LONGEST_NOTE],
        priority=int(new.priority),
        owner=new.owner_id,
        due=new.due_at,
        labels=sorted(set(new.labels)),
        conversation=new.conversation_id,
        inbox=new.inbox_id,
        contact=new.requester_contact_id,
        requester=new.requester,
        signature=new.signature,
        repository=new.repository_id,
        key=key,
        now=now,
    )
    if ticket_id is None:
        return (await tickets_where(tx, "t.client_key = %(key)s", key=key))[0]
    if new.conversation_id is not None:
        await add_lines(tx, ticket_id, new.conversation_id, new.lines, now=now)
        await link_row(tx, ticket_id, new.conversation_id, now=now)
    ticket = await lock_ticket(tx, ticket_id)
    opened = TicketOpened(
        actor=by,
        at=now,
        cause=cause,
        ticket_id=ticket_id,
        number=ticket.number,
        messages=len(new.lines),
        conversation_id=new.conversation_id,
        inbox_id=new.inbox_id,
        contact_id=new.requester_contact_id,
    )
    await tell(tx, ticket_id, opened)
    return ticket


async def lock_ticket(tx: Transaction, ticket_id: int) -> Ticket:
    """One ticket, locked until the transaction ends. Raises NotFound."""
    found = await tickets_where(tx, "t.id = %(id)s for update", id=ticket_id)
    if not found:
        raise NotFound("There is no such ticket.")
    return found[0]


# ------------------------------------------------------------------------------------------------------ its columns


async def retitle(tx: Transaction, ticket_id: int, title: str, *, by: Actor, now: datetime) -> bool:
    """False when it is called so already. Raises Conflict, NotFound."""
    return await change_column(tx, ticket_id, "title", _title(title), by=by, now=now)


async def set_state(tx: Transaction, ticket_id: int, state: TicketState, *, by: Actor, now: datetime) -> bool:
    """False when it stands there already. Raises NotFound."""
    changed = await change_column(tx, ticket_id, "state", state.value, by=by, now=now)
    if changed:
        await tx.run(
            "update ticket set done_at = %(at)s where id = %(id)s", at=now if state.over else None, id=ticket_id
        )
    return changed


async def set_priority(tx: Transaction, ticket_id: int, priority: Priority, *, by: Actor, now: datetime) -> bool:
    return await change_column(tx, ticket_id, "priority", int(priority), by=by, now=now)


async def set_owner(tx: Transaction, ticket_id: int, owner_id: int | None, *, by: Actor, now: datetime) -> bool:
    """Give it to a colleague who may see it, or to nobody. Raises NotFound, NotAllowed."""
    ticket = await lock_ticket(tx, ticket_id)
    if owner_id is not None:
        await check_may_own(tx, owner_id, ticket.inbox_id)
    return await change_column(tx, ticket_id, "owner", owner_id, by=by, now=now)


async def set_due(tx: Transaction, ticket_id: int, due_at: datetime | None, *, by: Actor, now: datetime) -> bool:
    return await change_column(tx, ticket_id, "due", due_at, by=by, now=now)


async def set_labels(tx: Transaction, ticket_id: int, labels: Sequence[int], *, by: Actor, now: datetime) -> bool:
    """Raises NotFound, Conflict."""
    if len(set(labels)) > MOST_LABELS:
        raise Conflict(mark(f"A ticket has at most {MOST_LABELS} labels."))
    await check_labels(tx, labels)
    return await change_column(tx, ticket_id, "labels", sorted(set(labels)), by=by, now=now)


async def check_may_see(tx: Transaction, agent_id: int, inbox_id: int | None) -> Access:
    """What this colleague may do. Raises NotFound where they do not see a ticket of the inbox."""
    access = await access_of_agent(tx, agent_id)
    if access is None or (inbox_id is not None and not access.sees(inbox_id)):
        raise NotFound("There is no such agent.")
    return access


async def check_may_own(tx: Transaction, agent_id: int, inbox_id: int | None) -> None:
    """Raises NotFound, NotAllowed where this colleague does not see a ticket of the inbox, or may change nothing."""
    if not (await check_may_see(tx, agent_id, inbox_id)).may(Permission.ANSWER):
        raise NotAllowed(mark("This colleague may look at tickets, but not have one."))


_COLUMN = {
    "title": "title",
    "state": "state",
    "priority": "priority",
    "owner": "owner_id",
    "due": "due_at",
    "labels": "labels",
    "repository": "repository_id",
    "issue": "issue_id",
    "tracker": "tracker_state",
}


async def change_column(tx: Transaction, ticket_id: int, what: Any, value: Any, *, by: Actor, now: datetime) -> bool:
    """Write one column and say so. False when it is so already."""
    ticket = await lock_ticket(tx, ticket_id)
    column = _COLUMN[what]
    before = getattr(ticket, column)
    before = list(before) if isinstance(before, tuple) else before
    if before == value:
        return False
    await tx.run(
        f"update ticket set {column} = %(value)s, changed_at = %(now)s where id = %(id)s",
        value=value,
        now=now,
        id=ticket_id,
    )
    changed = TicketChanged(
        actor=by, at=now, ticket_id=ticket_id, change=what, before=_plain(before), after=_plain(value)
    )
    await tell(tx, ticket_id, changed)
    return True


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _title(title: str) -> str:
    title = shortened_title(clean(title))
    if not title:
        raise Conflict(mark("A ticket needs a title."))
    return title


async def tell(tx: Transaction, ticket_id: int, *facts: Event) -> None:
    """Append facts about a ticket; open desks show it anew once this is committed."""
    await event_log.append(tx, *facts)
    tx.publish_after_commit(TICKET_CHANGED, ticket_id)

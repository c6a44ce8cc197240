"""Reads of tickets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from zhiban.conversations.access import access_conversation
from zhiban.conversations.models import Priority
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.permissions import Access
from zhiban.tickets.models import (
    UNFINISHED,
    Audience,
    Ticket,
    TicketComment,
    TicketMessage,
    TicketState,
    TrackerState,
)

ROWS = 100  # of a list
SOON = timedelta(days=2)  # a day that is near

COLUMNS = (
    "id, number, title, summary, note, state, priority, owner_id, due_at, labels, conversation_id, inbox_id, "
    "requester_contact_id, requester, signature, repository_id, issue_id, tracker_state, problem, dropped_labels, "
    "dropped_assignees, created_at, changed_at, done_at"
)


class Order(StrEnum):
    """What a list shows first."""

    DUE = "due"
    NEWEST = "newest"
    PRIORITY = "priority"


_ORDERS = {
    Order.DUE: "t.due_at nulls last, t.priority desc, t.id",
    Order.NEWEST: "t.id desc",
    Order.PRIORITY: "t.priority desc, t.due_at nulls last, t.id",
}


@frozen_dataclass
class Filter:
    """Which tickets a list shows. `owner` 0: those that nobody has; `due` late, soon or none; `before` an id."""

    states: tuple[TicketState, ...] = UNFINISHED
    owner: int | None = None
    label: int | None = None
    due: str = ""
    conversation: int | None = None
    repository: int | None = None
    text: str = ""
    before: int | None = None


@frozen_dataclass
class TicketCounts:
    unfinished: int
    soon: int
    late: int


def ticket_of(values: Mapping[str, Any]) -> Ticket:
    """A row of COLUMNS."""
    return Ticket(
        **{
            **values,
            "state": TicketState(values["state"]),
            "priority": Priority(values["priority"]),
            "tracker_state": TrackerState(values["tracker_state"]),
            **{name: tuple(values[name]) for name in ("labels", "dropped_labels", "dropped_assignees")},
        }
    )


async def tickets_where(tx: Transaction, condition: str, **params: Any) -> list[Ticket]:
    """Those of `ticket t` that a constant condition keeps, with what follows it: an order, a limit, a lock."""
    columns = ", ".join(f"t.{name}" for name in COLUMNS.split(", "))
    rows = await tx.rows(f"select {columns} from ticket t where {condition}", **params)
    return [ticket_of(dict(zip(COLUMNS.split(", "), row, strict=True))) for row in rows]


def seen_by(access: Access) -> str:
    """SQL that keeps of `ticket t` what this agent sees, beginning with "and"; with `access.params`."""
    if access.inbox_ids is None:
        return ""
    return " and (t.inbox_id is null or t.inbox_id = any(%(inboxes)s::bigint[]))"


async def access_ticket(tx: Transaction, access: Access, ticket_id: int, *, lock: bool = False) -> Ticket:
    """One ticket that this agent sees. Raises NotFound."""
    found = await tickets_where(
        tx, f"t.id = %(id)s{seen_by(access)}{' for update' if lock else ''}", id=ticket_id, **access.params
    )
    if not found:
        raise NotFound("There is no such ticket.")
    return found[0]


async def read_ticket(tx: Transaction, ticket_id: int) -> Ticket:
    """One ticket. Raises NotFound."""
    found = await tickets_where(tx, "t.id = %(id)s", id=ticket_id)
    if not found:
        raise NotFound("There is no such ticket.")
    return found[0]


async def ticket_numbered(tx: Transaction, number: int) -> Ticket | None:
    found = await tickets_where(tx, "t.number = %(number)s", number=number)
    return found[0] if found else None


async def ticket_keyed(tx: Transaction, key: str) -> Ticket | None:
    """The ticket that was opened with this key."""
    found = await tickets_where(tx, "t.client_key = %(key)s", key=key)
    return found[0] if found else None


async def unfinished_with_key(tx: Transaction, beginning: str) -> bool:
    """Whether a ticket that was opened with a key of this beginning is not finished."""
    found = await tickets_where(
        tx,
        "starts_with(t.client_key, %(beginning)s) and t.state in ('open', 'in_progress', 'waiting') limit 1",
        beginning=beginning,
    )
    return bool(found)


async def tickets_of_issue(tx: Transaction, issue_id: int) -> list[Ticket]:
    """The tickets that this issue belongs to, one of each group that put something to it; the newest first."""
    return await tickets_where(tx, "t.issue_id = %(issue)s order by t.id desc limit 100", issue=issue_id)


async def ticket_list(
    tx: Transaction, access: Access, kept: Filter, *, order: Order = Order.DUE, now: datetime, limit: int = ROWS
) -> list[Ticket]:
    """What the agent sees of the tickets that the filter keeps."""
    where, params = _condition(kept, now)
    return await tickets_where(
        tx,
        f"{where}{seen_by(access)} order by {_ORDERS[order]} limit %(limit)s",
        **params,
        **access.params,
        limit=limit,
    )


def _condition(kept: Filter, now: datetime) -> tuple[str, dict[str, Any]]:
    parts = ["t.state = any(%(states)s::text[])"]
    params: dict[str, Any] = {"states": [state.value for state in kept.states]}
    if kept.owner is not None:
        parts.append("t.owner_id is null" if kept.owner == 0 else "t.owner_id = %(owner)s")
        params["owner"] = kept.owner
    if kept.label is not None:
        parts.append("%(label)s = any(t.labels)")
        params["label"] = kept.label
    if kept.repository is not None:
        parts.append("t.repository_id = %(repository)s")
        params["repository"] = kept.repository
    if kept.conversation is not None:
        parts.append(
            "exists (select from ticket_conversation l where l.workspace_id = t.workspace_id and l.ticket_id = t.id "
            "and l.conversation_id = %(conversation)s)"
        )
        params["conversation"] = kept.conversation
    if kept.before is not None:
        parts.append("t.id < %(before)s")
        params["before"] = kept.before
    if kept.due:
        params |= {"now": now, "soon": now + SOON}
        parts.append(
            {
                "late": "t.due_at <= %(now)s",
                "soon": "t.due_at > %(now)s and t.due_at <= %(soon)s",
                "none": "t.due_at is null",
            }.get(kept.due, "true")
        )
    if words := kept.text.strip():
        parts.append("(t.title ilike %(text)s or t.number::text = %(number)s)")
        params["text"] = (
            f"%{words.replace(chr(92), chr(92) * 2).replace('%', chr(92) + '%').replace('_', chr(92) + '_')}%"
        )
        params["number"] = words.lstrip("#")
    return " and ".join(parts), params


async def ticket_counts(tx: Transaction, access: Access, *, now: datetime) -> TicketCounts:
    """How many are not finished, and how many of them are due soon or late."""
    found = await tx.object(
        TicketCounts,
        "select count(*) as unfinished, count(*) filter (where t.due_at > %(now)s and t.due_at <= %(soon)s) as soon, "
        "count(*) filter (where t.due_at <= %(now)s) as late from ticket t "
        f"where t.state in ('open', 'in_progress', 'waiting'){seen_by(access)}",
        now=now,
        soon=now + SOON,
        **access.params,
    )
    return found or TicketCounts(0, 0, 0)


async def tickets_about(tx: Transaction, access: Access, conversation_id: int, *, limit: int = 20) -> list[Ticket]:
    """The tickets that a conversation has to do with, unfinished ones first."""
    return await tickets_where(
        tx,
        "exists (select from ticket_conversation l where l.workspace_id = t.workspace_id and l.ticket_id = t.id "
        f"and l.conversation_id = %(conversation)s){seen_by(access)} "
        "order by t.state in ('done', 'cancelled'), t.id desc limit %(limit)s",
        conversation=conversation_id,
        limit=limit,
        **access.params,
    )


# ------------------------------------------------------------------------------------------------ parts of a ticket


async def messages_of_ticket(tx: Transaction, ticket_id: int) -> list[TicketMessage]:
    """What was frozen for it, in the order in which it was said."""
    return await tx.objects(
        TicketMessage,
        "select message_id, conversation_id, contact_id, speaker, name, alias, sent_at, text, quoted_name, quoted, "
        "recalled_at, joined from ticket_message where ticket_id = %(id)s order by conversation_id, message_id",
        id=ticket_id,
    )


async def opened_with(tx: Transaction, ticket: Ticket) -> list[TicketMessage]:
    """Those that it was opened with: what was put to it later, or comes from another conversation, stays inside."""
    found = await messages_of_ticket(tx, ticket.id)
    return [one for one in found if not one.joined and one.conversation_id == ticket.conversation_id]


async def readable_messages(tx: Transaction, access: Access, ticket_id: int) -> list[TicketMessage]:
    """Those of them that come from conversations which this agent sees."""
    found = await messages_of_ticket(tx, ticket_id)
    if access.inbox_ids is None:
        return found
    seen = set()
    for conversation_id in {one.conversation_id for one in found}:
        try:
            await access_conversation(tx, access, conversation_id)
        except NotFound:
            continue
        seen.add(conversation_id)
    return [one for one in found if one.conversation_id in seen]


async def comments_of(tx: Transaction, ticket_id: int) -> list[TicketComment]:
    """What was said about it, oldest first."""
    return await _comments(tx, "ticket_id = %(id)s order by id", id=ticket_id)


async def comment_keyed(tx: Transaction, key: str) -> TicketComment:
    """What was said with this key. Raises NotFound."""
    found = await _comments(tx, "client_key = %(key)s", key=key)
    if not found:
        raise NotFound("There is no such comment.")
    return found[0]


async def _comments(tx: Transaction, condition: str, **params: Any) -> list[TicketComment]:
    rows = await tx.objects(
        TicketComment,
        "select id, author_kind, agent_id, contact_id, name, audience, text, url, created_at from ticket_comment "
        f"where {condition}",
        **params,
    )
    return [_with_audience(row) for row in rows]


def _with_audience(row: TicketComment) -> TicketComment:
    return TicketComment(
        row.id, row.author_kind, row.agent_id, row.contact_id, row.name, Audience(row.audience), row.text, row.url,
        row.created_at,
    )  # fmt: skip


async def comment_counts(tx: Transaction, ids: Sequence[int]) -> dict[int, int]:
    """How many comments each of these tickets has; those without any are left out."""
    rows = await tx.rows(
        "select ticket_id, count(*) from ticket_comment where ticket_id = any(%(ids)s::bigint[]) group by 1",
        ids=list(ids),
    )
    return {int(ticket_id): int(count) for ticket_id, count in rows}


async def conversations_of(tx: Transaction, ticket_id: int) -> list[int]:
    """The conversations that have to do with it, the first one first."""
    return await tx.values(
        "select conversation_id from ticket_conversation where ticket_id = %(id)s order by linked_at, conversation_id",
        id=ticket_id,
    )


async def watcher_ids(tx: Transaction, ticket_id: int) -> list[int]:
    """Who of ours is told what happens to it."""
    return await tx.values("select agent_id from ticket_watcher where ticket_id = %(id)s order by 1", id=ticket_id)


@frozen_dataclass
class TicketFact:
    """A fact about a ticket, as the log has it."""

    kind: str
    at: datetime
    actor_kind: str
    actor_id: int | None
    actor_ref: str | None
    data: dict[str, Any]


async def history_of(tx: Transaction, ticket_id: int, *, limit: int = 100) -> list[TicketFact]:
    """What it went through, newest first."""
    return await tx.objects(
        TicketFact,
        "select kind, at, actor_kind, actor_id, actor_ref, data from event where data ? 'ticket_id' "
        "and (data ->> 'ticket_id')::bigint = %(id)s order by id desc limit %(limit)s",
        id=ticket_id,
        limit=limit,
    )

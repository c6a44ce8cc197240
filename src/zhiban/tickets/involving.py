"""The verbs around a ticket: what is said about it, which conversations have to do with it, who of ours watches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.conversations.published_files import withdraw_tickets
from zhiban.events import (
    SYSTEM,
    Actor,
    TicketCommented,
    TicketLinked,
    TicketMessagesAdded,
    TicketUndone,
    TicketUnlinked,
    TicketWatchersChanged,
)
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import Texts, mark
from zhiban.kit.text import clean
from zhiban.tickets import drafts
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.frozen_rows import add_lines, blank, blank_all, link_row
from zhiban.tickets.models import Audience, Ticket, TicketState
from zhiban.tickets.queries import messages_of_ticket, tickets_where
from zhiban.tickets.renaming import named_without
from zhiban.tickets.service import change_column, lock_ticket, set_state, tell
from zhiban.tickets.titling import Naming

LONGEST_COMMENT = 20_000
MOST_MESSAGES = 200  # of one ticket

_COMMENT = """
insert into ticket_comment (workspace_id, ticket_id, author_kind, agent_id, contact_id, name, audience, text, url,
  issue_comment_id, client_key, created_at)
values (%(workspace)s, %(ticket)s, %(kind)s, %(agent)s, %(contact)s, %(name)s, %(audience)s, %(text)s, %(url)s,
  %(issue_comment)s, %(key)s, %(now)s)
on conflict (workspace_id, client_key) do nothing returning id"""


async def comment(
    tx: Transaction,
    ticket_id: int,
    text: str,
    *,
    audience: Audience = Audience.DESK,
    name: str = "",
    url: str = "",
    issue_comment_id: int | None = None,
    key: str,
    by: Actor,
    now: datetime,
) -> int | None:
    """Say something about a ticket; the same `key` says it once. Returns the comment, None for a repeat.

    Raises Conflict without words, NotFound.
    """
    words = clean(text).strip()
    if not words:
        raise Conflict(mark("A comment needs words."))
    ticket = await lock_ticket(tx, ticket_id)
    comment_id = await tx.value(
        _COMMENT,
        workspace=tx.workspace_id,
        ticket=ticket_id,
        kind=by.kind,
        agent=by.id if by.kind == "agent" else None,
        contact=by.id if by.kind == "contact" else None,
        name=name,
        audience=audience.value,
        text=words[:LONGEST_COMMENT],
        url=url,
        issue_comment=issue_comment_id,
        key=key,
        now=now,
    )
    if comment_id is None:
        return None
    said = TicketCommented(actor=by, at=now, ticket_id=ticket_id, comment_id=int(comment_id), audience=audience.value)
    await tell(tx, ticket_id, said)
    if ticket.state is TicketState.WAITING and by.kind not in ("agent", "api"):  # a program of ours is none of them
        await set_state(tx, ticket_id, TicketState.IN_PROGRESS, by=by, now=now)  # they answered
    return int(comment_id)


async def add_messages(
    tx: Transaction,
    ticket_id: int,
    conversation_id: int,
    lines: Sequence[FrozenLine],
    *,
    by: Actor,
    now: datetime,
) -> int:
    """Freeze further messages for a ticket, which its issue does not get. Returns how many are new.

    Raises NotFound, Conflict.
    """
    await lock_ticket(tx, ticket_id)
    kept = int(await tx.value("select count(*) from ticket_message where ticket_id = %(id)s", id=ticket_id))
    if kept + len(lines) > MOST_MESSAGES:
        raise Conflict(mark(f"A ticket has at most {MOST_MESSAGES} messages."))
    added = await add_lines(tx, ticket_id, conversation_id, lines, joined=True, now=now)
    await link(tx, ticket_id, conversation_id, by=by, now=now)
    if added:
        fact = TicketMessagesAdded(
            actor=by, at=now, ticket_id=ticket_id, conversation_id=conversation_id, messages=added
        )
        await tell(tx, ticket_id, fact)
    return added


async def link(tx: Transaction, ticket_id: int, conversation_id: int, *, by: Actor, now: datetime) -> bool:
    """Say that a conversation has to do with a ticket. False when it is said already."""
    if not await link_row(tx, ticket_id, conversation_id, now=now):
        return False
    await tell(tx, ticket_id, TicketLinked(actor=by, at=now, ticket_id=ticket_id, conversation_id=conversation_id))
    return True


async def unlink(tx: Transaction, ticket_id: int, conversation_id: int, *, by: Actor, now: datetime) -> bool:
    """Take that back; what was frozen of it stays. False when it was not said. Raises Conflict for where it began."""
    ticket = await lock_ticket(tx, ticket_id)
    if ticket.conversation_id == conversation_id:
        raise Conflict(mark("The ticket comes from this conversation."))
    gone = await tx.run(
        "delete from ticket_conversation where ticket_id = %(ticket)s and conversation_id = %(conversation)s",
        ticket=ticket_id,
        conversation=conversation_id,
    )
    if gone:
        fact = TicketUnlinked(actor=by, at=now, ticket_id=ticket_id, conversation_id=conversation_id)
        await tell(tx, ticket_id, fact)
    return bool(gone)


async def watch(tx: Transaction, ticket_id: int, agent_id: int, *, by: Actor, now: datetime) -> bool:
    """Let a colleague be told what happens to it. False when they are already."""
    made = await tx.run(
        "insert into ticket_watcher (workspace_id, ticket_id, agent_id) values (%(w)s, %(ticket)s, %(agent)s) "
        "on conflict do nothing",
        w=tx.workspace_id,
        ticket=ticket_id,
        agent=agent_id,
    )
    if made:
        await tell(tx, ticket_id, TicketWatchersChanged(actor=by, at=now, ticket_id=ticket_id, added=(agent_id,)))
    return bool(made)


async def unwatch(tx: Transaction, ticket_id: int, agent_id: int, *, by: Actor, now: datetime) -> bool:
    """Tell them no more. False when they were not told."""
    gone = await tx.run(
        "delete from ticket_watcher where ticket_id = %(ticket)s and agent_id = %(agent)s",
        ticket=ticket_id,
        agent=agent_id,
    )
    if gone:
        await tell(tx, ticket_id, TicketWatchersChanged(actor=by, at=now, ticket_id=ticket_id, removed=(agent_id,)))
    return bool(gone)


async def undo(tx: Transaction, ticket_id: int, *, by: Actor, now: datetime) -> Ticket:
    """Take back a ticket that was filed by mistake: cancelled, and empty of what was said. Raises NotFound."""
    await lock_ticket(tx, ticket_id)
    if await set_state(tx, ticket_id, TicketState.CANCELLED, by=by, now=now):
        await blank_all(tx, ticket_id, now=now)
        await tx.run("update ticket set summary = '', note = '' where id = %(id)s", id=ticket_id)
        await withdraw_tickets(tx, [ticket_id], by=by, now=now)
        await tell(tx, ticket_id, TicketUndone(actor=by, at=now, ticket_id=ticket_id))
    return await lock_ticket(tx, ticket_id)


async def forget_recalled(tx: Transaction, message_id: int, *, now: datetime) -> list[int]:
    """A message was recalled: what was frozen of it is emptied. Returns the tickets that it stood in."""
    for draft in await drafts.open_with(tx, message_id):
        naming = _without(message_id, Naming(draft.wish.title, draft.wish.summary), draft.wish.lines)
        await drafts.rewrite(tx, draft, title=naming.title, summary=naming.summary)
    names = {
        ticket.id: await _name_without(tx, ticket, message_id)
        for ticket in await tickets_where(
            tx,
            "exists (select from ticket_message m where m.workspace_id = t.workspace_id and m.ticket_id = t.id "
            "and m.message_id = %(message)s and m.recalled_at is null) order by t.id for update",
            message=message_id,
        )
    }
    found = await blank(tx, message_id, now=now)
    for ticket_id, naming in names.items():
        await change_column(tx, ticket_id, "title", naming.title, by=SYSTEM, now=now)
        await tx.run("update ticket set summary = %(s)s where id = %(id)s", s=naming.summary, id=ticket_id)
    for ticket_id in found:
        await tell(tx, ticket_id)
    return found


async def rewrite_comment(tx: Transaction, issue_comment_id: int, text: str) -> None:
    """Let what a comment of an issue says at its tickets be this; empty where it was taken away."""
    for ticket_id in await tx.values(
        "update ticket_comment set text = %(text)s where issue_comment_id = %(id)s and text <> %(text)s "
        "returning ticket_id",
        text=text[:LONGEST_COMMENT],
        id=issue_comment_id,
    ):
        await tell(tx, ticket_id)


async def blank_comments(tx: Transaction, message_id: int) -> None:
    """What a message said at tickets by quoting a message about their issue is read there no more."""
    for ticket_id in await tx.values(
        "update ticket_comment set text = '' where client_key like %(key)s and text <> '' returning ticket_id",
        key=f"card-{message_id}-%",
    ):
        await tell(tx, ticket_id)


async def _name_without(tx: Transaction, ticket: Ticket, message_id: int) -> Naming:
    lines = [message.line for message in await messages_of_ticket(tx, ticket.id)]
    return _without(message_id, Naming(ticket.title, ticket.summary), lines)


def _without(message_id: int, naming: Naming, lines: Sequence[FrozenLine]) -> Naming:
    kept = [line for line in lines if line.message_id != message_id]
    return named_without(naming, [line for line in lines if line.message_id == message_id], kept, Texts("zh"))

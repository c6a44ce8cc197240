"""From a ticket to its issue: where it goes, what it may say there, and how it is taken back."""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import datetime
from enum import StrEnum

from zhiban.conversations.labels import label_names
from zhiban.conversations.participants import participant
from zhiban.conversations.spoken import subject_of
from zhiban.events import SYSTEM, Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.i18n import Texts, mark
from zhiban.ports import IssueChange
from zhiban.tickets.freezing import still_quotable
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.models import Audience, Ticket, TrackerState
from zhiban.tickets.publishing import published_by_message
from zhiban.tickets.queries import opened_with
from zhiban.tickets.renaming import named_without
from zhiban.tickets.rendering import Heading, Signature, bodies, comment_body, title_of
from zhiban.tickets.repositories import RepositoryRow, access_repository, find_repository, repositories_of
from zhiban.tickets.service import change_column, lock_ticket
from zhiban.tickets.titling import Naming
from zhiban.tickets.tracker_outbox import (
    continue_again,
    enqueue,
    enqueue_issue,
    overwrite,
    rewrite_untried,
    withdraw,
    written_for,
)
from zhiban.tickets.tracker_writes import Erasure, NewComment


async def repository_wanted(tx: Transaction, conversation_id: int, wish: str) -> RepositoryRow | None:
    """Where a group's tickets go: the linked repository that is wished for, or the first. Raises NotFound.

    Whoever writes in a group reaches what the group is linked with and nothing else.
    """
    linked = [row for row in await repositories_of(tx, conversation_id) if not row.archived]
    if not wish:
        return linked[0] if linked else None
    called = wish.casefold()
    for row in linked:
        names = (row.name, row.name.partition("/")[2], row.alias or "")
        if called in (name.casefold() for name in names if name):
            return row
    raise NotFound(f"This group is not linked with a repository {wish[:100]}.")


def about(title: str, lines: Sequence[FrozenLine]) -> str:
    """What issues about the same are looked for by."""
    return "\n".join((title, *(line.text for line in lines if line.text != title)))


def signature_for(repository: RepositoryRow | None, wanted: str) -> Signature:
    """How speakers are named: where everybody reads it, never by their own names."""
    signature = Signature(wanted)
    public = repository is not None and not repository.private
    return Signature.ALIAS if public and signature is Signature.REAL else signature


async def file(
    tx: Transaction,
    ticket: Ticket,
    *,
    source: str,
    assignees: Sequence[str] = (),
    texts: Texts,
    by: Actor,
    now: datetime,
    not_before: datetime | None = None,
) -> None:
    """Let the tracker open the ticket's issue, assigned to these logins. Nothing happens where the ticket stays here.

    `not_before`: it may be called otherwise until then. Raises NotFound.
    """
    if ticket.repository_id is None or ticket.tracker_state is not TrackerState.NONE:
        return
    repository = await access_repository(tx, ticket.repository_id)
    title, written = await _written(tx, ticket, repository, source=source, texts=texts)
    await enqueue_issue(
        tx,
        repository.id,
        title=title,
        bodies=written,
        labels=await _label_names(tx, ticket.labels),
        assignees=assignees,
        ticket_id=ticket.id,
        client_key=f"ticket-{ticket.id}-{repository.id}-{now.timestamp()}",
        by=by,
        now=now,
        not_before=not_before,
    )
    await change_column(tx, ticket.id, "tracker", TrackerState.WAITING.value, by=by, now=now)


async def _written(
    tx: Transaction, ticket: Ticket, repository: RepositoryRow, *, source: str, texts: Texts
) -> tuple[str, tuple[str, ...]]:
    """The title and the bodies: what the ticket was opened with, as far as its speakers let themselves be quoted."""
    frozen = await opened_with(tx, ticket)
    lines = await still_quotable(tx, frozen)
    kept = {line.message_id for line in lines}
    lost = [message.line for message in frozen if message.message_id not in kept]
    naming = named_without(Naming(ticket.title, ticket.summary), lost, lines, texts)
    signature = signature_for(repository, ticket.signature)
    requester = await requester_named(
        tx, signature, ticket.conversation_id, ticket.requester_contact_id, ticket.requester
    )
    heading = Heading(naming.summary, ticket.note, source if repository.private else "", requester)
    files = await published_by_message(tx, ticket.id)
    return title_of(naming.title, texts), bodies(lines, heading, signature=signature, texts=texts, files=files)


async def requester_named(
    tx: Transaction, signature: Signature, conversation_id: int | None, contact_id: int | None, name: str
) -> str:
    """What the requester is called outside; nothing where they are not to be named."""
    match signature:
        case Signature.REAL:
            return name
        case Signature.ALIAS if conversation_id is not None and contact_id is not None:
            member = await participant(tx, conversation_id, contact_id)
            return member.nickname if member is not None else ""
        case _:
            return ""


async def write_again(
    tx: Transaction, ticket: Ticket, lost: Set[int], *, texts: Texts, key: str, now: datetime
) -> None:
    """Let the issue that we opened for a ticket say what the ticket says now: these messages were recalled, or answer
    one that was.

    What has not been tried yet is written so at first; an issue that may be open already is changed. Comments that
    continue a very long issue are taken away and written anew.
    """
    if any(one.message_id in lost for one in await opened_with(tx, ticket)):
        await write_anew(tx, ticket, texts=texts, key=key, now=now)


async def write_anew(tx: Transaction, ticket: Ticket, *, texts: Texts, key: str, now: datetime) -> None:
    """Let the issue that we opened for a ticket, or are about to, say what the ticket says now."""
    if ticket.repository_id is None or ticket.tracker_state not in _THERE or not (await written_for(tx, ticket.id))[0]:
        return
    repository = await find_repository(tx, ticket.repository_id)
    source = await subject_of(tx, ticket.conversation_id)
    title, written = await _written(tx, ticket, repository, source=source, texts=texts)
    if await rewrite_untried(tx, repository.id, ticket_id=ticket.id, title=title, bodies=written, by=SYSTEM, now=now):
        return
    await enqueue(
        tx,
        repository.id,
        IssueChange(title=title, body=written[0]),
        ticket_id=ticket.id,
        client_key=f"ticket-{ticket.id}-{key}",
        by=SYSTEM,
        now=now,
    )
    await continue_again(
        tx,
        repository.id,
        written[1:],
        ticket_id=ticket.id,
        client_key=f"ticket-{ticket.id}-{key}",
        by=SYSTEM,
        now=now,
    )


async def move_to(
    tx: Transaction, ticket_id: int, repository_id: int, *, texts: Texts, by: Actor, now: datetime
) -> None:
    """Let a ticket that is nowhere yet, or was refused, become an issue there. Raises NotFound, Conflict."""
    ticket = await lock_ticket(tx, ticket_id)
    if ticket.tracker_state in _THERE:
        raise Conflict(mark("This ticket has an issue already."))
    await access_repository(tx, repository_id)
    await change_column(tx, ticket_id, "repository", repository_id, by=by, now=now)
    await change_column(tx, ticket_id, "tracker", TrackerState.NONE.value, by=by, now=now)
    await tx.run("update ticket set problem = '' where id = %(id)s", id=ticket_id)
    await file(tx, await lock_ticket(tx, ticket_id), source="", texts=texts, by=by, now=now)


async def write_comment(
    tx: Transaction, ticket: Ticket, text: str, *, audience: Audience, key: str, texts: Texts, by: Actor, now: datetime
) -> None:
    """Write a comment at the ticket's issue, where it is meant for there and there is one, or will be."""
    if audience is not Audience.ISSUE or ticket.repository_id is None or not has_issue(ticket):
        return
    await enqueue(
        tx,
        ticket.repository_id,
        NewComment(comment_body(text, texts)),
        ticket_id=ticket.id,
        client_key=f"comment-{key}",
        by=by,
        now=now,
    )


_THERE = (TrackerState.WAITING, TrackerState.OPENED)


def has_issue(ticket: Ticket) -> bool:
    """Whether there is an issue of it, or will be."""
    return ticket.repository_id is not None and ticket.tracker_state in _THERE


async def close_issue(tx: Transaction, ticket: Ticket, *, done: bool, by: Actor, now: datetime) -> None:
    """Close the ticket's issue: as completed, or as not planned, which is only for us to say of an issue of ours."""
    if not done and not (await written_for(tx, ticket.id))[0]:
        return
    closed = IssueChange(state="closed", reason="completed" if done else "not_planned")
    await _change(tx, ticket, "close", closed, by=by, now=now)


async def reopen_issue(tx: Transaction, ticket: Ticket, *, by: Actor, now: datetime) -> None:
    await _change(tx, ticket, "open", IssueChange(state="open"), by=by, now=now)


class TakenBack(StrEnum):
    """What has to be taken back at the tracker."""

    NOTHING = "nothing"  # it has not left the house, and will not
    ISSUE = "issue"
    COMMENTS = "comments"


async def take_back(tx: Transaction, ticket: Ticket, *, texts: Texts, by: Actor, now: datetime) -> TakenBack:
    """Take away what a ticket that was filed by mistake has written at the tracker, and write nothing more of it.

    An issue of ours is closed and blanked, for a tracker lets nobody delete one; comments of ours are deleted. What
    others have written stays as it is.
    """
    await withdraw(tx, ticket.id, now=now)
    opened, comments = await written_for(tx, ticket.id)
    title, body = texts("（已撤回）"), texts("这个议题是误建的，内容已清空。")
    await overwrite(tx, ticket.id, title=title, body=body)
    if ticket.repository_id is None:
        return TakenBack.NOTHING
    for call_id in comments:
        key = f"erase-{call_id}"
        await enqueue(tx, ticket.repository_id, Erasure(call_id), ticket_id=ticket.id, client_key=key, by=by, now=now)
    if opened:
        gone = IssueChange(state="closed", reason="not_planned", title=title, body=body)
        await _change(tx, ticket, "empty", gone, by=by, now=now)
        return TakenBack.ISSUE
    if ticket.tracker_state is TrackerState.WAITING:
        await change_column(tx, ticket.id, "tracker", TrackerState.NONE.value, by=by, now=now)
    return TakenBack.COMMENTS if comments else TakenBack.NOTHING


async def _change(tx: Transaction, ticket: Ticket, what: str, change: IssueChange, *, by: Actor, now: datetime) -> None:
    if ticket.repository_id is None or ticket.tracker_state not in _THERE:
        return
    await enqueue(
        tx,
        ticket.repository_id,
        change,
        ticket_id=ticket.id,
        client_key=f"ticket-{ticket.id}-{what}-{now.timestamp()}",
        by=by,
        now=now,
    )


async def _label_names(tx: Transaction, ids: Sequence[int]) -> list[str]:
    names = await label_names(tx)
    return [names[id_] for id_ in ids if id_ in names]

"""A draft that somebody says yes to: it becomes a ticket, or is put to one that there is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.conversations.spoken import subject_of
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.tickets import drafts, filing, involving, tracking
from zhiban.tickets.drafts import TicketDraft
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.issues import IssueRow
from zhiban.tickets.models import NewTicket, Ticket
from zhiban.tickets.renaming import named_without
from zhiban.tickets.rendering import Heading, bodies
from zhiban.tickets.repositories import RepositoryRow, access_repository
from zhiban.tickets.service import open_ticket
from zhiban.tickets.titling import Naming
from zhiban.tickets.tracker_outbox import enqueue
from zhiban.tickets.tracker_writes import NewComment


@frozen_dataclass
class TicketRequester:
    """For whom a ticket is opened: the contact, and what they are called."""

    contact_id: int | None = None
    name: str = ""


@frozen_dataclass
class Confirmation:
    """Who says yes to a draft, with those of its lines that may still be used."""

    draft: TicketDraft
    lines: Sequence[FrozenLine]
    asker: TicketRequester
    inbox_id: int
    signature: str
    texts: Texts
    by: Actor
    now: datetime

    def new_ticket(self) -> NewTicket:
        wish, naming = self.draft.wish, naming_of(self.draft, self.lines, self.texts)
        return NewTicket(
            naming.title,
            self.lines,
            naming.summary,
            wish.note,
            wish.priority,
            wish.owner_id,
            wish.due_at,
            wish.labels,
            self.draft.conversation_id,
            self.inbox_id,
            self.asker.contact_id,
            self.asker.name,
            self.signature,
            wish.repository_id,
        )


def naming_of(draft: TicketDraft, kept: Sequence[FrozenLine], texts: Texts) -> Naming:
    """What the draft is called with these of its messages."""
    there = {line.message_id for line in kept}
    lost = [line for line in draft.wish.lines if line.message_id not in there]
    return named_without(Naming(draft.wish.title, draft.wish.summary), lost, kept, texts)


async def file_draft(tx: Transaction, said: Confirmation) -> tuple[Ticket, RepositoryRow | None]:
    """Make the ticket, and let its issue be opened where it has a repository. Raises Conflict, NotFound."""
    draft, by, now = said.draft, said.by, said.now
    ticket = await open_ticket(tx, said.new_ticket(), key=draft.key, by=by, now=now)
    await drafts.end(tx, draft, "filed", ticket_id=ticket.id, by=by, now=now)
    if ticket.repository_id is None:
        return ticket, None
    repository = await access_repository(tx, ticket.repository_id)
    source = await subject_of(tx, draft.conversation_id)
    await filing.file(tx, ticket, source=source, assignees=draft.wish.assignees, texts=said.texts, by=by, now=now)
    return ticket, repository


async def join_draft(
    tx: Transaction,
    said: Confirmation,
    ticket: Ticket | None,
    issue: IssueRow | None = None,
    repository: RepositoryRow | None = None,
) -> Ticket:
    """Put it to this ticket; with an issue, to a new one of that where there is none, and to the issue as a comment.

    Raises Conflict, NotFound.
    """
    draft, by, now = said.draft, said.by, said.now
    if ticket is None:
        ticket = await open_ticket(tx, said.new_ticket(), key=draft.key, by=by, now=now)
        if issue is not None:
            await tracking.adopt_issue(tx, ticket.id, issue.id, by=by, now=now)
    else:
        await involving.add_messages(tx, ticket.id, draft.conversation_id, said.lines, by=by, now=now)
    if repository is not None and issue is not None:
        await _comment(tx, said, ticket, issue, repository)
    await drafts.end(tx, draft, "joined", ticket_id=ticket.id, by=by, now=now)
    return ticket


async def _comment(
    tx: Transaction, said: Confirmation, ticket: Ticket, issue: IssueRow, repository: RepositoryRow
) -> None:
    signature = filing.signature_for(repository, said.signature)
    requester = await filing.requester_named(
        tx, signature, said.draft.conversation_id, said.asker.contact_id, said.asker.name
    )
    heading = Heading(note=said.draft.wish.note, requester=requester)
    for n, body in enumerate(bodies(said.lines, heading, signature=signature, texts=said.texts)):
        await enqueue(
            tx,
            repository.id,
            NewComment(body),
            number=issue.number,
            ticket_id=ticket.id,
            client_key=f"{said.draft.key}-{n}",
            by=said.by,
            now=said.now,
        )

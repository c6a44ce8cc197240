"""A draft that somebody says yes to: it becomes a ticket, or is put to one that there is."""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import datetime

from zhiban.conversations.group_policy import PublishFiles
from zhiban.conversations.spoken import subject_of
from zhiban.events import SYSTEM, Actor
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.tickets import drafts, filing, involving, publishing, tracking
from zhiban.tickets.drafts import TicketDraft
from zhiban.tickets.freezing import still_quotable
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.issues import IssueRow
from zhiban.tickets.models import NewTicket, Ticket
from zhiban.tickets.queries import messages_of_ticket
from zhiban.tickets.renaming import named_without
from zhiban.tickets.rendering import Heading, bodies
from zhiban.tickets.repositories import RepositoryRow, access_repository, find_repository
from zhiban.tickets.service import open_ticket
from zhiban.tickets.titling import Naming
from zhiban.tickets.tracker_outbox import enqueue, erase_comment, joined_comments
from zhiban.tickets.tracker_writes import JoinedMessages, NewComment


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
    publishes: PublishFiles = "never"  # what of their files everybody may see

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
    await filing.file(
        tx,
        ticket,
        source=source,
        assignees=draft.wish.assignees,
        texts=said.texts,
        by=by,
        now=now,
        not_before=await _published_by(tx, said, ticket),
    )
    return ticket, repository


async def _published_by(tx: Transaction, said: Confirmation, ticket: Ticket) -> datetime | None:
    """Let the files be published that were shown with the draft. Returns how long what is written waits for them."""
    draft = said.draft
    offered = await publishing.offers(
        tx, draft.conversation_id, [line.message_id for line in said.lines], said.publishes
    )
    wanted = [one for one in offered if one.attachment_id in draft.wish.publish]
    if not await publishing.begin(tx, ticket.id, wanted, by=said.by, now=said.now):
        return None
    return said.now + publishing.PATIENCE


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
        not_before = await _published_by(tx, said, ticket)
        await _comment(tx, said, ticket, issue.number, repository, key=draft.key, not_before=not_before)
    await drafts.end(tx, draft, "joined", ticket_id=ticket.id, by=by, now=now)
    return ticket


async def write_joined_again(
    tx: Transaction, ticket: Ticket, lost: Set[int], *, texts: Texts, key: str, now: datetime
) -> None:
    """These messages were recalled, or answer one that was: comments that carry them go from their issues, and what is
    left of them is written there anew."""
    carrying = [one for one in await joined_comments(tx, ticket.id) if not lost.isdisjoint(one.joined.messages)]
    for comment in carrying:
        await erase_comment(tx, comment, ticket_id=ticket.id, body=texts("（已撤回）"), by=SYSTEM, now=now)
    for comment in {one.joined.draft_id: one for one in carrying}.values():
        frozen = [one for one in await messages_of_ticket(tx, ticket.id) if one.message_id in comment.joined.messages]
        lines = [line for line in await still_quotable(tx, frozen) if not line.recalled]
        repository = await find_repository(tx, comment.repository_id)
        if not lines or repository.removed_at is not None:
            continue
        draft = await drafts.read_draft(tx, comment.joined.draft_id)
        asker = TicketRequester(comment.joined.contact_id, _asker_name(draft, comment.joined, lines))
        said = Confirmation(draft, lines, asker, ticket.inbox_id or 0, comment.joined.signature, texts, SYSTEM, now)
        await _comment(tx, said, ticket, comment.number, repository, key=f"{draft.key}-{key}")


def _asker_name(draft: TicketDraft, joined: JoinedMessages, lines: Sequence[FrozenLine]) -> str:
    if draft.requester.contact_id is not None:
        return draft.requester.name
    return next((line.alias or line.name for line in lines if line.contact_id == joined.contact_id), "")


async def _comment(
    tx: Transaction,
    said: Confirmation,
    ticket: Ticket,
    number: int,
    repository: RepositoryRow,
    *,
    key: str,
    not_before: datetime | None = None,
) -> None:
    signature = filing.signature_for(repository, said.signature)
    requester = await filing.requester_named(
        tx, signature, said.draft.conversation_id, said.asker.contact_id, said.asker.name
    )
    heading = Heading(note=said.draft.wish.note, requester=requester)
    carried = tuple(line.message_id for line in said.lines)
    joined = JoinedMessages(said.draft.id, carried, said.asker.contact_id, said.signature)
    files = await publishing.published_by_message(tx, ticket.id)
    for n, body in enumerate(bodies(said.lines, heading, signature=signature, texts=said.texts, files=files)):
        await enqueue(
            tx,
            repository.id,
            NewComment(body, joined=joined),
            number=number,
            ticket_id=ticket.id,
            client_key=f"{key}-{n}",
            by=said.by,
            now=said.now,
            not_before=not_before,
        )

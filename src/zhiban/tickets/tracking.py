"""What the tracker says of our tickets' issues, and what follows for the ticket and for those who asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.events import Actor, IssueChanged, IssueCommentChanged, IssueCommented, IssueOpened, IssueRefused
from zhiban.kit.db import Transaction
from zhiban.tickets.card_replies import asked_from
from zhiban.tickets.involving import comment, rewrite_comment
from zhiban.tickets.issues import access_comment
from zhiban.tickets.models import Audience, Ticket, TicketState, TrackerState
from zhiban.tickets.queries import tickets_of_issue, tickets_where
from zhiban.tickets.service import change_column, set_state


async def adopt_issue(tx: Transaction, ticket_id: int, issue_id: int, *, by: Actor, now: datetime) -> None:
    """This issue, which there is, is the ticket's."""
    await change_column(tx, ticket_id, "issue", issue_id, by=by, now=now)
    await change_column(tx, ticket_id, "tracker", TrackerState.OPENED.value, by=by, now=now)


async def note_opened(tx: Transaction, fact: IssueOpened) -> Ticket | None:
    """The tracker took the ticket's issue; what it silently left out is kept. None where it is no ticket's."""
    ticket = await _ticket(tx, fact.ticket_id)
    if ticket is None:
        return None
    await tx.run(
        "update ticket set dropped_labels = %(labels)s::text[], dropped_assignees = %(people)s::text[], problem = '' "
        "where id = %(id)s",
        labels=list(fact.dropped_labels),
        people=list(fact.dropped_assignees),
        id=ticket.id,
    )
    await adopt_issue(tx, ticket.id, fact.issue_id, by=fact.actor, now=fact.at)
    return ticket


async def note_refused(tx: Transaction, fact: IssueRefused) -> Ticket | None:
    """The tracker will not do what was asked for the ticket: the ticket keeps why, in a word, and stays what it is."""
    ticket = await _ticket(tx, fact.ticket_id)
    if ticket is None:
        return None
    await tx.run(
        "update ticket set problem = %(why)s where id = %(id)s", why=fact.reason or fact.sentence, id=ticket.id
    )
    if fact.wish == "open":
        await change_column(tx, ticket.id, "tracker", TrackerState.REFUSED.value, by=fact.actor, now=fact.at)
    return ticket


async def follow_issue(tx: Transaction, fact: IssueChanged) -> list[Ticket]:
    """An issue was closed or opened again over there: its tickets are done, cancelled or open, too.

    Returns those of which that became; none where we did it ourselves because of a ticket.
    """
    if fact.change not in ("closed", "reopened"):
        return []
    if fact.call_id is not None and not await asked_from(tx, fact.call_id):
        return []
    state = TicketState.IN_PROGRESS
    if fact.state == "closed":
        state = TicketState.CANCELLED if fact.reason in ("not_planned", "duplicate") else TicketState.DONE
    found = [one for one in await tickets_of_issue(tx, fact.issue_id) if one.over != (fact.state == "closed")]
    for ticket in found:
        await set_state(tx, ticket.id, state, by=fact.actor, now=fact.at)
    return found


async def take_comment(tx: Transaction, fact: IssueCommented) -> None:
    """Somebody commented on an issue: it is read at its tickets, too. Our own words are there already."""
    if fact.ours or fact.bot:
        return
    row = await access_comment(tx, fact.comment_id)
    if not row.body.strip():
        return
    for ticket in await tickets_of_issue(tx, fact.issue_id):
        await comment(
            tx,
            ticket.id,
            row.body,
            audience=Audience.ISSUE,
            name=row.author,
            url=row.url,
            issue_comment_id=row.id,
            key=f"issue-comment-{row.id}-{ticket.id}",
            by=Actor("tracker", ref=row.author),
            now=fact.at,
        )


async def follow_comment(tx: Transaction, fact: IssueCommentChanged) -> None:
    """A comment was edited or taken away over there: it says the same at its tickets."""
    row = await access_comment(tx, fact.comment_id)
    await rewrite_comment(tx, fact.comment_id, row.body if row.removed_at is None else "")


async def _ticket(tx: Transaction, ticket_id: int | None) -> Ticket | None:
    if ticket_id is None:
        return None
    found: Sequence[Ticket] = await tickets_where(tx, "t.id = %(id)s for update", id=ticket_id)
    return found[0] if found else None

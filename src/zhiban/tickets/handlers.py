"""What follows from facts for tickets, in the same transaction. `bootstrap.HANDLERS` says which."""

from __future__ import annotations

from collections.abc import Sequence

from zhiban.conversations.group_policy import Consent
from zhiban.conversations.published_files import (
    tickets_showing,
    withdraw_kinds,
    withdraw_member,
    withdraw_message,
    withdraw_tickets,
)
from zhiban.conversations.spoken import answers_to
from zhiban.events import (
    ConnectionRemoved,
    ConnectionResumed,
    GroupConfigured,
    GroupConsentChanged,
    IssueChanged,
    IssueCommentChanged,
    IssueCommented,
    IssueOpened,
    IssueRefused,
    IssueWritten,
    MessageRecalled,
    MirroringPaused,
    TicketChanged,
    TicketCommented,
    TicketDraftEnded,
    TicketOpened,
)
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import Texts
from zhiban.kit.jobs import enqueue
from zhiban.tickets import (
    card_notes,
    card_replies,
    confirming,
    file_links,
    filing,
    logins,
    publishing,
    repositories,
    telling,
    tracker_outbox,
    tracking,
)
from zhiban.tickets.card_telling import ANSWER_CARD
from zhiban.tickets.drafts import read_draft
from zhiban.tickets.involving import blank_comments, forget_recalled
from zhiban.tickets.jobs import TELL_CHAT, TELL_OF_DRAFT
from zhiban.tickets.models import TicketState
from zhiban.tickets.service import lock_ticket
from zhiban.tickets.telling import TicketNews, tell_of_comment, tell_owner


async def forget_frozen(tx: Transaction, event: MessageRecalled) -> None:
    """What was recalled is not read at tickets any more either, nor at their issues; its files are read nowhere."""
    await _lock_tickets(tx, await tickets_showing(tx, message_id=event.message_id))
    await withdraw_message(tx, event.message_id, by=event.actor, now=event.at)
    await card_replies.take_back(tx, event.message_id, body=Texts("zh")("（已撤回）"), now=event.at)
    await blank_comments(tx, event.message_id)
    lost = {event.message_id, *await answers_to(tx, event.message_id)}
    key, texts = f"recall-{event.message_id}", Texts("zh")
    for ticket_id in await forget_recalled(tx, event.message_id, now=event.at):
        ticket = await lock_ticket(tx, ticket_id)
        await filing.write_again(tx, ticket, lost, texts=texts, key=key, now=event.at)
        await confirming.write_joined_again(tx, ticket, lost, texts=texts, key=key, now=event.at)


async def forget_published(tx: Transaction, event: GroupConsentChanged) -> None:
    """What a member showed is read by nobody outside any more once they do not want to be quoted."""
    if event.conversation_id is None or event.consent == Consent.ALL:
        return
    await _lock_tickets(tx, await tickets_showing(tx, contact_id=event.member_id))
    gone = await withdraw_member(tx, event.conversation_id, event.member_id, by=event.actor, now=event.at)
    await file_links.write_without(tx, gone, key=f"consent-{event.id}", now=event.at)


async def forget_unwanted(tx: Transaction, event: GroupConfigured) -> None:
    """What a group wants to be published no more is read by nobody outside, whoever had it published."""
    kinds = publishing.no_longer(event.before.get("publish_files"), event.after.get("publish_files"))
    if event.conversation_id is None or not kinds:
        return
    await _lock_tickets(tx, await tickets_showing(tx, conversation_id=event.conversation_id))
    gone = await withdraw_kinds(tx, event.conversation_id, kinds, by=event.actor, now=event.at)
    await file_links.write_without(tx, gone, key=f"policy-{event.id}", now=event.at)


async def forget_repositories(tx: Transaction, event: ConnectionRemoved) -> None:
    """Nobody files where we have no credentials any more, nor writes under an account of theirs. Its issues stay."""
    await logins.end_all(tx, event.connection_id, now=event.at)
    await repositories.keep_only(tx, event.connection_id, (), now=event.at)


async def begin_again(tx: Transaction, event: ConnectionResumed) -> None:
    """The pause is not held against what waited for it to end."""
    await tracker_outbox.begin_again(tx, event.connection_id)


async def note_opened(tx: Transaction, event: IssueOpened) -> None:
    """The ticket has its issue; the chat that asked for it hears where."""
    if await tracking.note_opened(tx, event) is not None:
        await _tell_chat(tx, event.ticket_id, TicketNews.OPENED, event.id)


async def note_refused(tx: Transaction, event: IssueRefused) -> None:
    """The ticket says why the tracker would not, and so does the chat that asked. Files that no issue shows are read by
    nobody: to have them elsewhere somebody has to say so anew, who sees where that is."""
    await _answer_card(tx, await card_replies.note_refused(tx, event))
    ticket = await tracking.note_refused(tx, event)
    if ticket is not None and event.wish == "open":
        await withdraw_tickets(tx, [ticket.id], by=event.actor, now=event.at)
        await _tell_chat(tx, event.ticket_id, TicketNews.REFUSED, event.id)


async def note_written(tx: Transaction, event: IssueWritten) -> None:
    """Who asked for it by quoting hears that it is there; a comment is read at the tickets, too."""
    reply_id = await card_replies.note_written(tx, event)
    if reply_id is not None:
        await card_notes.note_at_tickets(tx, reply_id, event)
    await _answer_card(tx, reply_id)


async def follow_issue(tx: Transaction, event: IssueChanged) -> None:
    """What is closed or opened over there, is here."""
    await tracking.follow_issue(tx, event)


async def follow_comment(tx: Transaction, event: IssueCommentChanged) -> None:
    """What is edited or taken away over there is so here."""
    await tracking.follow_comment(tx, event)


async def tell_of_pause(tx: Transaction, event: MirroringPaused) -> None:
    """Whoever runs this hears that two sides may be answering each other."""
    await telling.tell_of_pause(tx, event)


async def take_comment(tx: Transaction, event: IssueCommented) -> None:
    """What is said over there is read here."""
    await tracking.take_comment(tx, event)


async def follow_ticket(tx: Transaction, event: TicketChanged) -> None:
    """Whoever asked hears that it is over; its issue is closed or opened with it; a new owner is told."""
    if event.change == "owner":
        await tell_owner(tx, event)
        return
    if event.change != "state":
        return
    after, before = TicketState(str(event.after)), TicketState(str(event.before))
    if after is TicketState.DONE:
        await _tell_chat(tx, event.ticket_id, TicketNews.DONE, event.id)
    elif after is TicketState.CANCELLED and event.actor.kind == "tracker":
        await _tell_chat(tx, event.ticket_id, TicketNews.CANCELLED, event.id)
    if event.actor.kind == "tracker" or after.over == before.over:
        return
    ticket = await lock_ticket(tx, event.ticket_id)
    if after.over:
        await filing.close_issue(tx, ticket, done=after is TicketState.DONE, by=event.actor, now=event.at)
    else:
        await filing.reopen_issue(tx, ticket, by=event.actor, now=event.at)


async def tell_of_draft(tx: Transaction, event: TicketDraftEnded) -> None:
    """Whoever asked for a ticket in a chat hears there what a colleague did about it at the desk."""
    if event.actor.kind == "agent" and (await read_draft(tx, event.draft_id)).requester.agent_id is None:
        await enqueue(tx, TELL_OF_DRAFT.of(draft_id=event.draft_id))


async def tell_of_opened(tx: Transaction, event: TicketOpened) -> None:
    """Somebody of ours hears of a new ticket."""
    await telling.tell_of_opened(tx, event)


async def tell_watchers(tx: Transaction, event: TicketCommented) -> None:
    """The owner and whoever watches hear of what others say."""
    await tell_of_comment(tx, event)


async def _lock_tickets(tx: Transaction, ticket_ids: Sequence[int]) -> None:
    """Before their files are touched, as everybody does who changes both."""
    for ticket_id in ticket_ids:
        await lock_ticket(tx, ticket_id)


async def _tell_chat(tx: Transaction, ticket_id: int | None, news: TicketNews, event_id: int) -> None:
    if ticket_id is not None:
        await enqueue(tx, TELL_CHAT.of(ticket_id=ticket_id, news=news.value, event_id=event_id))


async def _answer_card(tx: Transaction, reply_id: int | None) -> None:
    if reply_id is not None:
        await enqueue(tx, ANSWER_CARD.of(reply_id=reply_id, late=0))

"""Who hears what about a ticket, and in which words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from zhiban.channels.connections import OpenInbox
from zhiban.conversations import transitions
from zhiban.conversations.groups import chat_of
from zhiban.conversations.models import Author
from zhiban.conversations.outbox import allowance_of, enqueue, key_for
from zhiban.conversations.participants import external_ids_of, participants
from zhiban.conversations.queries import agent_names
from zhiban.events import Actor, MirroringPaused, TicketChanged, TicketCommented, TicketOpened
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import Texts
from zhiban.notifications.models import NotificationKind
from zhiban.notifications.service import NewNotification, notify
from zhiban.people.agents import agent_rows
from zhiban.ports import Mention
from zhiban.tickets import group_news
from zhiban.tickets.cards import note_card
from zhiban.tickets.chat_words import filed_words, joined_words
from zhiban.tickets.drafts import TicketDraft, asked_in_chat, locale_of, read_draft
from zhiban.tickets.issues import access_issue
from zhiban.tickets.masking import partly
from zhiban.tickets.models import Ticket
from zhiban.tickets.naming import reference
from zhiban.tickets.queries import messages_of_ticket, read_ticket, watcher_ids
from zhiban.tickets.rendering import hidden
from zhiban.tickets.repositories import access_repository, find_repository
from zhiban.tickets.service import lock_ticket

MOST_NAMED = 5  # members who are named with @ in one message


class TicketNews(StrEnum):
    """What a chat is told of a ticket that it asked for."""

    OPENED = "opened"
    REFUSED = "refused"
    DONE = "done"
    CANCELLED = "cancelled"  # by the tracker's people: it will not be done

    @property
    def ends(self) -> bool:
        return self in (TicketNews.DONE, TicketNews.CANCELLED)


async def tell_chat(
    tx: Transaction, inbox: OpenInbox, ticket: Ticket, news: TicketNews, *, event_id: int, now: datetime
) -> None:
    """Say it where the ticket comes from, once. In a group those whom it concerns are named.

    Where its issue is hears only a chat that asked for it: our own people may have meant it for themselves.
    """
    if ticket.conversation_id is None or (not news.ends and not await asked_in_chat(tx, ticket.id)):
        return
    # In the order of a turn, which locks the conversation before its tickets: else each would wait for the other.
    state = await transitions.lock(tx, ticket.conversation_id)
    ticket = await lock_ticket(tx, ticket.id)
    if allowance_of(state, inbox.channel.limits.reply_window).closed(now):
        return
    named: list[Mention] = []
    if state.is_group:
        named = await _concerned(tx, inbox, ticket, everybody=news.ends)
    result = await enqueue(
        tx,
        state,
        author=Author.TRACKER,
        actor=Actor("tracker"),
        text=await news_words(tx, ticket, news, Texts(await locale_of(tx, ticket.id))),
        key=key_for("ticket", ticket.id, news.value, event_id),
        limits=inbox.channel.limits,
        now=now,
        mentions=named,
    )
    if ticket.issue_id is not None and result.messages:
        await note_card(tx, state.id, result.messages[0].id, ticket.issue_id)


async def tell_of_draft(tx: Transaction, inbox: OpenInbox, draft_id: int, *, now: datetime) -> None:
    """Say in its chat, once, what became of a draft that somebody else had a word for than those who are there."""
    draft = await read_draft(tx, draft_id)
    state = await transitions.lock(tx, draft.conversation_id)
    if allowance_of(state, inbox.channel.limits.reply_window).closed(now):
        return
    mention = Mention(draft.requester.ref, draft.requester.name)
    await enqueue(
        tx,
        state,
        author=Author.TRACKER,
        actor=Actor("tracker"),
        text=await _ended_words(tx, draft, Texts(draft.locale)),
        key=key_for("ticket-draft", draft.id),
        limits=inbox.channel.limits,
        now=now,
        mentions=(mention,) if state.is_group and mention.external_id else (),
    )


async def _ended_words(tx: Transaction, draft: TicketDraft, texts: Texts) -> str:
    if draft.ticket_id is None:
        return texts("已取消，没有开工单。")
    ticket = await read_ticket(tx, draft.ticket_id)
    if draft.state == "joined":
        return joined_words(ticket, texts)
    repository = await find_repository(tx, ticket.repository_id) if ticket.repository_id is not None else None
    return filed_words(ticket, repository, texts)


async def quiet_until(tx: Transaction, ticket: Ticket, news: TicketNews, *, now: datetime) -> datetime | None:
    """When a group's quiet hours end, where the news may wait for that; None where it is told now."""
    if ticket.conversation_id is None or not news.ends:
        return None
    policy = (await chat_of(tx, ticket.conversation_id)).policy
    later = now
    while policy.is_quiet(later) and later < now + timedelta(days=1):
        later += timedelta(minutes=10)
    return later if later > now else None


async def news_words(tx: Transaction, ticket: Ticket, news: TicketNews, texts: Texts) -> str:
    """What is said of it."""
    number, title = ticket.number, hidden(ticket.title, texts)
    match news:
        case TicketNews.OPENED:
            lines = [texts("工单{number}已建好：{title}", number=number, title=title)]
            if ticket.issue_id is not None:
                issue = await access_issue(tx, ticket.issue_id)
                repository = await access_repository(tx, issue.repository_id)
                lines = [
                    texts("工单{number}已建到{name} {issue}：{title}", number=number, name=repository.name,
                          issue=reference(issue.number, issue.url), title=title),
                    issue.url,
                ]  # fmt: skip
            if ticket.dropped_labels:
                names = texts("、").join(ticket.dropped_labels)
                lines.append(texts("标签没有写上：{names}，那边没有给我们这个权限。", names=names))
            if ticket.dropped_assignees:
                names = texts("、").join(ticket.dropped_assignees)
                lines.append(texts("没能指派给：{names}，那边没有这个人，或没有给我们这个权限。", names=names))
            return "\n".join(lines)
        case TicketNews.REFUSED:
            why = ticket.problem_words(texts)
            return texts("工单{number}没能建到仓库：{why} 工单还在，同事会处理。", number=number, why=why)
        case TicketNews.DONE:
            return texts("工单{number}已完成：{title}", number=number, title=title)
        case TicketNews.CANCELLED:
            return texts("工单{number}那边不打算做：{title}", number=number, title=title)


async def _concerned(tx: Transaction, inbox: OpenInbox, ticket: Ticket, *, everybody: bool) -> list[Mention]:
    """The requester, and with `everybody` those who are quoted, as far as they are still in the group."""
    if ticket.conversation_id is None:
        return []
    ids = [ticket.requester_contact_id]
    if everybody:
        ids += [one.contact_id for one in await messages_of_ticket(tx, ticket.id)]
    wanted = list(dict.fromkeys(id_ for id_ in ids if id_ is not None))
    there = {one.contact_id: one.name for one in await participants(tx, ticket.conversation_id)}
    present = [id_ for id_ in wanted if id_ in there][:MOST_NAMED]
    refs = await external_ids_of(tx, inbox, present)
    return [Mention(refs[id_], there[id_]) for id_ in present if id_ in refs]


# ---------------------------------------------------------------------------------------------------- our own people


async def tell_owner(tx: Transaction, event: TicketChanged) -> None:
    """Somebody gave a colleague the ticket."""
    if isinstance(event.after, int):
        ticket = await lock_ticket(tx, event.ticket_id)
        await tell_agents(
            tx, ticket, [event.after], f"ticket-owner-{event.id}", ticket.title, by=event.actor, now=event.at
        )


async def told_of(tx: Transaction, ticket: Ticket) -> list[int]:
    """Whom a ticket concerns: its owner, or those who answer in its inbox where it has none."""
    if ticket.owner_id is not None:
        return [ticket.owner_id]
    return [one.id for one in await agent_names(tx, ticket.inbox_id)] if ticket.inbox_id is not None else []


async def tell_of_opened(tx: Transaction, event: TicketOpened) -> None:
    """There is a new ticket."""
    ticket = await lock_ticket(tx, event.ticket_id)
    told = await told_of(tx, ticket)
    await tell_agents(tx, ticket, told, f"ticket-opened-{ticket.id}", ticket.title, by=event.actor, now=event.at)


async def tell_of_pause(tx: Transaction, event: MirroringPaused) -> None:
    """So much happens at one issue that it is mirrored no more for a while: owners and admins are told."""
    groups = await group_news.groups_of(tx, event.repository_id)
    if not groups:
        return
    issue, repository = await access_issue(tx, event.issue_id), await access_repository(tx, event.repository_id)
    told = NewNotification(
        kind=NotificationKind.TRACKER,
        key=f"mirroring-{event.id}",
        conversation_id=groups[0],
        inbox_id=None,
        actor=event.actor,
        text=f"{repository.name} #{issue.number}: {event.count}",
    )
    responsible = [one.id for one in await agent_rows(tx) if one.role in ("owner", "admin")]
    await notify(tx, told, responsible, now=event.at)


async def tell_of_comment(tx: Transaction, event: TicketCommented) -> None:
    ticket = await lock_ticket(tx, event.ticket_id)
    text = await tx.value("select text from ticket_comment where id = %(id)s", id=event.comment_id)
    told = [*await watcher_ids(tx, ticket.id), *([ticket.owner_id] if ticket.owner_id is not None else [])]
    words = f"{ticket.title}: {text}"
    await tell_agents(tx, ticket, told, f"ticket-comment-{event.comment_id}", words, by=event.actor, now=event.at)


async def tell_agents(
    tx: Transaction, ticket: Ticket, agent_ids: Sequence[int], key: str, text: str, *, by: Actor, now: datetime
) -> int:
    """Tell colleagues this of a ticket, once for the key. Returns how many learn something new by it.

    It goes to wherever they want to be reached, messengers of others among them: secrets are covered.
    """
    told = NewNotification(
        kind=NotificationKind.TICKET,
        key=key,
        conversation_id=ticket.conversation_id,
        inbox_id=ticket.inbox_id,
        ticket_id=ticket.id,
        actor=by,
        text=partly(text),
    )
    return await notify(tx, told, list(dict.fromkeys(agent_ids)), now=now)

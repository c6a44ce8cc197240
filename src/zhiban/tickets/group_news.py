"""News of repositories for the groups that are linked with them: gathered for a minute or two, then told in one piece.

A message in a group cannot be changed once it is sent. So what happens to one issue within a minute is one message, a
review and its lines are one line, and what would be too many messages becomes a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from zhiban.channels.connections import OpenInbox
from zhiban.channels.pausing import paused_connections
from zhiban.conversations import transitions
from zhiban.conversations.group_policy import Quiet, is_within
from zhiban.conversations.groups import chat_of
from zhiban.conversations.models import Author
from zhiban.conversations.outbox import allowance_of, enqueue, key_for
from zhiban.events import Actor, IssueChanged, IssueCommentChanged, IssueCommented, MirroringResumed
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import Texts
from zhiban.kit.text import clean
from zhiban.ports import LinkCard, TrackerNews
from zhiban.tickets import mirroring
from zhiban.tickets.card_replies import asked_from
from zhiban.tickets.cards import COMMENT
from zhiban.tickets.issues import IssueRow, access_comment, access_issue
from zhiban.tickets.news_words import GroupNews, issue_card, issue_words, list_words
from zhiban.tickets.repositories import RepositoryLink, access_repository, find_repository, links_of, links_to

GATHERED = timedelta(seconds=60)
MESSAGES_A_MINUTE = 6
NEW = timedelta(days=3)  # trackers repeat for no longer what did not reach us
LIST_HOUR = 9  # in the group's own time: when the daily list is told
TEXT_CHARACTERS = 2000  # kept of what somebody wrote
TOLD_CHANGES = ("opened", "closed", "reopened", "labels", "assignees")

UsualEvent = Literal["opened", "closed", "reopened", "commented", "reviewed", "released", "ready", "discussed"]
RareEvent = Literal["labeled", "assigned", "failed", "starred"]  # told where somebody asked for them
NewsEvent = UsualEvent | RareEvent
USUAL_EVENTS: frozenset[NewsEvent] = frozenset(get_args(UsualEvent))
_EVENTS: frozenset[NewsEvent] = USUAL_EVENTS | frozenset(get_args(RareEvent))
_OF_KIND: dict[str, NewsEvent] = {
    "merged": "closed", "not_planned": "closed", "discussion_created": "discussed", "discussion_answered": "discussed",
}  # fmt: skip

_INSERT = """
insert into group_news (workspace_id, conversation_id, repository_id, issue_id, kind, name, text, url, digest, listed,
  at, due_at)
values (%(workspace)s, %(conversation)s, %(repository)s, %(issue)s, %(kind)s, %(name)s, %(text)s, %(url)s, %(digest)s,
  %(listed)s, %(at)s, %(due)s)
on conflict (workspace_id, conversation_id, digest) do nothing"""

# What belongs to an issue of which something is due is told with it.
_DUE = """
select n.id, n.issue_id, r.name as repository, coalesce(i.number, 0) as number, coalesce(i.title, '') as title,
  coalesce(i.url, n.url) as place, n.kind, n.name, n.text, n.url, n.listed
from group_news n join repository r on r.workspace_id = n.workspace_id and r.id = n.repository_id
left join issue i on i.workspace_id = n.workspace_id and i.id = n.issue_id
where n.conversation_id = %(conversation)s and n.told_at is null and (n.due_at <= %(now)s or n.issue_id in (
  select d.issue_id from group_news d where d.conversation_id = %(conversation)s and d.told_at is null
    and d.due_at <= %(now)s and not d.listed and not n.listed))
order by n.id limit 500 for update of n skip locked"""

# Where the call comes from, or the issue's ticket that has just ended by it: there it is told as the ticket's news.
_ORIGIN = """
select t.conversation_id from ticket t left join tracker_call c on c.workspace_id = t.workspace_id
  and c.ticket_id = t.id and c.id = %(call)s
where t.conversation_id is not null and (c.id is not null or (t.issue_id = %(issue)s and t.done_at = %(at)s))"""


class LinkSettings(BaseModel):
    """How a group hears of what it is linked with."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    mode: Literal["all", "first", "list", "none"] = "all"  # `first`: of an issue once; `list`: in a daily list
    bots: bool = False
    labels: tuple[str, ...] = ()  # only issues with one of them; none: all
    events: tuple[NewsEvent, ...] = ()  # only these; none: the usual ones
    quiet: Quiet = None  # hours in which this waits, beside those of the group itself
    budget: Annotated[int, Field(ge=1, le=MESSAGES_A_MINUTE)] = MESSAGES_A_MINUTE  # messages a minute

    @property
    def told(self) -> frozenset[NewsEvent]:
        """The events that are told."""
        return frozenset(self.events) or USUAL_EVENTS

    def wants(self, issue: IssueRow | None, event: NewsEvent | None, *, bot: bool) -> bool:
        if self.mode == "none" or (bot and not self.bots):
            return False
        if event is not None and event not in self.told:
            return False
        return issue is None or not self.labels or bool(set(self.labels) & set(issue.labels))


def event_of(kind: str) -> NewsEvent | None:
    """Which of the events that somebody may choose a piece of news is; None for what is told beside all of them."""
    if kind.startswith("review_"):
        return "reviewed"
    return _OF_KIND.get(kind) or next((one for one in _EVENTS if one == kind), None)


_CHANGES = {"labels": "labeled", "assignees": "assigned"}


async def note_change(tx: Transaction, event: IssueChanged) -> None:
    """An issue or a change was opened, closed or opened again. The chat of its ticket hears that as the ticket's."""
    if event.change not in TOLD_CHANGES or event.confidential:
        return
    issue = await access_issue(tx, event.issue_id)
    if event.change == "opened" and event.at - issue.created_at > NEW:
        return  # it was there before: somebody edited, labelled or locked it, which is how we know of it
    kind, text = _CHANGES.get(event.change, event.change), ""
    if event.change in _CHANGES:
        text = Texts("zh")("、").join(issue.labels if kind == "labeled" else issue.assignees)
        if not text:
            return
    if kind == "closed" and issue.reason in ("merged", "not_planned"):
        kind = issue.reason
    elsewhere = await tx.values(_ORIGIN, call=event.call_id or 0, issue=event.issue_id, at=event.at)
    elsewhere += await asked_from(tx, event.call_id)
    await _collect(
        tx,
        event.repository_id,
        issue,
        kind=kind,
        name=event.login or (issue.author if kind == "opened" else ""),
        bot=event.call_id is None and _is_bot(event.login, issue),
        text=text,
        url=issue.url,
        digest=f"change-{event.id}",
        besides=elsewhere,
        now=event.at,
    )


async def note_comment(tx: Transaction, event: IssueCommented) -> None:
    """Somebody commented; what we wrote ourselves is no news."""
    if event.ours or event.call_id is not None:
        return
    row = await access_comment(tx, event.comment_id)
    issue = await access_issue(tx, event.issue_id)
    await _collect(
        tx,
        event.repository_id,
        issue,
        kind="commented",
        name=row.author,
        bot=row.author_is_bot,
        text=row.body,
        url=row.url,
        digest=f"{COMMENT}{row.id}",
        now=event.at,
    )


async def follow_comment(tx: Transaction, event: IssueCommentChanged) -> None:
    """What waits to be told of the comment says what it says now, or is not told.

    What was told stays: a message in a group cannot be changed, and a line that something was deleted would only draw
    eyes to it. The address below it leads to the words of today.
    """
    digest = f"{COMMENT}{event.comment_id}"
    if event.change == "removed":
        await tx.run("delete from group_news where digest = %(digest)s and told_at is null", digest=digest)
        return
    row = await access_comment(tx, event.comment_id)
    await tx.run(
        "update group_news set text = %(text)s where digest = %(digest)s and told_at is null",
        text=clean(row.body)[:TEXT_CHARACTERS],
        digest=digest,
    )


async def note_resumed(tx: Transaction, event: MirroringResumed) -> None:
    """An issue that was paused is told again: how much nobody was told of."""
    if not event.missed:
        return
    issue = await access_issue(tx, event.issue_id)
    await _collect(
        tx,
        event.repository_id,
        issue,
        kind="missed",
        name="",
        bot=False,
        text=str(event.missed),
        url=issue.url,
        digest=f"missed-{event.id}",
        now=event.at,
    )


async def groups_of(tx: Transaction, repository_id: int) -> list[int]:
    """The groups that hear of a repository."""
    return [link.conversation_id for link in await links_to(tx, (await access_repository(tx, repository_id)).name)]


async def note_news(
    tx: Transaction, repository_id: int, issue_id: int | None, news: TrackerNews, *, now: datetime
) -> None:
    """What is no change of an issue's state; of a review its lines are counted only."""
    kind = _kind_of(news)
    if kind is None or news.actor.ours:
        return
    summary = news.summary
    await _collect(
        tx,
        repository_id,
        await access_issue(tx, issue_id) if issue_id is not None else None,
        kind=kind,
        name=news.actor.login,
        bot=news.actor.bot,
        text=str(next(filter(None, map(summary.get, ("name", "text", "title", "count"))), "")),
        url=str(summary.get("url") or ""),
        # Whoever takes a star back and gives it again does not bring the group the same number twice.
        digest=f"stars-{repository_id}-{summary.get('count')}" if kind == "starred" else news.digest,
        now=now,
    )


def _kind_of(news: TrackerNews) -> str | None:
    """What of these news a group may hear, None where it is nothing or is told otherwise."""
    match news.kind, news.action:
        case "review", action:
            return f"review_{action}"
        case "release", _:
            return "released"
        case "change", "ready_for_review":
            return "ready"
        case "discussion", "created" | "answered":
            return f"discussion_{news.action}"
        case "workflow", "failed":
            return "failed"
        case "stars", _ if _is_round(news.summary.get("count")):
            return "starred"
        case _:
            return None


def _is_round(count: object) -> bool:
    """10, 20, 50, 100 and so on: a number of stars that people celebrate."""
    return isinstance(count, int) and count >= 10 and str(count).rstrip("0") in ("1", "2", "5")


def _is_bot(login: str, issue: IssueRow) -> bool:
    return login.endswith("[bot]") or (login == issue.author and issue.author_is_bot)


async def _collect(
    tx: Transaction,
    repository_id: int,
    issue: IssueRow | None,
    *,
    kind: str,
    name: str,
    bot: bool,
    text: str,
    url: str,
    digest: str,
    besides: Sequence[int] = (),
    now: datetime,
) -> None:
    repository = await find_repository(tx, repository_id)
    if repository.removed_at is not None or repository.connection_id in await paused_connections(tx):
        return
    links = await links_to(tx, repository.name)
    if links and issue is not None and not await mirroring.admits(tx, repository_id, issue.id, now=now):
        return
    for link in links:
        wishes = LinkSettings.model_validate(link.settings)
        if link.conversation_id in besides or not wishes.wants(issue, event_of(kind), bot=bot):
            continue
        if wishes.mode == "first" and issue is not None and await _told_of(tx, link, issue.id):
            continue
        listed = wishes.mode == "list"
        await tx.run(
            _INSERT,
            workspace=tx.workspace_id,
            conversation=link.conversation_id,
            repository=repository_id,
            issue=issue.id if issue is not None else None,
            kind=kind,
            name=clean(name),
            text=clean(text)[:TEXT_CHARACTERS],
            url=url,
            digest=digest,
            listed=listed,
            at=now,
            due=await _due(tx, link.conversation_id, wishes, now),
        )


async def _told_of(tx: Transaction, link: RepositoryLink, issue_id: int) -> bool:
    sql = "select 1 from group_news where conversation_id = %(id)s and issue_id = %(issue)s limit 1"
    return bool(await tx.value(sql, id=link.conversation_id, issue=issue_id))


async def _due(tx: Transaction, conversation_id: int, wishes: LinkSettings, now: datetime) -> datetime:
    """When it is to be told: with the daily list, soon, or when the quiet hours of the link are over."""
    zone = ZoneInfo((await chat_of(tx, conversation_id)).policy.timezone)
    if wishes.mode == "list":
        return _next(now, LIST_HOUR * 60, zone)
    soon = now + GATHERED
    return _next(soon, wishes.quiet.end, zone) if wishes.quiet and is_within(wishes.quiet, soon, zone) else soon


def _next(now: datetime, minute: int, zone: ZoneInfo) -> datetime:
    """The next time that it is so many minutes after midnight there."""
    local = now.astimezone(zone)
    today = local.replace(hour=minute // 60 % 24, minute=minute % 60, second=0, microsecond=0)
    return today if today > local else today + timedelta(days=1)


# --------------------------------------------------------------------------------------------------------- telling


async def waiting_groups(tx: Transaction, *, now: datetime) -> list[tuple[int, int]]:
    """The groups for which something is due, each with its inbox."""
    ids = await tx.values(
        "select distinct conversation_id from group_news where told_at is null and due_at <= %(now)s", now=now
    )
    return [(id_, (await transitions.lock(tx, id_)).inbox_id) for id_ in ids]


async def tell(tx: Transaction, inbox: OpenInbox, conversation_id: int, *, now: datetime) -> int:
    """Say in a group what is due there, in as few messages as its budget allows. Returns how many.

    In its quiet hours it waits; where nothing may be said any more it is dropped.
    """
    state = await transitions.lock(tx, conversation_id)
    chat = await chat_of(tx, conversation_id)
    if chat.closed is None and chat.policy.is_quiet(now):
        return 0
    rows = await tx.objects(GroupNews, _DUE, conversation=conversation_id, now=now)
    closed = chat.closed is not None or allowance_of(state, inbox.channel.limits.reply_window).closed(now)
    most = min(
        (LinkSettings.model_validate(one.settings).budget for one in await links_of(tx, conversation_id)),
        default=MESSAGES_A_MINUTE,
    )
    messages = [] if closed else _messages(rows, Texts("zh"), most)
    for text, card, told in messages:
        result = await enqueue(
            tx,
            state,
            author=Author.TRACKER,
            actor=Actor("tracker"),
            text=text,
            key=key_for("group-news", conversation_id, told[0].id),
            limits=inbox.channel.limits,
            now=now,
            most=1,
            link=card if chat.policy.news_cards else None,
        )
        state = result.state
        message_id = result.messages[0].id if result.messages else None
        await _note_told(tx, told, message_id, now=now)
    if closed:
        await _note_told(tx, rows, None, now=now)
    return len(messages)


def _messages(rows: Sequence[GroupNews], texts: Texts, most: int) -> list[tuple[str, LinkCard | None, list[GroupNews]]]:
    """What is said, as a card where it leads to one place, with the news that each message tells: so many messages at
    most."""
    by_issue: dict[object, list[GroupNews]] = {}
    listed = [row for row in rows if row.listed]
    for row in rows:
        if not row.listed:
            by_issue.setdefault(row.issue_id or f"news {row.id}", []).append(row)
    pieces = list(by_issue.values())
    room = most - (1 if listed or len(pieces) > most else 0)
    said: list[tuple[str, LinkCard | None, list[GroupNews]]]
    said = [(issue_words(one, texts), issue_card(one, texts), one) for one in pieces[:room]]
    rest = [*(row for one in pieces[room:] for row in one), *listed]
    return [*said, (list_words(rest, texts), None, rest)] if rest else said


async def _note_told(tx: Transaction, rows: Sequence[GroupNews], message_id: int | None, *, now: datetime) -> None:
    await tx.run(
        "update group_news set told_at = %(now)s, message_id = %(message)s where id = any(%(ids)s::bigint[])",
        now=now,
        message=message_id,
        ids=[row.id for row in rows],
    )

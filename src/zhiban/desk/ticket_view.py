"""What the pages show of tickets: names instead of ids, days in words, what it went through as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from zhiban.conversations.labels import Label, labels
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark
from zhiban.people.agents import agent_rows
from zhiban.people.models import Role
from zhiban.tickets.issues import access_issue
from zhiban.tickets.models import Ticket, TicketState, TrackerState
from zhiban.tickets.naming import reference
from zhiban.tickets.queries import SOON, TicketFact, comment_counts
from zhiban.tickets.repositories import RepositoryRow, repositories

STATE_WORDS: Mapping[str, str] = {
    "open": mark("待处理"),
    "in_progress": mark("处理中"),
    "waiting": mark("等对方"),
    "done": mark("已完成"),
    "cancelled": mark("已取消"),
}
STATE_TONES: Mapping[str, str] = {
    "open": "pending",
    "in_progress": "open",
    "waiting": "snoozed",
    "done": "resolved",
    "cancelled": "line",
}
UNUSABLE_WORDS: Mapping[str, str] = {
    "recalled": mark("撤回的不计入"),
    "unquoted": mark("对方要求不被引用"),
    "command": mark("命令本身不计入"),
}
PUBLISH_WORDS: Mapping[str, str] = {
    "waiting": mark("正在准备"),
    "published": mark("谁拿到链接都能看"),
    "refused": mark("没有公开"),
    "withdrawn": mark("已撤下"),
}
_CHANGES: Mapping[str, str] = {
    "title": mark("改了标题"),
    "priority": mark("改了优先级"),
    "labels": mark("改了标签"),
    "repository": mark("换了仓库"),
}


@frozen_dataclass
class TrackerTie:
    """How it stands with the tracker: `state` is ok, wait or failed; `url` leads to the issue."""

    state: str
    words: str
    url: str = ""


@frozen_dataclass
class TicketLine:
    """A ticket in a list or on the board."""

    ticket: Ticket
    owner: str
    labels: tuple[Label, ...]
    due: str
    due_tone: str
    tie: TrackerTie | None
    comments: int = 0


@frozen_dataclass
class TicketNames:
    """Who and what there is, by id; read once for a page."""

    agents: Mapping[int, str]
    assignable: tuple[tuple[int, str], ...]
    labels: tuple[Label, ...]
    repositories: Mapping[int, RepositoryRow]


async def ticket_names(tx: Transaction) -> TicketNames:
    people = await agent_rows(tx)
    return TicketNames(
        {one.id: one.name for one in people},
        tuple((one.id, one.name) for one in people if one.disabled_at is None and one.role != Role.READ_ONLY),
        await labels(tx),
        {row.id: row for row in await repositories(tx)},
    )


async def ticket_lines(
    tx: Transaction, tickets: Sequence[Ticket], names: TicketNames, texts: Texts, *, now: datetime
) -> list[TicketLine]:
    said = await comment_counts(tx, [ticket.id for ticket in tickets])
    return [await ticket_line(tx, one, names, texts, now=now, comments=said.get(one.id, 0)) for one in tickets]


async def ticket_line(
    tx: Transaction, ticket: Ticket, names: TicketNames, texts: Texts, *, now: datetime, comments: int = 0
) -> TicketLine:
    due, tone = due_words(ticket, texts, now=now)
    return TicketLine(
        ticket,
        names.agents.get(ticket.owner_id or 0, ""),
        tuple(label for label in names.labels if label.id in ticket.labels),
        due,
        tone,
        await tracker_tie(tx, ticket, names, texts),
        comments,
    )


def due_words(ticket: Ticket, texts: Texts, *, now: datetime) -> tuple[str, str]:
    """When it is due, and whether that is soon or late."""
    if ticket.over:
        return (texts.when(ticket.done_at, now) if ticket.done_at is not None else "", "")
    if ticket.due_at is None:
        return "", ""
    if ticket.due_at <= now:
        late = now - ticket.due_at
        days = late // timedelta(days=1)
        return (texts("超了{n}天", n=days) if days else texts("超了{time}", time=texts.span(late))), "late"
    return texts.due(ticket.due_at, now), "soon" if ticket.due_at - now <= SOON else ""


async def tracker_tie(tx: Transaction, ticket: Ticket, names: TicketNames, texts: Texts) -> TrackerTie | None:
    match ticket.tracker_state:
        case TrackerState.WAITING:
            return TrackerTie("wait", texts("正在同步"))
        case TrackerState.REFUSED:
            return TrackerTie("failed", ticket.problem_words(texts))
        case TrackerState.OPENED if ticket.issue_id is not None:
            try:
                issue = await access_issue(tx, ticket.issue_id)
            except NotFound:
                return None
            repository = names.repositories.get(issue.repository_id)
            return TrackerTie(
                "ok", f"{repository.name if repository else ''} {reference(issue.number, issue.url)}".strip(), issue.url
            )
        case _:
            return None


def history_words(fact: TicketFact, names: TicketNames, texts: Texts, *, now: datetime) -> str:
    """What happened, in one sentence; empty for what stands on the page itself."""
    match fact.kind:
        case "ticket_opened":
            return texts("开了工单")
        case "ticket_changed":
            return _changed(fact.data, names, texts, now=now)
        case "ticket_messages_added":
            return texts("加了{n}条消息", n=fact.data.get("messages", 0))
        case "ticket_undone":
            return texts("撤销了工单，清空了原话")
        case "file_published":
            return texts("公开了一个文件")
        case "file_withdrawn":
            return texts("撤下了一个文件")
        case "ticket_linked":
            return texts("关联了一个会话")
        case "ticket_unlinked":
            return texts("取消关联了一个会话")
        case _:
            return ""


def _changed(data: Mapping[str, Any], names: TicketNames, texts: Texts, *, now: datetime) -> str:
    change, after = str(data.get("change")), data.get("after")
    match change:
        case "state":
            return texts("改为{state}", state=texts(STATE_WORDS[TicketState(str(after)).value]))
        case "owner" if isinstance(after, int):
            return texts("交给{name}", name=names.agents.get(after, ""))
        case "owner":
            return texts("不再有人负责")
        case "due" if isinstance(after, str):
            return texts("期限定为{when}", when=texts.due(datetime.fromisoformat(after), now))
        case "due":
            return texts("去掉了期限")
        case "issue":
            return texts("建了议题")
        case "tracker" if after == TrackerState.REFUSED:
            return texts("没能建成议题")
        case _:
            return texts(_CHANGES[change]) if change in _CHANGES else ""


def actor_words(fact: TicketFact, names: TicketNames, texts: Texts) -> str:
    """Who did it."""
    match fact.actor_kind:
        case "agent":
            return names.agents.get(fact.actor_id or 0, texts("同事"))
        case "contact":
            return texts("联系人")
        case "tracker":
            return fact.actor_ref or texts("仓库")
        case "rule":
            return texts("规则")
        case "api":
            return fact.actor_ref or texts("接口")
        case _:
            return texts("值班助手")

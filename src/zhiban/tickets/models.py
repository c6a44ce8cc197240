"""Tickets and what belongs to them, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from enum import StrEnum
from zoneinfo import ZoneInfo

from zhiban.conversations.models import Priority
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark
from zhiban.tickets.frozen import FrozenLine


class TicketState(StrEnum):
    """Where a promise stands. `waiting`: for whoever asked, to answer something."""

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    WAITING = "waiting"
    DONE = "done"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        return self in (TicketState.DONE, TicketState.CANCELLED)


PROBLEMS = {
    "moved": mark("仓库搬走了。"),
    "not_found": mark("找不到这个仓库，或者那边没有给我们权限。"),
    "issues_disabled": mark("这个仓库关掉了议题。"),
    "gone": mark("那条议题已经不在了。"),
    "locked": mark("那条议题锁住了，不能再写。"),
    "invalid": mark("那边没有接受这份内容。"),
    "forbidden": mark("那边不让我们写。"),
    "revoked": mark("您在那边的账号现在不能用，没有替您改；要用自己的账号，请再说一次“绑定账号”。"),
    "unreachable": mark("一整天都没能连上那边。"),
    "unsupported": mark("那边没有这个功能。"),
    "accident": mark("我们这边出了错，试了多次都没有成功。"),
}

UNFINISHED = tuple(state for state in TicketState if not state.over)


class TrackerState(StrEnum):
    """What became of a ticket at the tracker."""

    NONE = ""  # it is to stay here
    WAITING = "waiting"  # for the tracker to take the issue
    OPENED = "opened"
    REFUSED = "refused"


class Audience(StrEnum):
    """Who reads a comment besides our own people."""

    DESK = "desk"
    ISSUE = "issue"  # it came from the issue, or is written there


class DueWithin(StrEnum):
    """How near the day of a ticket is, as lists ask for it."""

    LATE = "late"
    SOON = "soon"
    NONE = "none"


EVENING = time(18)  # when a day that was named ends
_DAYS = (date(2000, 1, 1), date(2999, 12, 31))  # what else is written is a slip, and dates near year 9999 overflow


def evening_of(day: date | None, zone: ZoneInfo) -> datetime | None:
    """When a ticket of that day is due. Raises Conflict for days of other ages."""
    if day is None:
        return None
    if not _DAYS[0] <= day <= _DAYS[1]:
        raise Conflict(mark("A day lies between 2000-01-01 and 2999-12-31."))
    return datetime.combine(day, EVENING, tzinfo=zone)


@frozen_dataclass
class Ticket:
    """A promise. `number` is what people call it; `inbox_id` whose agents see it, None for all.

    `dropped_labels` and `dropped_assignees` are what the tracker silently left out; `problem` why it refused, a key of
    PROBLEMS or a sentence.
    """

    id: int
    number: int
    title: str
    summary: str
    note: str
    state: TicketState
    priority: Priority
    owner_id: int | None
    due_at: datetime | None
    labels: tuple[int, ...]
    conversation_id: int | None
    inbox_id: int | None
    requester_contact_id: int | None
    requester: str
    signature: str
    repository_id: int | None
    issue_id: int | None
    tracker_state: TrackerState
    problem: str
    dropped_labels: tuple[str, ...]
    dropped_assignees: tuple[str, ...]
    created_at: datetime
    changed_at: datetime
    done_at: datetime | None

    @property
    def over(self) -> bool:
        return self.state.over

    def problem_words(self, texts: Texts) -> str:
        """Why the tracker refused, for people."""
        known = PROBLEMS.get(self.problem)
        return texts(known) if known else texts.error(self.problem)

    def is_late(self, now: datetime) -> bool:
        return self.due_at is not None and not self.over and self.due_at <= now


@frozen_dataclass
class NewTicket:
    """What a ticket begins with. `lines` are the messages it is about, frozen."""

    title: str
    lines: Sequence[FrozenLine] = ()
    summary: str = ""
    note: str = ""
    priority: Priority = Priority.NONE
    owner_id: int | None = None
    due_at: datetime | None = None
    labels: tuple[int, ...] = ()
    conversation_id: int | None = None
    inbox_id: int | None = None
    requester_contact_id: int | None = None
    requester: str = ""
    signature: str = "alias"
    repository_id: int | None = None


@frozen_dataclass
class TicketMessage:
    """A message of a ticket as it was frozen; empty once it was recalled. `joined`: put to it after it was opened."""

    message_id: int
    conversation_id: int
    contact_id: int | None
    speaker: str
    name: str
    alias: str
    sent_at: datetime
    text: str
    quoted_name: str
    quoted: str
    recalled_at: datetime | None
    joined: bool

    @property
    def line(self) -> FrozenLine:
        return FrozenLine(
            self.message_id,
            self.speaker,
            self.name,
            self.alias,
            self.sent_at,
            self.text,
            self.quoted_name,
            self.quoted,
            self.recalled_at is not None,
            self.contact_id,
        )


@frozen_dataclass
class TicketComment:
    """What somebody said about a ticket. `name` of the agent, contact or login who did."""

    id: int
    author_kind: str
    agent_id: int | None
    contact_id: int | None
    name: str
    audience: Audience
    text: str
    url: str
    created_at: datetime

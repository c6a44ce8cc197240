"""What single agents are told, and the ways by which each wants to hear of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark


class NotificationKind(StrEnum):
    """Why an agent is told."""

    ASSIGNED = "assigned"  # somebody or something gave them a conversation
    MENTIONED = "mentioned"  # a colleague wrote @name in a note
    WAITING = "waiting"  # a contact of theirs has waited too long
    UNASSIGNED = "unassigned"  # a contact waits too long whom nobody has taken
    FOLLOWED = "followed"  # something happened in a conversation that they follow
    RULE = "rule"  # a rule or a macro says so
    TRACKER = "tracker"  # something about where issues live that whoever runs this has to know
    TICKET = "ticket"  # a ticket of theirs, or one that they watch
    CONNECTION = "connection"  # a channel or a tracker fell silent, or a group put us out: who runs this has to mend it


class Way(StrEnum):
    """How an agent hears of it."""

    PAGE = "page"  # in the list behind the bell, counted
    BROWSER = "browser"  # a notification of the browser, while another window is in front
    SOUND = "sound"
    PERSONAL = "personal"  # where they are reached without the desk


KIND_LABELS: Mapping[NotificationKind, str] = {
    NotificationKind.ASSIGNED: mark("会话分给我"),
    NotificationKind.MENTIONED: mark("备注里提到我"),
    NotificationKind.WAITING: mark("对方等太久"),
    NotificationKind.UNASSIGNED: mark("没人接的在等"),
    NotificationKind.FOLLOWED: mark("关注的会话有动静"),
    NotificationKind.RULE: mark("规则提醒我"),
    NotificationKind.TRACKER: mark("群和议题之间有要管的事"),
    NotificationKind.TICKET: mark("我的工单有动静，或快到期"),
    NotificationKind.CONNECTION: mark("渠道或工单系统断了，或我们被移出群"),
}
WAY_LABELS: Mapping[Way, str] = {
    Way.PAGE: mark("页面里"),
    Way.BROWSER: mark("浏览器通知"),
    Way.SOUND: mark("声音"),
    Way.PERSONAL: mark("个人渠道"),
}

_USUAL = (Way.PAGE, Way.BROWSER, Way.SOUND)
DEFAULT_WAYS: Mapping[NotificationKind, tuple[Way, ...]] = {
    **dict.fromkeys(NotificationKind, _USUAL),
    # What concerns several at once, or nobody at once, makes no sound until somebody wants one.
    **dict.fromkeys((NotificationKind.FOLLOWED, NotificationKind.UNASSIGNED), (Way.PAGE, Way.BROWSER)),
}
WAITING_MINUTES = 10
LONGEST_WAITING = 24 * 60


@frozen_dataclass
class NotificationSettings:
    """What one agent chose. `address`: how they are reached without the desk; empty: they are not.

    `waiting_minutes`: after how long a contact has waited too long. `trouble`: why the address did not take the last
    word, empty where it did.
    """

    ways: Mapping[NotificationKind, tuple[Way, ...]]
    address: str = ""
    waiting_minutes: int = WAITING_MINUTES
    trouble: str = ""


@frozen_dataclass
class NotificationRow:
    """A notification as its agent sees it. `who`: the agent or the program who brought it about; `actor_ref`: the name
    of a rule.

    It is about a conversation, about a ticket, which may have none, or about a connection.
    """

    id: int
    kind: str
    key: str
    conversation_id: int | None
    ticket_id: int | None
    connection_id: int | None
    contact: str
    inbox: str
    who: str | None
    actor_kind: str
    actor_ref: str | None
    text: str
    ways: list[str]
    created_at: datetime
    read_at: datetime | None

    @property
    def path(self) -> str:
        """Where it is looked at."""
        if self.ticket_id is not None:
            return f"/tickets/{self.ticket_id}"
        if self.connection_id is not None:
            return f"/settings/{'trackers' if self.key.startswith('tracker') else 'connections'}/{self.connection_id}"
        return f"/conversations/{self.conversation_id}"

"""Rules that act because time has passed: since when, and for how long. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from zhiban.automation.condition_fields import StatusName
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.wording import RuleWording
from zhiban.conversations.models import ConversationState, Status
from zhiban.events import (
    ConversationAssigned,
    ConversationCreated,
    ConversationEvent,
    MessageReceived,
    ReplyQueued,
    StatusChanged,
)
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark

TIME_PASSED = "time_passed"
DelayKind = Literal["no_reply_from_us", "no_reply_from_contact", "status", "assignee_offline", "agent_available"]
_TALKING = (Status.PENDING, Status.OPEN)
_OF_AGENTS = ("assignee_offline", "agent_available")


@frozen_dataclass
class Wait:
    """What is waited through: it began at `since`, which also tells one wait from the next; `counts_from` a moment."""

    since: datetime
    counts_from: datetime


@rule_part
class TimePassed(RulePart):
    """Nobody of ours has answered, the contact has not, or a status has lasted, for so many minutes.

    Or a contact waits, and their agent has been offline, or an agent who could answer has come online, for as long:
    only the latter may be nothing at all.
    """

    what: DelayKind
    minutes: Annotated[float, Field(ge=0, le=60 * 24 * 90)]
    status: StatusName = "open"

    def __post_init__(self) -> None:
        if not self.minutes and self.what != "agent_available":
            raise ValueError(mark("It does not say for how long."))

    @property
    def span(self) -> timedelta:
        return timedelta(minutes=self.minutes)

    @property
    def of_agents(self) -> bool:
        """Whether it begins with somebody of ours coming or going."""
        return self.what in _OF_AGENTS

    def listens(self, event: ConversationEvent) -> bool:
        """Whether a wait may begin or end with this fact."""
        if self.what == "agent_available":
            return False
        if self.what == "assignee_offline" and isinstance(event, ConversationAssigned):
            return True
        messages = isinstance(event, MessageReceived | ReplyQueued) and self.what != "status"
        return messages or isinstance(event, StatusChanged | ConversationCreated)

    def wait(
        self,
        state: ConversationState,
        *,
        status_since: datetime | None = None,
        agent_since: datetime | None = None,
    ) -> Wait | None:
        """What is waited through in this state; None: nothing.

        `status_since` is when the status began, `agent_since` since when the assignee has been offline and had it, or
        when an agent came who could answer; both where they are known.
        """
        match self.what:
            case "assignee_offline" | "agent_available":
                waits = state.waiting_since if state.status is Status.OPEN else None
                if waits is None or agent_since is None:
                    return None
                # Once for each time that an agent goes or comes while somebody waits.
                since = max(waits, agent_since)
                return Wait(since, since)
            case "status":
                known = status_since is not None and state.status.value == self.status
                return Wait(status_since, status_since) if known and status_since is not None else None
            case "no_reply_from_us":
                waits = state.waiting_since if state.status in _TALKING else None
                return None if waits is None else Wait(waits, waits)
            case "no_reply_from_contact":
                said, heard = state.last_activity_at, state.last_incoming_at
                if state.status not in _TALKING or state.waiting_since is not None:
                    return None
                if said is None or heard is None or said < heard:
                    return None
                # Once for each time the contact fell silent: our own reminders begin no new wait.
                return Wait(heard, said)

    def label(self, words: RuleWording) -> str:
        span = words.span(self.minutes)
        match self.what:
            case "status":
                return words.texts("会话{status}超过{span}", status=words.statuses((self.status,)), span=span)
            case "no_reply_from_us":
                return words.texts("超过{span}没有回复对方", span=span)
            case "no_reply_from_contact":
                return words.texts("对方超过{span}没有回复", span=span)
            case "assignee_offline":
                return words.texts("处理人离线超过{span}而对方在等", span=span)
            case "agent_available":
                if not self.minutes:
                    return words.texts("有同事上线而对方在等")
                return words.texts("有同事上线{span}而对方还在等", span=span)


SKIPPED_LABELS = {
    "off": mark("规则当时已停用"),
    "conditions": mark("到时间时条件不成立"),
    "expired": mark("过了时间太久，没有再执行"),
}

"""What follows from what people do in one conversation, said without events: an oracle for `test_kernel_property`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from zhiban.conversations.list_models import Queue, StatusTab
from zhiban.conversations.lists import conversation_list
from zhiban.kit.db import Transaction
from zhiban.people.models import Role
from zhiban.people.permissions import Access

LATE = timedelta(hours=2)  # how old a message of "writes late" is


class Expected:
    """One conversation as whoever watches the people would tell it.

    A contact waits from the first message that nobody has answered; who is handed over waits whatever they were told
    before. A person answers by writing. What is done waits for nobody, and goes on as a new piece of work, in which
    nobody has answered yet. What blocked contacts write calls nobody.
    """

    def __init__(self, agents: Iterable[int]) -> None:
        self.unread = dict.fromkeys(agents, 0)
        self.status = ""
        self.waiting_since: datetime | None = None
        self.first_reply_at: datetime | None = None
        self._blocked = False
        self._wrote_last: datetime | None = None
        self._when_resolved: tuple[str, datetime | None] = ("", None)

    def take(self, what: str, agent: int, now: datetime) -> None:
        """Somebody did this, and was not refused."""
        match what:
            case "writes" | "writes late":
                late = what == "writes late"
                self._writes(now - LATE if late else now, messages=1 if late else 2, late=late)
            case "servicer writes":
                if self._blocked:
                    self._end()
                else:
                    self._open()
                self._answered(now)
            case "reply":
                self._open()
                self._answered(now)
            case "hand off" if self.status == "pending":
                self.status = "open"
                self.waiting_since = self.waiting_since or self._wrote_last or now
            case "take" | "reopen":
                self._open()
            case "assign" if self.status == "pending":
                self._open()
            case "resolve" | "block":
                self._blocked = self._blocked or what == "block"
                self._end()
            case "unblock":
                self._blocked = False
            case "undo":
                self.status, self.waiting_since = self._when_resolved
            case "reads":
                self.unread[agent] = 0
            case _:
                pass

    def _writes(self, at: datetime, *, messages: int, late: bool) -> None:
        for agent in self.unread:
            self.unread[agent] += messages
        self._wrote_last = max(at, self._wrote_last or at)
        if self._blocked:
            self._end()
            return
        self._goes_on("open" if late else "pending")
        if late:
            self._open()
        self.waiting_since = self.waiting_since or at

    def _answered(self, now: datetime) -> None:
        self.waiting_since = None
        self.first_reply_at = self.first_reply_at or now

    def _open(self) -> None:
        self._goes_on("open")
        self.status = "open"

    def _goes_on(self, status: str) -> None:
        if self.status in ("", "resolved"):
            self.status, self.first_reply_at = status, None

    def _end(self) -> None:
        if self.status != "resolved":
            self._when_resolved = (self.status, self.waiting_since)
            self.status, self.waiting_since = "resolved", None


async def unread_of(tx: Transaction, agent_id: int, conversation_id: int) -> int:
    """What the list of the desk tells this agent that they have not read."""
    for queue, tab in (
        (Queue.ALL, StatusTab.OPEN),
        (Queue.ASSISTANT, StatusTab.OPEN),
        (Queue.ALL, StatusTab.RESOLVED),
    ):
        found = await conversation_list(tx, Access(agent_id, Role.AGENT), queue=queue, tab=tab, limit=10_000)
        for row in (*found.waiting, *found.rest):
            if row.id == conversation_id:
                return row.unread
    raise AssertionError("no list of the desk has the conversation")

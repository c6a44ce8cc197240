"""Where people write, whose turn it is, and the state of one conversation."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

from zhiban.kit.frozen_dataclass import frozen_dataclass


class Status(StrEnum):
    """Whose turn it is: the assistant's, a person's, nobody's for a while, or over."""

    PENDING = "pending"
    OPEN = "open"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"


class Author(StrEnum):
    """Who wrote a message."""

    CONTACT = "contact"
    ASSISTANT = "assistant"
    AGENT = "agent"
    SERVICER = "servicer"  # a person of ours who wrote in the vendor's own client
    RULE = "rule"
    CAMPAIGN = "campaign"
    FLOW = "flow"
    TRACKER = "tracker"
    API = "api"
    SYSTEM = "system"


PEOPLE = frozenset({Author.AGENT, Author.SERVICER})
PROGRAMS = frozenset({Author.ASSISTANT, Author.FLOW})  # what talks with contacts by itself


class Priority(IntEnum):
    """How much a conversation matters; the highest is shown first, none last."""

    NONE = 0
    LOW = 1
    NORMAL = 2
    HIGH = 3
    URGENT = 4


class MessageState(StrEnum):
    """Where a message stands: incoming ones wait and are handled, outgoing ones are queued until the vendor decides."""

    PENDING = "pending"  # of a contact, for the assistant to look at
    HANDLED = "handled"
    QUEUED = "queued"  # of ours, to be sent
    SENT = "sent"
    FAILED = "failed"
    DROPPED = "dropped"  # of the assistant, void before it was sent
    STORED = "stored"  # needs nothing: notes, activities, what a servicer wrote


@frozen_dataclass
class ConversationState:
    """The business columns of one conversation. Written by `transitions` only; every change has its event."""

    id: int
    inbox_id: int
    contact_id: int | None
    thread: str  # the vendor's name for it
    status: Status
    assignee_id: int | None = None
    team_id: int | None = None
    priority: int = Priority.NONE
    labels: tuple[int, ...] = ()  # ids, ascending
    muted: bool = False
    handoff_reason: str | None = None
    waiting_since: datetime | None = None  # since when the contact waits for a reply
    first_reply_at: datetime | None = None  # the first by a person in this cycle
    opened_at: datetime | None = None
    resolved_at: datetime | None = None  # the last time, also while it goes on
    resolver_id: int | None = None  # the agent who resolved it, while it is resolved
    snoozed_until: datetime | None = None
    cycle: int = 1  # grows when a resolved conversation goes on
    last_activity_at: datetime | None = None
    last_incoming_at: datetime | None = None
    replies_used: int = 0  # since the contact last wrote
    failures: int = 0  # of the assistant, in a row
    native_state: str | None = None
    native_servicer: str | None = None
    is_group: bool = False  # of a chat with many members, who are its participants; then it is with no contact
    subject: str = ""  # what a group is called
    attributes: tuple[tuple[str, str], ...] = ()  # what is filled in, by the names of fields, in their order
    flow_run_id: int | None = None  # the run of a flow that answers here, only while it is the assistant's

    def about(self) -> dict[str, Any]:
        """What every fact about this conversation says of it."""
        return {
            "conversation_id": self.id,
            "inbox_id": self.inbox_id,
            "contact_id": self.contact_id,
            "cycle": self.cycle,
            "assignee_id": self.assignee_id,
            "team_id": self.team_id,
        }

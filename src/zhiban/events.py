"""Everything that can happen, in the past tense. Each is a row of the event log, written with the change itself.

Events carry ids and a cause, never objects. Reports, live updates, rules and audit read this one log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

ActorKind = Literal["contact", "assistant", "agent", "servicer", "rule", "api", "timer", "system"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who brought something about."""

    kind: ActorKind
    id: int | None = None


ASSISTANT = Actor("assistant")
SYSTEM = Actor("system")
TIMER = Actor("timer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fact. `cause` names what led to it: a rule, a timer, a vendor's event, a reason word."""

    actor: Actor
    at: datetime
    cause: str = ""
    conversation_id: int | None = None
    message_id: int | None = None
    contact_id: int | None = None
    inbox_id: int | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None

    @property
    def kind(self) -> str:
        return _KINDS[type(self)]


class MessageReceived(Event):
    """A contact, a group member or a servicer wrote something."""


class MessageRecalled(Event):
    """Somebody took a message back."""


class ReplyQueued(Event):
    """A message of ours was stored and waits to be sent."""


class MessageSent(Event):
    """The channel took our message."""


class MessageFailed(Event):
    """Our message will not reach the contact; `cause` is the reason word."""


class MessageDropped(Event):
    """A draft of the assistant was thrown away, because a person or a newer message came first."""


class NoteAdded(Event):
    """An agent wrote something for colleagues only."""


class ConversationCreated(Event):
    """Somebody wrote for the first time in this inbox."""


class ConversationHandedOff(Event):
    """The assistant gave the conversation to people; `cause` is the reason word."""


class ConversationOpened(Event):
    """The conversation needs a person."""


class ConversationReturned(Event):
    """A person gave the conversation back to the assistant."""


class ConversationResolved(Event):
    """Done, until the contact writes again."""


class ConversationReopened(Event):
    """The contact wrote again after it was resolved or snoozed."""


class ConversationSnoozed(Event):
    """Out of sight until a time."""


class ConversationAssigned(Event):
    """The assignee changed; before and after hold agent ids."""


class ContactEntered(Event):
    """A contact opened the chat; `after` holds scene and scene_param as data."""


class NativeSessionChanged(Event):
    """The session changed hands in the vendor's own view."""


class RelationAdded(Event):
    """A contact and a member of ours became friends."""


class RelationEnded(Event):
    """A contact or a member of ours ended their relation, or a transfer failed."""


class AccountsAssigned(Event):
    """The vendor gave us accounts or took them away."""


class InboxConfigured(Event):
    """How an inbox behaves was changed; before and after hold its policy."""


class CardActionReceived(Event):
    """One of our people tapped a button on a card we sent."""


class VendorEventReceived(Event):
    """Anything else the vendor told us; `cause` is its name for it."""


_KINDS: dict[type[Event], str] = {
    cls: re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower() for cls in Event.__subclasses__()
}

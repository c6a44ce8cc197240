"""What a rule sees when it is asked: plain values, so that conditions are decided without touching anything."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from zhiban.channels.business_hours import Hours, hours_of, is_open
from zhiban.conversations.facts import ContactFacts, ConversationFacts, MessageFacts
from zhiban.conversations.models import ConversationState
from zhiban.events import Event
from zhiban.kit.frozen_dataclass import frozen_dataclass


@frozen_dataclass
class AgentFacts:
    """Who is there: what others see of each agent who may answer in the inbox, and what the assignee has in hand."""

    availabilities: Mapping[int, str]
    previous_assignee: int | None = None  # who had the conversation last, other than who has it now
    assignee_open: int | None = 0  # None: nobody knows any more

    @property
    def online(self) -> int:
        return sum(status == "online" for status in self.availabilities.values())

    def availability_of(self, agent_id: int | None) -> str | None:
        """online, busy or offline; offline for one who may not answer here (any more); None for nobody."""
        return None if agent_id is None else self.availabilities.get(agent_id, "offline")


@frozen_dataclass
class RuleFacts:
    """The moment, the conversation as it is now, and what has just happened.

    `event` is None where only time has passed, `agents` and `contact_labels` where no condition asks for them.
    """

    now: datetime
    conversation: ConversationFacts
    event: Event | None = None
    agents: AgentFacts | None = None
    contact_labels: tuple[int, ...] | None = None

    @property
    def state(self) -> ConversationState:
        return self.conversation.state

    @property
    def message(self) -> MessageFacts | None:
        return self.conversation.message

    @property
    def contact(self) -> ContactFacts:
        return self.conversation.contact

    @property
    def minutes_waited(self) -> float | None:
        """How long the contact has waited for a reply; None when they do not."""
        since = self.state.waiting_since
        return None if since is None else (self.now - since).total_seconds() / 60

    @property
    def in_business_hours(self) -> bool:
        """Whether people are there: of the team where it has hours of its own, else as the inbox's policy says."""
        inbox = Hours.model_validate(self.conversation.policy.get("hours") or {})
        return is_open(hours_of(self.conversation.team_hours, inbox), self.now)

    def stored(self) -> Mapping[str, Any]:
        """What a run keeps of it."""
        state = self.state
        kept = {
            "status": state.status.value,
            "assignee": state.assignee_id,
            "team": state.team_id,
            "priority": int(state.priority),
            "labels": list(state.labels),
            "inbox": state.inbox_id,
            "waiting_since": state.waiting_since,
            "message": self.message.id if self.message else None,
            "event": self.event.kind() if self.event else None,
            "actor": self.event.actor.kind if self.event else None,
            "cause": self.event.cause.kind if self.event else None,
            "cause_id": self.event.cause.id if self.event else None,
        }
        return {name: value for name, value in kept.items() if value not in (None, "", [])}

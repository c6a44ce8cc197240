"""What can happen to flows, and to conversations because of them. What was answered stands in the runs. Part of
`events`.
"""

from __future__ import annotations

from zhiban.event_base import ConversationEvent, Event


class FlowAdded(Event):
    """A flow was made; whether it may be started says `enabled`."""

    flow_id: int
    name: str
    enabled: bool = False


class FlowChanged(Event):
    """Name, definition or switch: the names of what changed, with their values before and after."""

    flow_id: int
    name: str  # by now
    revision: int
    before: dict[str, object]
    after: dict[str, object]


class FlowRemoved(Event):
    """The flow is gone; what it asked stays."""

    flow_id: int
    name: str


class FlowStarted(ConversationEvent):
    """From now on a flow answers what the contact writes; `run_id` is this time."""

    flow_id: int
    run_id: int
    name: str


class FlowEnded(ConversationEvent):
    """The flow answers no more. `outcome` is a stable word; interrupted: the conversation left the assistant's hands.

    `name` is the flow's, empty where it was interrupted.
    """

    run_id: int
    outcome: str
    name: str = ""

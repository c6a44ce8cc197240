"""What comes of a decision about a conversation: its new state, the facts, and what is to be done besides."""

from __future__ import annotations

from zhiban.conversations.models import ConversationState
from zhiban.events import ConversationEvent
from zhiban.kit.frozen_dataclass import frozen_dataclass


@frozen_dataclass
class Effects:
    """What is to be done besides the row: about messages, and about the worker.

    `wake`: something waits to be answered or sent. `cancel_assistant`: its unsent words are void, and what waited for
    it is people's. `handled`: messages that the assistant need not look at. `requeue`: what the contact asked since a
    person last answered waits for the assistant again. `heard`: whatever waited for the assistant needs no answer.
    """

    wake: bool = False
    cancel_assistant: bool = False
    handled: tuple[int, ...] = ()
    requeue: bool = False
    heard: bool = False


NO_EFFECTS = Effects()


@frozen_dataclass
class Decision:
    """What a change means. Without events nothing changes."""

    state: ConversationState
    events: tuple[ConversationEvent, ...] = ()
    effects: Effects = NO_EFFECTS

"""What whoever answers is given, and what it must offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from zhiban.channels.connections import OpenInbox
from zhiban.conversations import transitions
from zhiban.conversations.models import ConversationState
from zhiban.conversations.outbox import QueuedMessage
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass


@frozen_dataclass
class PendingMessage:
    """A message of the contact that nobody answered yet."""

    id: int
    external_id: str
    kind: str
    text: str
    choice: str | None
    content: Mapping[str, Any]
    sent_at: datetime


@dataclass(slots=True)
class ConversationSnapshot:
    """A conversation as its worker loaded it, with what waits in it."""

    workspace_id: int
    inbox: OpenInbox
    state: ConversationState
    contact_name: str
    pending: list[PendingMessage] = field(default_factory=list)
    queued: list[QueuedMessage] = field(default_factory=list)
    revision: int = 0
    process_id: int = 0
    strict: bool = True  # whether anything new makes this turn void
    stored: bool = False  # set by the turn when it stores its outcome: what changes then is the turn itself

    @property
    def id(self) -> int:
        return self.state.id

    async def lock_if_ours(self, tx: Transaction) -> ConversationState | None:
        """Lock the conversation; None when the answer may not be stored any more.

        That is when another process took over, when people have the conversation, or (strict) when anything new came.
        """
        return await transitions.lock_leased(
            tx, self.id, process_id=self.process_id, revision=self.revision if self.strict else None
        )


class Responder(Protocol):
    """Whoever answers."""

    async def prepare(self, tx: Transaction, snapshot: ConversationSnapshot) -> object:
        """What is to be known before answering, read in the worker's own transaction."""
        ...

    async def respond(self, snapshot: ConversationSnapshot, prepared: object) -> None:
        """Decide and store. What is to be sent at once is put into `queued`, with `revision` brought up."""
        ...

    def fallback_text(self, snapshot: ConversationSnapshot) -> str:
        """What the contact is told when answering fails again and again. Touches nothing."""
        ...

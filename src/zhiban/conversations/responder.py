"""What whoever answers is given, and what it must offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from zhiban.channels.connections import OpenInbox
from zhiban.conversations.models import Status
from zhiban.conversations.outbox import Queued
from zhiban.kit.db import Transaction


@dataclass(frozen=True, slots=True)
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
    """A conversation as its lane loaded it."""

    workspace_id: int
    id: int
    inbox: OpenInbox
    thread: str
    contact_id: int | None
    contact_name: str
    status: str
    last_incoming_at: datetime | None
    replies_used: int
    failures: int
    waiting: list[PendingMessage] = field(default_factory=list)
    queued: list[Queued] = field(default_factory=list)
    rings: int = 0
    me: int = 0
    strict: bool = True  # whether anything new makes this turn void
    stored: bool = False  # set by the turn when it stores its outcome: what rings then is the turn itself

    async def still_ours(self, tx: Transaction) -> bool:
        """Lock the row and tell whether the answer may still be stored.

        Not when another process took over, when people have the conversation, or (strict) when anything new came.
        """
        row = await tx.row("select owner, status, rings from conversation where id = %(id)s for update", id=self.id)
        return (
            row is not None
            and row[0] == self.me
            and row[1] == Status.PENDING
            and (not self.strict or row[2] == self.rings)
        )


class Responder(Protocol):
    """Whoever answers."""

    async def prepare(self, tx: Transaction, conversation: ConversationSnapshot) -> object:
        """What is to be known before thinking, in the lane's own transaction."""
        ...

    async def respond(self, conversation: ConversationSnapshot, known: object) -> None:
        """Decide and store. What is to be sent at once is put into `talk.queued`, with `talk.rings` brought up."""
        ...

    def fallback_text(self, conversation: ConversationSnapshot) -> str:
        """What the contact is told when thinking fails again and again. Touches nothing."""
        ...

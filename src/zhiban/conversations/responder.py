"""What whoever answers is given, and what it must offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from zhiban.channels.connections import OpenInbox
from zhiban.conversations import transitions
from zhiban.conversations.groups import GroupChat
from zhiban.conversations.models import ConversationState
from zhiban.conversations.outbox import QueuedMessage
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports import Mention


@frozen_dataclass
class PendingMessage:
    """A message of the contact, or of a member of the group, that nobody answered yet.

    In a group, `sender_ref` is the vendor's id of who wrote it and `sender_name` what they are called there.
    """

    id: int
    external_id: str
    kind: str
    text: str
    choice: str | None
    content: Mapping[str, Any]
    sent_at: datetime
    sender_contact_id: int | None = None
    sender_ref: str = ""
    sender_name: str = ""
    mentions: tuple[str, ...] = ()  # the vendor's ids of those whom it names with @, our own account left out
    mentions_us: bool = False
    reply_to_id: int | None = None  # the message that it answers, ours included

    @property
    def sender(self) -> Mention:
        """Who wrote it, to be named with @ in an answer."""
        return Mention(self.sender_ref, self.sender_name)


@dataclass(slots=True)
class ConversationSnapshot:
    """A conversation as its worker loaded it, with what waits in it. `group` is what is set for it where it is one.

    A group's answers are each for one of its members: there `strict` is false, and new messages make nothing void.
    """

    workspace_id: int
    inbox: OpenInbox
    state: ConversationState
    contact_name: str  # of a group: empty
    pending: list[PendingMessage] = field(default_factory=list)
    queued: list[QueuedMessage] = field(default_factory=list)
    revision: int = 0
    process_id: int = 0
    strict: bool = True  # whether anything new makes this turn void
    group: GroupChat | None = None
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

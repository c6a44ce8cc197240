"""Who answers: the assistant of direct conversations, and the one of groups."""

from __future__ import annotations

from zhiban.conversations.responder import ConversationSnapshot, Responder
from zhiban.kit.db import Transaction


class AssistantsByKind:
    """A responder for every conversation."""

    def __init__(self, direct: Responder, group: Responder) -> None:
        self._direct = direct
        self._group = group

    async def prepare(self, tx: Transaction, snapshot: ConversationSnapshot) -> object:
        return await self._of(snapshot).prepare(tx, snapshot)

    async def respond(self, snapshot: ConversationSnapshot, prepared: object) -> None:
        await self._of(snapshot).respond(snapshot, prepared)

    def fallback_text(self, snapshot: ConversationSnapshot) -> str:
        return self._of(snapshot).fallback_text(snapshot)

    def _of(self, snapshot: ConversationSnapshot) -> Responder:
        return self._group if snapshot.state.is_group else self._direct

"""What the assistant does in a group: it listens, and nothing is its turn that was not said to it."""

from __future__ import annotations

from zhiban.conversations.responder import ConversationSnapshot
from zhiban.conversations.service import mark_handled
from zhiban.kit.db import Database, Transaction


class GroupAssistant:
    """Listens in groups. One object serves all groups of a process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prepare(self, tx: Transaction, group: ConversationSnapshot) -> object:  # noqa: ARG002
        """Nothing has to be known before."""
        return None

    async def respond(self, group: ConversationSnapshot, prepared: object) -> None:  # noqa: ARG002
        """What was said is heard."""
        async with self._database.transaction(group.workspace_id) as tx:
            if await group.lock_if_ours(tx) is None:
                return
            group.stored = True
            await mark_handled(tx, [message.id for message in group.pending])

    def fallback_text(self, group: ConversationSnapshot) -> str:
        """What who asked us is told when turns fail again and again."""
        return group.inbox.settings.handoff.text

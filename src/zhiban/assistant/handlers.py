"""What follows for knowledge from facts about conversations, in the same transaction."""

from __future__ import annotations

from zhiban.assistant.decide import HandOffReason
from zhiban.events import ConversationHandedOff
from zhiban.kit.db import Transaction
from zhiban.knowledge import service as knowledge

# Handed over for these reasons, a question shows a hole in the knowledge.
GAP_REASONS = frozenset(
    {HandOffReason.NOTHING_FOUND.value, HandOffReason.NO_ANSWER.value, HandOffReason.REPEATED_FAILURE.value}
)


async def record_gap(tx: Transaction, event: ConversationHandedOff) -> None:
    """A question that had to be handed over because nothing answered it is gathered with others like it."""
    if event.reason in GAP_REASONS and event.question:
        await knowledge.record_gap(
            tx, event.question, conversation_id=event.conversation_id, message_id=event.message_id, now=event.at
        )

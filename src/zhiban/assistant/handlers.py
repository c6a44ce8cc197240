"""What follows for knowledge from facts about conversations, in the same transaction."""

from __future__ import annotations

from datetime import datetime

from zhiban.assistant.decide import HandOffReason
from zhiban.assistant.queries import untapped
from zhiban.events import ConversationHandedOff, ConversationResolved
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


async def record_refused_suggestions(tx: Transaction, event: ConversationHandedOff | ConversationResolved) -> None:
    """Whoever got a menu and took nothing of it was not helped: what they had asked is missing, too."""
    told = event.question if isinstance(event, ConversationHandedOff) and event.reason in GAP_REASONS else ""
    await record_untapped(tx, event.conversation_id, now=event.at, but=told)


async def record_untapped(tx: Transaction, conversation_id: int, *, now: datetime, but: str = "") -> None:
    """Gather the questions whose suggestions did not help. `but` is one that is gathered already."""
    for left in await untapped(tx, conversation_id):
        if left.question and left.question != but:
            await knowledge.record_gap(
                tx, left.question, conversation_id=conversation_id, message_id=left.message_id, now=now
            )

"""What follows for knowledge from facts about conversations, in the same transaction."""

from __future__ import annotations

from zhiban.assistant import gap_evidence
from zhiban.assistant.decide import HandOffReason
from zhiban.events import ConversationHandedOff, ConversationResolved
from zhiban.kit.db import Transaction

_REASONS = {str(reason): reason for reason in HandOffReason}


async def record_gap(tx: Transaction, event: ConversationHandedOff) -> None:
    """The question behind a handoff is gathered with others like it."""
    if (reason := _REASONS.get(event.reason)) is not None:
        await gap_evidence.record_behind(tx, event.conversation_id, reason, message_id=event.message_id, now=event.at)


async def record_refused_suggestions(tx: Transaction, event: ConversationHandedOff | ConversationResolved) -> None:
    """Whoever got a menu and took nothing of it was not helped: what they had asked is missing, too."""
    await gap_evidence.record_untapped(tx, event.conversation_id, now=event.at)

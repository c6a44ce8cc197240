"""What a turn shows about an answer: the contact chose it of our suggestions, or says whether it helped."""

from __future__ import annotations

from datetime import datetime

from zhiban.assistant import intents
from zhiban.assistant.queries import Chosen, Memory
from zhiban.assistant.reading import questions_in
from zhiban.assistant.rewrite import has_subject, looks_elliptic
from zhiban.assistant.suggesting import is_question
from zhiban.assistant.turn_context import TurnContext
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.models import EvidenceKind


def wording_of(question: str) -> str | None:
    """What others would ask who mean the same: one question that needs nothing said before it. None for any other."""
    questions = questions_in(question)
    if len(questions) != 1 or not is_question(question):
        return None
    asked = questions[0].lookups[0] if questions[0].lookups else questions[0].text
    return asked if has_subject(asked) and not looks_elliptic(asked) else None


async def record_evidence(tx: Transaction, turn: TurnContext, *, now: datetime) -> None:
    """Keep what this turn shows about an answer, in the name of the contact."""
    memory, contact_id = turn.memory, turn.conversation.state.contact_id
    if memory is None or contact_id is None:
        return
    shown = _tapped(memory, turn.chosen) if turn.chosen is not None else _judged(memory, turn.question)
    if shown is None:
        return
    question, article_id, kind = shown
    wording = wording_of(question)
    if wording is not None:
        await knowledge.record_evidence(
            tx,
            article_id,
            wording,
            kind=kind,
            by=Actor("contact", contact_id),
            conversation_id=turn.conversation.id,
            now=now,
        )


def _tapped(memory: Memory, chosen: Chosen) -> tuple[str, int, EvidenceKind] | None:
    """An entry of the menu that this question led to. An older menu belongs to no question we know."""
    if chosen.id not in memory.offered or not memory.offered_question:
        return None
    return memory.offered_question, chosen.article_id, EvidenceKind.TAP


def _judged(memory: Memory, said: str) -> tuple[str, int, EvidenceKind] | None:
    """What the contact says right after an answer of one article: that it helped, or that it did not."""
    answered = memory.just_answered
    if answered is None:
        return None
    if intents.says_unhelpful(said):
        return answered.question, answered.article_id, EvidenceKind.UNHELPFUL
    if intents.says_helpful(said):
        return answered.question, answered.article_id, EvidenceKind.HELPFUL
    return None

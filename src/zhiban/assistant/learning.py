"""What contacts and agents show about an answer: they chose it, sent it, or say whether it helped."""

from __future__ import annotations

import re
from datetime import datetime

from zhiban.assistant import answering, intents
from zhiban.assistant.queries import Chosen, Memory, contact_words, entry, took_an_entry_since
from zhiban.assistant.reading import questions_in
from zhiban.assistant.rewrite import has_subject, looks_elliptic
from zhiban.assistant.suggesting import is_question
from zhiban.assistant.turn_context import TurnContext
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.models import EvidenceKind
from zhiban.knowledge.tokenizer import counts

ADOPTED = 0.6  # of the terms of a suggestion that stand in a reply made of it


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


@frozen_dataclass
class SuggestionRef:
    """Which article was suggested to an agent, and which message of the contact it answers."""

    article_id: int
    message_id: int

    @property
    def written(self) -> str:
        return f"{self.article_id}:{self.message_id}"

    @classmethod
    def parse(cls, written: str) -> SuggestionRef | None:
        found = re.fullmatch(r"(\d{1,18}):(\d{1,18})", written, re.ASCII)
        return cls(int(found[1]), int(found[2])) if found else None


async def record_adoption(
    tx: Transaction, conversation_id: int, ref: SuggestionRef, *, reply: str, agent_id: int, now: datetime
) -> bool:
    """An agent sent the suggestion, perhaps with other words around it. False when little of it is left in the reply,
    or nothing is to be learnt of it: also when the contact had found an answer in the menu, as then the agent answers
    whatever came afterwards."""
    passage = await entry(tx, Chosen(ref.article_id))
    told = counts(answering.verbatim(passage) or "") if passage is not None else counts("")
    if not told or (told & counts(reply)).total() < ADOPTED * told.total():
        return False
    if await took_an_entry_since(tx, conversation_id, ref.message_id):
        return False
    return await _agent_says(tx, conversation_id, ref, kind=EvidenceKind.ADOPTED, agent_id=agent_id, now=now)


async def confirm_suggestion(
    tx: Transaction, conversation_id: int, ref: SuggestionRef, *, agent_id: int, now: datetime
) -> bool:
    """An agent says that the suggestion is the answer, without sending it. False when nothing is to be learnt of it:
    the question leans on what was said before it, holds what is the contact's own, or was confirmed already."""
    return await _agent_says(tx, conversation_id, ref, kind=EvidenceKind.CONFIRMED, agent_id=agent_id, now=now)


async def _agent_says(
    tx: Transaction, conversation_id: int, ref: SuggestionRef, *, kind: EvidenceKind, agent_id: int, now: datetime
) -> bool:
    asked = await contact_words(tx, conversation_id, ref.message_id)
    wording = wording_of(asked) if asked is not None else None
    if wording is None:
        return False
    found = await knowledge.record_evidence(
        tx,
        ref.article_id,
        wording,
        kind=kind,
        by=Actor("agent", agent_id),
        conversation_id=conversation_id,
        now=now,
    )
    return found is not None

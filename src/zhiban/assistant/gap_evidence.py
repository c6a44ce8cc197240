"""Which questions show a hole in the knowledge: handed over without an answer, not helped by one, or left with a menu.

A gap holds what was asked, never the complaint about the answer or the wish for a person, and nothing of politeness.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from zhiban.assistant import intents
from zhiban.assistant.decide import HandOffReason
from zhiban.assistant.intents import SmallTalkKind
from zhiban.assistant.queries import untapped
from zhiban.assistant.reading import bare_questions
from zhiban.assistant.rewrite import has_subject
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.models import GapOrigin

_REMEMBERED = 8  # turns
_SHORTEST = 2  # letters

# Handed over for these reasons, what the contact says now was searched for in vain.
_UNANSWERED = frozenset({HandOffReason.NOTHING_FOUND, HandOffReason.NO_ANSWER, HandOffReason.REPEATED_FAILURE})
# For these, nothing was searched: what they said before led them to people.
_UNHAPPY = frozenset({HandOffReason.UPSET, HandOffReason.REPEATED_FAILURE})
_BY_WISH = frozenset({HandOffReason.ASKED, HandOffReason.UPSET})
_CONTENT = frozenset({SmallTalkKind.THANKS, SmallTalkKind.PRAISE, SmallTalkKind.GOODBYE})

# The turns since people were done with the contact for the last time, newest first.
_TURNS = """
select t.id, t.question, t.decision, t.citations, (
         select min(m.id) from message m where m.workspace_id = t.workspace_id and m.turn_id = t.id
           and m.conversation_id = t.conversation_id and m.direction = 'in') as message_id, (
         select m.content -> 'choices' from message m where m.workspace_id = t.workspace_id and m.turn_id = t.id
           and m.conversation_id = t.conversation_id and m.direction = 'out' order by m.id desc limit 1) as choices
  from turn t where t.conversation_id = %(conversation)s and t.started_at > coalesce((
         select c.resolved_at from conversation c where c.workspace_id = t.workspace_id and c.id = t.conversation_id),
         '-infinity')
 order by t.id desc limit %(limit)s"""


@frozen_dataclass
class TakenTurn:
    """One turn of the assistant, with the message that it answered and the menu that it offered."""

    id: int
    question: str
    decision: str
    citations: list[dict[str, Any]]
    message_id: int | None
    choices: list[dict[str, Any]] | None


@frozen_dataclass
class MissingAnswer:
    """Questions of one message that nothing answered, or not well enough."""

    questions: tuple[str, ...]
    origin: GapOrigin
    message_id: int | None


def behind_handoff(turns: Sequence[TakenTurn], reason: HandOffReason) -> MissingAnswer | None:
    """What the contact wanted to know who was handed over now, in the newest of these turns, for this reason.

    What stands in the message itself, else what they asked before it, when that led to the handoff: not when they took
    an entry of a menu or thanked for the answer. A question that got only a menu is found by itself.
    """
    if reason not in _UNANSWERED | _BY_WISH or not turns or turns[0].decision != "HandOff":
        return None
    now, before = turns[0], turns[1:]
    if own := bare_questions(now.question):
        origin = GapOrigin.NO_ANSWER if reason in _UNANSWERED else GapOrigin.ASKED
        return MissingAnswer(_standing(own, before), origin, now.message_id)
    unhappy = reason in _UNHAPPY or intents.says_unhelpful(now.question)
    for number, turn in enumerate(before):
        match turn.decision:
            case "Answer":
                return _after_answer(turn, before[number + 1 :], unhappy=unhappy)
            case "AskAgain":
                unhappy = True
            case "SmallTalk" if intents.small_talk(turn.question) in _CONTENT:
                return None
            case "Suggest" | "HandOff":
                return None
    return None


def _after_answer(turn: TakenTurn, before: Sequence[TakenTurn], *, unhappy: bool) -> MissingAnswer | None:
    menu = next((one for one in before if one.decision == "Suggest"), None)
    labels = {str(choice["label"]) for choice in (menu.choices if menu else None) or ()}
    if menu is not None and turn.question in labels:
        if not unhappy:
            return None
        turn = menu
    questions = bare_questions(turn.question)
    origin = GapOrigin.COMPLAINT if unhappy else GapOrigin.ASKED
    return MissingAnswer(_standing(questions, before), origin, turn.message_id) if questions else None


def _standing(questions: tuple[str, ...], before: Sequence[TakenTurn]) -> tuple[str, ...]:
    """Questions that say what they are about: 要多久 after 怎么退款 stands only together with it."""
    if has_subject(questions[0]):
        return questions
    for turn in before:
        if earlier := [one for one in bare_questions(turn.question) if has_subject(one)]:
            return (f"{earlier[-1]}，{questions[0]}", *questions[1:])
    return questions


async def record_behind(
    tx: Transaction, conversation_id: int, reason: HandOffReason, *, message_id: int | None, now: datetime
) -> None:
    """Gather the questions behind a handoff. `message_id` is of the turn that handed over; without one it was none."""
    if message_id is None:
        return
    turns = await tx.objects(TakenTurn, _TURNS, conversation=conversation_id, limit=_REMEMBERED)
    if missing := behind_handoff(turns, reason):
        await record(tx, conversation_id, missing, now=now)


async def record_untapped(tx: Transaction, conversation_id: int, *, now: datetime) -> None:
    """Gather the questions whose suggestions did not help."""
    for left in reversed(await untapped(tx, conversation_id)):
        questions = bare_questions(left.question)
        await record(tx, conversation_id, MissingAnswer(questions, GapOrigin.MENU, left.message_id), now=now)


async def record_left(
    tx: Transaction, conversation_id: int, questions: Iterable[str], *, message_id: int, now: datetime
) -> None:
    """Gather those of several questions in a message that nothing was found for, although others were answered."""
    bare = tuple(one for question in questions for one in bare_questions(question))
    await record(tx, conversation_id, MissingAnswer(bare, GapOrigin.NO_ANSWER, message_id), now=now)


async def record(tx: Transaction, conversation_id: int, missing: MissingAnswer, *, now: datetime) -> None:
    """Gather these questions, with who asked them."""
    questions = [question for question in missing.questions if sum(map(str.isalnum, question)) >= _SHORTEST]
    if not questions:
        return
    contact_id = await tx.value("select sender_contact_id from message where id = %(id)s", id=missing.message_id)
    for question in questions:
        await knowledge.record_gap(
            tx,
            question,
            origin=missing.origin,
            conversation_id=conversation_id,
            contact_id=contact_id,
            message_id=missing.message_id,
            now=now,
        )

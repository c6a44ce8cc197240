"""From passages to an answer: a model writes it, we check it, and without a good one the entry's own words are sent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from enum import StrEnum

from zhiban.assistant import grounding
from zhiban.assistant.grounding import Ungrounded
from zhiban.assistant.passages import PassageLike
from zhiban.assistant.prompt import ANSWER_SCHEMA, HistoryLine, UnparsableReply, answer_turns, parse_answer
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.patterns import lazy_pattern
from zhiban.ports import ChatModel, Completion, ModelTooSlow, ModelUnavailable

LEEWAY = 0.1  # seconds by which a model learns that it is too slow before it is given up
_LONGEST_QUOTE = 800  # characters of a section that may be sent as it stands


class Why(StrEnum):
    """Why the model's words are not what is sent."""

    NO_MODEL = "no_model"  # none is configured; the entry's own answer is the answer
    NO_PASSAGES = "no_passages"
    DECLINED = "declined"  # the model says that the passages do not answer
    UNAVAILABLE = "unavailable"
    TOO_SLOW = "too_slow"
    NONSENSE = "nonsense"
    UNGROUNDED = "ungrounded"  # it says what no passage says


class Quotable(StrEnum):
    """When the best passage's own words may be sent in place of a model's."""

    NEVER = "never"  # we are unsure of it
    UNLESS_DECLINED = "unless_declined"  # we are sure, and a model that reads it and says no is believed
    ALWAYS = "always"  # surer than such a model


@frozen_dataclass
class Answered:
    """The model's checked answer. `citations` count the given passages from 1."""

    text: str
    citations: tuple[int, ...]
    cost: Completion


@frozen_dataclass
class FellBack:
    """The best passage's own words, verbatim. `cost` is what a model took nevertheless."""

    text: str
    citations: tuple[int, ...]
    why: Why
    detail: str = ""
    cost: Completion | None = None


@frozen_dataclass
class CannotAnswer:
    """Nothing fit to be sent: suggest or hand off. `detail` is a sentence for our own people."""

    why: Why
    detail: str = ""
    cost: Completion | None = None


AnswerOutcome = Answered | FellBack | CannotAnswer


@frozen_dataclass
class _RejectedAnswer:
    why: Why
    detail: str
    cost: Completion | None = None


async def answer(
    model: ChatModel | None,
    questions: Sequence[str],
    passages: Sequence[PassageLike],
    history: Sequence[HistoryLine] = (),
    *,
    budget_seconds: float,
    contact_name: str = "",
    quotable: Quotable = Quotable.UNLESS_DECLINED,
) -> AnswerOutcome:
    """Answer `questions` (oldest first) from `passages` (best first) within the budget.

    A model that fails is no error here: the best passage is sent verbatim if it is `quotable`.
    """
    if not passages:
        return CannotAnswer(Why.NO_PASSAGES)
    if model is None:
        return _instead(_RejectedAnswer(Why.NO_MODEL, ""), passages, quotable)
    written = await _written(model, questions, passages, history, budget_seconds, contact_name)
    if isinstance(written, _RejectedAnswer):
        return _instead(written, passages, quotable)
    return written


async def _written(
    model: ChatModel,
    questions: Sequence[str],
    passages: Sequence[PassageLike],
    history: Sequence[HistoryLine],
    budget_seconds: float,
    contact_name: str,
) -> Answered | _RejectedAnswer:
    turns = answer_turns(questions, passages, history, contact_name=contact_name)
    try:
        async with asyncio.timeout(budget_seconds):
            completion = await model.complete(turns, schema=ANSWER_SCHEMA, seconds=budget_seconds - LEEWAY)
    except ModelUnavailable as error:
        return _RejectedAnswer(Why.TOO_SLOW if isinstance(error, ModelTooSlow) else Why.UNAVAILABLE, error.sentence)
    except TimeoutError:
        return _RejectedAnswer(Why.TOO_SLOW, f"The model took longer than {budget_seconds:g} seconds.")
    return _judged(completion, passages)


def _judged(completion: Completion, passages: Sequence[PassageLike]) -> Answered | _RejectedAnswer:
    """Whether a model's words may be sent."""
    try:
        draft = parse_answer(completion.text)
    except UnparsableReply as error:
        return _RejectedAnswer(Why.NONSENSE, error.sentence, completion)
    if not draft.can_answer:
        return _RejectedAnswer(Why.DECLINED, draft.reason, completion)
    wrong = grounding.check(draft.answer, passages, citations=draft.citations)
    if wrong:
        return _RejectedAnswer(Why.UNGROUNDED, _named(wrong), completion)
    return Answered(draft.answer, draft.citations, completion)


def _named(wrong: Sequence[Ungrounded]) -> str:
    return "Not in the passages: " + ", ".join(f"{item.fact.value} {item.surface}" for item in wrong[:5])


def _instead(rejected: _RejectedAnswer, passages: Sequence[PassageLike], quotable: Quotable) -> FellBack | CannotAnswer:
    """The best passage verbatim, if we are sure of it after what the model said."""
    doubted = quotable is Quotable.NEVER or (quotable is Quotable.UNLESS_DECLINED and rejected.why is Why.DECLINED)
    quote = None if doubted else verbatim(passages[0])
    if quote is None:
        return CannotAnswer(rejected.why, rejected.detail, rejected.cost)
    return FellBack(quote, (1,), rejected.why, rejected.detail, rejected.cost)


def verbatim(passage: PassageLike) -> str | None:
    """The entry's own answer; of a document a section that is short enough to read in a chat. None: neither."""
    if passage.answer and passage.answer.strip():
        return readable(passage.answer)
    text = readable(passage.text)
    return text if text and len(text) <= _LONGEST_QUOTE else None


def section(passage: PassageLike) -> str | None:
    """What a contact reads who chose this passage: its own words, of a long one whole sentences from its beginning."""
    if (text := verbatim(passage) or readable(passage.text)) == "":
        return None
    if len(text) <= _LONGEST_QUOTE:
        return text
    cut = text[:_LONGEST_QUOTE]
    end = max(cut.rfind(sign) for sign in "。！？!?\n；")
    return cut[: end + 1 if end > 0 else _LONGEST_QUOTE].rstrip() + "……"


_LINK = lazy_pattern(r"!?\[([^\]\n]*)\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_RULE = lazy_pattern(r"(?m)^\s*(?:[-*_]\s*){3,}$|^\s*\|?(?:\s*:?-{2,}:?\s*\|)+\s*:?-*:?\s*$\n?")


def readable(markdown: str) -> str:
    """Markdown as plain text for a chat window: the words and addresses stay, the signs go."""
    text = _LINK.sub(lambda link: link[2] if link[1] in ("", link[2]) else f"{link[1]}（{link[2]}）", markdown)
    text = _RULE.sub("", text)
    text = re.sub(r"(?m)^\s{0,3}#{1,6}\s+|^\s{0,3}>\s?|^```.*$\n?", "", text)
    text = re.sub(r"(?m)^(\s*)[*+]\s+", r"\1- ", text)
    text = re.sub(r"\*\*(?=\S)(.+?)(?<=\S)\*\*|__(?=\S)(.+?)(?<=\S)__", lambda bold: bold[1] or bold[2], text)
    text = re.sub(r"(?m)^\s*\|(.*?)\|?\s*$", lambda row: "，".join(cell.strip() for cell in row[1].split("|")), text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()

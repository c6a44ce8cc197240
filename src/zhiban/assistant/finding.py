"""Looking up what a contact asks: with what was said before, in several ways, and never the opposite of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from zhiban.assistant import polarity
from zhiban.assistant.agreement import agrees, evidence
from zhiban.assistant.clauses import clauses
from zhiban.assistant.queries import Memory
from zhiban.assistant.reading import AskedQuestion
from zhiban.assistant.rewrite import has_subject, joined, looks_elliptic, may_continue, subject_of
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.retrieval import ConfidenceBand, Passage, SearchResult

SUGGESTED = 3
_SUBJECT_ONLY = 6  # letters of a message that only names a subject

_RANK = {ConfidenceBand.ANSWER: 2, ConfidenceBand.SUGGEST: 1, ConfidenceBand.HANDOFF: 0}


@frozen_dataclass
class LookUp:
    """How a text is looked up and judged. `strict`: by the operator's own thresholds, and by nothing else."""

    search: Callable[[str], Awaitable[SearchResult]]
    zone_of: Callable[[SearchResult], ConfidenceBand]
    strict: bool = False


@frozen_dataclass
class Plan:
    """One question, with what it may mean after what was said before. `leans`: by itself it means nothing."""

    question: AskedQuestion
    continued: tuple[str, ...] = ()
    leans: bool = False
    answered: str = ""  # the title of what was answered last

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that may be looked up for it."""
        return tuple(dict.fromkeys((*self.continued, *self.question.lookups, *self.question.parts)))


@frozen_dataclass
class Found:
    """What was found for one question, and what to do about it."""

    question: str
    result: SearchResult
    zone: ConfidenceBand


def plan(questions: Sequence[AskedQuestion], memory: Memory | None) -> tuple[Plan, ...]:
    """How to look each question up: a short one may continue the question before it, or what was said before."""
    plans: list[Plan] = []
    for number, question in enumerate(questions):
        asked = _asked(question)
        leans = not has_subject(asked)
        continued: tuple[str, ...] = ()
        if may_continue(asked):
            if number:
                continued = joined(asked, (), answered=_asked(questions[number - 1]))
            elif memory is not None:
                continued = joined(asked, memory.said, answered=memory.answered)
        answered = memory.answered if memory is not None and not number else ""
        plans.append(Plan(question, continued, leans and bool(continued), answered))
    return tuple(plans)


def _asked(question: AskedQuestion) -> str:
    return question.lookups[0] if question.lookups else question.text


async def find(planned: Plan, look: LookUp, *, before: Found | None = None) -> Found:
    """The best of everything that the question may mean. `before` is what was found for the question before it."""
    question = planned.question
    continued = await _best(question.text, planned.continued, look)
    known = planned.answered or (before.result.passages[0].title if before and before.result.passages else "")
    if continued is not None and continued.result.passages[:1] and continued.result.passages[0].title == known:
        # That was told just now: whatever is asked, it is something else.
        rest = continued.result.passages[1:]
        continued = Found(question.text, replace(continued.result, passages=rest), ConfidenceBand.HANDOFF)
    if continued is not None and planned.leans and continued.zone is not ConfidenceBand.HANDOFF:
        return continued
    alone = await _best(question.text, question.lookups, look)
    found = _of_two(alone, continued, whole=not looks_elliptic(_asked(question)))
    if planned.leans and found is alone and found is not None and found.zone is ConfidenceBand.ANSWER:
        found = replace(found, zone=ConfidenceBand.SUGGEST)  # what it says alone is not what it means
    if question.parts and (found is None or found.zone is not ConfidenceBand.ANSWER):
        parts = [await _one(question.text, part, look) for part in question.parts]
        found = _gathered(question.text, found, parts)
    if found is None:
        found = await _one(question.text, question.text, look)
    return _with_a_menu_for_a_subject(found)


def _of_two(alone: Found | None, continued: Found | None, *, whole: bool) -> Found | None:
    """The better of what a question means alone and after what was said. `whole`: it may well mean only itself."""
    better = max((one for one in (alone, continued) if one is not None), key=_order, default=None)
    if alone is None or continued is None or better is alone or not whole or _first(alone) == _first(continued):
        return better
    if continued.zone is not ConfidenceBand.ANSWER or alone.zone is ConfidenceBand.HANDOFF:
        return better
    if alone.zone is ConfidenceBand.ANSWER:
        return alone
    both = _interleaved([alone.result.passages, continued.result.passages])
    return replace(alone, result=replace(alone.result, passages=both))


def _first(found: Found) -> int | None:
    return found.result.passages[0].article_id if found.result.passages else None


def _order(found: Found) -> tuple[int, float]:
    return _RANK[found.zone], found.result.confidence


async def _best(question: str, texts: Iterable[str], look: LookUp) -> Found | None:
    return max([await _one(question, text, look) for text in texts], key=_order, default=None)


async def _one(question: str, text: str, look: LookUp) -> Found:
    result = await look.search(text)
    kept = tuple(one for one in result.passages if not polarity.opposite(text, one.title, one.phrasing))
    kept = _no_more_special(text, kept)
    doubtful = kept[:1] != result.passages[:1] or any(
        polarity.undoes(text, one.title, one.phrasing)
        or (one.answer is not None and polarity.other_aspect(text, one.title, one.phrasing))
        for one in kept[:1]
    )
    zone = look.zone_of(result)
    if doubtful:
        zone = min(zone, ConfidenceBand.SUGGEST, key=_RANK.__getitem__)
    elif zone is ConfidenceBand.SUGGEST and not look.strict and not polarity.is_denied(text):
        zone = ConfidenceBand.ANSWER if agrees(text, kept, evidence(result.share, result.passages)) else zone
    return Found(question, replace(result, passages=kept), zone)


def _no_more_special(text: str, passages: tuple[Passage, ...]) -> tuple[Passage, ...]:
    """Before an entry about 专用发票 comes the one about 发票, if that is all that is asked about."""
    asked = set("".join(map(subject_of, clauses(text))))
    if not asked or not passages or not asked < _subject(passages[0]):
        return passages
    aspects = polarity.aspects_of(text)
    for one in passages[1:]:
        if one.vouched and _subject(one) == asked and aspects == polarity.aspects_of(one.phrasing or one.title):
            return (one, *(other for other in passages if other is not one))
    return passages


def _subject(passage: Passage) -> set[str]:
    return set("".join(map(subject_of, clauses(passage.phrasing or passage.title))))


def _gathered(question: str, found: Found | None, parts: Sequence[Found]) -> Found:
    """The best of several clauses, each once: good enough to suggest, never to answer."""
    every = [*([found] if found is not None else []), *parts]
    first = max(every, key=_order)
    ordered = sorted(every, key=_order, reverse=True)
    passages = _interleaved([one.result.passages for one in ordered if one.zone is not ConfidenceBand.HANDOFF])
    zone = ConfidenceBand.SUGGEST if passages else ConfidenceBand.HANDOFF
    return Found(question, replace(first.result, passages=passages), zone)


def _interleaved(lists: Sequence[Sequence[Passage]]) -> tuple[Passage, ...]:
    """The best of each list first, then the next ones; every entry, and every section of a document, once."""
    kept: dict[tuple[int, int], Passage] = {}
    for rank in range(max(map(len, lists), default=0)):
        for passages in lists:
            if rank < len(passages):
                one = passages[rank]
                kept.setdefault((one.article_id, one.chunk_id if one.answer is None else 0), one)
    return tuple(kept.values())


def _with_a_menu_for_a_subject(found: Found) -> Found:
    """A message that only names a subject, as 发票 does, asks which of its entries is meant."""
    letters = "".join(char for char in found.question if char.isalnum())
    passages = found.result.passages
    if found.zone is ConfidenceBand.HANDOFF and 2 <= len(letters) <= _SUBJECT_ONLY and passages:
        about = tuple(one for one in passages if letters in f"{one.title}{one.phrasing or ''}")
        if about:
            return Found(found.question, replace(found.result, passages=about), ConfidenceBand.SUGGEST)
    return found


# ----------------------------------------------------------------------------------------- several questions


def together(each: Sequence[Found]) -> SearchResult:
    """What was found for all of them: the best passage of each first. As sure as the least sure."""
    passages = _interleaved([found.result.passages for found in each])
    return replace(min(each, key=_order).result, passages=passages)


def zone_of_all(each: Sequence[Found]) -> ConfidenceBand:
    """As good as the best of them: whatever can be answered is, and what is left is named."""
    return max((found.zone for found in each), key=_RANK.__getitem__, default=ConfidenceBand.HANDOFF)

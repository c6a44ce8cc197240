"""Whether an entry is surely meant although the base has not learnt to be so sure: its words or its meaning agree.

A base learns its threshold from questions that lack a whole entry, by how much words they share. That an entry names
just what is asked, and no other one does, or that it means the same as well as sharing words, is evidence of its own.
Measured on three bases with their entries held out one by one: of questions nearest to an entry that is not there at
most 8 in 100 agree in meaning like this (`SURE`, `MEANT`) and are neither the opposite nor another side of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from zhiban.assistant.clauses import clauses
from zhiban.assistant.polarity import aspects_of
from zhiban.assistant.rewrite import subject_of, subject_places
from zhiban.knowledge.retrieval import Passage, margin

PLAUSIBLE = 0.5  # evidence from which words may agree
SURE, MEANT = 1.0, 0.75  # evidence and cosine from which meanings do
_FEWEST = 2  # letters of a subject, and of a word


def evidence(share: float, passages: Sequence[Passage]) -> float:
    """How much speaks for the first passage: its share of the best score (times the cosine, where there is one), and
    how far it lies before the next."""
    if not passages or passages[0].score <= 0:
        return 0.0
    second = passages[1].score if len(passages) > 1 else 0.0
    return share * (1 + margin(passages[0].score, second))


def agrees(question: str, passages: Sequence[Passage], found: float) -> bool:
    """Whether the first passage is surely meant, with so much `evidence` for it. Only entries with an answer are,
    and none whose closest wording people taught for another question."""
    if not passages or passages[0].answer is None or not passages[0].vouched:
        return False
    meaning = passages[0].cosine
    if meaning is not None and meaning >= MEANT and found >= SURE:
        return True
    return found >= PLAUSIBLE and _in_words(question, passages)


def _in_words(question: str, passages: Sequence[Passage]) -> bool:
    """Whether the first passage, and no other entry, names every subject of the question and what is asked of it."""
    said = clauses(question)
    if sum(len(subject_of(clause)) for clause in said) < _FEWEST:
        return False
    first, *others = passages
    asked, told = aspects_of(question), aspects_of(first.title)
    phrased = aspects_of(first.phrasing or "")
    if not asked & (told | phrased) if asked else len(told) == 1 and not phrased:
        return False
    return _names(said, first) and not any(
        _names(said, other) and (not asked or asked & aspects_of(other.title)) for other in others
    )


def _names(said: Sequence[str], passage: Passage) -> bool:
    """Whether every letter of the subject stands in what the entry is asked, or as part of a word in its answer."""
    asked = set("".join(clauses(f"{passage.title}，{passage.phrasing or ''}")))
    told = "".join(clauses(passage.answer or passage.text))
    return all(
        clause[place] in asked or any(len(word) == _FEWEST and word in told for word in _words_at(clause, place))
        for clause in said
        for place in subject_places(clause)
    )


def _words_at(clause: str, place: int) -> tuple[str, str]:
    """The two pairs of letters that a letter belongs to."""
    return clause[max(place - 1, 0) : place + 1], clause[place : place + 2]

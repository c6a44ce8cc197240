"""How like a question is to the phrasings of an entry, by the weight of the terms that they share."""

from __future__ import annotations

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.corpus_stats import term_priors
from zhiban.knowledge.passage_texts import PassageTexts
from zhiban.knowledge.tokenizer import Synonyms, term_set, terms


@frozen_dataclass
class Closest:
    """The phrasing that is most like the question (0 to 1), and whether people taught it. None where there is none."""

    phrasing: str | None
    likeness: float
    learnt: bool


class Comparison:
    """A question, to be compared with phrasings."""

    def __init__(self, question: str, synonyms: Synonyms) -> None:
        self._terms = frozenset(terms(question, synonyms))
        self._synonyms = synonyms

    def closest(self, texts: PassageTexts) -> Closest:
        closest = Closest(None, 0.0, learnt=False)
        for phrasing, learnt in zip(texts.phrasings, texts.learnt, strict=True):
            likeness = _likeness(self._terms, term_set(phrasing, self._synonyms))
            if closest.phrasing is None or likeness > closest.likeness:
                closest = Closest(phrasing, likeness, learnt)
        return closest


def _likeness(asked: frozenset[int], phrasing: frozenset[int]) -> float:
    """Shared weight over all weight of two sets of terms."""
    if not asked or not phrasing:
        return 0.0
    at_large = term_priors()
    together = sum(map(at_large.rarity, asked | phrasing))
    return sum(map(at_large.rarity, asked & phrasing)) / together if together else 0.0

"""Exact BM25 over everything, computed in memory: what the database must agree with."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from zhiban.knowledge.bm25 import Collection, weights
from zhiban.knowledge.corpus_stats import TermPriors
from zhiban.knowledge.tokenizer import NO_SYNONYMS, Synonyms, counts, terms


class Part:
    def __init__(self, texts: Sequence[str], synonyms: Synonyms) -> None:
        counted = [counts(text, synonyms) for text in texts]
        lengths = [sum(count.values()) for count in counted]
        pivot = sum(lengths) / len(lengths) if lengths else 1.0
        self.collection = Collection(len(texts), Counter(term for count in counted for term in count))
        self.postings: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
        for number, (count, length) in enumerate(zip(counted, lengths, strict=True)):
            for term, weight in weights(count, length, pivot).items():
                self.postings[term].append((number, weight))

    def scores(self, question: dict[int, float]) -> dict[int, float]:
        found: defaultdict[int, float] = defaultdict(float)
        for term, idf in question.items():
            for number, weight in self.postings.get(term, ()):
                found[number] += idf * weight
        return found


class Exact:
    """Entries are (phrasings, answer); an entry without phrasings is a passage of a document."""

    def __init__(
        self, entries: Sequence[tuple[Sequence[str], str]], priors: TermPriors, synonyms: Synonyms = NO_SYNONYMS
    ) -> None:
        self.priors, self.synonyms = priors, synonyms
        self.asks = [bool(phrasings) for phrasings, _ in entries]
        self.bodies = Part([" ".join([*phrasings, answer]) for phrasings, answer in entries], synonyms)
        flat = [(entry, phrasing) for entry, (phrasings, _) in enumerate(entries) for phrasing in phrasings]
        self.entry_of = [entry for entry, _ in flat]
        self.phrasings = Part([phrasing for _, phrasing in flat], synonyms)

    def search(self, question: str, count: int = 10) -> list[tuple[int, float]]:
        asked = terms(question, self.synonyms)
        total: defaultdict[int, float] = defaultdict(float)
        for entry, score in self.bodies.scores(self.bodies.collection.question(asked, self.priors)).items():
            total[entry] += score if self.asks[entry] else 2 * score
        best: defaultdict[int, float] = defaultdict(float)
        for number, score in self.phrasings.scores(self.phrasings.collection.question(asked, self.priors)).items():
            best[self.entry_of[number]] = max(best[self.entry_of[number]], score)
        for entry, score in best.items():
            total[entry] += score
        return sorted(total.items(), key=lambda item: (-item[1], item[0]))[:count]

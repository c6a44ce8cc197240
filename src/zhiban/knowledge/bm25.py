"""BM25 as a product of two sparse vectors, so that PostgreSQL can compute it exactly.

The passage's vector holds tf·(k1+1) / (tf + k1·(1 − b + b·length/pivot)); the question's holds each term's idf.
idf thus lives in the question alone: adding passages rewrites nothing. `pivot` is the mean length at the last
rebuild of the base. A term's idf is partly what the base says and partly what the language at large says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.corpus_stats import TermPriors
from zhiban.knowledge.packing import packed_sparsevec
from zhiban.knowledge.tokenizer import TERM_LIMIT

K1 = 1.2
B = 0.75
OF_BASE = 0.6  # the rest of a term's weight is the language's at large
MOST_TERMS = 16_000  # a sparsevec holds no more; only a passage beyond any we cut has so many


def _damping(length: int, pivot: float) -> float:
    return K1 * (1 - B + B * length / pivot) if pivot > 0 else K1


def weight(times: int, length: int, pivot: float) -> float:
    """Of a term that stands so often in a passage of this length, with as many digits as `sparse` gives: so that what
    was stored as text and what is stored packed are equal."""
    return float(f"{times * (K1 + 1) / (times + _damping(length, pivot)):.7g}")


def weights(counted: Mapping[int, int], length: int, pivot: float) -> dict[int, float]:
    """The vector of a passage with these term counts, `length` terms long."""
    damping = _damping(length, pivot)
    return {term: times * (K1 + 1) / (times + damping) for term, times in counted.items()}


def sparse(vector: Mapping[int, float]) -> str:
    """pgvector's text form of a question. Beyond the size limit the smallest weights are left out."""
    if len(vector) > MOST_TERMS:
        vector = dict(sorted(vector.items(), key=lambda item: -item[1])[:MOST_TERMS])
    inside = ",".join([f"{term}:{vector[term]:.7g}" for term in sorted(vector)])
    return f"{{{inside}}}/{TERM_LIMIT}"


def sparse_weights(counted: Mapping[int, int], length: int, pivot: float) -> bytes:
    """What `sparse(weights(…))` says, packed, and many times as fast: a passage has many terms and few counts."""
    if len(counted) > MOST_TERMS:
        counted = dict(sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:MOST_TERMS])
    weigh = {times: weight(times, length, pivot) for times in set(counted.values())}
    terms = sorted(counted)
    return packed_sparsevec(TERM_LIMIT, [term - 1 for term in terms], [weigh[counted[term]] for term in terms])


@frozen_dataclass
class Collection:
    """How many texts there are, and in how many of them a term stands."""

    texts: int
    frequency: Mapping[int, int]

    def idf(self, term: int, priors: TermPriors) -> float:
        most = math.log(1 + (self.texts + 0.5) / 0.5)
        inside = self.frequency.get(term, 0)
        own = math.log(1 + (self.texts - inside + 0.5) / (inside + 0.5)) if inside > 0 else most
        return OF_BASE * own + (1 - OF_BASE) * priors.rarity(term) * most

    def question(self, asked: Iterable[int], priors: TermPriors) -> dict[int, float]:
        """The vector of a question: each of its terms once."""
        return {term: self.idf(term, priors) for term in set(asked)}


def product(question: Mapping[int, float], passage: Mapping[int, float]) -> float:
    return sum(weight * passage[term] for term, weight in question.items() if term in passage)

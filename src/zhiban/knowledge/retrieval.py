"""Find the passages for a question, and say how sure we are.

Exact BM25 inside PostgreSQL over characters, pairs and words (see `terms`, `scoring`), plus the cosine of an
embedding when there is one. Sure means: n·(1+m), where n is the score as a share of the best this question
could score, and m how far the first lies before the next different answer. What is sure enough each base has
learnt from itself (`calibration`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from zhiban.kit.db import Transaction
from zhiban.kit.i18n import mark
from zhiban.knowledge import queries
from zhiban.knowledge.bm25 import Collection, sparse
from zhiban.knowledge.corpus_stats import term_priors
from zhiban.knowledge.followups import ExpandedQuery, is_follow_up, is_tiny, standalone, with_context
from zhiban.knowledge.indexing import keys
from zhiban.knowledge.queries import BaseRow
from zhiban.knowledge.tokenizer import Synonyms, terms

SEEN = 10  # how far down the list we look, whatever `top_k` shows
SMALLEST_BUDGET = 1_500  # candidates that are always affordable; smaller bases are compared whole
BUDGET_SHARE = 0.05  # of a larger base
SCANNED_FROM = 0.4  # of a base as candidates: looking at everything is quicker than looking them up
NEARLY_SAME = 0.8  # a question this like a phrasing is that phrasing, whatever the base has learnt
SUGGEST_AT = 0.23  # of the best possible score: keeps 7 of 10 helpful suggestions, 2 of 10 useless ones (shop bench)
DOCUMENT_ANSWER_AT = 0.70  # a document has no similar questions to learn from; measured on CMRC: 96 % found, 98 % right
FEWEST_WORDS = 1.2  # a question must weigh as much as this many words nobody uses, or it is too vague to be sure
ALL = 1e9  # an answer threshold that nothing reaches


class ConfidenceBand(StrEnum):
    ANSWER = "answer"
    SUGGEST = "suggest"
    HANDOFF = "handoff"


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk as found. `likeness` compares the question with the closest phrasing, from 0 to 1."""

    article_id: int
    chunk_id: int
    title: str
    text: str
    answer: str | None
    heading_path: tuple[str, ...]
    source_name: str | None
    unit: str
    number: int
    category: str | None
    score: float
    body_score: float
    phrasing_score: float | None
    cosine: float | None
    phrasing: str | None
    likeness: float

    @property
    def position(self) -> str:
        return f"{self.unit} {self.number}"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From a confidence of `answer_at` on we answer, from a share of `suggest_at` on we suggest.

    `trusted`: learnt from enough similar questions. Otherwise only a question that is nearly a phrasing is answered.
    """

    answer_at: float
    suggest_at: float
    trusted: bool
    document_answer_at: float = DOCUMENT_ANSWER_AT


@dataclass(frozen=True, slots=True)
class SearchResult:
    passages: tuple[Passage, ...]
    confidence: float  # n·(1+m)
    share: float  # n alone
    zone: ConfidenceBand
    why: str  # an English sentence; `Texts.error` says it in Chinese
    thresholds: Thresholds
    leaning_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate before its texts are read."""

    chunk_id: int
    score: float
    body: float
    phrasing: float | None
    cosine: float | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A question ready to be multiplied with an index."""

    base_id: int
    keys: list[int] | None  # None: compare the whole base
    body: dict[int, float]
    phrasing: dict[int, float]
    best: float  # the best possible score


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one understanding of the question found."""

    expanded: ExpandedQuery
    question: Question
    scored: tuple[Scored, ...]
    passages: tuple[Passage, ...]
    confidence: float
    share: float


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """Counts to leave out of a base: of an entry that is imagined away for calibration."""

    bodies: Mapping[int, int] = field(default_factory=dict)
    phrasings: Mapping[int, int] = field(default_factory=dict)
    texts: int = 0
    asked: int = 0


async def build_query(
    tx: Transaction, base: BaseRow, expanded: ExpandedQuery, *, without: LeaveOneOut | None = None
) -> Question:
    """Weigh the terms of the question as this base knows them."""
    left_out = without or LeaveOneOut()
    known = await queries.frequencies(tx, base, list(expanded.weights))
    of_bodies = {term: times - left_out.bodies.get(term, 0) for term, times in known.bodies.items()}
    of_phrasings = {term: times - left_out.phrasings.get(term, 0) for term, times in known.phrasings.items()}
    at_large = term_priors()
    body = Collection(base.bodies - left_out.texts, of_bodies).question(expanded.weights, at_large)
    if base.phrasings - left_out.asked > 0:
        phrasing = Collection(base.phrasings - left_out.asked, of_phrasings).question(expanded.weights, at_large)
    else:
        phrasing = body
    for vector in (body, phrasing) if phrasing is not body else (body,):
        for term, weight in expanded.weights.items():
            vector[term] *= weight
    return Question(
        base.id,
        _keys(base, known.bodies),
        body,
        phrasing,
        max(
            sum(body.values()) + sum(phrasing.values()),
            FEWEST_WORDS * (_unseen(base.bodies) + _unseen(base.phrasings or base.bodies)),
        ),
    )


def _unseen(texts: int) -> float:
    """The weight of a term that neither the base nor the language knows."""
    return math.log(1 + (texts + 0.5) / 0.5)


def _keys(base: BaseRow, frequency: Mapping[int, int]) -> list[int] | None:
    """What chooses the chunks to compare: the rarest terms first, as many as are affordable together.

    None when that is no small part of the base, which is then quicker to compare whole, and on a server of the
    operator's own where array overlap is not marked leakproof.
    """
    if not base.looks_up:
        return None
    budget = max(SMALLEST_BUDGET, base.bodies * BUDGET_SHARE)
    chosen: list[int] = []
    candidates = 0
    for term in sorted(frequency, key=lambda term: (frequency[term], term)):
        candidates += frequency[term]
        if candidates > budget and chosen:
            break
        chosen.append(term)
    return None if candidates > base.bodies * SCANNED_FROM else keys(base.id, chosen)


async def rank(tx: Transaction, question: Question, *, wanted: int = SEEN, leave_out: int = 0) -> list[Scored]:
    """The best chunks by exact BM25. `leave_out` is a chunk that is imagined away."""
    if question.keys == []:
        return []
    call = "scan_chunks(%(base)s, " if question.keys is None else "search_chunks(%(base)s, %(keys)b::integer[], "
    return await tx.objects(
        Scored,
        "select chunk_id, score, body_score as body, phrasing_score as phrasing from "
        + call
        + "%(body)s::sparsevec, %(phrasing)s::sparsevec, %(leave_out)s, %(wanted)s)",
        base=question.base_id,
        keys=question.keys,
        body=sparse(question.body),
        phrasing=sparse(question.phrasing),
        leave_out=leave_out,
        wanted=wanted,
    )


def confidence(first: float, second: float, best: float) -> float:
    """n·(1+m) of a first and a second score."""
    if best <= 0 or first <= 0:
        return 0.0
    return first / best * (1 + (first - max(second, 0.0)) / first)


def thresholds_of(base: BaseRow, override: float | None = None) -> Thresholds:
    if override is not None:
        return Thresholds(override, SUGGEST_AT, trusted=True, document_answer_at=override)
    if base.answer_at is None:
        return Thresholds(ALL, SUGGEST_AT, trusted=False)
    return Thresholds(base.answer_at, SUGGEST_AT, trusted=True)


async def search(
    tx: Transaction,
    base_id: int,
    question: str,
    *,
    top_k: int = 3,
    context: Sequence[str] = (),
    embedder_vector: Sequence[float] | None = None,
    threshold: float | None = None,
) -> SearchResult:
    """The passages for a question, at most `top_k`, with what to do about them.

    `context` holds the contact's earlier questions (and the titles answered last), oldest first. `threshold` is the
    operator's own KB_SIMILARITY_THRESHOLD. Raises NotFound when there is no such base.
    """
    base = await queries.base(tx, base_id)
    synonyms = base.synonyms
    limits = thresholds_of(base, threshold)
    if context and is_follow_up(question):
        ranking = await _look(tx, base, question, with_context(question, context, synonyms), embedder_vector)
    else:
        ranking = await _look(tx, base, question, standalone(question, synonyms), embedder_vector)
        if context and is_tiny(question) and _zone(ranking, limits)[0] is not ConfidenceBand.ANSWER:
            other = await _look(tx, base, question, with_context(question, context, synonyms), embedder_vector)
            if other.confidence > ranking.confidence:
                ranking = other
    zone, why = _zone(ranking, limits)
    return SearchResult(
        ranking.passages[:top_k],
        ranking.confidence,
        ranking.share,
        zone,
        why,
        limits,
        ranking.expanded.leaning_on,
    )


async def _look(
    tx: Transaction, base: BaseRow, question: str, expanded: ExpandedQuery, vector: Sequence[float] | None
) -> Ranking:
    query = await build_query(tx, base, expanded)
    scored = await rank(tx, query)
    if vector is not None and base.dimensions == len(vector):
        scored = await _fuse(tx, query, scored, vector)
    passages = await _read(tx, question, scored, base.synonyms)
    if not passages:
        return Ranking(expanded, query, (), (), 0.0, 0.0)
    first = passages[0]
    second = passages[1].score if len(passages) > 1 else 0.0
    sure = confidence(first.score, second, query.best)
    return Ranking(expanded, query, tuple(scored), passages, sure, first.score / query.best)


@dataclass(frozen=True, slots=True)
class _Near:
    """A chunk whose vector is among the nearest to the question's."""

    chunk_id: int
    cosine: float | None


@dataclass(frozen=True, slots=True)
class _Both:
    """A candidate's lexical scores, and its cosine when it has a vector."""

    chunk_id: int
    body: float
    phrasing: float | None
    cosine: float | None


async def _fuse(tx: Transaction, query: Question, scored: Sequence[Scored], vector: Sequence[float]) -> list[Scored]:
    """Add one cosine, on the scale where the best possible lexical score is one.

    Embedders put everything rather near to everything. Only what a passage is nearer than the last of the nearest ones
    counts, so that a question about something else does not look half known.
    """
    asked = "[" + ",".join(f"{value:.6g}" for value in vector) + "]"
    near = await tx.objects(
        _Near,
        "select chunk_id, 1 - distance as cosine from nearest_chunks(%(base)s, %(asked)s::halfvec, %(wanted)s)",
        base=query.base_id,
        asked=asked,
        wanted=SEEN,
    )
    lexical = {found.chunk_id: found for found in scored}
    ids = [*lexical, *(one.chunk_id for one in near if one.chunk_id not in lexical)]
    rows = await tx.objects(
        _Both,
        "select i.chunk_id, -(i.body <#> %(body)s::sparsevec) as body, "
        "(select max(-(one <#> %(phrasing)s::sparsevec)) from unnest(i.phrasings) as one) as phrasing, "
        "1 - (v.vector <=> %(asked)s::halfvec) as cosine from chunk_index i "
        "left join chunk_vector v on v.workspace_id = i.workspace_id and v.chunk_id = i.chunk_id "
        "and v.dimensions = %(dimensions)s "
        "where i.workspace_id = %(workspace)s and i.chunk_id = any(%(ids)b::bigint[])",
        workspace=tx.workspace_id,
        body=sparse(query.body),
        phrasing=sparse(query.phrasing),
        asked=asked,
        dimensions=len(vector),
        ids=ids,
    )
    usual = min((_finite(one.cosine) for one in near), default=0.0)
    fused = [
        Scored(
            row.chunk_id,
            row.body
            + (row.body if row.phrasing is None else row.phrasing)
            + max(_finite(row.cosine) - usual, 0.0) * query.best,
            row.body,
            row.phrasing,
            _finite(row.cosine),
        )
        for row in rows
    ]
    return sorted(fused, key=lambda found: (-found.score, found.chunk_id))[:SEEN]


def _finite(cosine: float | None) -> float:
    """A chunk without a vector, or with an empty one, is like nothing."""
    return cosine if cosine is not None and math.isfinite(cosine) else 0.0


_TEXTS = """
select c.id as chunk_id, a.id as article_id, a.title, c.text, a.answer, c.heading_path, s.name as source_name,
       c.unit, c.number, a.category, array(
         select p.text from phrasing p where p.workspace_id = c.workspace_id and p.article_id = a.id
         order by p.id) as phrasings
  from chunk c
  join article a on a.workspace_id = c.workspace_id and a.id = c.article_id
  left join source s on s.workspace_id = a.workspace_id and s.id = a.source_id
 where c.workspace_id = %(workspace)s and c.id = any(%(ids)b::bigint[])
"""


@dataclass(frozen=True, slots=True)
class _Texts:
    """What a candidate says and belongs to."""

    chunk_id: int
    article_id: int
    title: str
    text: str
    answer: str | None
    heading_path: list[str]
    source_name: str | None
    unit: str
    number: int
    category: str | None
    phrasings: list[str]


async def _read(tx: Transaction, question: str, scored: Sequence[Scored], synonyms: Synonyms) -> tuple[Passage, ...]:
    """The texts of the candidates. Of several that say the same only the best stays."""
    rows = await tx.objects(_Texts, _TEXTS, workspace=tx.workspace_id, ids=[found.chunk_id for found in scored])
    texts = {row.chunk_id: row for row in rows}
    asked = frozenset(terms(question, synonyms))
    passages: list[Passage] = []
    said: set[str] = set()
    for found in scored:
        passage = _passage(found, texts[found.chunk_id], asked, synonyms)
        said_here = "".join((passage.answer or passage.text).split())
        if said_here not in said:
            said.add(said_here)
            passages.append(passage)
    return tuple(passages)


def _passage(found: Scored, texts: _Texts, asked: frozenset[int], synonyms: Synonyms) -> Passage:
    closest, likeness = None, 0.0
    for phrasing in texts.phrasings:
        like = _likeness(asked, frozenset(terms(phrasing, synonyms)))
        if closest is None or like > likeness:
            closest, likeness = phrasing, like
    return Passage(
        texts.article_id,
        found.chunk_id,
        texts.title,
        texts.text,
        texts.answer,
        tuple(texts.heading_path),
        texts.source_name,
        texts.unit,
        texts.number,
        texts.category,
        found.score,
        found.body,
        found.phrasing,
        found.cosine,
        closest,
        likeness,
    )


def _likeness(asked: frozenset[int], phrasing: frozenset[int]) -> float:
    """Shared weight over all weight of two sets of terms."""
    if not asked or not phrasing:
        return 0.0
    at_large = term_priors()
    together = sum(map(at_large.rarity, asked | phrasing))
    return sum(map(at_large.rarity, asked & phrasing)) / together if together else 0.0


def _zone(ranking: Ranking, limits: Thresholds) -> tuple[ConfidenceBand, str]:
    """What to do, and why in a sentence."""
    if not ranking.passages:
        return ConfidenceBand.HANDOFF, mark("No passage shares a word with the question.")
    first, sure = ranking.passages[0], ranking.confidence
    runner_up = max((passage.likeness for passage in ranking.passages[1:]), default=0.0)
    if not ranking.expanded.leaning_on and first.likeness >= NEARLY_SAME and first.likeness > runner_up:
        return ConfidenceBand.ANSWER, mark(
            f"The question is nearly the phrasing {first.phrasing!r} ({first.likeness:.2f})."
        )
    answer_at = limits.answer_at if first.answer is not None else limits.document_answer_at
    if sure >= answer_at:
        return ConfidenceBand.ANSWER, mark(f"Confidence {sure:.2f} reaches {answer_at:.2f}.")
    share, suggest_at = ranking.share, limits.suggest_at
    if share >= suggest_at:
        if first.answer is None or limits.trusted:
            why = mark(f"Confidence {sure:.2f} is below {answer_at:.2f}; share {share:.2f} reaches {suggest_at:.2f}.")
        else:
            why = mark(f"There are too few similar questions to trust; share {share:.2f} reaches {suggest_at:.2f}.")
        return ConfidenceBand.SUGGEST, why
    return ConfidenceBand.HANDOFF, mark(
        f"Confidence {sure:.2f} and share {share:.2f} (below {suggest_at:.2f}) are too low."
    )

"""Find the passages for a question, and say how sure we are.

Exact BM25 inside PostgreSQL over characters, pairs and words (see `tokenizer`, `bm25`), joined by what the question's
vector is near to when there is one (`fusion`). Sure means: n·(1+m), where n is the score as a share of the best this
question could score, and m how far the first lies before the next different answer; `confidence` says what vectors
change. What is sure enough each base has learnt from itself (`calibration`), by words and with vectors.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from enum import StrEnum

from zhiban.kit.db import Transaction, Transactions
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.knowledge import followups, queries
from zhiban.knowledge.bm25 import Collection, sparse
from zhiban.knowledge.corpus_stats import term_priors
from zhiban.knowledge.followups import ExpandedQuery
from zhiban.knowledge.fusion import Question, Scored, candidates, fused
from zhiban.knowledge.indexing import keys
from zhiban.knowledge.likeness import Comparison
from zhiban.knowledge.passage_texts import PassageTexts, passage_texts
from zhiban.knowledge.queries import NOT_ASKED, BaseRow, Frequencies
from zhiban.knowledge.tokenizer import terms
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders, HalfVector, QueryVectors, query_vectors

SEEN = 10  # how far down the list we look, whatever `top_k` shows
SMALLEST_BUDGET = 1_500  # candidates that are always affordable; smaller bases are compared whole
BUDGET_OF_ROOT = 8  # candidates of a larger base, for the square root of its size: comparing is what takes time
SCANNED_FROM = 0.4  # of a base as candidates: looking at everything is quicker than looking them up
SCANNED_WHEN_VAGUE = 25_000  # candidates; in a larger base words that are everywhere choose nothing worth 60 ms
NEARLY_SAME = 0.8  # a question this like a phrasing is that phrasing, whatever the base has learnt
SUGGEST_AT = 0.23  # of the best possible score: keeps 7 of 10 helpful suggestions, 2 of 10 useless ones (shop bench)
SHARE_POWER = 0.6  # of n where vectors had their say
SUGGEST_AT_WITH_VECTORS = 0.10  # of share times cosine: keeps 9 of 10 helpful ones, 4 of 10 useless ones (shop bench)
# Of the first score, where only contacts' questions have made the base so sure: who lies closer may be meant as well
# (measured on simulated months: all new wrong answers lay closer, and one new right one in twenty).
CLEAR_LEAD = 0.38
LEARNT_ALIKE = 0.42  # to a wording that people taught: below, it is another question (measured on simulated months)
FEWEST_WORDS = 1.2  # a question must weigh as much as this many words nobody uses, or it is too vague to be sure
AT_ONCE = 0.02  # seconds that a transaction stays open for vectors; an embedder of our own needs some 3 ms
ALL = 1e9  # an answer threshold that nothing reaches


class ConfidenceBand(StrEnum):
    ANSWER = "answer"
    SUGGEST = "suggest"
    HANDOFF = "handoff"


@frozen_dataclass
class Passage:
    """A chunk as found. `likeness` compares the question with the closest phrasing (0 to 1), be it `learnt` or not."""

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
    learnt: bool = False

    @property
    def position(self) -> str:
        return f"{self.unit} {self.number}"

    @property
    def vouched(self) -> bool:
        """Whether it may be answered with. A wording that people taught stands for its other spellings, and no more."""
        return not self.learnt or self.likeness >= LEARNT_ALIKE

    @property
    def asked_as(self) -> str | None:
        """The closest similar question, where it says more than the title."""
        return self.phrasing if self.vouched and self.phrasing != self.title else None


@frozen_dataclass
class Thresholds:
    """From a confidence of `answer_at` on we answer, from a share of `suggest_at` on we suggest.

    `trusted`: learnt from enough entries. Otherwise only a question that is nearly a phrasing is answered.
    `clear_below`: an answer of less confidence must lie clearly before the next entry.
    """

    answer_at: float
    suggest_at: float
    trusted: bool
    clear_below: float = 0.0
    document_answer_at: float = ALL  # sections of documents suggest, until people have confirmed enough of them


@frozen_dataclass
class SearchResult:
    passages: tuple[Passage, ...]
    confidence: float  # n·(1+m)
    share: float  # n alone
    zone: ConfidenceBand
    why: str  # an English sentence; `Texts.error` says it in Chinese
    thresholds: Thresholds
    leaning_on: tuple[str, ...] = ()


@frozen_dataclass
class ScoredTexts:
    """A candidate with its texts, which the question is not compared with yet."""

    scored: Scored
    texts: PassageTexts


@frozen_dataclass
class Ranking:
    """What one understanding of the question found.

    Few of the hits become passages: comparing the question with all phrasings would take longer than all else here.
    """

    expanded: ExpandedQuery
    comparison: Comparison
    hits: tuple[ScoredTexts, ...]
    confidence: float
    share: float
    limits: Thresholds

    @property
    def lead(self) -> float:
        """How far the first lies before the second."""
        return margin(self.hits[0].scored.score, self.hits[1].scored.score if len(self.hits) > 1 else 0.0)

    def nearly_asked(self, first: Passage) -> bool:
        """Whether the question is nearly a phrasing of the first, and less like those of all others."""
        return first.likeness >= NEARLY_SAME and all(
            self.comparison.closest(hit.texts).likeness < first.likeness for hit in self.hits[1:]
        )

    def passages(self, most: int) -> tuple[Passage, ...]:
        return tuple(_passage(hit, self.comparison) for hit in self.hits[:most])


@frozen_dataclass
class LeaveOneOut:
    """Counts to leave out of a base: of an entry that is imagined away for calibration."""

    bodies: Mapping[int, int] = field(default_factory=dict)
    phrasings: Mapping[int, int] = field(default_factory=dict)
    texts: int = 0
    asked: int = 0


async def build_query(
    tx: Transaction,
    base: BaseRow,
    expanded: ExpandedQuery,
    *,
    without: LeaveOneOut | None = None,
    known: Frequencies = NOT_ASKED,
) -> Question:
    """Weigh the terms of the question as this base knows them. `known` is what is known of some of them already."""
    left_out = without or LeaveOneOut()
    if unknown := expanded.weights.keys() - known.asked:
        known = known.joined(await queries.frequencies(tx, base, unknown))
    known = known.of(expanded.weights)
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
    weight = sum(body.values()) + sum(phrasing.values())
    least = FEWEST_WORDS * (_unseen(base.bodies) + _unseen(base.phrasings or base.bodies))
    return Question(base.id, _keys(base, known.bodies), body, phrasing, max(weight, least), vague=weight < least)


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
    budget = max(SMALLEST_BUDGET, BUDGET_OF_ROOT * math.sqrt(base.bodies))
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


def margin(first: float, second: float) -> float:
    """How far a first score above 0 lies before the second, as a share of it."""
    return (first - max(second, 0.0)) / first


def confidence(first: float, second: float, best: float, highest: float | None = None) -> float:
    """n·(1+m) of a first and a second score; where vectors had their say, n^0.6·(1+m) times the highest cosine.

    With vectors a high n says less, because cosine and words agree on the wrong entry, too (measured on the shop bench:
    23 instead of 20 % of the questions can be answered with nine in ten right).
    """
    if best <= 0 or first <= 0:
        return 0.0
    share, ahead = first / best, 1 + margin(first, second)
    return share * ahead if highest is None else share**SHARE_POWER * ahead * highest


def thresholds_of(base: BaseRow, override: float | None = None, *, with_vectors: bool = False) -> Thresholds:
    suggest_at = SUGGEST_AT_WITH_VECTORS if with_vectors else SUGGEST_AT
    if override is not None:
        return Thresholds(override, suggest_at, trusted=True, document_answer_at=override)
    answer_at = base.answer_at_with_vectors if with_vectors else base.answer_at
    documents = (base.calibration.get("documents") or {}).get("answer_at")
    learnt = base.calibration if with_vectors else base.calibration.get("words") or {}
    return Thresholds(
        ALL if answer_at is None else answer_at,
        suggest_at,
        trusted=answer_at is not None,
        clear_below=learnt.get("by_authors") or 0.0,
        document_answer_at=ALL if documents is None else documents,
    )


@frozen_dataclass
class Understanding:
    """One way to understand the question, and what its words found. `text` is what an embedder reads.

    `scored` is None where the words are everywhere, so that only comparing everything would rank by them.
    """

    text: str
    expanded: ExpandedQuery
    question: Question
    scored: list[Scored] | None


@frozen_dataclass
class Lookup:
    """What the words of a question found, while its vectors are still being made."""

    base: BaseRow
    asked: str
    understandings: tuple[Understanding, ...]  # another one counts when the one before it is not sure
    pending: asyncio.Task[QueryVectors | None] | None = None

    @property
    def waits(self) -> bool:
        """Whether vectors are still on their way, which nobody waits for inside a transaction."""
        return self.pending is not None and not self.pending.done()

    async def vectors(self) -> QueryVectors | None:
        """Wait for the vectors, outside of any transaction. None when there are none, for whatever reason."""
        return None if self.pending is None else await self.pending


async def look_up(
    tx: Transaction,
    base_id: int,
    question: str,
    *,
    context: Sequence[str] = (),
    embedders: Embedders = NO_EMBEDDERS,
    also: Sequence[str] = (),
) -> Lookup:
    """Search by words, and have the vectors made beside it, by the embedder whose vectors the base has.

    `context` holds the contact's earlier questions (and the titles answered last), oldest first. `also` are questions
    whose vectors will be wanted, too. Raises NotFound when there is no such base.
    """
    base, known = await queries.base_with_frequencies(tx, base_id, frozenset(terms(question)))
    pending = None
    if embedders.named(base.embedder) is not None:
        texts = [text for each in (question, *also) for text in followups.texts_of(each, context)]
        pending = asyncio.create_task(query_vectors(embedders, base.embedder, texts), name="question vectors")
    ways: list[tuple[str, ExpandedQuery]] = []
    if not context or not followups.is_follow_up(question):
        ways.append((question, followups.standalone(question, base.synonyms)))
    if context and (not ways or followups.is_tiny(question)):
        ways.append((followups.in_context(question, context), followups.with_context(question, context, base.synonyms)))
    found = []
    for text, expanded in ways:
        query = await build_query(tx, base, expanded, known=known)
        few = SMALLEST_BUDGET if pending is not None else SCANNED_WHEN_VAGUE
        everywhere = query.vague and query.keys is None and base.bodies > few
        found.append(Understanding(text, expanded, query, None if everywhere else await rank(tx, query)))
    if pending is not None and not pending.done():
        await asyncio.wait((pending,), timeout=AT_ONCE)
    return Lookup(base, question, tuple(found), pending)


async def judge(
    tx: Transaction,
    lookup: Lookup,
    vectors: QueryVectors | None = None,
    *,
    top_k: int = 3,
    threshold: float | None = None,
) -> SearchResult:
    """What was found, at most `top_k` passages, with what to do about them.

    `threshold` is the operator's own KB_SIMILARITY_THRESHOLD.
    """
    usable = vectors.of if vectors is not None and vectors.embedder == lookup.base.embedder else {}
    best: Ranking | None = None
    for way in lookup.understandings:
        if best is not None and _zone(best)[0] is ConfidenceBand.ANSWER:
            break
        ranking = await _ranked(tx, lookup, way, usable.get(way.text), threshold)
        if best is None or ranking.confidence > best.confidence:
            best = ranking
    assert best is not None
    zone, why = _zone(best)
    return SearchResult(
        best.passages(top_k), best.confidence, best.share, zone, why, best.limits, best.expanded.leaning_on
    )


async def search(
    tx: Transaction,
    base_id: int,
    question: str,
    *,
    top_k: int = 3,
    context: Sequence[str] = (),
    vectors: QueryVectors | None = None,
    threshold: float | None = None,
) -> SearchResult:
    """`look_up` and `judge` at once, with vectors that are there already, or by words alone."""
    return await judge(
        tx, await look_up(tx, base_id, question, context=context), vectors, top_k=top_k, threshold=threshold
    )


async def find(
    transaction: Transactions,
    base: Callable[[Transaction], Awaitable[int]],
    question: str,
    *,
    embedders: Embedders,
    top_k: int = 3,
    context: Sequence[str] = (),
    threshold: float | None = None,
) -> SearchResult:
    """Search by words and by meaning, in transactions of its own: none stays open for an embedder that takes long."""
    async with transaction() as tx:
        lookup = await look_up(tx, await base(tx), question, context=context, embedders=embedders)
        if not lookup.waits:
            return await judge(tx, lookup, await lookup.vectors(), top_k=top_k, threshold=threshold)
    vectors = await lookup.vectors()
    async with transaction() as tx:
        return await judge(tx, lookup, vectors, top_k=top_k, threshold=threshold)


async def _ranked(
    tx: Transaction, lookup: Lookup, way: Understanding, vector: HalfVector | None, threshold: float | None
) -> Ranking:
    base, query, highest = lookup.base, way.question, 1.0
    if vector is not None and base.dimensions == vector.dimensions:
        joint = fused(await candidates(tx, base, query, way.scored or (), vector), query.best)
        scored, highest = joint.scored[:SEEN], joint.highest
    else:
        scored = way.scored or []
        if way.scored is None and base.bodies <= SCANNED_WHEN_VAGUE:
            scored = await rank(tx, query)
    hits, comparison = await _read(tx, scored), Comparison(lookup.asked, base.synonyms)
    if not hits:
        return Ranking(way.expanded, comparison, (), 0.0, 0.0, thresholds_of(base, threshold))
    first = hits[0].scored
    second = hits[1].scored.score if len(hits) > 1 else 0.0
    with_vectors = first.cosine is not None
    return Ranking(
        way.expanded,
        comparison,
        hits,
        confidence(first.score, second, query.best, highest if with_vectors else None),
        first.score / query.best * (highest if with_vectors else 1.0),
        thresholds_of(base, threshold, with_vectors=with_vectors),
    )


async def _read(tx: Transaction, scored: Sequence[Scored]) -> tuple[ScoredTexts, ...]:
    """The candidates with their texts. Of several that say the same only the best stays."""
    texts = await passage_texts(tx, [found.chunk_id for found in scored])
    hits: list[ScoredTexts] = []
    said: set[str] = set()
    for found in scored:
        hit = ScoredTexts(found, texts[found.chunk_id])
        said_here = "".join((hit.texts.answer or hit.texts.text).split())
        if said_here not in said:
            said.add(said_here)
            hits.append(hit)
    return tuple(hits)


def _passage(hit: ScoredTexts, comparison: Comparison) -> Passage:
    found, texts, closest = hit.scored, hit.texts, comparison.closest(hit.texts)
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
        closest.phrasing,
        closest.likeness,
        closest.learnt,
    )


def _zone(ranking: Ranking) -> tuple[ConfidenceBand, str]:
    """What to do, and why in a sentence."""
    if not ranking.hits:
        return ConfidenceBand.HANDOFF, mark("No passage shares a word with the question, or nearly all do.")
    first, sure, limits = _passage(ranking.hits[0], ranking.comparison), ranking.confidence, ranking.limits
    if not ranking.expanded.leaning_on and ranking.nearly_asked(first):
        return ConfidenceBand.ANSWER, mark(
            f"The question is nearly the phrasing {first.phrasing!r} ({first.likeness:.2f})."
        )
    answer_at = limits.answer_at if first.answer is not None else limits.document_answer_at
    clear = first.answer is None or sure >= limits.clear_below or ranking.lead >= CLEAR_LEAD
    if sure >= answer_at and first.vouched and clear:
        return ConfidenceBand.ANSWER, mark(f"Confidence {sure:.2f} reaches {answer_at:.2f}.")
    share, suggest_at = ranking.share, limits.suggest_at
    if share >= suggest_at:
        if sure >= answer_at and first.vouched:
            why = mark(f"Confidence {sure:.2f} reaches {answer_at:.2f}, but the next entry is close.")
        elif sure >= answer_at:
            why = mark(f"The learnt phrasing {first.phrasing!r} is another question ({first.likeness:.2f}).")
        elif first.answer is None and answer_at >= ALL:
            why = mark(f"Documents answer once people have confirmed some; share {share:.2f} reaches {suggest_at:.2f}.")
        elif first.answer is None or limits.trusted:
            why = mark(f"Confidence {sure:.2f} is below {answer_at:.2f}; share {share:.2f} reaches {suggest_at:.2f}.")
        else:
            why = mark(f"This base has not learnt to answer; share {share:.2f} reaches {suggest_at:.2f}.")
        return ConfidenceBand.SUGGEST, why
    return ConfidenceBand.HANDOFF, mark(
        f"Confidence {sure:.2f} and share {share:.2f} (below {suggest_at:.2f}) are too low."
    )

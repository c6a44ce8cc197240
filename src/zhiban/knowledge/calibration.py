"""Learn from a base itself how sure is sure enough.

Every similar question is held out in turn and asked: its article should come first. Then the whole article is imagined
away and the same question asked again: now whatever comes first is wrong. `precision` makes a threshold and a promise
of it, by words alone and with vectors. The questions of contacts that people have confirmed are asked in the same two
ways, and count for more; and those whose answer is in a document tell whether documents may answer.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime

from zhiban.events import SYSTEM, ThresholdsMoved
from zhiban.kit import event_log
from zhiban.kit.db import Database, Transaction, Transactions
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import queries
from zhiban.knowledge.bm25 import product, weights
from zhiban.knowledge.confirmed import ConfirmedQuestion, confirmed_questions, people
from zhiban.knowledge.followups import standalone
from zhiban.knowledge.fusion import Candidate, Question, Scored, candidates, fused
from zhiban.knowledge.models import LEARNT, ArticleKind
from zhiban.knowledge.precision import (
    BY_WORDS,
    FEWEST_PEOPLE,
    WITH_VECTORS,
    Calibration,
    DocumentEvidence,
    Halves,
    Sample,
    fit,
    fit_documents,
)
from zhiban.knowledge.queries import BaseRow
from zhiban.knowledge.retrieval import LeaveOneOut, build_query, confidence, judge, look_up, rank
from zhiban.knowledge.tokenizer import Synonyms, counts
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders, HalfVector, QueryVectors, query_vectors

EMBEDDING_SECONDS = 60.0  # for all confirmed questions together
MOST_SAMPLES = 300
MOST_CONFUSED = 5  # pairs of entries that are named
BATCH = 25


@frozen_dataclass
class PhrasingTrial:
    """What became of one question: of a phrasing that was held out, or of a contact's own."""

    question: str
    by_words: Halves
    joint: Halves | None  # with vectors, where there are any
    of_contact: bool = False  # in a contact's words, not in an author's


@frozen_dataclass
class _HeldOut:
    article_id: int
    chunk_id: int
    phrasing_id: int
    phrasing: str
    others: tuple[str, ...]
    text: str
    of_contact: bool


@frozen_dataclass
class _FittedThresholds:
    answer_at: float | None
    answer_at_with_vectors: float | None


@frozen_dataclass
class _SampledFaq:
    article_id: int
    chunk_id: int
    text: str
    phrasing_ids: list[int]
    phrasings: list[str]
    origins: list[str]

    def hold_out(self, at: int) -> _HeldOut:
        """The question with the phrasing at this place taken out."""
        others = (*self.phrasings[:at], *self.phrasings[at + 1 :])
        of_contact = self.origins[at] in LEARNT
        return _HeldOut(
            self.article_id, self.chunk_id, self.phrasing_ids[at], self.phrasings[at], others, self.text, of_contact
        )


async def calibrate(
    database: Database,
    workspace_id: int,
    base_id: int,
    *,
    embedders: Embedders = NO_EMBEDDERS,
    now: datetime,
    told: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Learn the thresholds of a base and keep them in its row. Without embedders contacts are asked by words alone."""
    async with database.transaction(workspace_id) as tx:
        base = await queries.base(tx, base_id)
        held_out, similar_per_article = await _sample(tx, base_id)
        said = await confirmed_questions(tx, base_id)
        if await people(tx, base_id) < FEWEST_PEOPLE:  # nobody moves a threshold alone
            said = [one for one in said if one.kind != ArticleKind.FAQ]
    patient = replace(embedders, seconds=EMBEDDING_SECONDS)
    vectors = await query_vectors(patient, base.embedder, [one.question for one in said]) if said else None
    trials = await _ask_all(lambda: database.transaction(workspace_id), base, held_out, told)
    documents: list[Sample] = []
    for start in range(0, len(said), BATCH):
        async with database.transaction(workspace_id) as tx:
            for one in said[start : start + BATCH]:
                if one.kind == ArticleKind.FAQ:
                    trials += filter(None, [await _ask_confirmed(tx, base, one, vectors)])
                else:
                    documents += filter(None, [await _ask_document(tx, base_id, one, vectors)])
    async with database.transaction(workspace_id) as tx:
        evidence = fit_documents(documents, people=await people(tx, base_id, kind=ArticleKind.DOCUMENT))
        return await _store(tx, base, trials, evidence, similar_per_article, now=now)


async def ask_phrasings(transaction: Transactions, base_id: int, *, most: int = MOST_SAMPLES) -> list[PhrasingTrial]:
    """Ask phrasings of a base, at most so many, each held out. Raises NotFound."""
    async with transaction() as tx:
        base = await queries.base(tx, base_id)
        held_out, _ = await _sample(tx, base_id)
    return await _ask_all(transaction, base, held_out[:most])


async def _ask_all(
    transaction: Transactions,
    base: BaseRow,
    held_out: Sequence[_HeldOut],
    told: Callable[[int, int], None] | None = None,
) -> list[PhrasingTrial]:
    trials: list[PhrasingTrial] = []
    for start in range(0, len(held_out), BATCH):
        async with transaction() as tx:
            trials += [await _ask(tx, base, one, base.synonyms) for one in held_out[start : start + BATCH]]
        if told:
            told(min(start + BATCH, len(held_out)), len(held_out))
    return trials


async def _store(
    tx: Transaction,
    base: BaseRow,
    trials: Sequence[PhrasingTrial],
    documents: DocumentEvidence,
    similar_per_article: float,
    *,
    now: datetime,
) -> Calibration:
    words = [trial.by_words for trial in trials if not trial.of_contact]
    meanings = [trial.joint for trial in trials if trial.joint is not None and not trial.of_contact]
    by_words = fit(
        words,
        BY_WORDS,
        confirmed=[trial.by_words for trial in trials if trial.of_contact],
        similar_per_article=similar_per_article,
    )
    joint = fit(
        meanings,
        WITH_VECTORS,
        confirmed=[trial.joint for trial in trials if trial.joint is not None and trial.of_contact],
        similar_per_article=similar_per_article,
    )
    with_vectors = base.vector_set is not None
    calibration = joint if with_vectors else by_words
    if not base.phrasings:  # nothing but documents
        calibration = by_words = replace(by_words, precision=documents.precision, confirmed=documents.confirmed)
    confused = await _confused(tx, meanings if with_vectors else words, calibration.answer_at)
    report = {**asdict(calibration), "words": asdict(by_words), "documents": asdict(documents), "confused": confused}
    before = await tx.object(
        _FittedThresholds,
        "select answer_at, answer_at_with_vectors from knowledge_base where id = %(base)s for no key update",
        base=base.id,
    )
    await tx.run(
        "update knowledge_base set answer_at = %(answer_at)s, answer_at_with_vectors = %(with_vectors)s, "
        "calibrated_at = %(now)s, calibration = %(report)s::jsonb where id = %(base)s",
        answer_at=by_words.answer_at,
        with_vectors=joint.answer_at,
        now=now,
        report=json.dumps(report),
        base=base.id,
    )
    after = _FittedThresholds(by_words.answer_at, joint.answer_at)
    if before is not None and before != after:
        await event_log.append(
            tx,
            ThresholdsMoved(
                actor=SYSTEM,
                at=now,
                base_id=base.id,
                answer_at=after.answer_at,
                answer_at_with_vectors=after.answer_at_with_vectors,
            ),
        )
    return calibration


async def _sample(tx: Transaction, base_id: int) -> tuple[list[_HeldOut], float]:
    """Phrasings to hold out, the same ones each time, and how many similar questions an article has on average."""
    rows = await tx.objects(
        _SampledFaq,
        "select a.id as article_id, c.id as chunk_id, c.text, array(select p.id from phrasing p where p.workspace_id = "
        "a.workspace_id and p.article_id = a.id and p.indexed order by p.id) as phrasing_ids, array(select p.text from "
        "phrasing p where p.workspace_id = a.workspace_id and p.article_id = a.id and p.indexed order by p.id) "
        "as phrasings, array(select p.origin from phrasing p where p.workspace_id = a.workspace_id and p.article_id = "
        "a.id and p.indexed order by p.id) as origins from article a join chunk c "
        "on c.workspace_id = a.workspace_id and c.article_id = a.id where a.base_id = %(base)s "
        "and a.kind = 'faq' order by a.id",
        base=base_id,
    )
    if not rows:
        return [], 0.0
    similar = sum(len(row.phrasings) - 1 for row in rows) / len(rows)
    able = [(row, at) for row in rows for at in range(len(row.phrasings))]
    chosen = random.Random(base_id).sample(able, min(MOST_SAMPLES, len(able)))  # noqa: S311 - a sample, no secret
    return [row.hold_out(at) for row, at in chosen], similar


async def _ask(tx: Transaction, base: BaseRow, held_out: _HeldOut, synonyms: Synonyms) -> PhrasingTrial:
    """Ask the phrasing of a base that has all but this phrasing, and of one that lacks the whole article."""
    phrasing = counts(held_out.phrasing, synonyms)
    body = counts(" ".join((*held_out.others, held_out.text)), synonyms)
    without = LeaveOneOut(
        bodies=dict.fromkeys(phrasing.keys() - body.keys(), 1), phrasings=dict.fromkeys(phrasing, 1), asked=1
    )
    query = await build_query(tx, base, standalone(held_out.phrasing, synonyms), without=without)
    others = await rank(tx, query, leave_out=held_out.chunk_id)
    asked = [counts(other, synonyms) for other in held_out.others]
    own_body = product(query.body, weights(body, body.total(), base.body_pivot))
    own_phrasing = max(
        (product(query.phrasing, weights(one, one.total(), base.phrasing_pivot)) for one in asked), default=0.0
    )
    by_words = Halves(
        held_out.article_id,
        _inside(others, own_body + own_phrasing, query.best) if held_out.others else None,
        _outside(others, query.best),
    )
    meant = await tx.object(_Meant, _MEANT, set=base.vector_set, article=held_out.article_id, id=held_out.phrasing_id)
    if meant is None:
        return PhrasingTrial(held_out.phrasing, by_words, None, held_out.of_contact)
    rows = await candidates(tx, base, query, others, meant.vector, leave_out=held_out.article_id)
    away = fused(rows, query.best)
    outside = _outside(away.scored, query.best, away.highest)
    if meant.own is None:
        return PhrasingTrial(
            held_out.phrasing, by_words, Halves(held_out.article_id, None, outside), held_out.of_contact
        )
    there = fused([*rows, Candidate(0, own_body, own_phrasing, meant.own, meant.own)], query.best)
    own = next(found.score for found in there.scored if found.chunk_id == 0)
    rest = [found for found in there.scored if found.chunk_id != 0]
    inside = _inside(rest, own, query.best, there.highest)
    return PhrasingTrial(held_out.phrasing, by_words, Halves(held_out.article_id, inside, outside), held_out.of_contact)


async def _ask_confirmed(
    tx: Transaction, base: BaseRow, said: ConfirmedQuestion, vectors: QueryVectors | None
) -> PhrasingTrial | None:
    """Ask a contact's question of the base as it is, and of one that lacks the article.

    None when nothing follows from it: the article has this wording among its own by now, or it was said to be no answer
    and does not come first any more.
    """
    known = [row.text for row in await queries.phrasings(tx, [said.article_id])]
    if counts(said.question) in [counts(text) for text in known]:
        return None
    query = await build_query(tx, base, standalone(said.question, base.synonyms))
    there = await rank(tx, query)
    away = await rank(tx, query, leave_out=said.chunk_id)
    inside = _confirmed(there, said, query.best)
    by_words = Halves(said.article_id, inside, _outside(away, query.best))
    vector = vectors.of.get(said.question) if vectors is not None else None
    if vector is None or vector.dimensions != base.dimensions:
        return PhrasingTrial(said.question, by_words, None, of_contact=True) if inside is not None else None
    joint = await _ask_meaning(tx, base, said, query, there, away, vector)
    if inside is None and joint.inside is None:
        return None
    return PhrasingTrial(said.question, by_words, joint, of_contact=True)


async def _ask_meaning(
    tx: Transaction,
    base: BaseRow,
    said: ConfirmedQuestion,
    query: Question,
    there: Sequence[Scored],
    away: Sequence[Scored],
    vector: HalfVector,
) -> Halves:
    whole = fused(await candidates(tx, base, query, there, vector), query.best)
    rows = await candidates(tx, base, query, away, vector, leave_out=said.article_id)
    without = fused(rows, query.best)
    inside = _confirmed(whole.scored, said, query.best, whole.highest)
    return Halves(said.article_id, inside, _outside(without.scored, query.best, without.highest))


def _confirmed(
    found: Sequence[Scored], said: ConfirmedQuestion, best: float, highest: float | None = None
) -> Sample | None:
    """What came first, and whether it was right; None when it is not known to be either."""
    sample = _outside(found, best, highest)
    is_it = sample.chunk_id == said.chunk_id
    return replace(sample, first=is_it) if said.right else sample if is_it else None


async def _ask_document(
    tx: Transaction, base_id: int, said: ConfirmedQuestion, vectors: QueryVectors | None
) -> Sample | None:
    """Whether a section of the document comes first; None when an entry does, or nothing is known about what does."""
    found = await judge(tx, await look_up(tx, base_id, said.question), vectors)
    first = found.passages[0] if found.passages else None
    if first is None or first.answer is not None or (first.article_id != said.article_id and not said.right):
        return None
    return Sample(found.confidence, first=said.right and first.article_id == said.article_id)


# The stored vector of a phrasing, and how near the article's other phrasings are to it.
_MEANT = """
select v.vector::text as vector, (select max(-(o.vector <#> v.vector)) from phrasing_vector o
  join phrasing p on p.workspace_id = o.workspace_id and p.id = o.phrasing_id
  where o.workspace_id = v.workspace_id and o.set_id = v.set_id and o.article_id = v.article_id
    and o.phrasing_id <> v.phrasing_id) as own
from phrasing_vector v where v.set_id = %(set)s and v.article_id = %(article)s and v.phrasing_id = %(id)s"""


@frozen_dataclass
class _Meant:
    vector: str
    own: float | None


def _inside(others: Sequence[Scored], own: float, best: float, highest: float | None = None) -> Sample:
    scores = [found.score for found in others[:2]]
    among_three = own > 0 and sum(found.score > own for found in others[:3]) < 3
    if own > 0 and (not scores or own >= scores[0]):
        return Sample(confidence(own, scores[0] if scores else 0.0, best, highest), first=True, among_three=True)
    first, second = scores[0] if scores else 0.0, max(own, *scores[1:], 0.0)
    sure = confidence(first, second, best, highest)
    return Sample(sure, first=False, chunk_id=_first(others), among_three=among_three)


def _outside(others: Sequence[Scored], best: float, highest: float | None = None) -> Sample:
    first = others[0].score if others else 0.0
    second = others[1].score if len(others) > 1 else 0.0
    return Sample(confidence(first, second, best, highest), first=False, chunk_id=_first(others))


def _first(found: Sequence[Scored]) -> int | None:
    return found[0].chunk_id if found else None


async def _confused(tx: Transaction, trials: Iterable[Halves], answer_at: float | None) -> list[dict[str, int]]:
    """The pairs of articles that are most often taken for each other, and how often.

    Taken for another is a phrasing that finds it first; where an article has but one, that would be answered by it.
    """
    pairs: Counter[tuple[int, int]] = Counter()
    for trial in trials:
        taken = trial.outside if trial.inside is None else trial.inside
        wrong = not taken.first and (trial.inside is not None or (answer_at or 0.0) <= taken.confidence)
        if wrong and taken.chunk_id is not None:
            pairs[trial.article_id, taken.chunk_id] += 1
    chunks = await queries.articles_of_chunks(tx, [chunk for _, chunk in pairs])
    together: Counter[tuple[int, int]] = Counter()
    for (article, chunk), times in pairs.items():
        if (other := chunks.get(chunk, article)) != article:
            together[min(article, other), max(article, other)] += times
    return [
        {"article": one, "other": other, "times": times}
        for (one, other), times in sorted(together.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_CONFUSED]
    ]

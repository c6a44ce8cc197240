"""Learn from a base itself how sure is sure enough.

Every similar question is held out in turn and asked: its article should come first. Then the whole article is imagined
away and the same question asked again: now whatever comes first is wrong. Between the two lies the base's threshold.

With vectors the promise is what was delivered: a threshold is learnt from four fifths of the articles and tried on the
last, by turns. By words alone it is set some points above the wanted precision, and trusted with enough phrasings only.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from zhiban.kit.db import Database, Transaction
from zhiban.kit.jobs import Job
from zhiban.knowledge import queries
from zhiban.knowledge.bm25 import product, weights
from zhiban.knowledge.followups import standalone
from zhiban.knowledge.fusion import Candidate, candidates, fused
from zhiban.knowledge.queries import BaseRow
from zhiban.knowledge.retrieval import LeaveOneOut, build_query, confidence, rank
from zhiban.knowledge.tokenizer import Synonyms, counts

CALIBRATE = Job("calibrate", queue="slow", attempts=5)  # learns the thresholds of a base anew
SETTLED = timedelta(seconds=60)  # after a change; more changes meanwhile are learnt from at once

WANTED_PRECISION = 0.85
HEADROOM = 0.05
OUT_OF_SCOPE = 0.20  # the share of questions that come this near to an article that is not there
# With vectors, of all traffic: questions that have an answer, and those that only come near to one. The rest is about
# something else and so far away that it is never answered (none of 70 on the shop bench, at any threshold learnt here).
ANSWERABLE, NEAR = 0.70, 0.15
MOST_NEAR_ANSWERED = 0.08  # of those that only come near; leaves room below one in ten
LEAST_PRECISION = 0.80  # a base that cannot do better does not answer by itself
AIMS = (0.85, 0.875, 0.90, 0.925, 0.95)  # aimed at on the one part, so that the other delivers what is wanted
FOLDS = 5
# A base without similar questions has only its titles to ask, which are nearer to each other than contacts' words:
# where three in ten titles would be answered wrongly, three in a hundred contacts are, and nine in ten answers are
# right (shop bench).
UNTRIED_ANSWER_AT = 0.70
MOST_TITLES_ANSWERED = 0.30
MOST_SAMPLES = 300
FEWEST_SAMPLES = 20
TRUSTED_FROM = 2.0  # similar questions per article, on average, must be more
BATCH = 25


@dataclass(frozen=True, slots=True)
class Sample:
    """What happened to one question: confidence, and whether the first passage was right."""

    confidence: float
    first: bool


@dataclass(frozen=True, slots=True)
class Halves:
    """A question asked of the base without this phrasing (where the article has others), and without the article."""

    article_id: int
    inside: Sample | None
    outside: Sample


@dataclass(frozen=True, slots=True)
class _Trial:
    by_words: Halves
    joint: Halves | None  # with vectors, where there are any


@dataclass(frozen=True, slots=True)
class Calibration:
    answer_at: float | None
    precision: float | None  # expected, at `answer_at`
    coverage: float | None  # share of answerable questions that are answered rightly
    samples: int
    similar_per_article: float
    trusted: bool


@dataclass(frozen=True, slots=True)
class _HeldOut:
    article_id: int
    chunk_id: int
    phrasing_id: int
    phrasing: str
    others: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class _Faq:
    article_id: int
    chunk_id: int
    text: str
    phrasing_ids: list[int]
    phrasings: list[str]

    def hold_out(self, at: int) -> _HeldOut:
        """The question with the phrasing at this place taken out."""
        others = (*self.phrasings[:at], *self.phrasings[at + 1 :])
        return _HeldOut(self.article_id, self.chunk_id, self.phrasing_ids[at], self.phrasings[at], others, self.text)


def fit_threshold(inside: Sequence[Sample], outside: Sequence[Sample], *, similar_per_article: float) -> Calibration:
    """Thresholds from questions that have an answer and such that have none."""
    if len(inside) < FEWEST_SAMPLES:
        return Calibration(None, None, None, len(inside), similar_per_article, trusted=False)
    one_in, one_out = (1 - OUT_OF_SCOPE) / len(inside), OUT_OF_SCOPE / max(len(outside), 1)
    weighed = [(sample.confidence, sample.first, one_in) for sample in inside]
    weighed += [(sample.confidence, False, one_out) for sample in outside]
    found = _lowest(weighed, WANTED_PRECISION + HEADROOM)
    if found is None:
        return Calibration(None, None, None, len(inside), similar_per_article, trusted=False)
    answer_at, precision, right = found
    trusted = similar_per_article > TRUSTED_FROM
    return Calibration(
        answer_at if trusted else None,
        precision,
        right / (1 - OUT_OF_SCOPE),
        len(inside),
        similar_per_article,
        trusted,
    )


def _lowest(weighed: Iterable[tuple[float, bool, float]], aim: float) -> tuple[float, float, float] | None:
    """The lowest confidence from which on this share of the answers is right, that share, and the weight of the right.

    `weighed` are confidences, whether the first passage was right, and how much the question counts.
    """
    found: tuple[float, float, float] | None = None
    asked = right = 0.0
    for at, (sure, first, weight) in enumerate(sorted(weighed, reverse=True), 1):
        asked += weight
        right += weight * first
        if at >= FEWEST_SAMPLES // 2 and right / asked >= aim:
            found = sure, right / asked, right
    return found


def fit_promise(halves: Sequence[Halves], *, similar_per_article: float) -> Calibration:
    """The threshold with vectors, whose precision is what it delivered on articles that it was not learnt from."""
    tried = sum(half.inside is not None for half in halves)
    if len(halves) < FEWEST_SAMPLES:
        return Calibration(None, None, None, tried, similar_per_article, trusted=False)
    if tried < FEWEST_SAMPLES:
        near = sorted(half.outside.confidence for half in halves)
        answer_at = max(UNTRIED_ANSWER_AT, near[int(len(near) * (1 - MOST_TITLES_ANSWERED))])
        return Calibration(answer_at, None, None, tried, similar_per_article, trusted=True)
    promise = _best_promise(halves)
    threshold = _threshold(halves, promise.aim) if promise is not None else None
    if promise is None or threshold is None:
        return Calibration(None, None, None, tried, similar_per_article, trusted=False)
    return Calibration(threshold, promise.precision, promise.coverage, tried, similar_per_article, trusted=True)


@dataclass(frozen=True, slots=True)
class _Promise:
    """What aiming at a precision delivers."""

    aim: float
    precision: float
    coverage: float


def _best_promise(halves: Sequence[Halves]) -> _Promise | None:
    """The first aim that delivers what is wanted, or the one that delivers most, if that is enough."""
    best: _Promise | None = None
    for aim in AIMS:
        found = _delivered(halves, aim)
        if found is not None and (best is None or found.precision > best.precision):
            best = found
            if best.precision >= WANTED_PRECISION:
                return best
    return best if best is not None and best.precision >= LEAST_PRECISION else None


def _weights(halves: Sequence[Halves]) -> tuple[float, float]:
    """How much one question with an answer and one without count."""
    tried = sum(half.inside is not None for half in halves)
    return ANSWERABLE / max(tried, 1), NEAR / max(len(halves), 1)


def _threshold(halves: Sequence[Halves], aim: float) -> float | None:
    """The lowest confidence from which on, among these questions, this share of the answers is right.

    None when there is none. Few of the questions that only come near to an answer may reach it.
    """
    one_in, one_out = _weights(halves)
    weighed = [(half.inside.confidence, half.inside.first, one_in) for half in halves if half.inside is not None]
    weighed += [(half.outside.confidence, False, one_out) for half in halves]
    found = _lowest(weighed, aim)
    if found is None:
        return None
    near = sorted(half.outside.confidence for half in halves)
    return max(found[0], near[int(len(near) * (1 - MOST_NEAR_ANSWERED))])


def _delivered(halves: Sequence[Halves], aim: float) -> _Promise | None:
    """Precision and coverage of thresholds on the articles that they were not learnt from; None: nothing to promise."""
    one_in, one_out = _weights(halves)
    articles = sorted({half.article_id for half in halves})
    fold_of = {article: at % FOLDS for at, article in enumerate(articles)}
    answered, right, near = 0, 0, 0
    for fold in range(FOLDS):
        threshold = _threshold([half for half in halves if fold_of[half.article_id] != fold], aim)
        if threshold is None:
            continue
        for half in halves:
            if fold_of[half.article_id] == fold:
                near += half.outside.confidence >= threshold
                if half.inside is not None and half.inside.confidence >= threshold:
                    answered += 1
                    right += half.inside.first
    if answered < FEWEST_SAMPLES // 4:
        return None
    precision = right * one_in / (answered * one_in + near * one_out)
    return _Promise(aim, precision, right * one_in / ANSWERABLE)


async def calibrate(
    database: Database,
    workspace_id: int,
    base_id: int,
    *,
    now: datetime,
    told: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Learn the thresholds of a base and keep them in its row."""
    async with database.transaction(workspace_id) as tx:
        base = await queries.base(tx, base_id)
        held_out, similar_per_article = await _sample(tx, base_id)
    synonyms = base.synonyms
    trials: list[_Trial] = []
    for start in range(0, len(held_out), BATCH):
        async with database.transaction(workspace_id) as tx:
            trials += [await _ask(tx, base, one, synonyms) for one in held_out[start : start + BATCH]]
        if told:
            told(min(start + BATCH, len(held_out)), len(held_out))
    words = [trial.by_words for trial in trials if trial.by_words.inside is not None]
    by_words = fit_threshold(
        [half.inside for half in words if half.inside is not None],
        [half.outside for half in words],
        similar_per_article=similar_per_article,
    )
    joint = fit_promise(
        [trial.joint for trial in trials if trial.joint is not None], similar_per_article=similar_per_article
    )
    calibration = joint if base.vector_set is not None else by_words
    async with database.transaction(workspace_id) as tx:
        await tx.run(
            "update knowledge_base set answer_at = %(answer_at)s, answer_at_with_vectors = %(with_vectors)s, "
            "calibrated_at = %(now)s, calibration = %(report)s::jsonb where id = %(base)s",
            answer_at=by_words.answer_at,
            with_vectors=joint.answer_at,
            now=now,
            report=json.dumps({**asdict(calibration), "words": asdict(by_words)}),
            base=base_id,
        )
    return calibration


async def _sample(tx: Transaction, base_id: int) -> tuple[list[_HeldOut], float]:
    """Phrasings to hold out, the same ones each time, and how many similar questions an article has on average."""
    rows = await tx.objects(
        _Faq,
        "select a.id as article_id, c.id as chunk_id, c.text, array(select p.id from phrasing p where p.workspace_id = "
        "a.workspace_id and p.article_id = a.id and p.indexed order by p.id) as phrasing_ids, array(select p.text from "
        "phrasing p where p.workspace_id = a.workspace_id and p.article_id = a.id and p.indexed order by p.id) "
        "as phrasings from article a join chunk c "
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


async def _ask(tx: Transaction, base: BaseRow, held_out: _HeldOut, synonyms: Synonyms) -> _Trial:
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
    scores = [found.score for found in others]
    by_words = Halves(
        held_out.article_id,
        _inside(scores, own_body + own_phrasing, query.best) if held_out.others else None,
        _outside(scores, query.best),
    )
    meant = await tx.object(_Meant, _MEANT, set=base.vector_set, article=held_out.article_id, id=held_out.phrasing_id)
    if meant is None:
        return _Trial(by_words, None)
    rows = await candidates(tx, base, query, others, meant.vector, leave_out=held_out.article_id)
    away = fused(rows, query.best)
    outside = _outside([found.score for found in away.scored], query.best, away.highest)
    if meant.own is None:
        return _Trial(by_words, Halves(held_out.article_id, None, outside))
    there = fused([*rows, Candidate(0, own_body, own_phrasing, meant.own, meant.own)], query.best)
    own = next(found.score for found in there.scored if found.chunk_id == 0)
    rest = [found.score for found in there.scored if found.chunk_id != 0]
    return _Trial(by_words, Halves(held_out.article_id, _inside(rest, own, query.best, there.highest), outside))


# The stored vector of a phrasing, and how near the article's other phrasings are to it.
_MEANT = """
select v.vector::text as vector, (select max(-(o.vector <#> v.vector)) from phrasing_vector o
  join phrasing p on p.workspace_id = o.workspace_id and p.id = o.phrasing_id
  where o.workspace_id = v.workspace_id and o.set_id = v.set_id and o.article_id = v.article_id
    and o.phrasing_id <> v.phrasing_id) as own
from phrasing_vector v where v.set_id = %(set)s and v.article_id = %(article)s and v.phrasing_id = %(id)s"""


@dataclass(frozen=True, slots=True)
class _Meant:
    vector: str
    own: float | None


def _inside(others: Sequence[float], own: float, best: float, highest: float | None = None) -> Sample:
    ahead = sum(1 for score in others if score > own)
    first, second = (own, others[0] if others else 0.0) if ahead == 0 else (others[0], max(own, *others[1:2], 0.0))
    return Sample(confidence(first, second, best, highest), ahead == 0 and own > 0)


def _outside(others: Sequence[float], best: float, highest: float | None = None) -> Sample:
    first = others[0] if others else 0.0
    return Sample(confidence(first, others[1] if len(others) > 1 else 0.0, best, highest), first=False)

"""Which issue a text may be about: found by its words and by what it means, in one repository.

The words are weighed as those of a knowledge base are (`knowledge.bm25`), the meaning is a vector's. An embedder puts
texts of one language nearer to each other than they are, and all texts of one product; so what the issues of a
repository have in common, in either language, is taken out of the question and out of them. Words tell nothing of an
issue in another language: only what an issue has more of than the fifth best counts.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import operator
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import psycopg

from zhiban.channels.connections import OpenTracker
from zhiban.kit.db import Transaction, Transactions
from zhiban.kit.errors import ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.bm25 import Collection, sparse
from zhiban.knowledge.corpus_stats import term_priors
from zhiban.knowledge.vectors import Embedders, HalfVector, query_vectors, text_to_embed
from zhiban.ports import TrackerRefused
from zhiban.tickets.issue_text import asked_terms, key_of, mostly_han
from zhiban.tickets.naming import reference
from zhiban.tickets.repositories import RepositoryRow, access_repository

log = logging.getLogger(__name__)

MOST_LIKE = 3  # issues that are named
LIKELY = 0.32  # from which on issues are named: of ten, more than eight are right (bench/duplicates.py)
LIKELY_BY_WORDS = 0.56  # of the best possible score of words, where there is no vector: likewise
NOT_FAR_BEHIND = 0.6  # of the first: what is named beside it
WORDS_SHARE = 0.25  # how much the words count beside the meaning
FEWEST_TERMS = 6.0  # a text must weigh as much as so many terms that nobody uses, or it is too vague
UNSEEN = 0  # no term
LEAST_SPREAD = 0.05  # of issues that say all the same
USUAL = 5  # so many issues have much in common with any text

SEARCH_MILLISECONDS = 500
CHECK_SECONDS = 1.5  # that somebody waits for the tracker to say whether what is named is still there
SAMPLE = 200  # of the newest issues, which tell how frequent a word is
BUDGET = 1_500  # issues whose words are compared
MOST_RARE = 30
COMPARED = 30_000  # vectors, those of the issues that we know last; older issues are found by their words
CENTRED = 400  # of them, of which the middle is taken
DAMPING = 20.0  # issues: of fewer the middle says little
_FOUND = 10

TrackerOf = Callable[[int, int], Awaitable[OpenTracker]]

# What is frequent the issues tell that we know last.
_FREQUENCY = """
with sample as materialized (
  select issue_id, keys from issue_index where repository_id = %(repository)s order by issue_id desc limit %(limit)s)
select 0::bigint as key, count(*) as times, (
  select max(i.number) from sample s join issue i on i.workspace_id = %(workspace)s and i.id = s.issue_id) as highest
from sample union all
select s.key, count(*), 0 from (select unnest(keys) as key from sample) s
where s.key = any(%(keys)s::bigint[]) group by s.key"""

# Row-level security lets a server use the index of keys only where their comparison is marked leakproof, as the bundled
# one does; elsewhere a repository's issues are compared, and no others.
_LOOKS_UP = "select proleakproof from pg_proc where oid = 'arrayoverlap(anyarray, anyarray)'::regprocedure"
_OF_REPOSITORY = {True: "x.repository_id + 0", False: "x.repository_id"}

_SERVING = "select id, embedder, dimensions from issue_vector_set where repository_id = %(repository)s and serving"

_MIDDLES = """
select v.han, count(*) as issues, avg(v.vector)::text as middle from (
  select han, vector from issue_vector where workspace_id = %(workspace)s and set_id = %(set)s
  order by issue_id desc limit %(limit)s) v group by v.han"""

_WORDED = """
select x.issue_id as id, -(x.words <#> %(words)s::sparsevec) as words from issue_index x
where x.keys && %(rarest)s::bigint[] and {of_repository} = %(repository)s order by 2 desc limit %(found)s"""

_NEAREST = """
select v.issue_id as id from (
  select issue_id, han, vector from issue_vector where workspace_id = %(workspace)s and set_id = %(set)s
  order by issue_id desc limit %(compared)s) v
order by {meaning} desc limit %(found)s"""

_MEANING = """case when v.han
  then (-(v.vector <#> %(asked)s::halfvec) - %(han_common)s) / %(han_spread)s
  else (-(v.vector <#> %(asked)s::halfvec) - %(other_common)s) / %(other_spread)s end"""

_SEARCH = """
with worded as materialized ({worded}),
nearest as materialized ({nearest}),
candidate as (select id from worded union select id from nearest)
select i.id, i.number, i.title, i.url, i.state, -(x.words <#> %(words)s::sparsevec) as words, (
  select {meaning} from issue_vector v
  where v.workspace_id = %(workspace)s and v.set_id = %(set)s and v.issue_id = c.id) as meaning
from candidate c join issue_index x on x.workspace_id = %(workspace)s and x.issue_id = c.id
join issue i on i.workspace_id = %(workspace)s and i.id = c.id
where x.repository_id + 0 = %(repository)s and i.removed_at is null"""


@frozen_dataclass
class FoundIssue:
    """An issue that a text may be about. `likeness`: where the first one's is 1 or more, they are worth naming."""

    id: int
    number: int
    title: str
    url: str
    state: Literal["open", "closed"]
    likeness: float

    @property
    def called(self) -> str:
        """As people write it."""
        return reference(self.number, self.url)


@frozen_dataclass
class ServingVectors:
    """The vectors by which the issues of a repository are found."""

    id: int
    embedder: str
    dimensions: int


@frozen_dataclass
class IssueCandidate:
    """An issue that shares words, or lies near. `meaning` is missing where there is no vector."""

    id: int
    number: int
    title: str
    url: str
    state: Literal["open", "closed"]
    words: float
    meaning: float | None


@frozen_dataclass
class _Frequency:
    key: int
    times: int
    highest: int | None


@frozen_dataclass
class _Middle:
    han: bool
    issues: int
    middle: str


@frozen_dataclass
class CentredQuestion:
    """A question without what it has in common with all issues of its language, of length one.

    `common`: what the issues of a language (is it Chinese?) have in common with that; `spread`: how long they are
    without what they have in common with each other.
    """

    vector: HalfVector
    common: Mapping[bool, float]
    spread: Mapping[bool, float]


class IssueFinder:
    """Finds the issues that something may be about, without a transaction of the caller's: an embedder may be asked,
    and the tracker."""

    def __init__(self, tracker_of: TrackerOf, embedders: Embedders) -> None:
        """`tracker_of` opens the tracker of a workspace's connection."""
        self._tracker_of = tracker_of
        self._embedders = embedders

    async def likely(self, transaction: Transactions, repository_id: int, about: str) -> list[FoundIssue]:
        """Those worth naming, the likeliest first, as they are at the tracker now. Raises NotFound.

        Without an embedder, or where it is too slow, by words; none where the search takes too long.
        """
        async with transaction() as tx:
            repository = await access_repository(tx, repository_id)
            served = await tx.object(ServingVectors, _SERVING, repository=repository_id)
        vector = await self._vector(served, about)
        async with transaction() as tx:
            found = await search_issues(tx, repository_id, about, vector)
            workspace_id = tx.workspace_id
        return await self._there(workspace_id, repository, named(found))

    async def _vector(self, served: ServingVectors | None, about: str) -> HalfVector | None:
        read = text_to_embed(about)
        vectors = await query_vectors(self._embedders, served.embedder, [read]) if served is not None else None
        vector = vectors.of.get(read) if vectors is not None else None
        return vector if vector is not None and served is not None and vector.dimensions == served.dimensions else None

    async def _there(
        self, workspace_id: int, repository: RepositoryRow, found: Sequence[FoundIssue]
    ) -> list[FoundIssue]:
        """Without those that the tracker does not have any more. Where it does not say in time, as we know them."""
        if not found:
            return []
        looked = await asyncio.gather(*(self._looked_at(workspace_id, repository, one) for one in found))
        return [one for one in looked if one is not None]

    async def _looked_at(self, workspace_id: int, repository: RepositoryRow, found: FoundIssue) -> FoundIssue | None:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                opened = await self._tracker_of(workspace_id, repository.connection_id)
                now = await opened.tracker.issue(repository.name, found.number)
        except TrackerRefused as error:
            return None if error.reason in ("not_found", "gone") else found
        except (ZhibanError, TimeoutError) as error:
            log.info("Issue %s of %s is named as we know it: %s", found.number, repository.name, error or "too slow")
            return found
        return None if now.confidential else replace(found, title=now.title, url=now.url, state=now.state)


def named(found: Sequence[FoundIssue]) -> list[FoundIssue]:
    """What is worth naming of what was found, the likeliest first."""
    if not found or found[0].likeness < 1:
        return []
    return [one for one in found if one.likeness >= NOT_FAR_BEHIND * found[0].likeness][:MOST_LIKE]


async def search_issues(
    tx: Transaction, repository_id: int, text: str, vector: HalfVector | None = None
) -> list[FoundIssue]:
    """Issues of the repository that the text may be about, the likeliest first, open ones before closed ones.

    `vector` is the text's, by the embedder whose vectors serve. None where that takes too long: somebody waits for it
    in a chat.
    """
    asked = asked_terms(text)
    if not asked and vector is None:
        return []
    before = await tx.value("select current_setting('statement_timeout')")
    found: list[FoundIssue] = []
    try:
        async with tx.savepoint():
            await tx.run(f"set local statement_timeout = {SEARCH_MILLISECONDS}")
            found = await _searched(tx, repository_id, asked, text, vector)
    except psycopg.errors.QueryCanceled:
        return []
    await tx.run("select set_config('statement_timeout', %(before)s, true)", before=before)
    return found


async def _searched(
    tx: Transaction, repository_id: int, asked: Sequence[int], text: str, vector: HalfVector | None
) -> list[FoundIssue]:
    terms = {key_of(repository_id, term): term for term in asked}
    seen = await tx.objects(
        _Frequency, _FREQUENCY, workspace=tx.workspace_id, repository=repository_id, keys=list(terms), limit=SAMPLE
    )
    whole = next(one for one in seen if not one.key)
    times = {terms[one.key]: one.times for one in seen if one.key}
    if not whole.times:
        return []
    weights = Collection(whole.times, times).question(asked, term_priors())
    least = FEWEST_TERMS * Collection(whole.times, {}).idf(UNSEEN, term_priors())
    served = await tx.object(ServingVectors, _SERVING, repository=repository_id) if vector is not None else None
    meant = None
    if vector is not None and served is not None and served.dimensions == vector.dimensions:
        meant = centred(vector, await _middles(tx, served), han=mostly_han(text))
    worded = _WORDED.format(of_repository=_OF_REPOSITORY[await tx.value(_LOOKS_UP)])
    rows = await tx.objects(
        IssueCandidate,
        _SEARCH.format(worded=worded, nearest=_NEAREST.format(meaning=_MEANING), meaning=_MEANING),
        workspace=tx.workspace_id,
        repository=repository_id,
        rarest=[key_of(repository_id, term) for term in _rarest(times, weights, whole)],
        words=sparse(weights),
        set=served.id if meant is not None and served is not None else 0,
        asked=meant.vector if meant is not None else None,
        han_common=meant.common.get(True, 0.0) if meant is not None else 0.0,
        han_spread=meant.spread.get(True, 1.0) if meant is not None else 1.0,
        other_common=meant.common.get(False, 0.0) if meant is not None else 0.0,
        other_spread=meant.spread.get(False, 1.0) if meant is not None else 1.0,
        compared=COMPARED,
        found=_FOUND,
    )
    return judged(rows, max(sum(weights.values()), least))


def _rarest(times: Mapping[int, int], weights: Mapping[int, float], whole: _Frequency) -> list[int]:
    """The rarest words, as many as do not choose too many issues together: one of the sample stands for as many as the
    highest number allows."""
    share = (whole.highest or 1) / whole.times
    chosen: list[int] = []
    issues = 0.0
    for term in sorted(weights, key=lambda term: (times.get(term, 0), -weights[term], term))[:MOST_RARE]:
        issues += times.get(term, 0) * share
        if chosen and issues > BUDGET:
            break
        chosen.append(term)
    return chosen


async def _middles(tx: Transaction, served: ServingVectors) -> dict[bool, list[float]]:
    """What the issues of each language have in common; little, where there are few."""
    rows = await tx.objects(_Middle, _MIDDLES, workspace=tx.workspace_id, set=served.id, limit=CENTRED)
    known = {row.han: row.issues / (row.issues + DAMPING) for row in rows}
    return {row.han: [number * known[row.han] for number in json.loads(row.middle)] for row in rows}


def centred(vector: HalfVector, middles: Mapping[bool, Sequence[float]], *, han: bool) -> CentredQuestion:
    """The question's own part of its vector, to be compared with issues' own parts."""
    numbers: Sequence[float] = vector.numbers()
    if han in middles:
        numbers = [one - other for one, other in zip(numbers, middles[han], strict=True)]
    length = math.sqrt(_product(numbers, numbers)) or 1.0
    numbers = [one / length for one in numbers]
    return CentredQuestion(
        HalfVector(numbers),
        {of: _product(numbers, middle) for of, middle in middles.items()},
        {of: math.sqrt(max(1 - _product(middle, middle), LEAST_SPREAD)) for of, middle in middles.items()},
    )


def _product(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(map(operator.mul, one, other))


def judged(rows: Sequence[IssueCandidate], best: float) -> list[FoundIssue]:
    """The candidates by how likely each is meant. `best` is the best possible score of words."""
    share = {row.id: row.words / best if best > 0 else 0.0 for row in rows}
    most = sorted(share.values(), reverse=True)
    usual = most[USUAL - 1] if len(most) >= USUAL else 0.0
    found = [
        FoundIssue(row.id, row.number, row.title, row.url, row.state, _likeness(row, share[row.id], usual))
        for row in rows
    ]
    return sorted(found, key=lambda one: (-one.likeness, one.state != "open", -one.number))


def _likeness(row: IssueCandidate, share: float, usual: float) -> float:
    if row.meaning is None:
        return share / LIKELY_BY_WORDS
    return (row.meaning + WORDS_SHARE * max(share - usual, 0.0)) / LIKELY

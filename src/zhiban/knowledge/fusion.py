"""Words and meaning together: the lexical ranking of a question, joined by what its vector is near to.

An entry is as near as the nearest of its phrasings. Embedders put everything rather near to everything, so only what an
entry is nearer than the question's tenth nearest counts, on the scale where the best possible lexical score is one.
Passages of documents have no vectors: measured, a cosine makes them worse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.bm25 import sparse
from zhiban.knowledge.queries import BaseRow
from zhiban.knowledge.vectors import HalfVector

NEAREST = 10  # entries; the last of them says how near is usual
PROBES, PROBED_SHARE = 12, 64  # lists of the index that are looked through: so many, and every so many-th
SMALL = 4_000  # phrasings of a base that are compared one by one, where looking further down costs nothing


@frozen_dataclass
class Scored:
    """A candidate before its texts are read. `cosine` is missing where there is no vector."""

    chunk_id: int
    score: float
    body: float
    phrasing: float | None
    cosine: float | None = None


@frozen_dataclass
class Question:
    """A question ready to be multiplied with an index."""

    base_id: int
    keys: list[int] | None  # None: compare the whole base
    body: dict[int, float]
    phrasing: dict[int, float]
    best: float  # the best possible score
    vague: bool = False  # nothing in it tells one entry from another


@frozen_dataclass
class Fused:
    """The candidates by their joint score, and the highest cosine of the base."""

    scored: list[Scored]
    highest: float


# The index of a set wants the set and the dimensions as numbers in the text. With the limits there, too, one plan
# serves all questions; making one would take half as long as finding. Vectors have length 1, so that the inner product
# is the cosine. Vectors of phrasings that are gone stay until the next embedding. How many lists are looked through is
# set where PostgreSQL evaluates it once, before it opens the index: a statement of its own would be a round trip more.
_CANDIDATES = """
with nearest as materialized (
  select v.article_id, v.phrasing_id, -(v.vector::halfvec({dimensions}) <#> %(asked)s::halfvec) as cosine
  from phrasing_vector v where v.set_id = {set} and (select set_config('ivfflat.probes', '{probes}', true)) is not null
  order by v.vector::halfvec({dimensions}) <#> %(asked)s::halfvec limit {depth}),
near as materialized (
  select n.article_id, max(n.cosine) as cosine from nearest n
  join phrasing p on p.workspace_id = %(workspace)s and p.id = n.phrasing_id and not p.retired
  where n.article_id <> %(leave_out)s and n.cosine between -2 and 2
  group by n.article_id order by 2 desc limit {nearest}),
candidate as (
  select id as chunk_id from unnest(%(ids)b::bigint[]) as id
  union select c.id from near n join chunk c on c.workspace_id = %(workspace)s and c.article_id = n.article_id)
select i.chunk_id, -(i.body <#> %(body)s::sparsevec) as body,
  (select max(-(one <#> %(phrasing)s::sparsevec)) from unnest(i.phrasings) as one) as phrasing,
  n.cosine as near, coalesce(n.cosine, (
    select max(-(v.vector <#> %(asked)s::halfvec)) from phrasing_vector v
    join phrasing p on p.workspace_id = v.workspace_id and p.id = v.phrasing_id and not p.retired
    where v.workspace_id = %(workspace)s and v.set_id = {set} and v.article_id = c.article_id)) as cosine
from candidate join chunk_index i on i.workspace_id = %(workspace)s and i.chunk_id = candidate.chunk_id
join chunk c on c.workspace_id = %(workspace)s and c.id = i.chunk_id
left join near n on n.article_id = c.article_id"""


@frozen_dataclass
class Candidate:
    """What the words or the vector found. `near` is set for the nearest entries."""

    chunk_id: int
    body: float
    phrasing: float | None
    near: float | None
    cosine: float | None


async def candidates(
    tx: Transaction,
    base: BaseRow,
    question: Question,
    scored: Sequence[Scored],
    vector: HalfVector | str,
    *,
    leave_out: int = 0,
) -> list[Candidate]:
    """What the words found, and what the vector (as a string: in pgvector's text form) is near to.

    `leave_out` is an article that is imagined away. The base has vectors of these dimensions.
    """
    return await tx.objects(
        Candidate,
        _CANDIDATES.format(
            set=base.vector_set,
            dimensions=base.dimensions,
            depth=_depth(base),
            nearest=NEAREST,
            probes=PROBES + base.vector_lists // PROBED_SHARE,
        ),
        workspace=tx.workspace_id,
        asked=vector,
        leave_out=leave_out,
        ids=[found.chunk_id for found in scored],
        body=sparse(question.body),
        phrasing=sparse(question.phrasing),
    )


def fused(rows: Sequence[Candidate], best: float) -> Fused:
    """Join words and meaning. `best` is the best possible lexical score."""
    near = sorted((row.near for row in rows if row.near is not None), reverse=True)[:NEAREST]
    usual, highest = (near[-1], max(near[0], 0.0)) if near else (0.0, 0.0)
    scored = [_joined(row, usual, best) for row in rows]
    scored.sort(key=lambda found: (-found.score, found.chunk_id))
    return Fused(scored, highest)


def _joined(row: Candidate, usual: float, best: float) -> Scored:
    score = row.body + (row.body if row.phrasing is None else row.phrasing)
    if row.cosine is None or not math.isfinite(row.cosine):
        return Scored(row.chunk_id, score, row.body, row.phrasing)
    score += max(row.cosine - usual, 0.0) * best
    return Scored(row.chunk_id, score, row.body, row.phrasing, row.cosine)


def _depth(base: BaseRow) -> int:
    """How many phrasings to look at, so that enough entries are among them."""
    if base.phrasings < SMALL:
        return 200
    return min(max(round(NEAREST * 2 * base.phrasings / max(base.bodies, 1)), 64), 300)

"""The write side of the search index: texts in, vectors and counts out.

`prepare` is pure and may run in a thread; the functions that take a `Transaction` write what it made. The counts of a
base (`term_df`, lengths) are kept exactly; whoever calls this module holds the base's row lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.bm25 import sparse_weights
from zhiban.knowledge.packing import (
    BIGINT,
    INTEGER,
    INTEGERS,
    Packed,
    packed_array,
    packed_bigint,
    packed_integer,
    packed_integers,
    packed_record,
)
from zhiban.knowledge.tokenizer import NO_SYNONYMS, Synonyms, length, terms

INDEX_VERSION = 1  # a new number whenever terms, weights or keys change; bases indexed by another are rebuilt

BULK = 20_000  # so many terms at once are appended as a part of their own, which is three times as fast as adding up
MAX_SEGMENTS = 24  # a search adds the parts of its terms up

_STEP = 0x9E3779B1
WORD = 0xFFFFFFFF
SIGN = 0x80000000


def key_offset(base_id: int) -> int:
    return (base_id * _STEP) & WORD


def keys(base_id: int, terms: Iterable[int]) -> list[int]:
    """The terms as the index knows them in this base. Two bases rarely share one, which only costs time."""
    offset = key_offset(base_id)
    return [((term + offset) & WORD) - SIGN for term in terms]


@frozen_dataclass
class IndexEntry:
    """A chunk to be indexed: the ways to ask for it (none for a piece of a document) and what it says."""

    chunk_id: int
    phrasings: tuple[str, ...]
    text: str


def _counted(entry: IndexEntry, synonyms: Synonyms) -> tuple[Counter[int], list[Counter[int]]]:
    """The terms of the body, which is all phrasings and the text, and of each phrasing."""
    asked = [terms(text, synonyms) for text in entry.phrasings]
    body = Counter(chain(terms(entry.text, synonyms), *asked))
    return body, [Counter(phrasing) for phrasing in asked]


@dataclass(slots=True)
class Tally:
    """What a set of entries adds to the counts of its base."""

    bodies: int = 0
    body_terms: int = 0
    phrasings: int = 0
    phrasing_terms: int = 0
    in_bodies: Counter[int] = field(default_factory=Counter)
    in_phrasings: Counter[int] = field(default_factory=Counter)

    def add(self, body: Counter[int], phrasings: Iterable[Counter[int]]) -> None:
        self.bodies += 1
        self.body_terms += body.total()
        self.in_bodies.update(body.keys())
        for phrasing in phrasings:
            self.phrasings += 1
            self.phrasing_terms += phrasing.total()
            self.in_phrasings.update(phrasing.keys())

    def join(self, other: Tally) -> None:
        self.bodies += other.bodies
        self.body_terms += other.body_terms
        self.phrasings += other.phrasings
        self.phrasing_terms += other.phrasing_terms
        self.in_bodies.update(other.in_bodies)
        self.in_phrasings.update(other.in_phrasings)

    @property
    def pivots(self) -> tuple[float, float]:
        """Mean lengths of bodies and phrasings; 0 when there are none."""
        return (
            self.body_terms / self.bodies if self.bodies else 0.0,
            self.phrasing_terms / self.phrasings if self.phrasings else 0.0,
        )


@dataclass(slots=True)
class Rows:
    """Columns of `chunk_index`; bytes are packed."""

    tally: Tally = field(default_factory=Tally)
    chunk_ids: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    phrasings: list[list[bytes]] = field(default_factory=list)
    body_lengths: list[int] = field(default_factory=list)
    phrasing_lengths: list[bytes] = field(default_factory=list)


@frozen_dataclass
class _TypeNumbers:
    """The numbers that this server gave to what has none of its own."""

    sparsevec: int
    sparsevecs: int
    chunk_index: int


def count(entries: Sequence[IndexEntry], synonyms: Synonyms = NO_SYNONYMS) -> Tally:
    """The counts alone."""
    tally = Tally()
    for entry in entries:
        tally.add(*_counted(entry, synonyms))
    return tally


def mean_lengths(entries: Sequence[IndexEntry], synonyms: Synonyms = NO_SYNONYMS) -> tuple[float, float]:
    """The pivots that `count` would find, in a third of its time."""
    tally = Tally(bodies=len(entries), phrasings=sum(len(entry.phrasings) for entry in entries))
    for entry in entries:
        asked = sum(length(text, synonyms) for text in entry.phrasings)
        tally.phrasing_terms += asked
        tally.body_terms += asked + length(entry.text, synonyms)
    return tally.pivots


def prepare(
    base_id: int,
    entries: Sequence[IndexEntry],
    *,
    pivots: tuple[float, float] | None = None,
    synonyms: Synonyms = NO_SYNONYMS,
) -> tuple[Rows, tuple[float, float]]:
    """Vectors of the entries. Without `pivots` the entries' own mean lengths are used. Returns the pivots used."""
    rows = Rows()
    counted: list[tuple[Counter[int], list[Counter[int]]]] = []
    for entry in entries:
        body, asked = _counted(entry, synonyms)
        rows.tally.add(body, asked)
        counted.append((body, asked))
    of_bodies, of_phrasings = pivots or rows.tally.pivots
    for entry, (body, asked) in zip(entries, counted, strict=True):
        size, sizes = body.total(), [phrasing.total() for phrasing in asked]
        rows.chunk_ids.append(entry.chunk_id)
        rows.keys.append(packed_integers(keys(base_id, body)))
        rows.bodies.append(sparse_weights(body, size, of_bodies))
        rows.phrasings.append(
            [sparse_weights(phrasing, each, of_phrasings) for phrasing, each in zip(asked, sizes, strict=True)]
        )
        rows.body_lengths.append(size)
        rows.phrasing_lengths.append(packed_integers(sizes))
    return rows, (of_bodies, of_phrasings)


async def write(tx: Transaction, base_id: int, rows: Rows) -> None:
    """Put the rows into the index. Their tally is the caller's to `add`, for several batches at once."""
    if not rows.chunk_ids:
        return
    numbers = await tx.object(
        _TypeNumbers,
        "select 'sparsevec'::regtype::oid as sparsevec, 'sparsevec[]'::regtype::oid as sparsevecs, "
        "'chunk_index'::regtype::oid as chunk_index",
    )
    assert numbers is not None
    await tx.run(
        "insert into chunk_index (workspace_id, chunk_id, base_id, keys, body, phrasings, body_length, "
        "phrasing_lengths) select workspace_id, chunk_id, base_id, keys, body, phrasings, body_length, "
        "phrasing_lengths from unnest(%(rows)b::chunk_index[])",
        rows=Packed(packed_array(numbers.chunk_index, _records(tx.workspace_id, base_id, rows, numbers))),
    )


def _records(workspace_id: int, base_id: int, rows: Rows, numbers: _TypeNumbers) -> Iterator[bytes]:
    """The rows of the table, their columns in its order."""
    workspace, base = packed_bigint(workspace_id), packed_bigint(base_id)
    for at, chunk_id in enumerate(rows.chunk_ids):
        yield packed_record(
            (
                (BIGINT, workspace),
                (BIGINT, packed_bigint(chunk_id)),
                (BIGINT, base),
                (INTEGERS, rows.keys[at]),
                (numbers.sparsevec, rows.bodies[at]),
                (numbers.sparsevecs, packed_array(numbers.sparsevec, rows.phrasings[at])),
                (INTEGER, packed_integer(rows.body_lengths[at])),
                (INTEGERS, rows.phrasing_lengths[at]),
            )
        )


async def forget(
    tx: Transaction, base_id: int, entries: Sequence[IndexEntry], synonyms: Synonyms = NO_SYNONYMS
) -> None:
    """Take entries out of the index, as they were when they went in."""
    await tx.run(
        "delete from chunk_index where workspace_id = %(workspace)s and chunk_id = any(%(ids)b::bigint[])",
        workspace=tx.workspace_id,
        ids=[entry.chunk_id for entry in entries],
    )
    await add(tx, base_id, count(entries, synonyms), sign=-1)


async def clear(tx: Transaction, base_id: int) -> None:
    """Empty the index of a base, counts and all."""
    await tx.run("delete from chunk_index where base_id = %(base)s", base=base_id)
    await tx.run("delete from term_df where base_id = %(base)s", base=base_id)
    await tx.run(
        "update knowledge_base set parts = 0, bodies = 0, body_terms = 0, phrasings = 0, phrasing_terms = 0 "
        "where id = %(base)s",
        base=base_id,
    )


async def set_pivots(tx: Transaction, base_id: int, pivots: tuple[float, float]) -> None:
    await tx.run(
        "update knowledge_base set body_pivot = %(body)s, phrasing_pivot = %(phrasing)s, recipe = %(recipe)s "
        "where id = %(base)s",
        body=pivots[0],
        phrasing=pivots[1],
        recipe=INDEX_VERSION,
        base=base_id,
    )


_ADDING_UP = (
    " on conflict (workspace_id, base_id, part, term) do update "
    "set bodies = t.bodies + excluded.bodies, phrasings = t.phrasings + excluded.phrasings"
)


async def add(tx: Transaction, base_id: int, tally: Tally, *, sign: int = 1) -> None:
    """Add a tally to the counts of the base, or take it away."""
    in_bodies, in_phrasings = tally.in_bodies, tally.in_phrasings
    all_terms = sorted(in_bodies.keys() | in_phrasings.keys())
    part: int | None = None
    if len(all_terms) >= BULK:
        part = await tx.value(
            "update knowledge_base set parts = parts + 1 where id = %(base)s and parts < %(most)s returning parts",
            base=base_id,
            most=MAX_SEGMENTS,
        )
    await tx.run(
        "insert into term_df as t (workspace_id, base_id, part, term, bodies, phrasings) "
        "select %(workspace)s, %(base)s, %(part)s, * from unnest(%(terms)b::integer[], %(bodies)b::integer[], "
        "%(phrasings)b::integer[])" + (_ADDING_UP if part is None else ""),
        workspace=tx.workspace_id,
        base=base_id,
        part=part or 0,
        terms=Packed(packed_integers(all_terms)),
        bodies=Packed(packed_integers(_signed(sign, in_bodies, all_terms))),
        phrasings=Packed(packed_integers(_signed(sign, in_phrasings, all_terms))),
    )
    await tx.run(
        "update knowledge_base set bodies = bodies + %(bodies)s, body_terms = body_terms + %(body_terms)s, "
        "phrasings = phrasings + %(phrasings)s, phrasing_terms = phrasing_terms + %(phrasing_terms)s "
        "where id = %(base)s",
        bodies=sign * tally.bodies,
        body_terms=sign * tally.body_terms,
        phrasings=sign * tally.phrasings,
        phrasing_terms=sign * tally.phrasing_terms,
        base=base_id,
    )


def _signed(sign: int, counted: Counter[int], terms: Sequence[int]) -> list[int]:
    times = list(map(counted.get, terms, repeat(0)))  # a large file has a hundred thousand of them
    return times if sign > 0 else [-one for one in times]

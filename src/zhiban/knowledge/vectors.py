"""Vectors on their way into PostgreSQL and out of a search: what is embedded, and how a question's meaning is given."""

from __future__ import annotations

import asyncio
import logging
import struct
from array import array
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

import psycopg

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.tokens import normalise
from zhiban.knowledge.packing import Packed, PackedDumper, packed_array
from zhiban.ports import Embedder, ModelUnavailable

log = logging.getLogger(__name__)

QUERY_SECONDS = 3.0  # what somebody waits for the vector of a question at most
LONGEST = 400  # characters of a phrasing that are embedded


def text_to_embed(text: str) -> str:
    """What an embedder reads of a question or a phrasing: one spelling, but all the words, which carry meaning."""
    return " ".join(normalise(text).split())[:LONGEST] or " "


@frozen_dataclass
class QueryVectors:
    """Vectors of the texts that one search may ask for, all by one embedder."""

    embedder: str
    of: Mapping[str, HalfVector]


class RecentVectors:
    """The vectors of the questions asked last: many people ask the same. Kept in memory, the oldest are forgotten."""

    MOST = 2_000  # of 512 dimensions two megabytes

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], HalfVector] = OrderedDict()

    def get(self, embedder: str, text: str) -> HalfVector | None:
        found = self._kept.get((embedder, text))
        if found is not None:
            self._kept.move_to_end((embedder, text))
        return found

    def keep(self, embedder: str, text: str, vector: HalfVector) -> None:
        self._kept[embedder, text] = vector
        if len(self._kept) > self.MOST:
            self._kept.popitem(last=False)


@frozen_dataclass
class Embedders:
    """The embedder that this installation wants, and those that made the vectors of before and still answer."""

    wanted: Embedder | None = None
    others: Callable[[str], Embedder | None] = field(default=lambda _: None)
    seconds: float = QUERY_SECONDS  # of waiting for the vectors of a question
    recent: RecentVectors = field(default_factory=RecentVectors)
    remote: Callable[[str], bool] = field(default=lambda _: False)  # whether that one is asked over a network, and paid

    def named(self, name: str | None) -> Embedder | None:
        """The embedder that a base's vectors are by; None when it cannot be asked any more, or none is wanted."""
        if name is None or self.wanted is None:
            return None
        return self.wanted if self.wanted.name == name else self.others(name)

    def asks_remotely(self, name: str | None, text: str) -> bool:
        """Whether the vector of this text by that embedder has to be asked for over a network first."""
        embedder = self.named(name)
        if embedder is None or not self.remote(embedder.name):
            return False
        return self.recent.get(embedder.name, text_to_embed(text)) is None


NO_EMBEDDERS = Embedders()


async def query_vectors(embedders: Embedders, name: str | None, texts: Sequence[str]) -> QueryVectors | None:
    """The vectors of these texts by the embedder of this name. None when it is not there, fails or is too slow."""
    embedder = embedders.named(name)
    if embedder is None or not texts:
        return None
    read = {text: text_to_embed(text) for text in texts}
    known = {text: embedders.recent.get(embedder.name, text) for text in read.values()}
    missing = [text for text, vector in known.items() if vector is None]
    if missing:
        try:
            async with asyncio.timeout(embedders.seconds):
                made = await embedder.embed(missing, purpose="query")
            for text, numbers in zip(missing, made, strict=True):
                known[text] = packed = HalfVector(numbers)
                embedders.recent.keep(embedder.name, text, packed)
        except (ModelUnavailable, TimeoutError) as error:
            log.warning("Searching by words only: %s", str(error) or "the embedder is too slow")
            return None
    return QueryVectors(
        embedder.name, {text: vector for text, as_read in read.items() if (vector := known[as_read]) is not None}
    )


async def passage_vectors(embedder: Embedder, texts: Sequence[str]) -> list[HalfVector]:
    """One vector a text, each text as `text_to_embed` gives it. Raises ModelUnavailable."""
    vectors = await embedder.embed(texts, purpose="passage")
    if len(vectors) != len(texts):
        raise ModelUnavailable("The embedder returned vectors that do not fit what it was asked.")
    return [HalfVector(vector) for vector in vectors]


class HalfVector(Packed):
    """One vector as a parameter of type `halfvec`, in PostgreSQL's binary form: twenty times as fast as text.

    Raises ModelUnavailable when a number is none.
    """

    __slots__ = ("dimensions",)

    def __init__(self, vector: Sequence[float]) -> None:
        super().__init__(_packed(vector))
        self.dimensions = len(vector)

    def numbers(self) -> tuple[float, ...]:
        """What it holds, as exactly as PostgreSQL keeps it."""
        return struct.unpack(f">{self.dimensions}e", self.data[4:])


class HalfVectors(Packed):
    """Many vectors as one parameter of type `halfvec[]`, in PostgreSQL's binary form: thirty times as fast as text.

    `oid` is the number that the server gave the type `halfvec`.
    """

    __slots__ = ()

    def __init__(self, oid: int, vectors: Sequence[HalfVector]) -> None:
        super().__init__(packed_array(oid, (vector.data for vector in vectors)))


def _packed(vector: Sequence[float]) -> bytes:
    size = len(vector)
    if isinstance(vector, array) and vector.typecode == "f":
        return struct.pack(">hh", size, 0) + _halves(vector)
    try:
        return struct.pack(f">hh{size}e", size, 0, *vector)
    except (struct.error, OverflowError, TypeError) as error:
        raise ModelUnavailable("The embedder gave something that is no vector.") from error


def _halves(vector: array[float]) -> bytes:
    """What the model in our own process gave, eight times as fast as by `struct`. Whoever has it has numpy, too."""
    import numpy as np

    return np.frombuffer(vector, np.float32).astype(">f2").tobytes()


psycopg.adapters.register_dumper(HalfVector, PackedDumper)
psycopg.adapters.register_dumper(HalfVectors, PackedDumper)

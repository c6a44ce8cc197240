"""Parameters in PostgreSQL's binary form, for what is written in bulk: several times as fast as text, on both sides."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

INTEGER = 23  # the numbers that PostgreSQL gives its own types are the same everywhere
INTEGERS = 1007
BIGINT = 20


class Packed:
    """A parameter in PostgreSQL's binary form. The cast in the statement says of which type it is."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class PackedDumper(Dumper):
    """Says nothing of the type, so that the cast in the statement decides."""

    format = Format.BINARY
    oid = 0

    def dump(self, obj: Packed) -> Buffer | None:
        return obj.data


psycopg.adapters.register_dumper(Packed, PackedDumper)


packed_integer = struct.Struct(">i").pack
packed_bigint = struct.Struct(">q").pack


def packed_array(oid: int, elements: Iterable[bytes]) -> bytes:
    """An array of one dimension without nulls, whose elements are of the type with this number."""
    sized = [item for element in elements for item in (packed_integer(len(element)), element)]
    return array_head(oid, len(sized) // 2) + b"".join(sized)


def packed_integers(numbers: Sequence[int]) -> bytes:
    """The same of type `integer[]`."""
    sized = [4] * (2 * len(numbers))
    sized[1::2] = numbers
    return array_head(INTEGER, len(numbers)) + _big_endian(array("i", sized))


def packed_sparsevec(dimensions: int, places: Sequence[int], values: Sequence[float]) -> bytes:
    """A `sparsevec` of pgvector: `places` count from 0 and rise, no value is 0."""
    head = struct.pack(">iii", dimensions, len(places), 0)
    return head + _big_endian(array("i", places)) + _big_endian(array("f", values))


def packed_record(fields: Iterable[tuple[int, bytes]]) -> bytes:
    """A row: the number of each column's type, and its value."""
    parts = [item for oid, value in fields for item in (struct.pack(">Ii", oid, len(value)), value)]
    return packed_integer(len(parts) // 2) + b"".join(parts)


def array_head(oid: int, count: int) -> bytes:
    """What stands before the elements of an array of one dimension without nulls."""
    # How many dimensions, no nulls, the type of the elements, how many there are, counted from 1. Empty has none.
    return struct.pack(">iiIii", 1, 0, oid, count, 1) if count else struct.pack(">iiI", 0, 0, oid)


def _big_endian(numbers: array[int] | array[float]) -> bytes:
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers.tobytes()

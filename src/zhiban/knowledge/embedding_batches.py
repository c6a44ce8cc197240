"""Texts that wait for a vector, taken in batches: the one way to go through them, whoever keeps them and where."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

AT_ONCE = 512  # texts of one transaction
SIDE_BY_SIDE = 2  # such batches, so that a model in our own process may use two processors


class Unembedded(Protocol):
    """A row that waits; what comes later has a higher id."""

    @property
    def id(self) -> int: ...


UnembeddedRow = TypeVar("UnembeddedRow", bound=Unembedded)


async def embed_in_batches(
    waiting: Callable[[int, int], Awaitable[Sequence[UnembeddedRow]]],
    embed: Callable[[Sequence[UnembeddedRow]], Awaitable[int]],
    *,
    after: int = 0,
    made: Callable[[int], None],
) -> int:
    """`embed` all that wait beyond this id, and return the last one's id.

    `waiting(after, limit)` gives the next of them, in order; `made` hears how many vectors each batch kept. What one
    batch raises is raised when the others beside it are done.
    """
    while True:
        found = await waiting(after, AT_ONCE * SIDE_BY_SIDE)
        if not found:
            return after
        share = -(-len(found) // SIDE_BY_SIDE)
        outcomes = await asyncio.gather(
            *(embed(found[start : start + share]) for start in range(0, len(found), share)), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            made(outcome)
        after = found[-1].id

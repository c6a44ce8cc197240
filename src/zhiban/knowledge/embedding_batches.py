"""Texts that wait for a vector, taken in batches: the one way to go through them, whoever keeps them and where."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

AT_ONCE = 1_024  # texts of one transaction: the more at once, the less each costs a model of our own
# Such batches: a model in our own process may use two processors, while the vectors of a third are written.
SIDE_BY_SIDE = 3


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
    batch raises is raised when those that were begun are done.
    """
    turn, stopped = asyncio.Lock(), False

    async def go_on() -> None:
        nonlocal after, stopped
        while not stopped:
            async with turn:
                found = await waiting(after, AT_ONCE)
                if not found:
                    return
                after = found[-1].id
            try:
                made(await embed(found))
            except BaseException:
                stopped = True
                raise

    for outcome in await asyncio.gather(*(go_on() for _ in range(SIDE_BY_SIDE)), return_exceptions=True):
        if outcome is not None:
            raise outcome
    return after

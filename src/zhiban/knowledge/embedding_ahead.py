"""Vectors for wordings whose rows are still being written: a large file is stored by one processor, while another would
have nothing to do."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

from zhiban.knowledge.vectors import HalfVector, passage_vectors
from zhiban.ports import Embedder, ModelUnavailable

MOST = 40_000  # that are kept in memory: of 512 dimensions 45 MB
AT_ONCE = 1_024
SIDE_BY_SIDE = 2


class EmbeddedAhead:
    """Of one import. What fails here is asked for again, and told, when the rows are there."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._waiting: deque[str] = deque()
        self._made: dict[str, HalfVector] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, texts: Iterable[str]) -> None:
        """Make vectors of the first of these texts. Those of before that nobody took are forgotten."""
        self._made.clear()
        self._waiting = deque(dict.fromkeys(islice(texts, MOST)))
        self._tasks += [asyncio.create_task(self._go_on(), name="embedding ahead") for _ in range(SIDE_BY_SIDE)]

    def stop(self) -> None:
        """What is not begun is left to `vectors`."""
        self._waiting.clear()

    async def close(self) -> None:
        self.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def vectors(self, texts: Sequence[str]) -> list[HalfVector]:
        """One for each text, in order: made ahead, or now. Raises ModelUnavailable."""
        await asyncio.gather(*self._tasks)
        self._tasks = [task for task in self._tasks if not task.done()]
        # Taken at once: others who want the same text take nothing away while we wait.
        found = {text: self._made.pop(text) for text in dict.fromkeys(texts) if text in self._made}
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        if missing:
            found |= zip(missing, await passage_vectors(self._embedder, missing), strict=True)
        return [found[text] for text in texts]

    async def _go_on(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            try:
                self._made |= zip(batch, await passage_vectors(self._embedder, batch), strict=True)
            except ModelUnavailable:
                self._waiting.clear()

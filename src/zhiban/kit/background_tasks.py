"""Work that goes on after the call that began it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine
from typing import Any

import psycopg

from zhiban.kit.errors import Unavailable


async def attempt(work: Coroutine[Any, Any, object], *, what: str, log: logging.Logger) -> None:
    """Do one round of what goes on for ever: what goes wrong stands in `log` and ends nothing."""
    try:
        await work
    except (psycopg.Error, Unavailable) as error:
        log.warning("%s could not finish: %s", what, str(error).strip())
    except Exception:  # the next round tries again
        log.exception("%s failed.", what)


async def cancelled(tasks: Collection[asyncio.Task[Any]], *, again: float = 0.5) -> None:
    """Cancel these tasks, and return when they have ended, whatever came of them.

    Cancelled again every so many seconds until they end: in Python 3.11 `asyncio.wait_for`, with which psycopg's pool
    waits, swallows a cancellation that meets what it waits for, and the task would go on for ever.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again)
    await asyncio.gather(*tasks, return_exceptions=True)


def raise_if_cancelled() -> None:
    """Raises CancelledError where this task was cancelled and somebody below swallowed it, as `cancelled` tells."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class BackgroundTasks:
    """Keeps its tasks from being collected while they run, and ends them with the process."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it beside the caller. It has to deal with its own errors."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, *, within: float) -> None:
        """Let what runs come to an end within so many seconds, and cancel what does not."""
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=within)
            await cancelled(late)

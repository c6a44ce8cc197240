"""Work that goes on after the call that began it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
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


class RepeatedTask:
    """A round of `work` every so many seconds, the first after as many, until it is closed.

    What goes wrong in a round stands in `log` as `what`, and ends nothing.
    """

    def __init__(
        self,
        work: Callable[[], Coroutine[Any, Any, object]],
        *,
        every: float,
        name: str,
        what: str,
        log: logging.Logger,
    ) -> None:
        self._work = work
        self._every = every
        self._name = name
        self._what = what
        self._log = log
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._forever(), name=self._name)

    async def close(self) -> None:
        """End the round that runs, and begin no other."""
        if self._task is not None:
            await cancelled([self._task])

    async def _forever(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await attempt(self._work(), what=self._what, log=self._log)


def raise_if_cancelled() -> None:
    """Raises CancelledError where this task was cancelled and somebody below swallowed it, as `cancelled` tells."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class BackgroundTasks:
    """Keeps its tasks from being collected while they run, and ends them with the process."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it beside the caller. It has to deal with its own errors."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self, *, within: float) -> None:
        """Let what runs come to an end within so many seconds, and cancel what does not."""
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=within)
            await cancelled(late)

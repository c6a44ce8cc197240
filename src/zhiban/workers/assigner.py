"""Gives open conversations to agents as soon as somebody waits or has room, and looks again every minute."""

from __future__ import annotations

import asyncio
import logging

from zhiban.conversations import assignment
from zhiban.kit.background_tasks import BackgroundTasks, attempt, cancelled
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database

log = logging.getLogger(__name__)

EVERY_SECONDS = 15.0  # how soon an agent's absence is noticed
ROUNDS = 4  # of these until everybody is looked at without having been woken


class Assigner:
    """Assigns for this process; any number of processes may, each conversation is given away once.

    Workspaces in which no inbox assigns are remembered, so that being woken costs them nothing.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._off: set[int] = set()  # workspaces
        self._woken: set[int] = set()
        self._running: set[int] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks = BackgroundTasks()
        self._timer: asyncio.Task[None] | None = None
        self._closing = False

    async def idle(self) -> None:
        """Returns once nothing that this process was woken for is left to do."""
        await self._idle.wait()

    def wake(self, workspace_id: int, _id: int = 0) -> None:
        """Something may wait for an agent, or an agent may have room."""
        if self._closing or workspace_id in self._off:
            return
        self._woken.add(workspace_id)
        if workspace_id not in self._running:
            self._running.add(workspace_id)
            self._idle.clear()
            self._tasks.start(self._run(workspace_id))

    def reconfigured(self, workspace_id: int, _id: int = 0) -> None:
        """A policy may have changed."""
        self._off.discard(workspace_id)
        self.wake(workspace_id)

    async def start(self) -> None:
        self._timer = asyncio.create_task(self._forever(), name="assigner")

    async def close(self, *, within: float = 5.0) -> None:
        self._closing = True
        if self._timer is not None:
            await cancelled([self._timer])
        await self._tasks.close(within=within)

    async def run_once(self, *, everybody: bool = True) -> None:
        """Release what absent agents left waiting, and give away what waits; `everybody`: whatever was remembered."""
        for workspace_id in await self._database.workspaces():
            if everybody:
                self._off.discard(workspace_id)
            if workspace_id not in self._off:
                await self._assign(workspace_id)

    async def _forever(self) -> None:
        round_ = 0
        while True:
            await attempt(self.run_once(everybody=round_ % ROUNDS == 0), what="Assigning", log=log)
            round_ += 1
            await asyncio.sleep(EVERY_SECONDS)

    async def _run(self, workspace_id: int) -> None:
        """What goes wrong is left to the timer."""
        try:
            await attempt(
                self._assign_while_woken(workspace_id), what=f"Assigning in workspace {workspace_id}", log=log
            )
        finally:
            self._running.discard(workspace_id)
            if not self._running:
                self._idle.set()

    async def _assign_while_woken(self, workspace_id: int) -> None:
        while workspace_id in self._woken and not self._closing:
            self._woken.discard(workspace_id)
            await self._assign(workspace_id)

    async def _assign(self, workspace_id: int) -> None:
        """A batch at a time, so that nobody waits for a long transaction."""
        more = True
        while more and not self._closing:
            async with self._database.transaction(workspace_id) as tx:
                now = self._clock.now()
                found = await assignment.policies(tx)
                if not assignment.any_on(found):
                    self._off.add(workspace_id)
                    return
                self._off.discard(workspace_id)
                released = await assignment.release_offline(tx, found, now=now)
                given = await assignment.assign_waiting(tx, found, now=now)
            more = bool(released or given)

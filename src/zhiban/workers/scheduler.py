"""Asks each workspace once a second, in one statement, what has come due, and wakes the workers that have to do it.

Each of them asking for itself costs an installation at rest some sixty statements a second, and each message its share.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg

from zhiban.kit.background_tasks import BackgroundTasks, RepeatedTask, attempt
from zhiban.kit.clock import Clock
from zhiban.kit.db import NO_WORKSPACE, Database
from zhiban.kit.frozen_dataclass import frozen_dataclass

log = logging.getLogger(__name__)

EVERY_SECONDS = 1.0


def _nothing(_now: datetime) -> Mapping[str, Any]:
    return {}


@frozen_dataclass
class DueWork:
    """What a worker is woken for.

    `condition` is an SQL expression over `%(now)s` and `params`, false only where the worker has nothing to do; the
    workspace is that of the transaction. `run` does what there is in a workspace, and finds out itself what that is.
    Two that name a parameter alike mean the same by it.
    """

    name: str
    condition: str
    run: Callable[[int], Awaitable[object]]
    params: Callable[[datetime], Mapping[str, Any]] = _nothing


class Scheduler:
    """The clock of this process; any number of processes may have one.

    `of_workspaces` is asked in every workspace, `of_installation` once, outside of them (its `run` gets NO_WORKSPACE).
    Work that takes longer than a second holds up only itself.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        of_workspaces: Sequence[DueWork],
        of_installation: Sequence[DueWork] = (),
    ) -> None:
        self._database = database
        self._clock = clock
        self._of_workspaces = of_workspaces
        self._of_installation = of_installation
        self._running: set[tuple[str, int]] = set()
        self._tasks = BackgroundTasks()
        self._rounds = RepeatedTask(
            self.run_once, every=EVERY_SECONDS, name="scheduler", what="Looking for what is due", log=log
        )

    async def start(self) -> None:
        self._rounds.start()

    async def close(self, *, within: float = 5.0) -> None:
        """Wake nobody any more, and let what was begun come to an end."""
        await self._rounds.close()
        await self._tasks.close(within=within)

    async def run_once(self) -> None:
        """Look once, and begin whatever is due and not at work already."""
        for workspace_id in (NO_WORKSPACE, *await self._database.workspaces()):
            for work in await self.due(workspace_id):
                key = (work.name, workspace_id)
                if key not in self._running:
                    self._running.add(key)
                    self._tasks.start(self._run(key, work))

    async def due(self, workspace_id: int) -> Sequence[DueWork]:
        """What there may be to do in this workspace now, or outside of all with NO_WORKSPACE."""
        asked = self._of_installation if workspace_id == NO_WORKSPACE else self._of_workspaces
        if not asked:
            return asked
        now = self._clock.now()
        params: dict[str, Any] = {"now": now}
        for work in asked:
            params.update(work.params(now))
        try:
            async with self._database.transaction(workspace_id) as tx:
                row = await tx.row(f"select {', '.join(work.condition for work in asked)}", **params)
        except psycopg.Error as error:
            # Nothing may lie there for ever because one of the questions cannot be answered.
            log.warning("All workers look for themselves: %s", str(error).strip())
            return asked
        return [work for work, is_due in zip(asked, row or (), strict=True) if is_due]

    async def _run(self, key: tuple[str, int], work: DueWork) -> None:
        try:
            await attempt(_awaited(work, key[1]), what=work.name.capitalize(), log=log)
        finally:
            self._running.discard(key)


async def _awaited(work: DueWork, workspace_id: int) -> object:
    return await work.run(workspace_id)

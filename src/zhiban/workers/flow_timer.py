"""Ends flows in which the contact has been silent for too long, a transaction for each conversation."""

from __future__ import annotations

import logging
from collections.abc import Callable

from zhiban.automation.flow_queries import silent_runs
from zhiban.automation.flow_runs import time_out
from zhiban.kit.background_tasks import RepeatedTask
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.ports import Limits

log = logging.getLogger(__name__)

EVERY_SECONDS = 5.0
AT_ONCE = 100


class FlowTimer:
    """The timer of this process; any number of processes may run one, each flow is ended by one of them."""

    def __init__(self, database: Database, clock: Clock, limits_of: Callable[[str], Limits]) -> None:
        self._database = database
        self._clock = clock
        self._limits_of = limits_of
        self._rounds = RepeatedTask(
            self.run_once, every=EVERY_SECONDS, name="flow timer", what="The timer of flows", log=log
        )

    async def start(self) -> None:
        self._rounds.start()

    async def close(self) -> None:
        await self._rounds.close()

    async def run_once(self) -> int:
        """End what is due, in every workspace. Returns how many were ended by this call."""
        return sum([await self._run(workspace_id) for workspace_id in await self._database.workspaces()])

    async def _run(self, workspace_id: int) -> int:
        async with self._database.transaction(workspace_id) as tx:
            due = await silent_runs(tx, now=self._clock.now(), limit=AT_ONCE)
        ended = 0
        for run in due:
            async with self._database.transaction(workspace_id) as tx:
                ended += await time_out(tx, run, limits_of=self._limits_of, now=self._clock.now())
        return ended

"""Ends flows in which the contact has been silent for too long, a transaction for each conversation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

import psycopg

from zhiban.automation.flow_queries import ANY_SILENT, FlowRun, silent_runs
from zhiban.automation.flow_runs import postpone, time_out
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import Unavailable
from zhiban.ports import Limits
from zhiban.workers.scheduler import DueWork

log = logging.getLogger(__name__)

AT_ONCE = 100
AGAIN = timedelta(minutes=10)


class FlowTimer:
    """The timer of this process; any number of processes may run one, each flow is ended by one of them."""

    def __init__(self, database: Database, clock: Clock, limits_of: Callable[[str], Limits]) -> None:
        self._database = database
        self._clock = clock
        self._limits_of = limits_of

    def due_work(self) -> DueWork:
        return DueWork("the timer of flows", ANY_SILENT, self.run_workspace)

    async def run_once(self) -> int:
        """End what is due, in every workspace. Returns how many were ended by this call."""
        return sum([await self.run_workspace(workspace_id) for workspace_id in await self._database.workspaces()])

    async def run_workspace(self, workspace_id: int) -> int:
        """End what is due in this workspace. Returns how many were ended."""
        async with self._database.transaction(workspace_id) as tx:
            due = await silent_runs(tx, now=self._clock.now(), limit=AT_ONCE)
        return sum([await self._end(workspace_id, run) for run in due])

    async def _end(self, workspace_id: int, run: FlowRun) -> bool:
        """One that cannot be ended is tried again later: the others must not wait for it."""
        try:
            async with self._database.transaction(workspace_id) as tx:
                return await time_out(tx, run, limits_of=self._limits_of, now=self._clock.now())
        except (psycopg.OperationalError, psycopg.InterfaceError, Unavailable):
            raise  # the database is at fault, not this flow
        except Exception:
            log.exception("Run %s of flow %s cannot be ended yet.", run.id, run.flow_id)
            async with self._database.transaction(workspace_id) as tx:
                await postpone(tx, run.id, until=self._clock.now() + AGAIN)
            return False

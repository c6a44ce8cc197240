"""Counts for reports what the event log tells, in small transactions, and what was there before it first ran."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from zhiban.insights.service import SETTLING, count_some
from zhiban.kit.background_tasks import RepeatedTask
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database

log = logging.getLogger(__name__)

EVERY_SECONDS = 5.0
PAUSE_SECONDS = 0.01  # between two rounds of a long count, for whoever else needs the processor


class ReportCounter:
    """The counter of this process; any number of processes may run one, each workspace is counted by one of them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._rounds = RepeatedTask(
            self.run_once, every=EVERY_SECONDS, name="report counter", what="Counting for reports", log=log
        )

    async def start(self) -> None:
        self._rounds.start()

    async def close(self) -> None:
        await self._rounds.close()

    async def run_once(self, *, pause: float = PAUSE_SECONDS, settling: timedelta = SETTLING) -> None:
        """Count everything that is settled."""
        for workspace_id in await self._database.workspaces():
            more = True
            while more:
                # Without waiting for the disk: what a crash takes back is counted again.
                async with self._database.transaction(workspace_id, durable=False) as tx:
                    more = await count_some(tx, now=self._clock.now(), settling=settling)
                if more:
                    await asyncio.sleep(pause)

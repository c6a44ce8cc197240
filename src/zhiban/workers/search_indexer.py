"""Keeps the search index up with the messages, and takes up what was there before it, in small transactions."""

from __future__ import annotations

import asyncio
import logging

from zhiban.conversations.search_index import index_some
from zhiban.kit.background_tasks import RepeatedTask
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database

log = logging.getLogger(__name__)

EVERY_SECONDS = 5.0  # what came meanwhile, a search reads itself
PAUSE_SECONDS = 0.01  # between two rounds of a long backfill, about as long as one: for whoever needs the processor


class SearchIndexer:
    """The indexer of this process; any number of processes may run one, each workspace is taken up by one of them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._rounds = RepeatedTask(
            self.run_once, every=EVERY_SECONDS, name="search indexer", what="The search index", log=log
        )

    async def start(self) -> None:
        self._rounds.start()

    async def close(self) -> None:
        await self._rounds.close()

    async def run_once(self, *, pause: float = PAUSE_SECONDS) -> None:
        """Index everything that is there."""
        for workspace_id in await self._database.workspaces():
            more = True
            while more:
                # Without waiting for the disk: what a crash takes back is indexed again.
                async with self._database.transaction(workspace_id, durable=False) as tx:
                    more = await index_some(tx, now=self._clock.now())
                if more:
                    await asyncio.sleep(pause)

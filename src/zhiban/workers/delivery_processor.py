"""Reads deliveries that carry their content with them (WeCom: the app's messages and events), in order of arrival."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import psycopg

from zhiban.channels.connections import Connections
from zhiban.conversations.ingest import take_in
from zhiban.kit import metrics
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import ZhibanError
from zhiban.kit.pubsub import Ear
from zhiban.workers.conversation_worker import Lanes

log = logging.getLogger(__name__)

ATTEMPTS = 5

_NEXT = """
select id, account, body, attempts from delivery
where connection_id = %(connection)s and state = 'pending' and not pulls order by id limit 50"""

# One reader at a time for a connection, across processes: the lock lives as long as the transaction.
_LOCK = "select pg_try_advisory_xact_lock(%(lock)s, %(connection)s::int)"
LOCK = 0x5A52

_DONE = "update delivery set state = 'done', handled_at = %(now)s, attempts = attempts + 1 where id = %(id)s"
_FAILED = """
update delivery set attempts = attempts + 1, error = %(error)s,
  state = case when attempts + 1 >= %(limit)s then 'failed' else state end where id = %(id)s"""


class Reader:
    """Reads for this process."""

    def __init__(self, database: Database, connections: Connections, lanes: Lanes, ear: Ear, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._lanes = lanes
        self._ear = ear
        self._clock = clock
        self._rung: set[tuple[int, int]] = set()
        self._running: dict[tuple[int, int], asyncio.Task[None]] = {}

    def ring(self, workspace_id: int, connection_id: int) -> None:
        """There is something to read for this connection."""
        key = (workspace_id, connection_id)
        self._rung.add(key)
        if key not in self._running:
            self._running[key] = asyncio.create_task(self._run(key))

    async def close(self) -> None:
        self._rung.clear()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _run(self, key: tuple[int, int]) -> None:
        try:
            while key in self._rung:
                self._rung.discard(key)
                while await self._read_some(*key):
                    pass
        except (psycopg.Error, ZhibanError) as error:
            log.warning("Reading connection %s is left to the sweep: %s", key[1], str(error).strip())
        finally:
            self._running.pop(key, None)

    async def _read_some(self, workspace_id: int, connection_id: int) -> bool:
        """Read up to fifty deliveries, each in a transaction of its own. False when none is left."""
        async with self._database.work(workspace_id) as work:
            rows = await work.rows(_NEXT, connection=connection_id)
        for row in rows:
            if not await self._read_one(workspace_id, connection_id, row):
                return False
        return bool(rows)

    async def _read_one(self, workspace_id: int, connection_id: int, row: tuple[Any, ...]) -> bool:
        id_, account, body, _ = row
        link = await self._connections.link(workspace_id, connection_id)
        inbox_id = await self._connections.inbox_of(link, account)
        place = await self._connections.place(workspace_id, inbox_id)
        now = self._clock.now()
        try:
            items = place.channel.read(body)
            async with self._database.work(workspace_id) as work:
                if not await work.value(_LOCK, lock=LOCK, connection=connection_id % 2**31):
                    return False
                still = await work.value("select 1 from delivery where id = %(id)s and state = 'pending'", id=id_)
                if not still:
                    return True
                taken = await take_in(work, place, items, now=now, me=self._ear.me)
                await work.run(_DONE, id=id_, now=now)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except Exception as error:  # one delivery must not stop those behind it
            # This one delivery is at fault, not the database: after some attempts it becomes a dead letter.
            log.exception("Delivery %s cannot be taken in.", id_)
            async with self._database.work(workspace_id) as work:
                await work.run(_FAILED, id=id_, error=str(error)[:500], limit=ATTEMPTS)
            return True
        for conversation_id in taken.held:
            self._lanes.begin(workspace_id, conversation_id, held=True)
        for conversation_id in taken.busy:
            self._lanes.wake(workspace_id, conversation_id)
        metrics.message("incoming", place.kind, taken.new_messages)
        return True

"""Reads what trackers delivered, in order of arrival, one delivery at a time for each connection."""

from __future__ import annotations

import logging

import psycopg

from zhiban.channels.connections import Connections
from zhiban.kit.background_tasks import BackgroundTasks
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import Unavailable, ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.tickets import news
from zhiban.workers.delivery_processor import ATTEMPTS, LOCK

log = logging.getLogger(__name__)

_NEXT = """
select id, body from delivery where connection_id = %(connection)s and state = 'pending' order by id limit 50"""
_LOCK = "select pg_try_advisory_xact_lock(%(lock)s, %(connection)s::int)"
_STILL = "select 1 from delivery where id = %(id)s and state = 'pending'"
_DONE = "update delivery set state = 'done', handled_at = %(now)s, attempts = attempts + 1 where id = %(id)s"
_FAILED = """
update delivery set attempts = attempts + 1, error = %(error)s,
  state = case when attempts + 1 >= %(limit)s then 'failed' else state end where id = %(id)s"""


@frozen_dataclass
class _Delivery:
    id: int
    body: str


class NewsReader:
    """Reads for this process."""

    def __init__(self, database: Database, connections: Connections, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._clock = clock
        self._woken: set[tuple[int, int]] = set()
        self._running: set[tuple[int, int]] = set()
        self._tasks = BackgroundTasks()
        self._closing = False

    def wake(self, workspace_id: int, connection_id: int) -> None:
        """There is something to read for this connection."""
        if self._closing:
            return
        key = (workspace_id, connection_id)
        self._woken.add(key)
        if key not in self._running:
            self._running.add(key)
            self._tasks.start(self._run(key))

    async def close(self, *, within: float = 5.0) -> None:
        """Finish the delivery that is being read; those behind it wait for the next process."""
        self._closing = True
        await self._tasks.close(within=within)

    async def _run(self, key: tuple[int, int]) -> None:
        try:
            while key in self._woken and not self._closing:
                self._woken.discard(key)
                while await self._read_some(*key):
                    pass
        except (psycopg.Error, ZhibanError) as error:
            log.warning("Reading tracker %s is left to recovery: %s", key[1], str(error).strip())
        except Exception:  # one connection's accident must not silence the others
            log.exception("Reading tracker %s is left to recovery.", key[1])
        finally:
            self._running.discard(key)

    async def _read_some(self, workspace_id: int, connection_id: int) -> bool:
        """Read up to fifty deliveries, each in a transaction of its own. False when none is left."""
        async with self._database.transaction(workspace_id) as tx:
            rows = await tx.objects(_Delivery, _NEXT, connection=connection_id)
        for row in rows:
            if self._closing or not await self._read_one(workspace_id, connection_id, row):
                return False
        return bool(rows)

    async def _read_one(self, workspace_id: int, connection_id: int, row: _Delivery) -> bool:
        tracker = (await self._connections.tracker(workspace_id, connection_id)).tracker
        try:
            told = tracker.read(row.body)
            async with self._database.transaction(workspace_id) as tx:
                if not await tx.value(_LOCK, lock=LOCK, connection=connection_id % 2**31):
                    return False
                if not await tx.value(_STILL, id=row.id):
                    return True
                now = self._clock.now()
                await news.take_in(tx, connection_id, told, now=now)
                await tx.run(_DONE, id=row.id, now=now)
        except (psycopg.OperationalError, psycopg.InterfaceError, Unavailable):
            raise
        except Exception as error:  # one delivery must not stop those behind it
            log.exception("Delivery %s cannot be taken in.", row.id)
            async with self._database.transaction(workspace_id) as tx:
                await tx.run(_FAILED, id=row.id, error=str(error)[:500], limit=ATTEMPTS)
        return True

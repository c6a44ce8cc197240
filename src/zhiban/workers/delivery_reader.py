"""How stored deliveries are read: woken for a connection, in their order of arrival, by one process at a time."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from datetime import datetime

import psycopg

from zhiban.kit.background_tasks import BackgroundTasks
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass

log = logging.getLogger(__name__)

ATTEMPTS = 5

_NEXT = """
select id, account, body from delivery
where connection_id = %(connection)s and state = 'pending' and not pulls order by id limit 50"""

# One reader at a time for a connection, across processes: the lock lives as long as the transaction.
_LOCK = "select pg_try_advisory_xact_lock(%(lock)s, %(connection)s::int)"
LOCK = 0x5A52

_STILL = "select 1 from delivery where id = %(id)s and state = 'pending'"
_DONE = "update delivery set state = 'done', handled_at = %(now)s, attempts = attempts + 1 where id = %(id)s"
_FAILED = """
update delivery set attempts = attempts + 1, error = %(error)s,
  state = case when attempts + 1 >= %(limit)s then 'failed' else state end where id = %(id)s"""


@frozen_dataclass
class StoredDelivery:
    """A delivery that carries its content. `account`: the vendor's id of the one it concerns, or None."""

    id: int
    account: str | None
    body: str


async def lock(tx: Transaction, connection_id: int) -> bool:
    """Whether nobody else reads this connection until the transaction ends."""
    return bool(await tx.value(_LOCK, lock=LOCK, connection=connection_id % 2**31))


async def still_waits(tx: Transaction, delivery_id: int) -> bool:
    """Whether nobody has read it meanwhile."""
    return await tx.value(_STILL, id=delivery_id) is not None


async def close(tx: Transaction, delivery_id: int, *, now: datetime) -> None:
    """It was taken in."""
    await tx.run(_DONE, id=delivery_id, now=now)


class DeliveryReader(ABC):
    """Reads for this process. What a delivery means is its subclass's."""

    def __init__(self, database: Database) -> None:
        self._database = database
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

    @abstractmethod
    async def _read_one(self, workspace_id: int, connection_id: int, delivery: StoredDelivery) -> bool:
        """Take it in, in a transaction of its own. False when another process reads this connection now."""

    async def _record_failure(self, workspace_id: int, delivery_id: int, error: Exception) -> None:
        """This one delivery is at fault, not the database: after some attempts it becomes a dead letter."""
        async with self._database.transaction(workspace_id) as tx:
            await tx.run(_FAILED, id=delivery_id, error=str(error)[:500], limit=ATTEMPTS)

    async def _run(self, key: tuple[int, int]) -> None:
        try:
            while key in self._woken and not self._closing:
                self._woken.discard(key)
                while await self._read_some(*key):
                    pass
        except (psycopg.Error, ZhibanError) as error:
            log.warning("Reading connection %s is left to recovery: %s", key[1], str(error).strip())
        except Exception:  # one connection's accident must not silence the others
            log.exception("Reading connection %s is left to recovery.", key[1])
        finally:
            self._running.discard(key)

    async def _read_some(self, workspace_id: int, connection_id: int) -> bool:
        """Read up to fifty deliveries. False when none is left."""
        async with self._database.transaction(workspace_id) as tx:
            found = await tx.objects(StoredDelivery, _NEXT, connection=connection_id)
        for delivery in found:
            if self._closing or not await self._read_one(workspace_id, connection_id, delivery):
                return False
        return bool(found)

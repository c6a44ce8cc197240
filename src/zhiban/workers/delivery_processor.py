"""Reads deliveries that carry their content with them, in order of arrival."""

from __future__ import annotations

import logging
from typing import Any

import psycopg

from zhiban.channels.connections import Connections
from zhiban.channels.delivery_store import park
from zhiban.conversations.ingest import ingest
from zhiban.kit import metrics
from zhiban.kit.background_tasks import BackgroundTasks
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import Unavailable, ZhibanError
from zhiban.kit.pubsub import PubSub
from zhiban.workers.conversation_worker import ConversationWorker

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


class DeliveryProcessor:
    """Reads for this process."""

    def __init__(
        self,
        database: Database,
        connections: Connections,
        conversation_worker: ConversationWorker,
        pubsub: PubSub,
        clock: Clock,
    ) -> None:
        self._database = database
        self._connections = connections
        self._conversation_worker = conversation_worker
        self._pubsub = pubsub
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
            log.warning("Reading connection %s is left to recovery: %s", key[1], str(error).strip())
        except Exception:  # one connection's accident must not silence the others
            log.exception("Reading connection %s is left to recovery.", key[1])
        finally:
            self._running.discard(key)

    async def _read_some(self, workspace_id: int, connection_id: int) -> bool:
        """Read up to fifty deliveries, each in a transaction of its own. False when none is left."""
        async with self._database.transaction(workspace_id) as tx:
            rows = await tx.rows(_NEXT, connection=connection_id)
        for row in rows:
            if self._closing or not await self._read_one(workspace_id, connection_id, row):
                return False
        return bool(rows)

    async def _read_one(self, workspace_id: int, connection_id: int, row: tuple[Any, ...]) -> bool:
        id_, account, body, _ = row
        now = self._clock.now()
        try:
            connection = await self._connections.connection(workspace_id, connection_id)
            inbox_id = await self._connections.inbox_of(connection, account)
            if inbox_id is None:
                async with self._database.transaction(workspace_id) as tx:
                    await park(tx, connection_id, account)
                return True
            inbox = await self._connections.inbox(workspace_id, inbox_id)
            items = inbox.channel.read(body)
            async with self._database.transaction(workspace_id) as tx:
                if not await tx.value(_LOCK, lock=LOCK, connection=connection_id % 2**31):
                    return False
                still = await tx.value("select 1 from delivery where id = %(id)s and state = 'pending'", id=id_)
                if not still:
                    return True
                result = await ingest(tx, inbox, items, now=now, process_id=self._pubsub.process_id)
                await tx.run(_DONE, id=id_, now=now)
        except (psycopg.OperationalError, psycopg.InterfaceError, Unavailable):
            raise
        except Exception as error:  # one delivery must not stop those behind it
            # This one delivery is at fault, not the database: after some attempts it becomes a dead letter.
            log.exception("Delivery %s cannot be taken in.", id_)
            async with self._database.transaction(workspace_id) as tx:
                await tx.run(_FAILED, id=id_, error=str(error)[:500], limit=ATTEMPTS)
            return True
        for conversation_id in result.leased:
            self._conversation_worker.begin(workspace_id, conversation_id, leased=True)
        metrics.message("incoming", inbox.kind, result.new_messages)
        return True

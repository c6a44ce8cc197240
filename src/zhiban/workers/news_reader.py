"""Reads what trackers delivered, in order of arrival, one delivery at a time for each connection."""

from __future__ import annotations

import logging

import psycopg

from zhiban.channels.connections import Connections
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import Unavailable
from zhiban.ports import ConfirmsNews, ConnectionBroken, TryLater
from zhiban.tickets import news
from zhiban.workers import delivery_reader
from zhiban.workers.delivery_reader import DeliveryReader, StoredDelivery

log = logging.getLogger(__name__)


class NewsReader(DeliveryReader):
    """Reads trackers' deliveries for this process."""

    def __init__(self, database: Database, connections: Connections, clock: Clock) -> None:
        super().__init__(database)
        self._connections = connections
        self._clock = clock

    async def _read_one(self, workspace_id: int, connection_id: int, delivery: StoredDelivery) -> bool:
        tracker = (await self._connections.tracker(workspace_id, connection_id)).tracker
        try:
            told = tracker.read(delivery.body)
            if told and isinstance(tracker, ConfirmsNews):
                told = await tracker.confirmed(told)
            async with self._database.transaction(workspace_id) as tx:
                if not await delivery_reader.lock(tx, connection_id):
                    return False
                if not await delivery_reader.still_waits(tx, delivery.id):
                    return True
                now = self._clock.now()
                await news.take_in(tx, connection_id, told, now=now)
                await delivery_reader.close(tx, delivery.id, now=now)
        except (TryLater, ConnectionBroken) as error:
            # Recovery tries again in a while. After some attempts it is given up: issues and comments are compared with
            # the tracker anyway, and those behind it would wait for ever.
            log.warning("Delivery %s waits for its tracker: %s", delivery.id, error)
            await self._record_failure(workspace_id, delivery.id, error)
            return False
        except (psycopg.OperationalError, psycopg.InterfaceError, Unavailable):
            raise
        except Exception as error:  # one delivery must not stop those behind it
            log.exception("Delivery %s cannot be taken in.", delivery.id)
            await self._record_failure(workspace_id, delivery.id, error)
        return True

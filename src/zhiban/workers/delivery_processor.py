"""Reads deliveries that carry their content with them, in order of arrival."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import psycopg

from zhiban.channels.connections import Connections
from zhiban.channels.delivery_store import park
from zhiban.conversations.ingest import ingest
from zhiban.kit import metrics
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import Unavailable
from zhiban.kit.pubsub import PubSub
from zhiban.ports import Channel, Incoming, ReadsByAsking
from zhiban.workers import delivery_reader
from zhiban.workers.conversation_worker import ConversationWorker
from zhiban.workers.delivery_reader import DeliveryReader, StoredDelivery

log = logging.getLogger(__name__)


async def _items(channel: Channel, body: str) -> Sequence[Incoming]:
    """What a delivery says; before anything is locked, because some channels ask their vendor for the rest of it."""
    return await channel.read_by_asking(body) if isinstance(channel, ReadsByAsking) else channel.read(body)


class DeliveryProcessor(DeliveryReader):
    """Reads channels' deliveries for this process."""

    def __init__(
        self,
        database: Database,
        connections: Connections,
        conversation_worker: ConversationWorker,
        pubsub: PubSub,
        clock: Clock,
    ) -> None:
        super().__init__(database)
        self._connections = connections
        self._conversation_worker = conversation_worker
        self._pubsub = pubsub
        self._clock = clock

    async def _read_one(self, workspace_id: int, connection_id: int, delivery: StoredDelivery) -> bool:
        now = self._clock.now()
        try:
            connection = await self._connections.connection(workspace_id, connection_id)
            inbox_id = await self._connections.inbox_of(connection, delivery.account)
            if inbox_id is None:
                async with self._database.transaction(workspace_id) as tx:
                    await park(tx, connection_id, delivery.account)
                return True
            inbox = await self._connections.inbox(workspace_id, inbox_id)
            items = await _items(inbox.channel, delivery.body)
            async with self._database.transaction(workspace_id) as tx:
                if not await delivery_reader.lock(tx, connection_id):
                    return False
                if not await delivery_reader.still_waits(tx, delivery.id):
                    return True
                result = await ingest(tx, inbox, items, now=now, process_id=self._pubsub.process_id)
                await delivery_reader.close(tx, delivery.id, now=now)
        except (psycopg.OperationalError, psycopg.InterfaceError, Unavailable):
            raise
        except Exception as error:  # one delivery must not stop those behind it
            log.exception("Delivery %s cannot be taken in.", delivery.id)
            await self._record_failure(workspace_id, delivery.id, error)
            return True
        for conversation_id in result.leased:
            self._conversation_worker.begin(workspace_id, conversation_id, leased=True)
        metrics.message("incoming", inbox.kind, result.new_messages)
        return True

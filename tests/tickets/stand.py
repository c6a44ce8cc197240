"""A tracker in memory that is connected, and the workers that write to it and read what it tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from zhiban import bootstrap
from zhiban.channels.connections import Connections, TrackerBuilder
from zhiban.channels.delivery_store import DeliveryStore
from zhiban.channels.service import connect
from zhiban.kit.breaker_store import BreakerStore
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.http import Http
from zhiban.kit.pubsub import PubSub
from zhiban.kit.vault import Vault
from zhiban.ports import TrackerIntegration, VerifiedWebhook, Webhook
from zhiban.testing.tracker import MemoryBoard, memory_integration, webhook
from zhiban.tickets import repositories
from zhiban.workers.news_reader import NewsReader
from zhiban.workers.scheduler import Scheduler
from zhiban.workers.tracker_worker import TrackerWorker

KEY = "ab" * 32


@dataclass
class TrackerStand:
    """Everything between a wish and the tracker, with nothing replaced but the tracker itself."""

    database: Database
    workspace_id: int
    clock: SetClock
    connections: Connections
    connection_id: int
    deliveries: DeliveryStore
    worker: TrackerWorker
    reader: NewsReader
    pubsub: PubSub
    board: MemoryBoard

    @property
    def now(self) -> datetime:
        return self.clock.now()

    async def repository(self, name: str = "acme/shop") -> int:
        """The row of a repository of the board."""
        async with self.database.transaction(self.workspace_id) as tx:
            return await repositories.keep(tx, self.connection_id, self.board.repository(name), now=self.now)

    async def work(self) -> None:
        """Carry out whatever is due, as the scheduler wakes the worker."""
        scheduler = Scheduler(self.database, self.clock, of_workspaces=[self.worker.due_work()])
        for work in await scheduler.due(self.workspace_id):
            await work.run(self.workspace_id)
        await idle(self.worker)

    async def hears(self, said: dict[str, Any]) -> bool:
        """The tracker calls us. False when it had told us before."""
        return await self.receives(webhook({"at": self.now.timestamp(), **said}, now=self.now))

    async def receives(self, call: Webhook) -> bool:
        opened = await self.connections.tracker(self.workspace_id, self.connection_id)
        found = opened.tracker.authenticate(call)
        assert isinstance(found, VerifiedWebhook)
        new = await self.deliveries.store(opened, found, at=self.now)
        self.reader.wake(self.workspace_id, self.connection_id)
        await idle(self.reader)
        return new

    async def facts(self, *kinds: str) -> list[dict[str, Any]]:
        """What the log says of these kinds, the oldest first."""
        async with self.database.transaction(self.workspace_id) as tx:
            rows = await tx.rows(
                "select kind, data from event where kind = any(%(kinds)s) order by id", kinds=list(kinds)
            )
        return [{"kind": kind, **data} for kind, data in rows]

    async def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        async with self.database.transaction(self.workspace_id) as tx:
            return await tx.rows(sql, **values)


async def idle(worker: TrackerWorker | NewsReader) -> None:
    async with asyncio.timeout(30):
        while worker._running:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def _builder(integration: TrackerIntegration, http: Http, clock: SetClock) -> TrackerBuilder:
    return lambda _name, config, secrets, tokens, breakers: integration.build(
        http, clock, config, secrets, tokens, breakers
    )


@asynccontextmanager
async def tracker_stand(
    database: Database,
    workspace_id: int,
    *,
    board: MemoryBoard | None = None,
    integration: TrackerIntegration | None = None,
    values: dict[str, Any] | None = None,
    clock: SetClock | None = None,
) -> AsyncIterator[TrackerStand]:
    """A connected tracker: the twin, or another integration with its values."""
    board = board or MemoryBoard()
    meant = integration or memory_integration(board)
    clock = clock or SetClock(datetime(2026, 11, 20, 2, 0, tzinfo=UTC))
    vault = Vault([KEY])
    pubsub = PubSub(database.dsn)
    async with Http() as http:
        await pubsub.open()
        database.publish = pubsub.publish
        database.reactions = bootstrap.reactions()
        breakers = BreakerStore(database, pubsub, clock)
        connections = Connections(
            database,
            vault,
            clock,
            breakers,
            build=bootstrap.vendor(http, clock),
            build_tracker=_builder(meant, http, clock),
        )
        async with database.transaction(workspace_id) as tx:
            done = await connect(tx, vault, meant, values or {"name": "board", "token": "secret"}, now=clock.now())
        worker = TrackerWorker(database, connections, pubsub, clock)
        reader = NewsReader(database, connections, clock)
        deliveries = DeliveryStore(database, connections, pubsub)
        try:
            yield TrackerStand(
                database,
                workspace_id,
                clock,
                connections,
                done.id,
                deliveries,
                worker,
                reader,
                pubsub,
                board,
            )
        finally:
            await worker.close()
            await reader.close()
            await deliveries.close()
            await breakers.close()
            await pubsub.close()

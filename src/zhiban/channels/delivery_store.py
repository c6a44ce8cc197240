"""Stores deliveries: whatever waits at the same moment goes into one transaction, so a burst is acknowledged too."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from zhiban.channels import reply_slots
from zhiban.channels.connections import Connections, OpenConnection, OpenTracker
from zhiban.channels.topics import ACCOUNT_WAITING, DELIVERY_WAITING, TRACKER_DELIVERY_WAITING
from zhiban.kit.db import Database, DatabaseUnavailable, Transaction
from zhiban.kit.errors import NotFound, Unavailable
from zhiban.kit.json_safe import json_safe
from zhiban.kit.pubsub import PubSub
from zhiban.ports import VerifiedWebhook

BATCH = 500
STORE_TIMEOUT = 4.0  # vendors hang up after five and repeat the call

# A repeat inserts nothing. For one that was stored and not yet handled the worker is woken again, which harms nobody.
_INSERT = """
insert into delivery (workspace_id, connection_id, digest, account, token, pulls, body, state, received_at)
select %(workspace)s, connection, decode(digest, 'hex'), account, token, pulls, body, state, at
from rows from (json_to_recordset(%(rows)s::json) as (connection bigint, digest text, account text, token text,
  pulls boolean, body text, state text, at timestamptz)) with ordinality
  as t(connection, digest, account, token, pulls, body, state, at, n)
order by n on conflict do nothing returning digest"""


class StoreUnavailable(Unavailable):
    """The delivery could not be stored in time. The vendor must be told, so that it calls again."""


@dataclass(slots=True)
class _PendingDelivery:
    connection: OpenConnection | OpenTracker
    webhooks: Sequence[VerifiedWebhook]
    at: datetime
    stored: asyncio.Future[list[bool]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


_DeliveryRow = tuple[_PendingDelivery, VerifiedWebhook]


class DeliveryStore:
    """Stores verified webhooks. `store` returns when they are safe."""

    def __init__(self, database: Database, connections: Connections, pubsub: PubSub) -> None:
        self._database = database
        self._connections = connections
        self._pubsub = pubsub
        self._waiting: dict[int, deque[_PendingDelivery]] = {}
        self._flushing: dict[int, asyncio.Task[None]] = {}

    async def store(self, connection: OpenConnection | OpenTracker, webhook: VerifiedWebhook, *, at: datetime) -> bool:
        """Store a delivery and wake who works on it. False when it was stored before.

        Raises StoreUnavailable after four seconds.
        """
        (new,) = await self.store_all(connection, [webhook], at=at)
        return new

    async def store_all(
        self, connection: OpenConnection | OpenTracker, webhooks: Sequence[VerifiedWebhook], *, at: datetime
    ) -> list[bool]:
        """As `store` for several, in their order and in one transaction: all of them or none.

        Raises StoreUnavailable after four seconds.
        """
        entry = _PendingDelivery(connection, webhooks, at)
        self._waiting.setdefault(connection.workspace_id, deque()).append(entry)
        if connection.workspace_id not in self._flushing:
            self._flushing[connection.workspace_id] = asyncio.create_task(self._flush(connection.workspace_id))
        try:
            async with asyncio.timeout(STORE_TIMEOUT):
                return await entry.stored
        except (TimeoutError, psycopg.Error, DatabaseUnavailable) as error:
            raise StoreUnavailable("The message could not be stored.") from error

    async def fetch(self, connection: OpenConnection | OpenTracker, key: str, *, at: datetime) -> str | None:
        """What we say in a slot that the vendor asks for. Raises StoreUnavailable after four seconds."""
        try:
            async with (
                asyncio.timeout(STORE_TIMEOUT),
                self._database.webhook_transaction(connection.workspace_id) as tx,
            ):
                return await reply_slots.fetch(tx, connection.id, key, now=at)
        except (TimeoutError, psycopg.Error, DatabaseUnavailable) as error:
            raise StoreUnavailable("A reply could not be read.") from error

    async def close(self) -> None:
        await asyncio.gather(*self._flushing.values(), return_exceptions=True)

    async def _flush(self, workspace_id: int) -> None:
        try:
            while waiting := self._waiting.get(workspace_id):
                batch: list[_PendingDelivery] = []
                size = 0
                while waiting and size < BATCH:
                    entry = waiting.popleft()
                    if not entry.stored.done():  # who gave up waiting was answered 503 and will call again
                        batch.append(entry)
                        size += len(entry.webhooks)
                if batch:
                    await self._store(workspace_id, batch)
        finally:
            self._flushing.pop(workspace_id, None)

    async def _store(self, workspace_id: int, batch: list[_PendingDelivery]) -> None:
        # PostgreSQL refuses to meet the same row twice in one insert: the first of a batch stands for all.
        first: dict[bytes, _DeliveryRow] = {}
        for entry in batch:
            for webhook in entry.webhooks:
                first.setdefault(webhook.digest, (entry, webhook))
        rows = list(first.values())
        try:
            async with self._database.webhook_transaction(workspace_id) as tx:
                digests = await tx.values(
                    _INSERT,
                    workspace=workspace_id,
                    rows=json_safe([_row(entry, webhook) for entry, webhook in rows]),
                )
        except (psycopg.Error, DatabaseUnavailable) as error:
            for entry in batch:
                if not entry.stored.done():
                    entry.stored.set_exception(error)
            return
        new = set(map(bytes, digests))
        for entry in batch:
            if not entry.stored.done():
                entry.stored.set_result(
                    [first[one.digest] == (entry, one) and one.digest in new for one in entry.webhooks]
                )
        # A repeated doorbell wakes too: two within one second may look the same, and fetching is harmless.
        await self._pass_on(
            workspace_id,
            [
                (entry, webhook)
                for entry, webhook in rows
                if webhook.parsable and (webhook.pulls or webhook.digest in new)
            ],
        )

    async def _pass_on(self, workspace_id: int, rows: list[_DeliveryRow]) -> None:
        """Wake who fetches or reads. When this fails the rows still say what waits, and recovery finds them."""
        accounts: dict[tuple[int, str | None], OpenConnection] = {}
        for entry, webhook in rows:
            if isinstance(entry.connection, OpenTracker):
                self._pubsub.publish(TRACKER_DELIVERY_WAITING, workspace_id, entry.connection.id)
            elif webhook.pulls:
                accounts[entry.connection.id, webhook.account] = entry.connection
            else:
                self._pubsub.publish(DELIVERY_WAITING, workspace_id, entry.connection.id)
        for (_, account), connection in accounts.items():
            try:
                inbox_id = await self._connections.inbox_of(connection, account)
            except (psycopg.Error, Unavailable):
                continue
            if inbox_id is not None:
                self._pubsub.publish(ACCOUNT_WAITING, workspace_id, inbox_id)
            else:
                async with self._database.transaction(workspace_id) as tx:
                    await park(tx, connection.id, account)


def _row(entry: _PendingDelivery, webhook: VerifiedWebhook) -> dict[str, Any]:
    return {
        "connection": entry.connection.id,
        "digest": webhook.digest.hex(),
        "account": webhook.account,
        "token": webhook.token,
        "pulls": webhook.pulls,
        "body": webhook.body.replace("\x00", "\ufffd"),
        "state": "pending" if webhook.parsable else "parked",
        "at": entry.at,
    }


async def read_again(tx: Transaction, delivery_id: int) -> None:
    """Put a delivery that failed back among those that wait. Raises NotFound."""
    row = await tx.row(
        "update delivery d set state = 'pending', attempts = 0, error = null from connection c "
        "where d.id = %(id)s and d.state = 'failed' and c.id = d.connection_id returning c.id, c.part",
        id=delivery_id,
    )
    if row is None:
        raise NotFound("There is no such failed delivery.")
    connection_id, part = row
    # Whoever reads channels would fail on a tracker's, and use its attempts up.
    tx.publish_after_commit(TRACKER_DELIVERY_WAITING if part == "tracker" else DELIVERY_WAITING, connection_id)


async def park(tx: Transaction, connection_id: int, account: str | None) -> None:
    """Put aside what came for an account that nobody wants: it is kept for a while, and waits for nobody."""
    await tx.run(
        "update delivery set state = 'parked', handled_at = now() where connection_id = %(connection)s "
        "and account is not distinct from %(account)s and state = 'pending'",
        connection=connection_id,
        account=account,
    )


HANDLED, FAILED = ("done", "parked"), ("failed",)


async def forget_deliveries(tx: Transaction, *, states: Sequence[str], before: datetime, limit: int) -> int:
    """Delete the oldest deliveries in these states that came before then."""
    return await tx.run(
        "delete from delivery where id in (select id from delivery where state = any(%(states)s::text[]) "
        "and received_at < %(before)s order by received_at limit %(limit)s)",
        states=list(states),
        before=before,
        limit=limit,
    )


async def count_deliveries(tx: Transaction, *, states: Sequence[str], before: datetime, most: int) -> int:
    """How many of them there are; `most` stands for that many or more."""
    return int(
        await tx.value(
            "select count(*) from (select 1 from delivery where state = any(%(states)s::text[]) "
            "and received_at < %(before)s limit %(most)s) d",
            states=list(states),
            before=before,
            most=most,
        )
    )

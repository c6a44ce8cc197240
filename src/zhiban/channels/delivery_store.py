"""Stores doorbells: whatever waits at the same moment goes into one transaction, so a storm is acknowledged too."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

import psycopg

from zhiban.channels.connections import Connections, Link
from zhiban.kit.db import Database, DatabaseUnavailable
from zhiban.kit.errors import Unavailable
from zhiban.kit.event_log import PULL, READ
from zhiban.kit.pubsub import Ear
from zhiban.ports import Doorbell

BATCH = 500
PATIENCE_SECONDS = 4.0  # WeCom hangs up after five and rings again

# A repeat inserts nothing. One that was stored and not yet handled rings again, which harms nobody.
_INSERT = """
insert into delivery (workspace_id, connection_id, digest, account, token, pulls, body, state, received_at)
select %(workspace)s, connection, digest, account, token, pulls, body, state, at
from unnest(%(connection)s::bigint[], %(digest)s::bytea[], %(account)s::text[], %(token)s::text[], %(pulls)s::boolean[],
  %(body)s::text[], %(state)s::text[], %(at)s::timestamptz[]) with ordinality
  as t(connection, digest, account, token, pulls, body, state, at, n)
order by n on conflict do nothing returning digest"""


class DoorClosed(Unavailable):
    """The doorbell could not be stored in time. The vendor must be told, so that it rings again."""


@dataclass(slots=True)
class _Ring:
    link: Link
    bell: Doorbell
    at: datetime
    stored: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Door:
    """Takes genuine doorbells. `enter` returns when they are safe."""

    def __init__(self, database: Database, connections: Connections, ear: Ear) -> None:
        self._database = database
        self._connections = connections
        self._ear = ear
        self._waiting: dict[int, list[_Ring]] = {}
        self._flushing: dict[int, asyncio.Task[None]] = {}

    async def enter(self, link: Link, bell: Doorbell, *, at: datetime) -> bool:
        """Store a doorbell and pass it on. False when it was stored before. Raises DoorClosed after four seconds."""
        ring = _Ring(link, bell, at)
        self._waiting.setdefault(link.workspace_id, []).append(ring)
        if link.workspace_id not in self._flushing:
            self._flushing[link.workspace_id] = asyncio.create_task(self._flush(link.workspace_id))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await ring.stored
        except (TimeoutError, psycopg.Error, DatabaseUnavailable) as error:
            raise DoorClosed("The message could not be stored.") from error

    async def close(self) -> None:
        await asyncio.gather(*self._flushing.values(), return_exceptions=True)

    async def _flush(self, workspace_id: int) -> None:
        try:
            while waiting := self._waiting.get(workspace_id):
                # Who gave up waiting was answered 503 and will ring again.
                batch = [ring for ring in waiting[:BATCH] if not ring.stored.done()]
                del waiting[:BATCH]
                if batch:
                    await self._store(workspace_id, batch)
        finally:
            self._flushing.pop(workspace_id, None)

    async def _store(self, workspace_id: int, batch: list[_Ring]) -> None:
        # PostgreSQL refuses to meet the same row twice in one insert: the first of a batch stands for all.
        first: dict[bytes, _Ring] = {}
        for ring in batch:
            first.setdefault(ring.bell.digest, ring)
        rings = list(first.values())
        try:
            async with self._database.door(workspace_id) as work:
                rows = await work.rows(
                    _INSERT,
                    workspace=workspace_id,
                    connection=[ring.link.id for ring in rings],
                    digest=[ring.bell.digest for ring in rings],
                    account=[ring.bell.account for ring in rings],
                    token=[ring.bell.token for ring in rings],
                    pulls=[ring.bell.pulls for ring in rings],
                    body=[ring.bell.body.replace("\x00", "\ufffd") for ring in rings],
                    state=["pending" if ring.bell.readable else "parked" for ring in rings],
                    at=[ring.at for ring in rings],
                )
        except (psycopg.Error, DatabaseUnavailable) as error:
            for ring in batch:
                if not ring.stored.done():
                    ring.stored.set_exception(error)
            return
        new = {bytes(row[0]) for row in rows}
        for ring in batch:
            if not ring.stored.done():
                ring.stored.set_result(ring is first[ring.bell.digest] and ring.bell.digest in new)
        # A repeated doorbell is passed on too: two rings within one second may look the same, and fetching is harmless.
        await self._pass_on(
            workspace_id,
            [ring for ring in rings if ring.bell.readable and (ring.bell.pulls or ring.bell.digest in new)],
        )

    async def _pass_on(self, workspace_id: int, rings: list[_Ring]) -> None:
        """Wake who fetches or reads. When this fails the rows still say what waits, and the sweep finds them."""
        accounts: dict[tuple[int, str | None], Link] = {}
        for ring in rings:
            if ring.bell.pulls:
                accounts[ring.link.id, ring.bell.account] = ring.link
            else:
                self._ear.say(READ, workspace_id, ring.link.id)
        for (_, account), link in accounts.items():
            try:
                inbox_id = await self._connections.inbox_of(link, account)
            except (psycopg.Error, Unavailable):
                continue
            self._ear.say(PULL, workspace_id, inbox_id)

"""Listens to gateways over their one long connection: one process for each, and another one when that dies.

What comes is stored in its order. While the database is away it is kept in memory, a bounded part by the integration
and the rest by the gateway, because nothing more is read. Few gateways can be asked for what was said while nobody
listened: with the others the operator is told, each time that listening begins again, that messages may be missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg

from zhiban.channels import gateways
from zhiban.channels.connections import Connections, OpenConnection
from zhiban.channels.gateways import AccountHeardTwice, Turn
from zhiban.conversations.ingest import Ingest, IngestResult, ingest, ingest_one_by_one
from zhiban.kit import metrics
from zhiban.kit.background_tasks import BackgroundTasks, cancelled
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import Unavailable, ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.pubsub import PubSub
from zhiban.ports import ConnectionBroken, GatewayState, Incoming, IncomingMessage, StreamItem, Streams, TryLater
from zhiban.workers.conversation_worker import ConversationWorker
from zhiban.workers.scheduler import DueWork

log = logging.getLogger(__name__)

RENEW_SECONDS = 2.0
BROKEN_WAIT = 60.0
LONGEST_WAIT = 30.0
STORE_AGAIN_SECONDS = 0.5
DRAIN_SECONDS = 0.1  # of silence, after which what was being read when the process ends is taken to have come


@frozen_dataclass
class _ListenerProcess:
    """What listening needs of this process."""

    database: Database
    connections: Connections
    conversation_worker: ConversationWorker
    pubsub: PubSub
    clock: Clock


class StreamListener:
    """Listens for this process. `vendors` are those whose connections are listened to."""

    def __init__(
        self,
        database: Database,
        connections: Connections,
        conversation_worker: ConversationWorker,
        pubsub: PubSub,
        clock: Clock,
        *,
        vendors: Sequence[str],
    ) -> None:
        self._process = _ListenerProcess(database, connections, conversation_worker, pubsub, clock)
        self._vendors = vendors
        self._running: set[tuple[int, int]] = set()
        self._tasks = BackgroundTasks()
        self._closing = asyncio.Event()

    def due_work(self) -> DueWork:
        return DueWork("listening to gateways", gateways.ANY_DUE, self.run_workspace, self._params)

    def _params(self, _now: datetime) -> Mapping[str, Any]:
        return gateways.due_params(self._vendors)

    async def close(self, *, within: float = 5.0) -> None:
        """Store what was read, and let the next process listen. The accounts stay logged in."""
        self._closing.set()
        await self._tasks.close(within=within)

    async def run_once(self) -> None:
        """Listen to every gateway that nobody listens to."""
        for workspace_id in await self._process.database.workspaces():
            await self.run_workspace(workspace_id)

    async def run_workspace(self, workspace_id: int) -> None:
        """Listen to every gateway of this workspace that nobody listens to."""
        async with self._process.database.transaction(workspace_id) as tx:
            due = await gateways.gateways_due(tx, self._vendors, now=self._process.clock.now())
        for connection_id in due:
            key = (workspace_id, connection_id)
            if key not in self._running and not self._closing.is_set():
                self._running.add(key)
                self._tasks.start(self._listen(*key))

    async def _listen(self, workspace_id: int, connection_id: int) -> None:
        process = self._process
        try:
            async with process.database.transaction(workspace_id) as tx:
                turn = await gateways.take_gateway(
                    tx, connection_id, me=process.pubsub.process_id, now=process.clock.now()
                )
            if turn is not None:
                connection = await process.connections.connection(workspace_id, connection_id)
                await _ListenedStream(process, connection, turn, self._closing).hold()
        except (psycopg.Error, ZhibanError) as error:
            log.warning("Listening to connection %s begins again: %s", connection_id, str(error).strip())
        except Exception:  # one gateway's accident must not silence the others
            log.exception("Listening to connection %s begins again.", connection_id)
        finally:
            self._running.discard((workspace_id, connection_id))


class _ListenedStream:
    """One connection, listened to for one turn: until it breaks, changes, is another's, or the process ends."""

    def __init__(
        self, process: _ListenerProcess, connection: OpenConnection, turn: Turn, closing: asyncio.Event
    ) -> None:
        self._process = process
        self._connection = connection
        self._turn = turn
        self._closing = closing
        self._over = asyncio.Event()
        self._was_open = False
        self._heard_at: datetime | None = None  # until when nothing is missing, while nothing waits to be stored

    async def hold(self) -> None:
        """Listen, and say how it ended."""
        renewing = asyncio.create_task(self._renew(), name="gateway lease")
        misses, wait = 0, 0.0
        try:
            await self._follow()
        except TryLater as error:
            misses = 0 if self._was_open else self._turn.misses + 1
            wait = min(max(error.after, 0.5 * 2 ** min(misses, 10)), LONGEST_WAIT)
            await self._keep([], [GatewayState("connecting", self._process.clock.now(), reason=error.sentence)])
        except (ConnectionBroken, AccountHeardTwice) as error:
            misses, wait = self._turn.misses + 1, BROKEN_WAIT
            await self._keep([], [GatewayState("refused", self._process.clock.now(), reason=error.sentence)])
        finally:
            await cancelled([renewing])
            await self._leave(misses, wait)

    async def _leave(self, misses: int, wait: float) -> None:
        retry_at = self._process.clock.now() + timedelta(seconds=wait) if wait else None
        async with self._process.database.transaction(self._connection.workspace_id) as tx:
            await gateways.leave_gateway(
                tx,
                self._connection.id,
                me=self._process.pubsub.process_id,
                misses=misses,
                retry_at=retry_at,
            )

    async def _follow(self) -> None:
        """Raises what ends the stream; returns when listening is over for another reason."""
        vendor = self._connection.vendor
        if not isinstance(vendor, Streams):
            return
        batches = vendor.listen(self._turn.cursor)
        over = asyncio.create_task(_either(self._closing, self._over))
        coming = asyncio.ensure_future(anext(batches))
        try:
            while True:
                await asyncio.wait({coming, over}, return_when=asyncio.FIRST_COMPLETED)
                if over.done():
                    # What was on its way is still taken: it was told to us, and to nobody else ever.
                    await asyncio.wait({coming}, timeout=DRAIN_SECONDS)
                    if not coming.done():
                        return
                await self._take(coming.result())
                coming = asyncio.ensure_future(anext(batches))
        finally:
            await cancelled([coming, over])
            await batches.aclose()  # type: ignore[attr-defined]

    async def _renew(self) -> None:
        while not self._over.is_set():
            await asyncio.sleep(RENEW_SECONDS)
            now = self._process.clock.now()
            try:
                async with self._process.database.transaction(self._connection.workspace_id) as tx:
                    renewed = await gateways.renew_gateway(
                        tx,
                        self._connection.id,
                        me=self._process.pubsub.process_id,
                        heard_at=self._heard_at,
                        now=now,
                    )
            except (psycopg.Error, ZhibanError) as error:
                # Nobody can take it over either, while the database is away.
                log.warning("The lease of connection %s was not renewed: %s", self._connection.id, str(error).strip())
                continue
            if renewed is None or renewed.removed or renewed.updated_at != self._turn.configured_at:
                self._over.set()

    # ---------------------------------------------------------------------------------------------------- storing

    async def _take(self, batch: Sequence[StreamItem]) -> None:
        """Store a batch, by accounts and in order."""
        self._was_open = True
        self._heard_at = None if batch else self._process.clock.now()
        if not batch:
            return
        states = [one.item for one in batch if isinstance(one.item, GatewayState)]
        by_account: dict[str | None, list[Incoming]] = {}
        for one in batch:
            if not isinstance(one.item, GatewayState):
                by_account.setdefault(one.account, []).append(one.item)
        *earlier, latest = by_account or [None]
        for account in earlier:
            await self._keep(by_account[account], states, account)
            states = []
        await self._keep(by_account.get(latest, []), states, latest, upto=batch[-1])

    async def _keep(
        self,
        items: Sequence[Incoming],
        states: Sequence[GatewayState],
        account: str | None = None,
        upto: StreamItem | None = None,
    ) -> None:
        """Store, however long the database is away. With `upto`, everything until this item is stored then."""
        take: Ingest = ingest
        while True:
            try:
                await self._store(items, states, account, upto, take)
            except (psycopg.OperationalError, psycopg.InterfaceError, Unavailable) as error:
                log.warning("What a gateway told is kept until it can be stored: %s", str(error).strip())
                await asyncio.sleep(STORE_AGAIN_SECONDS)
            except AccountHeardTwice:
                raise
            except Exception:
                if take is ingest_one_by_one:
                    raise
                # One entry is at fault, not the database; it must not stop the gateway for ever.
                log.exception("A batch of connection %s is taken in entry by entry.", self._connection.id)
                take = ingest_one_by_one
            else:
                return

    async def _store(
        self,
        items: Sequence[Incoming],
        states: Sequence[GatewayState],
        account: str | None,
        upto: StreamItem | None,
        take: Ingest,
    ) -> None:
        connection, process, now = self._connection, self._process, self._process.clock.now()
        inbox_id = await process.connections.inbox_of(connection, account) if items else None
        inbox = await process.connections.inbox(connection.workspace_id, inbox_id) if inbox_id is not None else None
        result = IngestResult()
        async with process.database.transaction(connection.workspace_id) as tx:
            for state in states:
                if state.state == "online" and state.account:
                    me = process.pubsub.process_id
                    await gateways.hear_account(tx, connection.id, state.account, me=me, now=now)
                await gateways.note_state(tx, connection.id, state, now=now)
            if inbox is not None:
                result = await take(tx, inbox, items, now=now, process_id=process.pubsub.process_id)
            message_at = now if any(isinstance(item, IncomingMessage) for item in items) else None
            if upto is not None:
                await gateways.note_stored(
                    tx, connection.id, message_at=message_at, heard_at=upto.heard_at, cursor=upto.cursor
                )
        for conversation_id in result.leased:
            process.conversation_worker.begin(connection.workspace_id, conversation_id, leased=True)
        if inbox is not None:
            metrics.message("incoming", inbox.kind, result.new_messages)


async def _either(*events: asyncio.Event) -> None:
    """Return when one of them is set."""
    waiting = [asyncio.create_task(each.wait()) for each in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancelled(waiting)

"""`/streams/{connection}`: programs that open a WebSocket, prove who they are, and tell what happens.

Every event is stored before anything else is done with it, in its order. What cannot be stored yet is kept, and no more
is read meanwhile, so that the rest stays with the program and the network.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import suppress
from datetime import datetime, timedelta
from typing import cast
from weakref import WeakValueDictionary

import psycopg
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from zhiban.channels import gateways
from zhiban.channels.connection_health import mark_broken
from zhiban.channels.connections import Connections, OpenConnection
from zhiban.channels.delivery_store import STORE_TIMEOUT, DeliveryStore, StoreUnavailable
from zhiban.channels.sockets import LiveSocket, SocketKey, SocketRegistry
from zhiban.channels.topics import GATEWAY_PROBE
from zhiban.channels.webhooks import QUERY_LIMIT, headers_of, query_of
from zhiban.kit import metrics
from zhiban.kit.background_tasks import cancelled
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Misconfigured, NotFound, Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.kit.pubsub import PubSub
from zhiban.ports import (
    SOCKETS,
    AcceptsSockets,
    GatewayState,
    Handshake,
    InvalidWebhook,
    SocketAnswer,
    SocketClient,
    TryLater,
    VerifiedWebhook,
)

log = logging.getLogger(__name__)

EVENT_LIMIT = 1 << 20  # characters of one event; answers may be larger, as files are among them
READ_AHEAD = 256  # events that are not stored yet
BATCH = 64
STORE_AGAIN = 0.5
RENEW_SECONDS = 2.0
PROBE_EVERY = 30.0
PROBE_SECONDS = 10.0
QUICK_PROBE = 2.0  # somebody waits for it
SEND_SECONDS = 15.0
NONSENSE = 100  # frames without sense, one after the other, after which it is no program that we know

ANOTHER_ACCOUNT = mark("Another account is connected here: two accounts are two connections.")
TAKEN = mark("The program is connected already.")

_PUBLIC_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class _SocketRefused(Exception):
    """The socket is not opened. `why` is for whoever opened it."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@frozen_dataclass
class _ServingProcess:
    """What the sockets of this process need of it."""

    database: Database
    deliveries: DeliveryStore
    connections: Connections
    registry: SocketRegistry
    pubsub: PubSub
    clock: Clock


def routes(
    database: Database,
    deliveries: DeliveryStore,
    connections: Connections,
    registry: SocketRegistry,
    pubsub: PubSub,
    clock: Clock,
) -> list[WebSocketRoute]:
    """The address for sockets, of every connection whose vendor opens some."""
    endpoint = _Endpoint(_ServingProcess(database, deliveries, connections, registry, pubsub, clock))
    pubsub.subscribe(GATEWAY_PROBE, endpoint.probe)
    return [WebSocketRoute(f"{SOCKETS}{{public_id}}", endpoint.open)]


class _Endpoint:
    def __init__(self, process: _ServingProcess) -> None:
        self._process = process
        self._probes: set[asyncio.Task[bool]] = set()
        self._doors: WeakValueDictionary[SocketKey, asyncio.Lock] = (
            WeakValueDictionary()
        )  # kept by who stands before them

    async def open(self, websocket: WebSocket) -> None:
        """What Starlette calls for a socket that somebody wants to open."""
        try:
            connection, vendor, client = await self._admitted(websocket)
            # One after the other: of two that knock at once, the second must see the first.
            async with self._doors.setdefault((connection.workspace_id, connection.id), asyncio.Lock()):
                turn = await self._turn(connection, vendor, client)
                conversation = _Conversation(self._process, websocket, connection, vendor, client, turn)
                await conversation.begin()
        except InvalidWebhook as error:
            metrics.delivery("unknown", "refused")
            log.info("A socket was refused: %s", error.reason)
            await _deny(websocket, error.status, "")
        except _SocketRefused as error:
            await _deny(websocket, error.status, error.why)
        except (TimeoutError, psycopg.Error, Unavailable) as error:
            log.warning("A socket could not be opened: %s", str(error).strip())
            await _deny(websocket, 503, "")
        else:
            await conversation.hold()

    async def _admitted(self, websocket: WebSocket) -> tuple[OpenConnection, AcceptsSockets, SocketClient]:
        """Who knocks. Raises _SocketRefused, InvalidWebhook, and what keeps the connection from being looked up."""
        public_id = str(websocket.path_params.get("public_id", ""))
        if not _PUBLIC_ID.fullmatch(public_id) or len(websocket.scope["query_string"]) > QUERY_LIMIT:
            raise _SocketRefused(404, "")
        try:
            async with asyncio.timeout(STORE_TIMEOUT):
                connection = await self._process.connections.for_callback(public_id)
        except NotFound:
            connection = None
        except Misconfigured as error:
            log.warning("A connection cannot be opened: %s", error)
            raise _SocketRefused(503, "") from None
        if not isinstance(connection, OpenConnection) or not isinstance(connection.vendor, AcceptsSockets):
            raise _SocketRefused(404, "")
        vendor = cast("AcceptsSockets", connection.vendor)
        handshake = Handshake(
            query_of(websocket.scope["query_string"]),
            headers_of(websocket.scope["headers"]),
            self._process.clock.now(),
        )
        return connection, vendor, vendor.admit(handshake)

    async def _turn(
        self, connection: OpenConnection, vendor: AcceptsSockets, client: SocketClient
    ) -> gateways.Turn | None:
        """The right to be the one who tells; a socket for calls alone needs none. Raises _SocketRefused."""
        key = (connection.workspace_id, connection.id)
        for other in self._process.registry.of(key):
            if other.client.account != client.account:
                await self._refuse(connection, client, ANOTHER_ACCOUNT)
            if other.client.events and client.events:
                if await _lives(vendor, other, self._process.registry.of(key)):
                    await self._refuse(connection, client, TAKEN)
                self._replace(key, other)
            elif not (other.client.events or client.events):
                self._replace(key, other)  # one for calls alone is enough: a program that opens another has lost it
        now = self._process.clock.now()
        try:
            async with self._process.database.webhook_transaction(connection.workspace_id) as tx:
                await gateways.check_heard_once(tx, connection.id, client.account, now=now)
        except gateways.AccountHeardTwice as error:
            await _say_heard_twice(self._process, connection, now=now)
            await self._refuse(connection, client, error.sentence)
        async with self._process.database.webhook_transaction(connection.workspace_id) as tx:
            holder = await gateways.holder(tx, connection.id, now=now)
            elsewhere = holder is not None and holder.leased_by != self._process.pubsub.process_id
            turn = (
                await gateways.take_gateway(tx, connection.id, me=self._process.pubsub.process_id, now=now)
                if client.events and not elsewhere
                else None
            )
        if elsewhere and holder is not None and holder.account not in ("", client.account):
            await self._refuse(connection, client, ANOTHER_ACCOUNT)
        if client.events and turn is None:
            # Perhaps that socket is dead and nobody knows it yet: the program will try again in some seconds.
            self._process.pubsub.publish_remote(GATEWAY_PROBE, *key)
            await self._refuse(connection, client, TAKEN)
        return turn

    def _replace(self, key: SocketKey, other: LiveSocket) -> None:
        other.replaced = True
        other.end(4000, "replaced")
        self._process.registry.remove(key, other)

    async def _refuse(self, connection: OpenConnection, client: SocketClient, why: str) -> None:
        """Raises _SocketRefused, always."""
        async with self._process.database.webhook_transaction(connection.workspace_id) as tx:
            await gateways.note_refused(tx, connection.id, client.account, why, now=self._process.clock.now())
        metrics.delivery(connection.vendor_name, "refused")
        raise _SocketRefused(409, why)

    def probe(self, workspace_id: int, connection_id: int) -> None:
        """Somebody knocks at another process: end what does not live any more."""
        key = (workspace_id, connection_id)
        for socket in self._process.registry.of(key):
            if socket.client.events:
                task = asyncio.ensure_future(self._end_the_dead(key, socket))
                self._probes.add(task)
                task.add_done_callback(self._probes.discard)

    async def _end_the_dead(self, key: SocketKey, socket: LiveSocket) -> bool:
        connection = await self._process.connections.connection(*key)
        vendor = connection.vendor
        if isinstance(vendor, AcceptsSockets) and not await _lives(vendor, socket, self._process.registry.of(key)):
            socket.end(4000, "no answer")
            return True
        return False


async def _say_heard_twice(process: _ServingProcess, connection: OpenConnection, *, now: datetime) -> None:
    """An operator has to choose: it is said on the connection until its program is online."""
    async with process.database.transaction(connection.workspace_id) as tx:
        await mark_broken(tx, connection.id, gateways.HEARD_TWICE, now=now)


async def _lives(vendor: AcceptsSockets, socket: LiveSocket, all_: list[LiveSocket]) -> bool:
    """Whether a program is still there. Where calls have a socket of their own, that one answers for both."""
    if socket.stalled or time.monotonic() - socket.heard_at < QUICK_PROBE:
        return True
    calls = next((one for one in reversed(all_) if one.client.calls), None)
    if calls is None:
        return time.monotonic() - socket.heard_at < PROBE_EVERY
    try:
        async with asyncio.timeout(QUICK_PROBE):
            await vendor.ask_state(calls, socket.client)
    except (TimeoutError, TryLater):
        return calls.stalled
    return True


class _Conversation:
    """One socket, from its opening to its end."""

    def __init__(
        self,
        process: _ServingProcess,
        websocket: WebSocket,
        connection: OpenConnection,
        vendor: AcceptsSockets,
        client: SocketClient,
        turn: gateways.Turn | None,
    ) -> None:
        self._process = process
        self._websocket = websocket
        self._connection = connection
        self._vendor = vendor
        self._client = client
        self._turn = turn
        self._key = (connection.workspace_id, connection.id)
        self._socket = LiveSocket(client, self._send)
        self._events: asyncio.Queue[VerifiedWebhook] = asyncio.Queue(READ_AHEAD)
        self._messages = False  # whether any came since the lease was renewed
        self._state: tuple[str, str] | None = None
        self._proved = False
        self._nonsense = 0

    async def begin(self) -> None:
        """Open it; from then on it takes calls."""
        await self._websocket.accept()
        self._process.registry.add(self._key, self._socket)

    async def hold(self) -> None:
        """Read until it ends."""
        log.info("A program has connected to connection %s.", self._connection.id)
        storing = asyncio.create_task(self._store_events(), name="socket storing")
        beside = [asyncio.create_task(self._close_when_told(), name="socket end")]
        if self._turn is not None:
            now = self._now()
            await self._note(GatewayState("connecting", now, gap=True))
            await self._events.put(self._vendor.opened(self._client, at=now))
            beside.append(asyncio.create_task(self._renew(self._turn), name="socket lease"))
        beside.append(asyncio.create_task(self._probe(), name="socket probe"))
        try:
            await self._read()
        finally:
            self._process.registry.remove(self._key, self._socket)
            await cancelled(beside)
            try:
                await self._events.join()  # what was received is stored, however long that takes
            finally:
                await cancelled([storing])
                await self._leave()

    # ------------------------------------------------------------------------------------------------------- reading

    async def _read(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] != "websocket.receive":
                return
            self._socket.heard_at = time.monotonic()
            await self._hear(message)

    async def _hear(self, message: Message) -> None:
        """Take one frame."""
        frame = message.get("text")
        if frame is None:
            frame = (message.get("bytes") or b"").decode(errors="replace")
        large = len(frame) > EVENT_LIMIT
        if large and not self._socket.calls_wait:
            self._socket.end(1009, "the event is too large")
            return
        try:
            found = self._vendor.hear(frame, self._client)
        except InvalidWebhook as error:
            self._makes_no_sense(error)
            return
        self._nonsense = 0
        if isinstance(found, SocketAnswer):
            self._socket.answered(found.key, found.frame)
        elif large:
            self._socket.end(1009, "the event is too large")
        elif isinstance(found, VerifiedWebhook):
            if self._client.events:
                self._messages = True
                self._socket.stalled = self._events.full()
                await self._events.put(found)
                self._socket.stalled = False
        elif found is not None and self._turn is not None:
            await self._note(found)

    def _makes_no_sense(self, error: InvalidWebhook) -> None:
        self._nonsense += 1
        if self._nonsense == 1:
            log.info("A frame of connection %s makes no sense: %s", self._connection.id, error.reason)
        if self._nonsense >= NONSENSE:
            self._socket.end(1008, "these frames make no sense")

    # ------------------------------------------------------------------------------------------------------- storing

    async def _store_events(self) -> None:
        """In order, until they are safe: what was told to us is told to nobody again."""
        while True:
            batch = [await self._events.get()]
            while len(batch) < BATCH and not self._events.empty():
                batch.append(self._events.get_nowait())
            while True:
                if await self._are_safe(batch):
                    break
                await asyncio.sleep(STORE_AGAIN)
            for _ in batch:
                self._events.task_done()

    async def _are_safe(self, batch: list[VerifiedWebhook]) -> bool:
        """Whether all of them are stored now. It is all or none: a part would overtake what came before it."""
        try:
            done = await self._process.deliveries.store_all(self._connection, batch, at=self._now())
        except StoreUnavailable:
            log.warning("%d events of connection %s wait to be stored.", len(batch), self._connection.id)
            return False
        except Exception:  # whatever it is, those behind them must not wait for ever
            log.exception("%d events of connection %s are left out.", len(batch), self._connection.id)
            return True
        for new in done:
            metrics.delivery(self._connection.vendor_name, "stored" if new else "duplicate")
        return True

    # --------------------------------------------------------------------------------------------- beside the reading

    async def _send(self, frame: str) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._websocket.send_text(frame)
        except TimeoutError:
            self._socket.end(1008, "nothing is read")
            raise
        except (WebSocketDisconnect, RuntimeError):
            # Perhaps a part of it left: nobody knows what the program has read.
            raise TryLater("The program has gone.", after=2.0, unknown=True) from None

    async def _close_when_told(self) -> None:
        await self._socket.ending.wait()
        if self._websocket.application_state is WebSocketState.CONNECTED:
            await self._websocket.close(self._socket.end_code, self._socket.end_reason)

    async def _renew(self, turn: gateways.Turn) -> None:
        """Say every two seconds that we are connected, and end when that is no longer ours to say."""
        me = self._process.pubsub.process_id
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            now = self._now()
            try:
                async with self._process.database.transaction(self._connection.workspace_id) as tx:
                    renewed = await gateways.renew_gateway(tx, self._connection.id, me=me, heard_at=now, now=now)
                    if self._messages:
                        await gateways.note_stored(tx, self._connection.id, message_at=now)
                        self._messages = False
            except (psycopg.Error, Unavailable) as error:
                log.warning("The lease of connection %s was not renewed: %s", self._connection.id, str(error).strip())
                continue
            if renewed is None:
                self._socket.end(4000, "replaced")
            elif renewed.removed:
                self._socket.end(1008, "the connection was removed")
            elif renewed.updated_at != turn.configured_at:
                self._socket.end(1012, "the connection was configured anew")

    async def _probe(self) -> None:
        """Ask how the account is, at once and then every half minute: a program may hang behind a living network."""
        while True:
            try:
                calls = self._calls()
                if calls is not None:
                    async with asyncio.timeout(PROBE_SECONDS):
                        state = await self._vendor.ask_state(calls, self._client)
                    if self._turn is not None:
                        await self._note(state)
                elif self._turn is not None:
                    await self._note(GatewayState("online", self._now(), account=self._client.account, proved=False))
            except (TimeoutError, TryLater) as error:
                if self._client.calls and not self._socket.stalled:
                    log.warning("The program of connection %s does not answer: %s", self._connection.id, error)
                    self._socket.end(1011, "no answer")
                    return
            await asyncio.sleep(PROBE_EVERY)

    def _calls(self) -> LiveSocket | None:
        """The socket that takes calls: this one, or the one beside it."""
        if self._client.calls:
            return self._socket
        return next((one for one in self._process.registry.of(self._key) if one.client.calls), None)

    async def _note(self, state: GatewayState) -> None:
        """Keep how the account is, where that is news."""
        known, name = self._state or ("", "")
        told = known == state.state and state.account_name in ("", name) and (self._proved or not state.proved)
        if told and not state.gap:
            return
        try:
            async with self._process.database.transaction(self._connection.workspace_id) as tx:
                if state.state == "online":  # of two that knocked at once, too
                    await self._hear_once(tx, proved=state.proved)
                await gateways.note_state(tx, self._connection.id, state, now=self._now())
        except gateways.AccountHeardTwice:
            with suppress(psycopg.Error, Unavailable):  # it will knock again
                await _say_heard_twice(self._process, self._connection, now=self._now())
            self._socket.end(1008, "the account is heard elsewhere")  # which ends the probe that may have called this
            return
        except (psycopg.Error, Unavailable) as error:
            log.warning("The state of connection %s was not noted: %s", self._connection.id, str(error).strip())
            return
        self._state = (state.state, state.account_name or name)
        self._proved = state.proved and state.state == "online"

    async def _hear_once(self, tx: Transaction, *, proved: bool) -> None:
        """Raises AccountHeardTwice. A program that only says who it is keeps nobody else from that account."""
        connection_id, account, now = self._connection.id, self._client.account, self._now()
        if proved:
            me = self._process.pubsub.process_id
            await gateways.hear_account(tx, connection_id, account, me=me, now=now)
        else:
            await gateways.check_heard_once(tx, connection_id, account, now=now)

    async def _leave(self) -> None:
        if self._turn is None or self._socket.replaced:
            return
        # A socket that was cut may have been dead for a while before anybody noticed.
        unnoticed = timedelta(seconds=max(0.0, time.monotonic() - self._socket.heard_at))
        me, now = self._process.pubsub.process_id, self._now()
        try:
            async with self._process.database.transaction(self._connection.workspace_id) as tx:
                if await gateways.leave_gateway(
                    tx, self._connection.id, me=me, unnoticed=min(unnoticed, gateways.UNNOTICED)
                ):
                    lost = GatewayState("connecting", now, reason="The program is not connected.")
                    await gateways.note_state(tx, self._connection.id, lost, now=now)
        except (psycopg.Error, Unavailable) as error:
            log.warning("That connection %s is free could not be noted: %s", self._connection.id, str(error).strip())

    def _now(self) -> datetime:
        return self._process.clock.now()


async def _deny(websocket: WebSocket, status: int, why: str) -> None:
    """Refuse before anything is opened, with a reason where whoever knocks has proved who they are."""
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(PlainTextResponse(why, status))
    else:
        await websocket.close(1008, why)

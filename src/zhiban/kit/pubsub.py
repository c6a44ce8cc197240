"""Publish and subscribe between processes over LISTEN and NOTIFY, and who is alive.

A session advisory lock says that this process lives; when the connection dies, so does the lock, and the others take
over its leases. NOTIFY carries ids only, outside the transactions that made them, gathered for some milliseconds,
because every NOTIFY takes a lock over the whole server at commit. What cannot be sent is sent again, and when this
process could not listen for a while, whoever keeps what notices change is told that some may have been missed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress

import psycopg
from psycopg import sql

from zhiban.kit.background_tasks import cancelled

log = logging.getLogger(__name__)

ALIVE = 0x5A42  # class of the advisory locks that say "this process lives"
GATHER_SECONDS = 0.015
PAYLOAD_BYTES = 7000  # NOTIFY carries 8000 at most
AGAIN_SECONDS = 0.3  # after a connection that failed
LAST_WORDS_SECONDS = 2.0  # what a closing process still tells the others may take so long

TopicListener = Callable[[int, int], None]


class PubSub:
    """Publishes to topics and calls their listeners. A topic carries (workspace_id, id) pairs.

    `process_id` names this process in leases. Listeners are called on the event loop, for what this process published
    as well as for what others did, possibly twice; they must be quick and must not raise.

    `local_topics` concern other processes only where this one has no listener. `sure_topics` are told also while no
    other process is known: one that has just started may know already what they change.
    """

    def __init__(self, dsn: str, *, local_topics: Collection[str] = (), sure_topics: Collection[str] = ()) -> None:
        self._local_topics = frozenset(local_topics)
        self._sure_topics = frozenset(sure_topics)
        self.process_id = random.SystemRandom().getrandbits(31)
        self.peers = False  # whether another process of ours is alive
        self._dsn = dsn
        self._listeners: dict[str, list[TopicListener]] = defaultdict(list)
        self._gap_listeners: list[Callable[[], None]] = []
        self._waiting: dict[str, set[tuple[int, int]]] = defaultdict(set)
        self._due = asyncio.Event()
        self._alive = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def subscribe(self, topic: str, listener: TopicListener) -> None:
        """What other processes publish to a topic that is new here arrives after one second at the latest."""
        self._listeners[topic].append(listener)

    def unsubscribe(self, topic: str, listener: TopicListener) -> None:
        self._listeners[topic].remove(listener)

    def on_gap(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever this process listens again, after it may have missed what others published."""
        self._gap_listeners.append(listener)

    def publish(self, topic: str, workspace_id: int, id_: int) -> None:
        """Call this process's listeners at once, and tell the other processes. Call it after the commit."""
        for listener in tuple(self._listeners[topic]):
            listener(workspace_id, id_)
        if topic not in self._local_topics or not self._listeners[topic]:
            self.publish_remote(topic, workspace_id, id_)

    def publish_remote(self, topic: str, workspace_id: int, id_: int) -> None:
        """Tell the other processes only."""
        if self.peers or topic in self._sure_topics:
            self._waiting[topic].add((workspace_id, id_))
            self._due.set()

    async def open(self) -> None:
        """Returns once this process is known to be alive."""
        self._tasks = [
            asyncio.create_task(self._hold(), name="pubsub in"),
            asyncio.create_task(self._send(), name="pubsub out"),
        ]
        await asyncio.wait_for(self._alive.wait(), 30)

    async def close(self) -> None:
        """Stop listening. What was published and is not sent yet is sent first, if the database answers soon."""
        await cancelled(self._tasks)
        if self._waiting:
            with suppress(psycopg.Error, TimeoutError):
                async with asyncio.timeout(LAST_WORDS_SECONDS), await self._connected() as connection:
                    await self._flush(connection)

    async def _connected(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        return await psycopg.AsyncConnection.connect(self._dsn, autocommit=True, application_name="zhiban pubsub")

    async def _hold(self) -> None:
        while True:
            try:
                async with await self._connected() as connection:
                    await connection.execute("select pg_advisory_lock(%s, %s)", (ALIVE, self.process_id))
                    # The role's own limits are for transactions; this session waits by design.
                    await connection.execute("set statement_timeout = 0")
                    await self._listen(connection)
            except psycopg.Error as error:
                log.warning("The pub/sub connection was lost and is opened again: %s", str(error).strip())
            await asyncio.sleep(AGAIN_SECONDS)

    async def _listen(self, connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        listening: set[str] = set()
        gap = True
        while True:
            for topic in self._listeners.keys() - listening:
                await connection.execute(sql.SQL("listen {}").format(sql.Identifier(topic)))
                listening.add(topic)
            await self._count_peers(connection)
            if gap:
                gap = False
                for missed in self._gap_listeners:
                    missed()
            self._alive.set()
            async for notice in connection.notifies(timeout=1.0):
                self._received(notice.channel, notice.payload)

    async def _count_peers(self, connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        row = await (
            await connection.execute(
                "select exists (select from pg_locks where locktype = 'advisory' and granted and classid = %s "
                "and database = (select oid from pg_database where datname = current_database()) "
                "and objid <> %s::bigint::oid)",
                (ALIVE, self.process_id),
            )
        ).fetchone()
        self.peers = bool(row and row[0])

    def _received(self, topic: str, payload: str) -> None:
        for pair in payload.split(","):
            workspace, _, id_ = pair.partition(":")
            if workspace.isdecimal() and id_.isdecimal():
                for listener in tuple(self._listeners[topic]):
                    listener(int(workspace), int(id_))

    async def _send(self) -> None:
        while True:
            await self._due.wait()
            await asyncio.sleep(GATHER_SECONDS)
            try:
                async with await self._connected() as connection:
                    await self._flush(connection)
                    while await self._more(0.5):
                        await self._flush(connection)
            except psycopg.Error as error:
                log.warning("Live notices wait for the database: %s", str(error).strip())
                await asyncio.sleep(AGAIN_SECONDS)

    async def _flush(self, connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        """Send what waits. What was not sent for certain waits on."""
        self._due.clear()
        waiting, self._waiting = self._waiting, defaultdict(set)
        try:
            await self._notify(connection, waiting)
        except BaseException:
            for topic, pairs in waiting.items():
                self._waiting[topic] |= pairs
            self._due.set()
            raise

    async def _more(self, seconds: float) -> bool:
        try:
            # Not `wait_for`: in Python 3.11 it swallows a cancellation that meets the event, and closing never ends.
            async with asyncio.timeout(seconds):
                await self._due.wait()
        except TimeoutError:
            return False
        await asyncio.sleep(GATHER_SECONDS)
        return True

    @staticmethod
    async def _notify(
        connection: psycopg.AsyncConnection[tuple[object, ...]], waiting: dict[str, set[tuple[int, int]]]
    ) -> None:
        for topic, pairs in waiting.items():
            payload = ""
            for workspace_id, id_ in sorted(pairs):
                pair = f"{workspace_id}:{id_}"
                if len(payload) + len(pair) >= PAYLOAD_BYTES:
                    await connection.execute("select pg_notify(%s, %s)", (topic, payload))
                    payload = ""
                payload = f"{payload},{pair}" if payload else pair
            if payload:
                await connection.execute("select pg_notify(%s, %s)", (topic, payload))


# Owners whose process is gone, for recovery: the lock of a living process stands in pg_locks.
LIVING = (
    "select objid::bigint from pg_locks where locktype = 'advisory' and granted "
    f"and classid = {ALIVE} and database = (select oid from pg_database where datname = current_database())"
)

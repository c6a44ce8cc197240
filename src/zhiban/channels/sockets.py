"""The sockets that programs have open to this process, and calls over them, from whichever process they are made."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from zhiban.channels import gateway_calls
from zhiban.channels.gateway_calls import TakenCall
from zhiban.channels.topics import GATEWAY_ANSWERED, GATEWAY_CALL
from zhiban.kit.background_tasks import BackgroundTasks
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import Unavailable
from zhiban.kit.pubsub import PubSub
from zhiban.ports import SocketCalls, SocketClient, TryLater

log = logging.getLogger(__name__)

MOST_CALLS = 64  # over one socket at one moment
TAKEN_WITHIN = 3.0  # seconds in which a process that is connected takes a call of another one
LOOK_EVERY = 0.5  # seconds, should a notice be lost

NOT_CONNECTED = "The program is not connected."
NO_ANSWER = "The program did not answer."

SocketKey = tuple[int, int]  # workspace and connection


@dataclass(slots=True)
class Attempt:
    """A call on its way. Once it was handed over, the program may have read it, whatever is heard of it."""

    handed_over: bool = False


class LiveSocket:
    """One socket of a program. SocketCalls, over this very socket."""

    def __init__(self, client: SocketClient, send: Callable[[str], Awaitable[None]]) -> None:
        self.client = client
        self.heard_at = time.monotonic()
        self.ending = asyncio.Event()
        self.end_code = 1012
        self.end_reason = ""
        self.stalled = False  # it is not read, because what came before waits to be stored
        self.replaced = False  # by another one of this process, to which the lease belongs now
        self._send = send
        self._sending = asyncio.Lock()
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._closed = False

    @property
    def calls_wait(self) -> bool:
        """Whether an answer, which may be large, is expected."""
        return bool(self._waiting)

    async def call(
        self,
        key: str,
        frame: str,
        *,
        timeout: float,
        attempt: Attempt | None = None,
    ) -> str:
        """As SocketCalls. `attempt` tells how far it came, also where the caller is cancelled meanwhile."""
        attempt = attempt or Attempt()
        self._check_open()
        if self.stalled:
            raise TryLater("What the program told waits to be stored.", after=2.0)
        if len(self._waiting) >= MOST_CALLS or key in self._waiting:
            raise TryLater("The program has too many calls to answer.", after=1.0)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[key] = answer
        try:
            async with asyncio.timeout(timeout):
                async with self._sending:
                    self._check_open()  # whoever was first in the row may have found that nobody is there
                    attempt.handed_over = True
                    await self._leave(frame)
                return await answer
        except TimeoutError:
            raise TryLater(NO_ANSWER, after=2.0, unknown=attempt.handed_over) from None
        finally:
            self._waiting.pop(key, None)
            if not answer.done():
                answer.cancel()

    def _check_open(self) -> None:
        """Raises TryLater where a frame would go nowhere: it was not sent, so it is sent again."""
        if self._closed or self.ending.is_set():
            raise TryLater(NOT_CONNECTED, after=2.0)

    async def _leave(self, frame: str) -> None:
        try:
            await self._send(frame)
        except TryLater:
            self._closed = True
            raise

    def answered(self, key: str, frame: str) -> None:
        """An answer came. One that nobody waits for, or that comes twice, is nothing."""
        waiting = self._waiting.get(key)
        if waiting is not None and not waiting.done():
            waiting.set_result(frame)

    def end(self, code: int, reason: str) -> None:
        """Let it be closed from our side."""
        if not self.ending.is_set():
            self.end_code, self.end_reason = code, reason
            self.ending.set()

    def closed(self) -> None:
        """It is gone: nobody will answer what was sent over it."""
        self._closed = True
        self.ending.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(TryLater(NO_ANSWER, after=2.0, unknown=True))


class _Calls:
    """SocketCalls of one connection."""

    def __init__(self, registry: SocketRegistry, key: SocketKey) -> None:
        self._registry = registry
        self._key = key

    async def call(self, key: str, frame: str, *, timeout: float) -> str:
        return await self._registry.call(self._key, key, frame, timeout=timeout)


class SocketRegistry:
    """Every open socket of this process, and the way to those of the others."""

    def __init__(self, database: Database, pubsub: PubSub, clock: Clock) -> None:
        self._database = database
        self._pubsub = pubsub
        self._clock = clock
        self._sockets: dict[SocketKey, list[LiveSocket]] = {}
        self._ended: dict[int, asyncio.Event] = {}
        self._tasks = BackgroundTasks()
        pubsub.subscribe(GATEWAY_CALL, self._wanted)
        pubsub.subscribe(GATEWAY_ANSWERED, self._has_ended)

    def calls(self, workspace_id: int, connection_id: int) -> SocketCalls:
        """How the program of this connection is called."""
        return _Calls(self, (workspace_id, connection_id))

    def add(self, key: SocketKey, socket: LiveSocket) -> None:
        self._sockets.setdefault(key, []).append(socket)
        if socket.client.calls:
            self._wanted(*key)  # somebody may wait for it

    def remove(self, key: SocketKey, socket: LiveSocket) -> None:
        socket.closed()
        left = [one for one in self._sockets.get(key, ()) if one is not socket]
        if left:
            self._sockets[key] = left
        else:
            self._sockets.pop(key, None)

    def of(self, key: SocketKey) -> list[LiveSocket]:
        """Those of one connection, the oldest first."""
        return list(self._sockets.get(key, ()))

    def close(self) -> None:
        """The process ends: the programs shall connect to the next one."""
        for sockets in list(self._sockets.values()):
            for socket in sockets:
                socket.end(1012, "service restart")

    # ------------------------------------------------------------------------------------------------------- calling

    async def call(self, key: SocketKey, echo: str, frame: str, *, timeout: float) -> str:
        """As SocketCalls."""
        attempt = Attempt()
        try:
            here = next((one for one in reversed(self.of(key)) if one.client.calls), None)
            if here is not None:
                return await here.call(echo, frame, timeout=timeout, attempt=attempt)
            return await self._elsewhere(key, echo, frame, timeout, attempt)
        except (psycopg.Error, Unavailable) as error:
            if attempt.handed_over and not isinstance(error, TryLater):
                raise TryLater(NO_ANSWER, after=2.0, unknown=True) from error
            raise

    async def _elsewhere(self, key: SocketKey, echo: str, frame: str, timeout: float, attempt: Attempt) -> str:
        """The answer by way of a process that is connected. Raises TryLater."""
        workspace_id, connection_id = key
        if not self._pubsub.peers:
            raise TryLater(NOT_CONNECTED, after=2.0)
        async with self._database.transaction(workspace_id) as tx:
            id_ = await gateway_calls.put_call(tx, connection_id, echo, frame, timeout, now=self._clock.now())
        ended = self._ended[id_] = asyncio.Event()
        self._pubsub.publish_remote(GATEWAY_CALL, workspace_id, connection_id)
        state, answer = "waiting", None
        attempt.handed_over = True  # as long as it is not withdrawn before anybody took it
        try:
            deadline = time.monotonic() + timeout + LOOK_EVERY
            taken_by = time.monotonic() + TAKEN_WITHIN
            while time.monotonic() < (taken_by if state == "waiting" else deadline):
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY):
                        await ended.wait()
                async with self._database.transaction(workspace_id) as tx:
                    found = await gateway_calls.outcome(tx, id_)
                state, answer = (found.state, found.answer) if found is not None else ("lost", None)
                if state not in ("waiting", "sent"):
                    break
        finally:
            self._ended.pop(id_, None)
            async with self._database.transaction(workspace_id) as tx:
                state = await gateway_calls.withdraw_call(tx, id_)
            attempt.handed_over = state not in ("waiting", "unsent")
        if state == "answered" and answer is not None:
            return answer
        if state in ("waiting", "unsent"):
            raise TryLater(NOT_CONNECTED, after=2.0)
        raise TryLater(NO_ANSWER, after=2.0, unknown=True)

    def _has_ended(self, _workspace_id: int, id_: int) -> None:
        if (waiting := self._ended.get(id_)) is not None:
            waiting.set()

    # ----------------------------------------------------------------------------------------- for other processes

    def _wanted(self, workspace_id: int, connection_id: int) -> None:
        key = (workspace_id, connection_id)
        if self._pubsub.peers and any(one.client.calls for one in self.of(key)):
            self._tasks.start(self._make_calls(key))

    async def _make_calls(self, key: SocketKey) -> None:
        try:
            async with self._database.transaction(key[0]) as tx:
                taken = await gateway_calls.take_calls(tx, key[1])
        except (psycopg.Error, Unavailable) as error:
            log.warning("Calls of other processes cannot be looked up: %s", str(error).strip())
            return
        await asyncio.gather(*(self._make(key, each) for each in taken))

    async def _make(self, key: SocketKey, taken: TakenCall) -> None:
        answer: str | None = None
        state = "unsent"
        here = next((one for one in reversed(self.of(key)) if one.client.calls), None)
        if here is not None:
            try:
                answer = await here.call(taken.key, taken.frame, timeout=taken.seconds)
                state = "answered"
            except TryLater as error:
                state = "lost" if error.unknown else "unsent"
        try:
            async with self._database.transaction(key[0]) as tx:
                await gateway_calls.end_call(tx, taken.id, state, answer)
        except (psycopg.Error, Unavailable) as error:
            log.warning("An answer could not be passed on: %s", str(error).strip())
            return
        self._pubsub.publish_remote(GATEWAY_ANSWERED, key[0], taken.id)

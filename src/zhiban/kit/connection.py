"""A connection to PostgreSQL that is cheap to speak over: one cursor, and a socket that stays watched."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg.rows import tuple_row
from psycopg.waiting import Ready, Wait

Row = tuple[Any, ...]
T = TypeVar("T")


class Connection(psycopg.AsyncConnection[Row]):
    """A connection whose statements share one cursor: a new one for each would look up every type anew.

    Whoever executes reads the result before anything else is executed.
    """

    _shared: psycopg.AsyncCursor[Row] | None = None
    _socket: _WatchedSocket | None = None

    @property
    def shared(self) -> psycopg.AsyncCursor[Row]:
        """The cursor of all statements, made with the first."""
        if self._shared is None:
            self._shared = self.cursor(row_factory=tuple_row)
        return self._shared

    async def wait(self, gen: Generator[Wait, Any, T], interval: float = 0.1, timeout: float | None = None) -> T:
        """One exchange with the server, as psycopg has it, for which the socket need not be registered anew.

        With a timer beside it, that is a third of what a short statement costs the application. Whatever wants more
        than to read what comes is left to psycopg, as is asking the server to stop where nobody waits any more.
        """
        if timeout is not None:
            self._unwatch()
            return await super().wait(gen, interval, timeout)
        try:
            wanted = next(gen)
            while wanted == Wait.R:
                await self._readable()
                wanted = gen.send(Ready.R)
        except StopIteration as done:
            answer: T = done.value
            return answer
        except asyncio.CancelledError as cancellation:
            self._unwatch()
            return await super().wait(_Resumed(gen, cancellation), interval)
        except OSError as error:
            self._unwatch()
            raise psycopg.OperationalError("The connection's socket is closed.") from error
        except BaseException:
            self._unwatch()  # at once: the number of a socket that was closed is soon another one's
            raise
        self._unwatch()
        return await super().wait(_Resumed(gen, wanted), interval)

    async def close(self) -> None:
        """Disconnect."""
        self._unwatch()
        await super().close()

    async def _readable(self) -> None:
        if self._socket is None:
            self._socket = _WatchedSocket(asyncio.get_running_loop(), self.pgconn.socket)
        await self._socket.readable()

    def _unwatch(self) -> None:
        if self._socket is not None:
            self._socket.unwatch()


class _WatchedSocket:
    """A socket that stays registered with the event loop from one answer to the next.

    It knows nothing of its connection, which the event loop would keep alive otherwise.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fileno: int) -> None:
        self._loop = loop
        self._fileno = fileno
        self._watched = False
        self._waiter: asyncio.Future[None] | None = None

    async def readable(self) -> None:
        if not self._watched:
            self._loop.add_reader(self._fileno, self._came)
            self._watched = True
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _came(self) -> None:
        if self._waiter is None:
            self.unwatch()  # nobody asked: the server closes the connection, or what it said was read meanwhile
        elif not self._waiter.done():
            self._waiter.set_result(None)

    def unwatch(self) -> None:
        if self._watched:
            self._loop.remove_reader(self._fileno)
            self._watched = False


class _Resumed(Generator[Wait, Any, T]):
    """An exchange that was begun, for whoever begins it once more: first it wants the same again, or is interrupted."""

    def __init__(self, gen: Generator[Wait, Any, T], first: Wait | asyncio.CancelledError) -> None:
        self._gen = gen
        self._first: Wait | asyncio.CancelledError | None = first

    def send(self, value: Any, /) -> Wait:
        first, self._first = self._first, None
        if isinstance(first, asyncio.CancelledError):
            raise first
        return self._gen.send(value) if first is None else first

    def throw(self, *error: Any) -> Wait:
        return self._gen.throw(*error)

"""What one request may cost before anybody knows who sent it: bytes, seconds, and a place among those that run.

Small bodies are read whole before the application sees them, with a deadline, out of a budget that all requests share.
So neither one sender with a huge body nor a thousand with half a body each can fill the memory or keep a request open.
Uploads pass through while they are counted. The callback routes have limits of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zhiban.kit.frozen_dataclass import frozen_dataclass

KIB = 1 << 10
MIB = 1 << 20


@frozen_dataclass
class RequestLimit:
    """What all requests but callbacks are held to."""

    body: int = 512 * KIB  # bytes of an ordinary form or JSON document
    buffered: int = 32 * MIB  # bytes of all bodies that are being read at one moment
    body_seconds: float = 15.0  # for an ordinary body, from its first byte to its last
    at_once: int = 200  # requests of one process whose answer has not begun
    uploads: Mapping[str, int] = field(default_factory=dict)  # bytes allowed below a path, for files
    upload_rate: int = 16 * KIB  # bytes a second that an upload must keep up, after the first 15 seconds


class _Refused(Exception):
    """The body is not taken. `status` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


_WORDS = {
    400: b"The body does not fit its headers.",
    408: b"The body did not arrive in time.",
    413: b"The body is too large.",
    503: b"Too many requests at this moment. Try again in a few seconds.",
}


class RequestLimits:
    """Middleware that answers 413, 408, 400 or 503 by itself and closes the connection, so that no rest is read."""

    def __init__(self, app: ASGIApp, limit: RequestLimit) -> None:
        self._app = app
        self._limit = limit
        self._buffered = 0
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._running >= self._limit.at_once:
            await _refuse(send, 503)
            return
        self._running += 1
        counted = True

        async def begun(message: Message) -> None:
            nonlocal counted
            if counted and message["type"] == "http.response.start":
                counted = False
                self._running -= 1
            await send(message)

        try:
            await self._admit(scope, receive, begun)
        finally:
            if counted:
                self._running -= 1

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        stated = headers.get(b"content-length")
        if stated is None and b"transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        allowed = next((size for path, size in self._limit.uploads.items() if scope["path"].startswith(path)), None)
        if stated is not None and (not stated.isdigit() or len(stated) > 18):
            await _refuse(send, 400)
        elif stated is not None and int(stated) > (allowed or self._limit.body):
            await _refuse(send, 413)
        elif allowed is not None:
            await self._upload(scope, receive, send, allowed)
        else:
            await self._ordinary(scope, receive, send)

    async def _ordinary(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        try:
            async with asyncio.timeout(self._limit.body_seconds):
                await self._read(body, receive)
            given = [{"type": "http.request", "body": bytes(body), "more_body": False}]

            async def replay() -> Message:
                return given.pop() if given else await receive()

            await self._app(scope, replay, send)
        except TimeoutError:
            await _refuse(send, 408)
        except _Refused as error:
            await _refuse(send, error.status)
        finally:
            self._buffered -= len(body)

    async def _read(self, body: bytearray, receive: Receive) -> None:
        """Raises _Refused when the body, or all bodies together, grow too large, or the sender leaves."""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Refused(400)
            piece = message.get("body", b"")
            body += piece
            self._buffered += len(piece)
            more = message.get("more_body", False)
            if len(body) > self._limit.body:
                raise _Refused(413)
            if self._buffered > self._limit.buffered:
                raise _Refused(503)

    async def _upload(self, scope: Scope, receive: Receive, send: Send, allowed: int) -> None:
        """Count while the application reads. Its own answer to a body that was refused is replaced by ours."""
        read, started, refused = 0, time.monotonic(), 0

        async def counted() -> Message:
            nonlocal read, refused
            spent = time.monotonic() - started
            patience = self._limit.body_seconds + read / self._limit.upload_rate - spent
            try:
                async with asyncio.timeout(max(0.0, patience)):
                    message = await receive()
            except TimeoutError:
                refused = 408
                raise _Refused(408) from None
            read += len(message.get("body", b""))
            if read > allowed:
                refused = 413
                raise _Refused(413)
            return message

        async def unless_refused(message: Message) -> None:
            if not refused:
                await send(message)

        with suppress(_Refused):
            await self._app(scope, counted, unless_refused)
        if refused:
            await _refuse(send, refused)


async def _refuse(send: Send, status: int) -> None:
    words = _WORDS[status]
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(words)).encode()),
        (b"connection", b"close"),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]
    if status == 503:
        headers.append((b"retry-after", b"3"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words})

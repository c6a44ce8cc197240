"""uvicorn's protocols with deadlines: a client that sends half a request, or does not read its answer, is let go."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cache, partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.web.proxies import Networks

SOCKET_PATH = b"/streams/"


@frozen_dataclass
class ConnectionLimit:
    """What all connections of one process are held to, callbacks included."""

    header_seconds: float = 10.0  # from the opening, or the first byte of a further request, to the end of its headers
    write_seconds: float = 30.0  # in which a client must take something of an answer that waits for it
    most: int = 4096
    most_per_address: int = 512  # a team behind one address; trusted proxies stand for everybody and are not counted
    trusted: Networks = field(default_factory=lambda: Networks(""))


def protocol(limit: ConnectionLimit) -> Callable[..., asyncio.Protocol]:
    """What uvicorn's `http` setting takes. One call per process: its connections are counted together."""
    return partial(DeadlineProtocol, limit=limit, by_address=Counter())


@cache
def _socket_protocol() -> type[asyncio.Protocol]:
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    class SocketProtocol(WebSocketsSansIOProtocol):
        """One socket. uvicorn takes a refusal with a status of its own for a handshake that was forgotten."""

        heard_at = 0.0
        ended: Callable[[], None] | None = None

        def data_received(self, data: bytes) -> None:
            self.heard_at = self.loop.time()
            super().data_received(data)

        def keepalive_timeout(self) -> None:
            """No answer to a ping: whoever said something since, or is not read because we are behind, lives."""
            if not self.read_paused and self.heard_at <= self.ping_sent_at:
                super().keepalive_timeout()
                return
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()

        def connection_lost(self, exc: Exception | None) -> None:
            if self.ended is not None:
                self.ended()
            super().connection_lost(exc)

        async def send(self, message: Any) -> None:
            await super().send(message)
            if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
                self.handshake_complete = True

    return SocketProtocol


def socket_protocol(**parts: Any) -> asyncio.Protocol:
    """What uvicorn's `ws` setting takes. Its library is loaded with the first socket: few installations have any."""
    return _socket_protocol()(**parts)


# Files come in answers, written out in base64; nothing is compressed, which would cost memory for each socket.
SOCKET_SETTINGS: Mapping[str, Any] = {
    "ws": socket_protocol,
    "ws_max_size": 48 << 20,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
    "ws_per_message_deflate": False,
}


class DeadlineProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, limit: ConnectionLimit, by_address: Counter[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit = limit
        self._by_address = by_address
        self._address: str | None = None
        self._headers_due: asyncio.TimerHandle | None = None
        self._write_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client is not None and self.client[0] not in self._limit.trusted:
            self._address = self.client[0]
            self._by_address[self._address] += 1
        crowded = self._address is not None and self._by_address[self._address] > self._limit.most_per_address
        if crowded or len(self.connections) > self._limit.most:
            transport.abort()
            return
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_go()
        super().connection_lost(exc)

    # -------------------------------------------------------------------------------------------------- WebSockets

    def _should_upgrade_to_ws(self) -> bool:
        """Nothing else of ours is a WebSocket: elsewhere such a request is an ordinary one."""
        return self.url.startswith(SOCKET_PATH) and super()._should_upgrade_to_ws()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over; its deadlines are those of the socket from now on. It counts as long as it is
        open: whoever opened it has proved nothing yet."""
        self._end_deadlines()
        super().handle_websocket_upgrade()
        self.transport.get_protocol().ended = self._uncount  # type: ignore[attr-defined]

    def _let_go(self) -> None:
        self._uncount()
        self._end_deadlines()

    def _uncount(self) -> None:
        if self._address is not None:
            self._by_address[self._address] -= 1
            if self._by_address[self._address] <= 0:
                del self._by_address[self._address]
            self._address = None

    def _end_deadlines(self) -> None:
        _cancel(self._headers_due)
        self._headers_due = None
        _cancel(self._write_due)
        self._write_due = None

    # ---------------------------------------------------------------------------------------------- slow senders

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # A further request began, or something that is none yet; uvicorn's own keep-alive timer stops with it.
        if self._headers_due is None and (self.cycle is None or self.cycle.response_complete):
            self._expect_headers()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._headers_due is None:
            self._expect_headers()

    def on_headers_complete(self) -> None:
        _cancel(self._headers_due)
        self._headers_due = None
        super().on_headers_complete()

    def _expect_headers(self) -> None:
        if not self.transport.is_closing():
            self._headers_due = self.loop.call_later(self._limit.header_seconds, self.transport.abort)

    # --------------------------------------------------------------------------------------------- slow readers

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_due is None:
            self._write_due = self.loop.call_later(self._limit.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        _cancel(self._write_due)
        self._write_due = None
        super().resume_writing()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()

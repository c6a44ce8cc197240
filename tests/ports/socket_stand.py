"""A OneBot program at a vendor's socket, for the contract of channels."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.ports.stand import Stand
from zhiban import bootstrap
from zhiban.channels.sockets import LiveSocket
from zhiban.channels.webhooks import headers_of
from zhiban.integrations.wecom.tokens import MemoryTokens
from zhiban.kit.breaker import LocalBreakers
from zhiban.kit.clock import SystemClock
from zhiban.kit.http import Http
from zhiban.ports import (
    AcceptsSockets,
    Handshake,
    IncomingMessage,
    ReadsByAsking,
    SocketAnswer,
    Vendor,
    VerifiedWebhook,
    Webhook,
)
from zhiban.testing import onebot
from zhiban.testing.serving import served
from zhiban.web.protocol import ConnectionLimit, protocol


class SocketStand(Stand):
    """A program that opens a socket to the vendor, over which everything goes."""

    contact = "20002"
    known = "20002:-71"

    def __init__(self, program: onebot.OneBotProgram, vendor: Vendor) -> None:
        self.program = program
        self.vendor = vendor
        self.channel = vendor.channel("onebot", "qq-1")
        self.bodies: list[str] = []
        self.live: LiveSocket | None = None
        self.news = asyncio.Condition()
        program.friends[int(self.contact)] = "李华"
        assert isinstance(vendor, AcceptsSockets)
        vendor.bind(self)

    async def call(self, key: str, frame: str, *, timeout: float) -> str:
        """SocketCalls: over whatever socket is open."""
        await self.until(lambda: self.live)
        assert self.live is not None
        return await self.live.call(key, frame, timeout=timeout)

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(30), self.news:
            await self.news.wait_for(holds)

    async def serve(self, websocket: WebSocket) -> None:
        vendor = self.vendor
        assert isinstance(vendor, AcceptsSockets)
        handshake = Handshake({}, headers_of(websocket.scope["headers"]), datetime.now(UTC))
        client = vendor.admit(handshake)
        await websocket.accept()
        live = self.live = LiveSocket(client, websocket.send_text)
        with suppress(WebSocketDisconnect):
            while True:
                async with self.news:
                    self.news.notify_all()
                heard = vendor.hear(await websocket.receive_text(), client)
                if isinstance(heard, SocketAnswer):
                    live.answered(heard.key, heard.frame)
                elif isinstance(heard, VerifiedWebhook):
                    self.bodies.append(heard.body)
        self.live = None if self.live is live else self.live
        live.closed()

    async def says(self, text: str) -> None:
        await self.program.says(int(self.contact), text)

    async def heard(self, webhook: Webhook | None) -> list[IncomingMessage]:
        await self.until(lambda: self.bodies)
        assert isinstance(self.channel, ReadsByAsking)
        items = [item for body in self.bodies for item in await self.channel.read_by_asking(body)]
        return [item for item in items if isinstance(item, IncomingMessage)]

    def arrived(self) -> list[str]:
        return [one.text for one in self.program.sent if one.text and not one.recalled]

    def files(self) -> list[bytes]:
        shown = [url for one in self.program.sent for url in one.values("image", "file")]
        return [one[2] for one in self.program.uploaded] + [base64.b64decode(one[9:]) for one in shown]

    def answered(self) -> list[str]:
        return [f"{self.contact}:{id_}" for one in self.program.sent for id_ in one.values("reply", "id")]

    def busy(self) -> None:
        self.program.faults.append("busy")

    def lost(self) -> None:
        self.program.faults.append("lost")

    def refused(self) -> None:
        self.program.faults.append("refused")

    def broken(self) -> None:
        self.program.always = "broken"


@asynccontextmanager
async def socket_stand() -> AsyncIterator[Stand]:
    async with Http() as http, onebot.OneBotProgram() as program:
        build = bootstrap.CHANNELS["onebot"].build
        secrets = {"token": onebot.TOKEN}
        stand = SocketStand(
            program, build(http, SystemClock(), {"source": "qq-1"}, secrets, MemoryTokens(), LocalBreakers())
        )
        app = Starlette(routes=[WebSocketRoute("/streams/x", stand.serve)])
        async with served(app, http=protocol(ConnectionLimit())) as url:
            await program.connect(f"{url}/streams/x")
            await stand.until(lambda: stand.live)
            yield stand
            await program.close()

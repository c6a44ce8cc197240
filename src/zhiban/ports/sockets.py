"""Programs that open a WebSocket to us and keep it: how they prove who they are, tell, and are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports.channels import GatewayState
from zhiban.ports.webhooks import VerifiedWebhook

SOCKETS = "/streams/"  # the first part of the address that such programs open; `/streams/{connection}`


@frozen_dataclass
class Handshake:
    """The request that opens a WebSocket, as a Webhook holds its own."""

    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, Sequence[str]]
    received_at: datetime


@frozen_dataclass
class SocketClient:
    """Who opened a socket: the vendor's id of the account behind it, whether it takes calls, and whether it tells."""

    account: str
    calls: bool = True
    events: bool = True


@frozen_dataclass
class SocketAnswer:
    """The frame that answers the call of this key."""

    key: str
    frame: str


class SocketCalls(Protocol):
    """What a vendor may ask of us: to call its program, in whichever process that is connected."""

    async def call(self, key: str, frame: str, *, timeout: float) -> str:
        """Send a frame; the frame that answers it. Raises TryLater (`unknown` once it was sent)."""
        ...


@runtime_checkable
class AcceptsSockets(Protocol):
    """A vendor whose program opens a WebSocket at `/streams/{connection}` and keeps it. One account at a time."""

    def admit(self, handshake: Handshake) -> SocketClient:
        """Pure and quick, secrets compared in constant time. Raises InvalidWebhook."""
        ...

    def bind(self, calls: SocketCalls) -> None:
        """How its program is called. Told once, before anything else is asked of it."""
        ...

    def hear(self, frame: str, client: SocketClient) -> SocketAnswer | VerifiedWebhook | GatewayState | None:
        """What a frame says: an answer, something to be stored, or how the account is. Pure; None is ignored."""
        ...

    def opened(self, client: SocketClient, *, at: datetime) -> VerifiedWebhook:
        """What is stored when a socket opens, so that what may have changed meanwhile is asked for."""
        ...

    async def ask_state(self, calls: SocketCalls, client: SocketClient) -> GatewayState:
        """How the account is, asked now. Raises TryLater when the program does not answer."""
        ...

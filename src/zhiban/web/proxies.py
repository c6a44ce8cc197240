"""Reverse proxies: whose X-Forwarded-* headers are believed, and whether an address is one visitor's."""

from __future__ import annotations

import ipaddress
import logging

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

log = logging.getLogger(__name__)

_PEER = "zhiban.peer"  # in the scope: who is connected to us, before any header was believed
_FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip")


class Networks:
    """The addresses and networks of a comma-separated list, to ask whether an address is among them."""

    def __init__(self, text: str) -> None:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        self._everybody = "*" in parts
        self._networks = [found for part in parts if (found := _network(part)) is not None]

    def __contains__(self, address: object) -> bool:
        try:
            found = ipaddress.ip_address(str(address))
        except ValueError:
            return self._everybody
        return self._everybody or any(found in network for network in self._networks)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


class TrustedProxies:
    """Takes client address and scheme from the headers of trusted proxies, and from nobody else's.

    `trusted`: addresses and networks, comma-separated.
    """

    def __init__(self, app: ASGIApp, trusted: str) -> None:
        self._believing = ProxyHeadersMiddleware(app, trusted)  # type: ignore[arg-type]  # the same ASGI types, by other names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[_PEER] = scope.get("client")
        await self._believing(scope, receive, send)  # type: ignore[arg-type]


def is_loopback(address: str | None) -> bool:
    """Whether a visitor is on this machine."""
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


_warned: set[str] = set()


def visitor_address(request: Request) -> str | None:
    """The address of the visitor; None when a proxy that we do not trust stands before them.

    Such a proxy makes all visitors look the same. Its headers are anybody's to write, so they are not read either.
    """
    client = request.client
    if client is None:
        return None
    peer = request.scope.get(_PEER)
    forwarded = any(name in request.headers for name in _FORWARDED)
    if forwarded and peer is not None and peer[0] == client.host:
        if client.host not in _warned and len(_warned) < 100:
            _warned.add(client.host)
            log.warning(
                "%s sends X-Forwarded-For and is no trusted proxy. If it is yours, name it in ZHIBAN_TRUSTED_PROXIES.",
                client.host,
            )
        return None
    return client.host

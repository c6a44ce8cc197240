"""What every page tells the browser not to allow, and who may send forms to us."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zhiban.kit.errors import ZhibanError

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HSTS = "max-age=31536000"
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
}
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def policy_with_form(origin: str) -> str:
    """The policy of a page whose form goes to another site, which is named as scheme://host."""
    return POLICY.replace("form-action 'self'", f"form-action 'self' {origin}")


class ForeignForm(ZhibanError):
    """A form came from another site."""


class SecurityHeaders:
    """Adds our headers to every answer; one that an endpoint set itself stays.

    Whoever came by https is told to come by https only. Caches keep nothing, unless an endpoint says otherwise.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("strict-transport-security", HSTS)
            await send(message)

        await self._app(scope, receive, guarded)


async def same_origin(request: Request) -> None:
    """For endpoints that trust a cookie: an unsafe request must come from our own pages. Raises ForeignForm.

    Browsers send Sec-Fetch-Site to trustworthy addresses only, so Origin decides where it is missing (plain http in
    a company's network). A request with neither is refused: every browser of the last years sends one of them.
    """
    if request.method in SAFE:
        return
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise ForeignForm("This form was sent from another site, so nothing was done.")
        return
    origin = request.headers.get("origin")
    if origin is None or origin != f"{request.url.scheme}://{request.headers.get('host', '')}":
        raise ForeignForm("This form was sent from another site, so nothing was done.")


def hosts_of(url: str) -> frozenset[str]:
    """What a Host header may say of a server that listens on loopback at this address."""
    port = urlsplit(url).port
    return frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))


class OnlyHosts:
    """Refuses requests under any other name: one that a stranger's name server points at us is not ours.

    Otherwise a page of that name would count as our own, and could read and write whatever needs no session.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.encode() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        named = [value for name, value in scope.get("headers", ()) if name == b"host"]
        if scope["type"] == "http" and (len(named) != 1 or named[0].lower() not in self._hosts):
            await PlainTextResponse("This server is not known under that name.", 421)(scope, receive, send)
            return
        await self._app(scope, receive, send)


async def own_visit(request: Request) -> None:
    """For a page that does something as soon as it is opened: no link or frame of another site leads there.

    Raises ForeignForm.
    """
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise ForeignForm("This page was opened from another site, so nothing was done.")

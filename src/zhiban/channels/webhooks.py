"""The webhook addresses: prove genuine, store, acknowledge. Nothing else happens while the vendor waits.

A plain ASGI route: FastAPI's request handling costs more than everything done here.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal
from urllib.parse import unquote_plus

import psycopg
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from zhiban.channels.connections import Connections, OpenConnection, OpenTracker
from zhiban.channels.delivery_store import STORE_TIMEOUT, DeliveryStore, StoreUnavailable
from zhiban.kit import metrics
from zhiban.kit.clock import Clock
from zhiban.kit.errors import Misconfigured, NotFound, Unavailable
from zhiban.ports import (
    Acknowledgement,
    Challenge,
    Integration,
    InvalidWebhook,
    ReplyPoll,
    TrackerIntegration,
    Webhook,
    WebhookOutcome,
)

log = logging.getLogger(__name__)

ADDRESS = "/hooks/{public_id}"  # of every connection, whatever its vendor; some vendors bring more of their own
BODY_LIMIT = 1 << 20
QUERY_LIMIT = 8 << 10
BODY_SECONDS = 10.0  # vendors hang up sooner themselves
LOG_EVERY = 5.0  # seconds; a storm of calls that cannot be stored must not fill the disk with lines about it

_PUBLIC_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class _TooLarge(Exception):
    """The body is over the limit."""


class _Damaged(Exception):
    """The body does not fit its own headers, or is encoded."""


def routes(
    deliveries: DeliveryStore,
    connections: Connections,
    clock: Clock,
    integrations: Iterable[Integration | TrackerIntegration],
) -> list[Route]:
    """`/hooks/{connection}`, and what vendors bring of their own."""
    receiver = _Receiver(deliveries, connections, clock)
    addresses = [(ADDRESS, ""), *((path, each.name) for each in integrations for path in each.addresses)]
    return [Route(path, receiver.endpoint(vendor), methods=["GET", "POST"]) for path, vendor in addresses]


class _Receiver:
    """Answers calls at webhook addresses."""

    def __init__(self, deliveries: DeliveryStore, connections: Connections, clock: Clock) -> None:
        self._door = deliveries
        self._connections = connections
        self._clock = clock
        self._logged_at = -LOG_EVERY
        self._unlogged = 0

    def endpoint(self, vendor: str) -> Callable[[Request], Awaitable[Response]]:
        """What Starlette calls for an address of this vendor; empty means any."""

        async def answer(request: Request) -> Response:
            return _not_even_a_webhook(request) or await self.answer(request, vendor)

        return answer

    async def answer(self, request: Request, vendor: str) -> Response:
        connection: OpenConnection | OpenTracker | None = None
        try:
            connection = await self._connection(request.path_params.get("public_id"), vendor)
            if connection is None:
                return Response(status_code=404)
            return await self._receive(request, connection)
        except InvalidWebhook as error:
            return self._refused(connection, error)
        except _TooLarge:
            return Response(status_code=413, headers={"Connection": "close"})
        except TimeoutError:
            return Response(status_code=408, headers={"Connection": "close"})
        except (_Damaged, ClientDisconnect):
            return Response(status_code=400, headers={"Connection": "close"})
        except StoreUnavailable as error:
            return self._unavailable(connection, vendor, error)

    async def _receive(self, request: Request, connection: OpenConnection | OpenTracker) -> Response:
        method: Literal["GET", "POST"] = "POST" if request.method == "POST" else "GET"
        now = self._clock.now()
        body = await _body(request) if method == "POST" else b""
        if method == "POST" and not body:
            raise InvalidWebhook("empty body", status=400)
        found = connection.receiver.authenticate(
            Webhook(
                method=method,
                query=query_of(request.scope["query_string"]),
                body=body,
                received_at=now,
                headers=headers_of(request.scope["headers"]),
            )
        )
        if isinstance(found, Challenge):
            await self._verified(connection, now)
            return PlainTextResponse(found.body)
        if isinstance(found, ReplyPoll):
            return _response(found.answer(await self._fetched(connection, found.key, now)))
        with metrics.timed("acknowledge"):
            new = await self._door.store(connection, found, at=now)
        metrics.delivery(connection.vendor_name, "stored" if new else "duplicate")
        usual = connection.receiver.acknowledge(WebhookOutcome.STORED, status=200)
        return _response(found.answer or usual)

    async def _fetched(self, connection: OpenConnection | OpenTracker, key: str, now: datetime) -> str | None:
        """What we say in this slot; None while there is nothing, also when nobody can tell: it is asked for again."""
        try:
            return await self._door.fetch(connection, key, at=now)
        except StoreUnavailable as error:
            self._log_unavailable(error)
            return None

    async def _verified(self, connection: OpenConnection | OpenTracker, now: datetime) -> None:
        """Let whoever sets the connection up see it. The vendor's answer never fails because of that."""
        try:
            async with asyncio.timeout(STORE_TIMEOUT / 2):
                await self._connections.note_verified(connection, now=now)
        except (TimeoutError, psycopg.Error, Unavailable) as error:
            log.warning("That an address was verified could not be noted: %s", str(error).strip())

    def _refused(self, connection: OpenConnection | OpenTracker | None, error: InvalidWebhook) -> Response:
        metrics.delivery(connection.vendor_name if connection else "unknown", "refused")
        log.info("A webhook was refused: %s", error.reason)
        if connection is None:
            return Response(status_code=error.status)
        return _response(
            connection.receiver.acknowledge(WebhookOutcome.REFUSED, status=error.status, reason=error.reason)
        )

    def _unavailable(
        self, connection: OpenConnection | OpenTracker | None, vendor: str, error: StoreUnavailable
    ) -> Response:
        metrics.delivery(connection.vendor_name if connection else vendor or "unknown", "unavailable")
        self._log_unavailable(error)
        if connection is None:
            return Response(status_code=503, headers={"Retry-After": "1"})
        response = _response(connection.receiver.acknowledge(WebhookOutcome.UNAVAILABLE, status=503))
        response.headers.setdefault("Retry-After", "1")
        return response

    def _log_unavailable(self, error: StoreUnavailable) -> None:
        self._unlogged += 1
        if time.monotonic() - self._logged_at >= LOG_EVERY:
            reason = str(error.__cause__ or "").strip() or "no answer in time"
            log.error("%d webhooks were answered 503: %s %s", self._unlogged, error.sentence, reason)
            self._logged_at, self._unlogged = time.monotonic(), 0

    async def _connection(self, public_id: str | None, vendor: str) -> OpenConnection | OpenTracker | None:
        """The connection behind the path, or None. Raises StoreUnavailable when nobody can tell in time."""
        if public_id is not None and not _PUBLIC_ID.fullmatch(public_id):
            return None
        try:
            async with asyncio.timeout(STORE_TIMEOUT):
                connection = await self._connections.for_callback(public_id, vendor=vendor)
        except NotFound:
            return None
        except (TimeoutError, psycopg.Error, Unavailable) as error:
            raise StoreUnavailable("The connection could not be looked up.") from error
        except Misconfigured as error:
            log.warning("A connection cannot be opened: %s", error)
            raise StoreUnavailable("The connection cannot be opened.") from error
        return connection if connection is None or vendor in ("", connection.vendor_name) else None


def _not_even_a_webhook(request: Request) -> Response | None:
    """The answer to what needs no looking at, or None."""
    if request.method not in ("GET", "POST"):  # Starlette adds HEAD to every route that takes GET
        return Response(status_code=405, headers={"Allow": "GET, POST"})
    if len(request.scope["query_string"]) > QUERY_LIMIT:
        return Response(status_code=414)
    return None


def _response(found: Acknowledgement) -> Response:
    return Response(
        found.body, status_code=found.status, media_type=found.content_type, headers=dict(found.headers) or None
    )


async def _body(request: Request) -> bytes:
    """The raw body, refused as soon as it is known to be too large or encoded."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise _Damaged
    stated = request.headers.get("content-length")
    if stated is not None and (not stated.isdecimal() or len(stated) > 12):
        raise _Damaged
    if stated is not None and int(stated) > BODY_LIMIT:
        raise _TooLarge
    body = bytearray()
    async with asyncio.timeout(BODY_SECONDS):
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_LIMIT:
                raise _TooLarge
    if stated is not None and len(body) != int(stated):
        raise _Damaged
    return bytes(body)


def query_of(raw: bytes) -> Mapping[str, Sequence[str]]:
    """Every value of every parameter, decoded once. What is not UTF-8 cannot match any signature."""
    found: dict[str, list[str]] = {}
    for part in raw.decode("latin-1").split("&"):
        name, _, value = part.partition("=")
        if name:
            found.setdefault(unquote_plus(name, errors="replace"), []).append(unquote_plus(value, errors="replace"))
    return found


def headers_of(raw: Iterable[tuple[bytes, bytes]]) -> Mapping[str, Sequence[str]]:
    """Every value of every header; names are in lower case already."""
    found: dict[str, list[str]] = {}
    for name, value in raw:
        found.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return found

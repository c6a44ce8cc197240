"""The webhook door: prove genuine, store, acknowledge. Nothing else happens while the vendor waits.

A plain ASGI route: FastAPI's request handling costs more than everything done here.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import unquote_plus

import psycopg
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from zhiban.channels.connections import Connections, OpenConnection
from zhiban.channels.delivery_store import PATIENCE_SECONDS, DeliveryStore, StoreUnavailable
from zhiban.kit import metrics
from zhiban.kit.clock import Clock
from zhiban.kit.errors import Misconfigured, NotFound, Unavailable
from zhiban.ports import Challenge, InvalidWebhook, Webhook

log = logging.getLogger(__name__)

BODY_LIMIT = 1 << 20
QUERY_LIMIT = 8 << 10
BODY_SECONDS = 10.0  # WeCom itself hangs up after five

_PUBLIC_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class _TooLarge(Exception):
    """The body is over the limit."""


class _Damaged(Exception):
    """The body does not fit its own headers, or is encoded."""


def routes(deliveries: DeliveryStore, connections: Connections, clock: Clock) -> list[Route]:
    """`/wecom/callback` for the first connection, `/wecom/callback/{inbox}` for one in particular."""

    async def callback(request: Request) -> Response:
        try:
            return await _answer(request, deliveries, connections, clock)
        except InvalidWebhook as error:
            metrics.delivery("wecom", "refused")
            log.info("A callback was refused: %s", error.reason)
            return Response(status_code=error.status)
        except _TooLarge:
            return Response(status_code=413, headers={"Connection": "close"})
        except TimeoutError:
            return Response(status_code=408, headers={"Connection": "close"})
        except (_Damaged, ClientDisconnect):
            return Response(status_code=400, headers={"Connection": "close"})
        except StoreUnavailable:
            metrics.delivery("wecom", "unavailable")
            return Response(status_code=503, headers={"Retry-After": "1"})

    methods: list[str] = ["GET", "POST"]
    return [
        Route("/wecom/callback", callback, methods=methods),
        Route("/wecom/callback/{public_id}", callback, methods=methods),
    ]


async def _answer(request: Request, deliveries: DeliveryStore, connections: Connections, clock: Clock) -> Response:
    method: Literal["GET", "POST"]
    if request.method == "GET":
        method = "GET"
    elif request.method == "POST":
        method = "POST"
    else:  # Starlette adds HEAD to every route that takes GET
        return Response(status_code=405, headers={"Allow": "GET, POST"})
    if len(request.scope["query_string"]) > QUERY_LIMIT:
        return Response(status_code=414)
    connection = await _connection(connections, request.path_params.get("public_id"))
    if connection is None:
        return Response(status_code=404)
    now = clock.now()
    body = await _body(request) if method == "POST" else b""
    if method == "POST" and not body:
        raise InvalidWebhook("empty body", status=400)
    found = connection.vendor.authenticate(
        Webhook(method=method, query=_query(request.scope["query_string"]), body=body, received_at=now)
    )
    if isinstance(found, Challenge):
        return PlainTextResponse(found.body)
    with metrics.timed("acknowledge"):
        new = await deliveries.store(connection, found, at=now)
    metrics.delivery("wecom", "stored" if new else "duplicate")
    return PlainTextResponse("success")


async def _connection(connections: Connections, public_id: str | None) -> OpenConnection | None:
    """The connection behind the path, or None. Raises DoorClosed when nobody can tell in time."""
    if public_id is not None and not _PUBLIC_ID.fullmatch(public_id):
        return None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await connections.for_callback(public_id)
    except NotFound:
        return None
    except (TimeoutError, psycopg.Error, Unavailable) as error:
        raise StoreUnavailable("The connection could not be looked up.") from error
    except Misconfigured as error:
        log.warning("A connection cannot be opened: %s", error)
        raise StoreUnavailable("The connection cannot be opened.") from error


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


def _query(raw: bytes) -> Mapping[str, Sequence[str]]:
    """Every value of every parameter, decoded once. What is not UTF-8 cannot match any signature."""
    found: dict[str, list[str]] = {}
    for part in raw.decode("latin-1").split("&"):
        name, _, value = part.partition("=")
        if name:
            found.setdefault(unquote_plus(name, errors="replace"), []).append(unquote_plus(value, errors="replace"))
    return found

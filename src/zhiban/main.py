"""The web application of a process: webhooks and probes at once, pages and the API as soon as they are loaded.

Contacts do not wait for what only agents see. Loading pages and API takes a third of a start; a process is ready
before, and a page that is asked for meanwhile waits for the rest of it, half a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from hmac import compare_digest
from importlib import import_module
from typing import TYPE_CHECKING

import psycopg
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from zhiban import __version__, bootstrap
from zhiban.channels import socket_endpoint, webhooks
from zhiban.container import App
from zhiban.desk.sse_broker import SseBroker
from zhiban.kit import metrics
from zhiban.kit.db import NO_WORKSPACE
from zhiban.kit.errors import Unavailable
from zhiban.web.proxies import TrustedProxies, is_loopback, visitor_address
from zhiban.web.security import OnlyHosts, SecurityHeaders

if TYPE_CHECKING:
    from zhiban.web.limits import RequestLimit
    from zhiban.web_app import Installer

log = logging.getLogger(__name__)

PAGES = "zhiban.web_app"


def application(
    app: App,
    *,
    demo: bool = False,
    hosts: Collection[str] = (),
    install: Installer | None = None,
    limit: RequestLimit | None = None,
) -> WebServer:
    """Everything that the process serves. The container is opened with the application and closed with it.

    `install` may add routes before those of the pages. `hosts`: the only names under which we answer; empty: every
    name, as behind a proxy.
    """
    broker = SseBroker(app.database, app.pubsub, app.clock)

    def build() -> ASGIApp:
        from zhiban.web_app import web_application

        return web_application(app, broker, demo=demo, install=install, limit=limit)

    callbacks = webhooks.routes(app.deliveries, app.connections, app.clock, bootstrap.integrations())
    sockets = socket_endpoint.routes(app.database, app.deliveries, app.connections, app.sockets, app.pubsub, app.clock)
    return WebServer(app, broker, [*sockets, *callbacks], _probes(app), build, hosts=hosts)


def import_pages() -> None:
    """Load the pages and the API. What FastAPI knows of OpenAPI becomes validators when the API's description is asked
    for: two megabytes and 25 ms that nothing else needs, and 5 ms then."""
    usual = BaseModel.model_config
    BaseModel.model_config = ConfigDict(defer_build=True)
    try:
        import_module("fastapi.openapi.models")
    finally:
        BaseModel.model_config = usual
    import_module(PAGES)


class WebServer:
    """The ASGI application: sends each request to the webhooks, the probes, or the pages and the API."""

    def __init__(
        self,
        app: App,
        broker: SseBroker,
        callbacks: Sequence[Route | WebSocketRoute],
        probes: Sequence[Route],
        build: Callable[[], ASGIApp],
        *,
        hosts: Collection[str] = (),
    ) -> None:
        trusted = app.settings.zhiban_trusted_proxies

        @asynccontextmanager
        async def lifespan(_router: object) -> AsyncIterator[None]:
            async with app:
                yield

        self._whole: ASGIApp = OnlyHosts(self._answer, hosts) if hosts else self._answer
        self._broker = broker
        self._sockets = app.sockets
        # Straight to their route: the way through FastAPI's layers costs a webhook more than its own work.
        self._callbacks = Router(list(callbacks), lifespan=lifespan)
        # The first part of each address: no page and no endpoint begins with one of them.
        self._prefixes = tuple({f"/{route.path.split('/')[1]}/" for route in callbacks})
        self._probes = TrustedProxies(SecurityHeaders(Router(list(probes))), trusted)
        self._probed = frozenset(route.path for route in probes)
        self._pages = TrustedProxies(self._page, trusted)
        self._build = build
        self._loading: asyncio.Task[ASGIApp] | None = None

    def leave(self) -> None:
        """The server is told to stop: end the streams, which would otherwise keep it waiting."""
        self._broker.close()
        self._sockets.close()

    async def load(self) -> ASGIApp:
        """The pages and the API, loaded at the first call. Raises what kept them from being loaded, at every call."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load(), name="load the pages")
        return await asyncio.shield(self._loading)

    async def _load(self) -> ASGIApp:
        # What takes time is importing; putting the parts together subscribes to what happens on this loop.
        await asyncio.to_thread(import_pages)
        return self._build()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._whole(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"].startswith(self._prefixes):
            await self._callbacks(scope, receive, send)
        elif scope["path"] in self._probed:
            await self._probes(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        pages = await self.load()
        await pages(scope, receive, send)


def _probes(app: App) -> list[Route]:
    token = app.settings.zhiban_metrics_token.get_secret_value()

    async def health(_request: Request) -> Response:
        """The process lives."""
        return JSONResponse({"status": "ok", "version": __version__})

    async def ready(_request: Request) -> Response:
        """The process can do its work: the database answers."""
        try:
            async with app.database.transaction(NO_WORKSPACE) as tx:
                await tx.value("select 1")
        except (psycopg.Error, Unavailable) as error:
            log.warning("The database does not answer: %s", str(error).strip())
            return JSONResponse({"status": "unavailable"}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def show_metrics(request: Request) -> Response:
        """For this machine, and for whoever sends the token."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = bool(token) and scheme.lower() == "bearer" and compare_digest(given.encode(), token.encode())
        if not right and not is_loopback(visitor_address(request)):
            return JSONResponse({"detail": "Send ZHIBAN_METRICS_TOKEN as a bearer token."}, status_code=401)
        page, content_type = metrics.render()
        return PlainTextResponse(page, headers={"content-type": content_type})

    return [Route("/health", health), Route("/ready", ready), Route("/metrics", show_metrics)]

"""The web application: every module's doors on one address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Router
from starlette.types import Receive, Scope, Send

from zhiban import __version__, bootstrap
from zhiban.api import knowledge as knowledge_api
from zhiban.assistant.suggesting import Suggester
from zhiban.channels import webhooks as hooks
from zhiban.container import Installation
from zhiban.desk.pages import agents as colleague_pages
from zhiban.desk.pages import sign_in
from zhiban.desk.pages.conversation import Desk
from zhiban.desk.stream import Hub
from zhiban.kit import metrics
from zhiban.kit.db import NOBODY
from zhiban.kit.errors import Unavailable
from zhiban.people.auth import Gate
from zhiban.web import apidocs
from zhiban.web.assets import Assets
from zhiban.web.render import Renderer
from zhiban.web.security import SecurityHeaders

MODULES = ("desk", "testing")  # which bring templates of their own


def application(home: Installation, *, demo: bool = False, extra: Sequence[BaseRoute] = ()) -> Front:
    """Mount every door. The installation is opened with the application and closed with it.

    `extra` routes are mounted first; the demonstration brings its simulator and its phone that way.
    """
    assets = Assets()
    renderer = Renderer(MODULES, assets=assets, clock=home.clock)
    gate = Gate(home.database, home.clock, renderer, demo=demo, url=home.settings.zhiban_url)
    hub = Hub(home.database, home.ear)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with home:
            yield

    app = FastAPI(
        title="Zhiban",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.state.home = home
    app.router.routes.extend(extra)
    app.mount("/static", assets.app(), name="static")
    gate.install(app)
    app.include_router(sign_in.router)
    app.include_router(colleague_pages.router)
    suggester = Suggester(home.database, threshold=home.settings.kb_similarity_threshold)
    Desk(window_of=bootstrap.WINDOWS.get, files=home.files, suggest=suggester.suggest).install(app)
    hub.install(app)
    app.include_router(
        knowledge_api.router(
            top_k=home.settings.kb_top_k,
            threshold=home.settings.kb_similarity_threshold,
            embedder=bootstrap.embedder(home.settings, home.http),
        )
    )
    _install_probes(app, home)
    apidocs.install(app, renderer)
    app.add_middleware(SecurityHeaders)
    return Front(app, hub, hooks.routes(home.door, home.connections, home.clock))


class Front:
    """Callbacks go straight to their door; everything else to the pages and the API.

    The way through FastAPI's layers costs a callback more than its own work.
    """

    def __init__(self, app: FastAPI, hub: Hub, callbacks: Sequence[BaseRoute]) -> None:
        self.app = app
        self._hub = hub
        self._callbacks = Router(list(callbacks))

    def leave(self) -> None:
        """The server is told to stop: end the streams, which would otherwise keep it waiting."""
        self._hub.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/wecom/"):
            await self._callbacks(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _install_probes(app: FastAPI, home: Installation) -> None:
    @app.get("/health", include_in_schema=False)
    async def health() -> Response:
        """The process lives."""
        return JSONResponse({"status": "ok", "version": __version__})

    @app.get("/ready", include_in_schema=False)
    async def ready(_request: Request) -> Response:
        """The process can do its work: the database answers."""
        try:
            async with home.database.work(NOBODY) as work:
                await work.value("select 1")
        except (psycopg.Error, Unavailable) as error:
            return JSONResponse({"status": "unavailable", "reason": str(error).strip()}, status_code=503)
        return JSONResponse({"status": "ready"})

    @app.get("/metrics", include_in_schema=False)
    async def show_metrics() -> Response:
        page, content_type = metrics.render()
        return PlainTextResponse(page, headers={"content-type": content_type})

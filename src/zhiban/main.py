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
from zhiban.container import App
from zhiban.desk.pages import agents as agent_pages
from zhiban.desk.pages import sign_in
from zhiban.desk.pages.conversation import DeskSettings
from zhiban.desk.stream import SseBroker
from zhiban.kit import metrics
from zhiban.kit.db import NO_WORKSPACE
from zhiban.kit.errors import Unavailable
from zhiban.people.auth import Auth
from zhiban.web import apidocs
from zhiban.web.assets import Assets
from zhiban.web.render import Renderer
from zhiban.web.security import SecurityHeaders

MODULES = ("desk", "testing")  # which bring templates of their own


def application(app: App, *, demo: bool = False, extra: Sequence[BaseRoute] = ()) -> CallbackRouter:
    """Mount every door. The installation is opened with the application and closed with it.

    `extra` routes are mounted first; the demonstration brings its simulator and its phone that way.
    """
    assets = Assets()
    renderer = Renderer(MODULES, assets=assets, clock=app.clock)
    auth = Auth(app.database, app.clock, renderer, demo=demo, url=app.settings.zhiban_url)
    broker = SseBroker(app.database, app.pubsub)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with app:
            yield

    web = FastAPI(
        title="Zhiban",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    web.state.app = app
    web.router.routes.extend(extra)
    web.mount("/static", assets.app(), name="static")
    auth.install(web)
    web.include_router(sign_in.router)
    web.include_router(agent_pages.router)
    suggester = Suggester(app.database, threshold=app.settings.kb_similarity_threshold)
    DeskSettings(window_of=bootstrap.WINDOWS.get, files=app.files, suggest=suggester.suggest).install(web)
    broker.install(web)
    web.include_router(
        knowledge_api.router(
            top_k=app.settings.kb_top_k,
            threshold=app.settings.kb_similarity_threshold,
            embedder=bootstrap.embedder(app.settings, app.http),
        )
    )
    _install_probes(web, app)
    apidocs.install(web, renderer)
    web.add_middleware(SecurityHeaders)
    return CallbackRouter(web, broker, hooks.routes(app.deliveries, app.connections, app.clock))


class CallbackRouter:
    """Callbacks go straight to their door; everything else to the pages and the API.

    The way through FastAPI's layers costs a callback more than its own work.
    """

    def __init__(self, web: FastAPI, broker: SseBroker, callbacks: Sequence[BaseRoute]) -> None:
        self.app = web
        self._hub = broker
        self._callbacks = Router(list(callbacks))

    def leave(self) -> None:
        """The server is told to stop: end the streams, which would otherwise keep it waiting."""
        self._hub.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/wecom/"):
            await self._callbacks(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _install_probes(web: FastAPI, app: App) -> None:
    @web.get("/health", include_in_schema=False)
    async def health() -> Response:
        """The process lives."""
        return JSONResponse({"status": "ok", "version": __version__})

    @web.get("/ready", include_in_schema=False)
    async def ready(_request: Request) -> Response:
        """The process can do its work: the database answers."""
        try:
            async with app.database.transaction(NO_WORKSPACE) as tx:
                await tx.value("select 1")
        except (psycopg.Error, Unavailable) as error:
            return JSONResponse({"status": "unavailable", "reason": str(error).strip()}, status_code=503)
        return JSONResponse({"status": "ready"})

    @web.get("/metrics", include_in_schema=False)
    async def show_metrics() -> Response:
        page, content_type = metrics.render()
        return PlainTextResponse(page, headers={"content-type": content_type})

"""The web application: every module's doors on one address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute

from zhiban import __version__, bootstrap
from zhiban.assistant.suggesting import Suggester
from zhiban.conversations import hooks
from zhiban.conversations.pages import WORDS, Desk
from zhiban.installation import Installation
from zhiban.kit import metrics
from zhiban.kit.db import NOBODY
from zhiban.kit.errors import Unavailable
from zhiban.people.pages import Gate
from zhiban.stream import Hub
from zhiban.web.assets import Assets
from zhiban.web.render import Renderer
from zhiban.web.security import SecurityHeaders

MODULES = ("people", "conversations", "testing")  # which bring templates of their own


def application(home: Installation, *, demo: bool = False, extra: Sequence[BaseRoute] = ()) -> FastAPI:
    """Mount every door. The installation is opened with the application and closed with it.

    `extra` routes are mounted first; the demonstration brings its simulator and its phone that way.
    """
    assets = Assets()
    renderer = Renderer(MODULES, assets=assets, clock=home.clock)
    gate = Gate(home.database, home.clock, renderer, demo=demo)
    hub = Hub(home.database, home.ear)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with home:
            yield
            hub.close()

    app = FastAPI(
        title="Zhiban",
        version=__version__,
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.state.home = home
    app.router.routes.extend(hooks.routes(home.door, home.connections, home.clock))
    app.router.routes.extend(extra)
    app.mount("/static", assets.app(), name="static")
    gate.install(app)
    suggester = Suggester(home.database, threshold=home.settings.kb_similarity_threshold)
    Desk(window_of=bootstrap.WINDOWS.get, files=home.files, suggest=suggester.suggest).install(app)
    hub.install(app)
    _install_probes(app, home)
    app.add_middleware(SecurityHeaders)
    return app


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

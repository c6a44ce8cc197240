"""The web application: every module's routes on one address."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from hmac import compare_digest

import psycopg
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from zhiban import __version__, bootstrap
from zhiban.api import auth as api_auth
from zhiban.api import gaps as gaps_api
from zhiban.api import knowledge as knowledge_api
from zhiban.api import knowledge_eval
from zhiban.api import learning as learning_api
from zhiban.assistant.suggesting import Suggester
from zhiban.channels import webhooks as hooks
from zhiban.container import App
from zhiban.desk.checks import Checks, notice_setup
from zhiban.desk.pages import agents as agent_pages
from zhiban.desk.pages import conversation as conversation_pages
from zhiban.desk.pages import presence as presence_pages
from zhiban.desk.pages import rules as rule_pages
from zhiban.desk.pages import sign_in
from zhiban.desk.pages import teams as team_pages
from zhiban.desk.request import DeskSettings
from zhiban.desk.stream import SseBroker
from zhiban.kit import metrics
from zhiban.kit.db import NO_WORKSPACE
from zhiban.kit.errors import Unavailable
from zhiban.people.auth import Auth, signed_in
from zhiban.web import apidocs
from zhiban.web.assets import Assets
from zhiban.web.limits import RequestLimit, RequestLimits
from zhiban.web.proxies import TrustedProxies, is_loopback, visitor_address
from zhiban.web.render import Renderer
from zhiban.web.routers import add_routes
from zhiban.web.security import OnlyHosts, SecurityHeaders

log = logging.getLogger(__name__)

MODULES = ("desk", "testing")  # which bring templates of their own


def application(
    app: App,
    *,
    demo: bool = False,
    hosts: Collection[str] = (),
    extra: Sequence[BaseRoute] = (),
    limit: RequestLimit | None = None,
) -> CallbackRouter:
    """Mount every route. The container is opened with the application and closed with it.

    `extra` routes are mounted first; the demonstration brings its simulator and its phone that way. `hosts`: the only
    names under which we answer; empty: every name, as behind a proxy.
    """
    assets = Assets()
    renderer = Renderer(MODULES, assets=assets, clock=app.clock, names=bootstrap.names())
    auth = Auth(
        app.database,
        app.clock,
        renderer,
        demo=demo,
        url=app.settings.zhiban_url,
        secret=app.vault.derive("known devices"),
    )
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
        openapi_url=None,
    )
    web.state.app = app
    web.state.member_labels = bootstrap.member_labels()
    web.state.channel_labels = bootstrap.channel_labels()
    web.router.routes.extend(extra)
    web.mount("/static", assets.app(), name="static")
    auth.install(web)
    add_routes(web, sign_in.router)
    add_routes(web, agent_pages.router)
    add_routes(web, rule_pages.router)
    add_routes(web, presence_pages.router)
    add_routes(web, team_pages.router)
    suggester = Suggester(app.database, threshold=app.settings.kb_similarity_threshold, embedders=app.embedders)
    notifiers = bootstrap.notifiers(app.settings, app.http, app.url)
    Checks(app.database, notice_setup(app.settings, notifiers), app.clock).install(web)
    conversation_pages.install(
        web, DeskSettings(limits_of=bootstrap.limits_of, files=app.files, suggest=suggester.suggest)
    )
    broker.install(web)
    api_auth.install(web)
    add_routes(
        web,
        knowledge_api.router(
            top_k=app.settings.kb_top_k,
            threshold=app.settings.kb_similarity_threshold,
            embedders=app.embedders,
        ),
    )
    add_routes(web, gaps_api.router())
    add_routes(web, learning_api.router())
    add_routes(web, knowledge_eval.router(threshold=app.settings.kb_similarity_threshold, embedders=app.embedders))
    _install_probes(web, app)
    # The demonstration has nobody with a password, and nothing to hide.
    apidocs.install(
        web,
        renderer,
        url=app.settings.zhiban_url,
        page=[] if demo else [Depends(signed_in)],
        schema=[] if demo else [Depends(api_auth.caller)],
    )
    web.add_middleware(SecurityHeaders)
    # What is small gains nothing, and says through its length what it holds; streams and pictures pass as they are.
    web.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)
    callbacks = hooks.routes(app.deliveries, app.connections, app.clock, bootstrap.CHANNELS.values())
    pages = TrustedProxies(RequestLimits(web, limit or RequestLimit()), app.settings.zhiban_trusted_proxies)
    return CallbackRouter(web, pages, broker, callbacks, hosts=hosts)


class CallbackRouter:
    """Webhooks go straight to their route; everything else to the pages and the API.

    The way through FastAPI's layers costs a webhook more than its own work.
    """

    def __init__(
        self,
        web: FastAPI,
        pages: ASGIApp,
        broker: SseBroker,
        callbacks: Sequence[Route],
        *,
        hosts: Collection[str] = (),
    ) -> None:
        self.app = web
        self._whole: ASGIApp = OnlyHosts(self._answer, hosts) if hosts else self._answer
        self._pages = pages  # the same application behind what every request has to pass first
        self._hub = broker
        self._callbacks = Router(list(callbacks))
        # The first part of each address: no page and no endpoint begins with one of them.
        self._prefixes = tuple({f"/{route.path.split('/')[1]}/" for route in callbacks})

    def leave(self) -> None:
        """The server is told to stop: end the streams, which would otherwise keep it waiting."""
        self._hub.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._whole(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(self._prefixes):
            await self._callbacks(scope, receive, send)
        else:
            await self._pages(scope, receive, send)


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
            log.warning("The database does not answer: %s", str(error).strip())
            return JSONResponse({"status": "unavailable"}, status_code=503)
        return JSONResponse({"status": "ready"})

    token = app.settings.zhiban_metrics_token.get_secret_value()

    @web.get("/metrics", include_in_schema=False)
    async def show_metrics(request: Request) -> Response:
        """For this machine, and for whoever sends the token."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = bool(token) and scheme.lower() == "bearer" and compare_digest(given.encode(), token.encode())
        if not right and not is_loopback(visitor_address(request)):
            return JSONResponse({"detail": "Send ZHIBAN_METRICS_TOKEN as a bearer token."}, status_code=401)
        page, content_type = metrics.render()
        return PlainTextResponse(page, headers={"content-type": content_type})

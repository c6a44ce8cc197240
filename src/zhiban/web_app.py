"""The pages and the API as one ASGI application: every module's routes, and what every request has to pass.

Loading it costs a third of a start, so the process serves webhooks before; see `main`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fastapi import Depends, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp

from zhiban import __version__, bootstrap
from zhiban.api import auth as api_auth
from zhiban.api import conversation_files as conversation_files_api
from zhiban.api import conversations as conversations_api
from zhiban.api import gaps as gaps_api
from zhiban.api import knowledge as knowledge_api
from zhiban.api import knowledge_eval
from zhiban.api import learning as learning_api
from zhiban.api import reports as reports_api
from zhiban.api import similar_issues as similar_issues_api
from zhiban.api import tickets as tickets_api
from zhiban.assistant.drafting import DraftAssistant
from zhiban.assistant.inserting import EntrySearch
from zhiban.assistant.suggesting import Suggester
from zhiban.assistant.translating import Translator
from zhiban.assistant.trying import Trials
from zhiban.container import App
from zhiban.conversations.draft_uploads import MOST_BYTES as MOST_OF_A_FILE
from zhiban.conversations.draft_uploads import DraftUploads
from zhiban.desk import stream
from zhiban.desk.checks import Checks, notice_setup
from zhiban.desk.editor_page import ACTION_FILES
from zhiban.desk.identities import Identities
from zhiban.desk.pages import agents as agent_pages
from zhiban.desk.pages import conversation as conversation_pages
from zhiban.desk.pages import draft_files, sign_in, single_sign_on
from zhiban.desk.pages import knowledge as knowledge_pages
from zhiban.desk.pages import presence as presence_pages
from zhiban.desk.pages import reports as report_pages
from zhiban.desk.pages import rules as rule_pages
from zhiban.desk.pages import second_factor as second_factor_pages
from zhiban.desk.pages import settings as setting_pages
from zhiban.desk.pages import teams as team_pages
from zhiban.desk.pages import tickets as ticket_pages
from zhiban.desk.pages.sources import MOST_AT_ONCE, UPLOADS
from zhiban.desk.pages.yaml_files import MOST_BYTES, YAML_FILES
from zhiban.desk.request import DeskSettings
from zhiban.desk.settings_page import ChannelSetup
from zhiban.desk.sse_broker import SseBroker
from zhiban.kit.db import NO_WORKSPACE
from zhiban.kit.i18n import Texts
from zhiban.people.auth import Auth, signed_in
from zhiban.tickets.issue_search import IssueFinder
from zhiban.web import apidocs
from zhiban.web.assets import Assets
from zhiban.web.limits import RequestLimit, RequestLimits
from zhiban.web.render import Renderer
from zhiban.web.routers import add_routes
from zhiban.web.security import SecurityHeaders

MODULES = ("desk", "testing")  # which bring templates of their own
PIECES = ("desk/row.html",)  # of those, what many see alike and is drawn once

Installer = Callable[[FastAPI], None]


def web_application(
    app: App,
    broker: SseBroker,
    *,
    demo: bool = False,
    install: Installer | None = None,
    limit: RequestLimit | None = None,
) -> ASGIApp:
    """Mount every page and endpoint.

    `install` may add routes before ours; the demonstration brings its simulator and its phone that way.
    """
    assets = Assets()
    renderer = Renderer(MODULES, assets=assets, clock=app.clock, names=bootstrap.names(), pieces=PIECES)
    auth = Auth(
        app.database,
        app.clock,
        renderer,
        demo=demo,
        url=app.settings.zhiban_url,
        secret=app.vault.derive("known devices"),
        vault=app.vault,
    )
    web = FastAPI(
        title="Zhiban",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    web.state.app = app
    web.state.member_labels = bootstrap.member_labels()
    web.state.channel_labels = bootstrap.channel_labels()
    web.state.broker = broker
    if install is not None:
        install(web)
    web.mount("/static", assets.app(), name="static")
    auth.install(web)
    deps = bootstrap.assistant_deps(app.settings, app.http, app.breakers.of(NO_WORKSPACE, "model/"), app.embedders)
    suggester = Suggester(app.database, threshold=app.settings.kb_similarity_threshold, embedders=app.embedders)
    similar = IssueFinder(app.connections.tracker, app.embedders)
    mailer = bootstrap.mailer(app.settings)
    # First what open desks ask for all the time: who is asked for is looked for in the order of this function.
    conversation_pages.install(
        web,
        DeskSettings(
            limits_of=bootstrap.limits_of,
            files=app.files,
            suggest=suggester.suggest,
            explain=suggester.explain,
            entries=EntrySearch(app.database, app.embedders),
            drafting=DraftAssistant(app.database, deps.model),
            naming=deps.model,
            similar=similar,
            translator=Translator(app.database, app.clock, deps.model, cost=deps.cost),
            mails=mailer is not None,
            surveys=app.survey_links,
        ),
    )
    add_routes(web, stream.router)
    add_routes(web, sign_in.router)
    add_routes(web, second_factor_pages.router)
    single_sign_on.install(
        web, Identities(bootstrap.identity_client(app.settings, app.http, app.clock), app.connections, app.vault)
    )
    add_routes(web, single_sign_on.router)
    add_routes(web, agent_pages.router)
    add_routes(web, rule_pages.router)
    add_routes(web, report_pages.router)
    add_routes(web, presence_pages.router)
    add_routes(web, team_pages.router)
    add_routes(web, ticket_pages.router)
    knowledge_pages.install(web, Trials(app.database, app.clock, deps), app.files)
    notifiers = bootstrap.notifiers(app.settings, app.http, app.url)
    Checks(app.database, notice_setup(app.settings, notifiers), app.clock).install(web)
    setup = ChannelSetup(
        bootstrap.CHANNELS,
        app.connections,
        app.vault,
        app.settings,
        trackers=bootstrap.TRACKERS,
        http=app.http,
        breakers=app.breakers,
    )
    setting_pages.install(web, setup, notifiers, mailer)
    api_auth.install(web)
    add_routes(
        web,
        knowledge_api.router(
            top_k=app.settings.kb_top_k,
            threshold=app.settings.kb_similarity_threshold,
            embedders=app.embedders,
        ),
    )
    add_routes(web, conversations_api.router(limits_of=bootstrap.limits_of))
    conversation_files_api.install(web, DraftUploads(app.database, app.files, bootstrap.limits_of))
    add_routes(web, gaps_api.router())
    add_routes(web, learning_api.router())
    add_routes(web, reports_api.router())
    add_routes(web, tickets_api.router(texts=Texts(app.settings.zhiban_locale)))
    add_routes(web, similar_issues_api.router(similar=similar))
    add_routes(web, knowledge_eval.router(threshold=app.settings.kb_similarity_threshold, embedders=app.embedders))
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
    limit = limit or RequestLimit()
    files = dict.fromkeys((draft_files.FILES, conversation_files_api.FILES, ACTION_FILES), MOST_OF_A_FILE)
    uploads = {UPLOADS: MOST_AT_ONCE, YAML_FILES: MOST_BYTES, **files, **limit.uploads}
    return RequestLimits(web, replace(limit, uploads=uploads))

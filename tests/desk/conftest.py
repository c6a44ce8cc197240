"""The desk served on loopback."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from fastapi import FastAPI
from multidict import CIMultiDictProxy
from playwright.async_api import Page
from yarl import URL

from tests.browser import Visit
from tests.conftest import Cluster
from tests.desk.seed import LIMITS, PASSWORD, SLUG, Seed, create_seed
from zhiban import bootstrap
from zhiban.assistant.drafting import DraftAssistant
from zhiban.assistant.inserting import EntrySearch
from zhiban.assistant.suggesting import Source, Suggester, Suggestion
from zhiban.assistant.translating import Translator
from zhiban.assistant.trying import Trials
from zhiban.assistant.turn_context import AssistantDeps
from zhiban.bootstrap import reactions
from zhiban.channels.connections import Connections
from zhiban.channels.service import connect
from zhiban.channels.topics import CONFIG
from zhiban.conversations.survey_links import SurveyLinks
from zhiban.desk import stream
from zhiban.desk.checks import Checks, NoticeSetup
from zhiban.desk.identities import Identities
from zhiban.desk.pages import agents as agent_pages
from zhiban.desk.pages import conversation as conversation_pages
from zhiban.desk.pages import knowledge as knowledge_pages
from zhiban.desk.pages import presence as presence_pages
from zhiban.desk.pages import reports as report_pages
from zhiban.desk.pages import rules as rule_pages
from zhiban.desk.pages import second_factor as second_factor_pages
from zhiban.desk.pages import settings as setting_pages
from zhiban.desk.pages import sign_in, single_sign_on
from zhiban.desk.pages import teams as team_pages
from zhiban.desk.pages import tickets as ticket_pages
from zhiban.desk.request import DeskSettings
from zhiban.desk.settings_page import ChannelSetup
from zhiban.desk.sse_broker import SseBroker
from zhiban.integrations.apprise import HOSTED_SCHEMES
from zhiban.integrations.oidc import OidcClient
from zhiban.kit.breaker_store import BreakerStore
from zhiban.kit.clock import SystemClock
from zhiban.kit.db import Database
from zhiban.kit.file_store import PostgresFileStore
from zhiban.kit.http import Http
from zhiban.kit.pubsub import PubSub
from zhiban.kit.settings import load
from zhiban.kit.vault import Vault, new_key
from zhiban.knowledge.vectors import NO_EMBEDDERS
from zhiban.notifications.jobs import NotifierRegistry
from zhiban.people.auth import COOKIE, Auth
from zhiban.people.service import open_session
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.notices import NoticeBoard
from zhiban.testing.process_harness import free_port
from zhiban.testing.serving import served
from zhiban.tickets.issue_search import IssueFinder
from zhiban.web.assets import Assets
from zhiban.web.render import Renderer
from zhiban.web.routers import add_routes
from zhiban.web.security import SecurityHeaders
from zhiban.web_app import PIECES

SURVEYS = SurveyLinks("", b"a key for tests only")
TOLD = "telegram:8518085684"  # who is told of every handoff
NOWHERE = "http://127.0.0.1:9"  # where no GitHub answers
FRESH = 120.0  # seconds that an ordinary afternoon is used by the tests that begin

# An assistant without a model and without vectors.
ASSISTANT = AssistantDeps(
    model=None, embedders=NO_EMBEDDERS, top_k=3, threshold=None, model_seconds=0, price_input=0, price_output=0
)

Fields = dict[str, str] | list[tuple[str, str]] | bytes  # of a form, a list where a name stands several times; a body


@dataclass(frozen=True)
class Answer:
    status: int
    headers: CIMultiDictProxy[str]
    text: str


class Client:
    """A browser without a screen: it keeps cookies and says where its forms come from."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.headers = {"origin": url, "accept": "text/html", "accept-language": "zh-CN"}
        self.cookies = aiohttp.CookieJar(unsafe=True)

    async def ask(self, method: str, path: str, *, data: Fields | None = None, **headers: str) -> Answer:
        async with (
            aiohttp.ClientSession(cookie_jar=self.cookies) as session,
            session.request(
                method,
                self.url + path,
                data=data,
                headers={**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}},
                allow_redirects=False,
            ) as answer,
        ):
            return Answer(answer.status, answer.headers, (await answer.read()).decode("utf-8", "replace"))

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, **headers)

    async def post(self, path: str, data: Fields | None = None, **headers: str) -> Answer:
        return await self.ask("POST", path, data=data or {}, **headers)

    async def sign_in(self, who: str = "linxiao", password: str = PASSWORD) -> Answer:
        return await self.post("/login", {"email": f"{who}@qinghe.example", "password": password})


@dataclass
class Site:
    """The desk with made-up people, at an address."""

    seed: Seed
    app: FastAPI
    broker: SseBroker
    url: str
    suggested: list[int] = field(default_factory=list)
    notices: NoticeBoard = field(default_factory=NoticeBoard)

    def client(self) -> Client:
        return Client(self.url)

    async def operator_connects(self, vendor: str, **values: str) -> str:
        """As `zhiban inbox add` does. Returns the address of the connection's page."""
        async with self.seed.database.transaction(self.seed.workspace_id) as tx:
            vault, now = self.app.state.channel_setup.vault, self.seed.clock.now()
            done = await connect(tx, vault, bootstrap.CHANNELS[vendor], values, now=now)
        return f"/settings/connections/{done.id}"

    async def session(self, who: str = "linxiao") -> str:
        """The cookie of somebody who has signed in; `Client.sign_in` does it, which takes a password its time."""
        async with self.seed.database.transaction(self.seed.workspace_id) as tx:
            email = f"{who}@{SLUG}.example"
            agent_id = await tx.value("select id from agent where email = %(email)s", email=email)
            return await open_session(tx, agent_id=agent_id, now=self.seed.clock.now())

    async def signed_in(self, who: str = "linxiao") -> Client:
        """A browser of somebody who has signed in."""
        client = self.client()
        client.cookies.update_cookies({COOKIE: await self.session(who)}, URL(self.url))
        return client


@pytest.fixture
async def template(cluster: Cluster, template: str, request: pytest.FixtureRequest) -> str:
    """With the made-up people, whose afternoon began two minutes ago at most."""
    if "site" not in request.fixturenames:
        return template

    async def fill(database: Database) -> str:
        database.reactions = reactions()
        return (await create_seed(database, SystemClock())).saved()

    return await cluster.template(f"zhiban_seed_{int(time.time() / FRESH)}", fill)


@pytest.fixture(scope="session")
def port() -> int:
    """Where every desk of this worker is served, so that the browser knows the scripts by their addresses."""
    return free_port()


@asynccontextmanager
async def served_again(app: FastAPI, port: int) -> AsyncIterator[str]:
    """The address of an application, the same each time but where somebody else took the port meanwhile."""
    async with AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(served(app, port=port))
        except OSError:
            url = await stack.enter_async_context(served(app))
        yield url


@pytest.fixture
async def site(cluster: Cluster, template: str, urls: DatabaseUrls, port: int) -> AsyncIterator[Site]:
    clock = SystemClock()
    pubsub = PubSub(urls.app)
    async with Database(urls.app, work_size=4, page_size=4) as database:
        database.publish = pubsub.publish
        database.reactions = reactions()
        await pubsub.open()
        seed = Seed.restored(cluster.said(template), database, clock)
        renderer = Renderer(["desk"], assets=Assets(), clock=clock, names=bootstrap.names(), pieces=PIECES)
        app = FastAPI()
        app.state.member_labels = bootstrap.member_labels()
        app.state.channel_labels = bootstrap.channel_labels()
        app.add_middleware(SecurityHeaders)
        Auth(database, clock, renderer).install(app)
        add_routes(app, sign_in.router)
        add_routes(app, second_factor_pages.router)
        add_routes(app, agent_pages.router)
        add_routes(app, rule_pages.router)
        add_routes(app, report_pages.router)
        add_routes(app, presence_pages.router)
        add_routes(app, team_pages.router)
        add_routes(app, ticket_pages.router)
        http, vault = Http(), Vault([new_key()])
        vendors = bootstrap.vendor(http, clock)
        breakers = BreakerStore(database, pubsub, clock)
        trackers = bootstrap.tracker(http, clock)
        connections = Connections(database, vault, clock, breakers, build=vendors, build_tracker=trackers)
        pubsub.subscribe(CONFIG, connections.forget)
        oidc = OidcClient(http, clock, ["127.0.0.1"])
        single_sign_on.install(app, Identities(oidc, connections, app.state.auth.vault))
        add_routes(app, single_sign_on.router)
        notices = NoticeBoard()
        ours = dict.fromkeys(("telegram", "wecom-robot"), notices)
        registry = NotifierRegistry([TOLD], ours, notices, "", hosted=HOSTED_SCHEMES)
        setup = ChannelSetup(
            bootstrap.CHANNELS,
            connections,
            vault,
            load(env_file=None, github_api_base=NOWHERE),
            trackers=bootstrap.TRACKERS,
            http=http,
            breakers=breakers,
        )
        setting_pages.install(app, setup, registry)
        knowledge_pages.install(app, Trials(database, clock, ASSISTANT), PostgresFileStore(database, clock))
        Checks(database, NoticeSetup(addresses=["wecom-robot:abc"]), clock).install(app)
        suggested: list[int] = []

        async def suggest(_workspace_id: int, conversation_id: int) -> Suggestion | None:
            suggested.append(conversation_id)
            return Suggestion("可以的，我先把会话搁置到今晚 10:30。", (Source("反向代理与签名校验"),), 86)

        settings = DeskSettings(
            limits_of=lambda _kind: LIMITS,
            files=PostgresFileStore(database, clock),
            suggest=suggest,
            explain=Suggester(database, threshold=None).explain,
            entries=EntrySearch(database),
            drafting=DraftAssistant(database, None),
            similar=IssueFinder(connections.tracker, NO_EMBEDDERS),
            translator=Translator(database, clock, None, cost=lambda _completion: 0.0),
            surveys=SURVEYS,
        )
        conversation_pages.install(app, settings)
        broker = SseBroker(database, pubsub, clock)
        app.state.broker = broker
        add_routes(app, stream.router)
        app.mount("/static", renderer.assets.app())
        async with http, served_again(app, port) as url:
            yield Site(seed, app, broker, url, suggested, notices)
            broker.close()
        await pubsub.close()


@pytest.fixture
def enter(site: Site, visit: Visit) -> Visit:
    """Stand before the desk as 林晓, who has signed in."""

    async def go(path: str = "/", **how: object) -> Page:
        page = await visit(site.url + path, cookie=(COOKIE, await site.session()), **how)
        await page.wait_for_selector("html[data-ready]")
        return page

    return go

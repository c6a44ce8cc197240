"""The desk served on loopback, and a browser to look at it."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import pytest
from fastapi import FastAPI
from multidict import CIMultiDictProxy
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from yarl import URL

from tests.conftest import Cluster
from tests.desk.seed import LIMITS, PASSWORD, SLUG, Seed, create_seed
from zhiban import bootstrap
from zhiban.assistant.suggesting import Source, Suggestion
from zhiban.assistant.trying import Trials
from zhiban.assistant.turn_context import AssistantDeps
from zhiban.bootstrap import reactions
from zhiban.desk import stream
from zhiban.desk.checks import Checks, NoticeSetup
from zhiban.desk.pages import agents as agent_pages
from zhiban.desk.pages import conversation as conversation_pages
from zhiban.desk.pages import knowledge as knowledge_pages
from zhiban.desk.pages import presence as presence_pages
from zhiban.desk.pages import rules as rule_pages
from zhiban.desk.pages import second_factor as second_factor_pages
from zhiban.desk.pages import sign_in
from zhiban.desk.pages import teams as team_pages
from zhiban.desk.request import DeskSettings
from zhiban.desk.sse_broker import SseBroker
from zhiban.kit.clock import SystemClock
from zhiban.kit.db import Database
from zhiban.kit.file_store import PostgresFileStore
from zhiban.kit.pubsub import PubSub
from zhiban.knowledge.vectors import NO_EMBEDDERS
from zhiban.people.auth import COOKIE, Auth
from zhiban.people.service import open_session
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.serving import served
from zhiban.web.assets import Assets
from zhiban.web.render import Renderer
from zhiban.web.routers import add_routes
from zhiban.web.security import SecurityHeaders

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

FRESH = 30.0  # seconds that an ordinary afternoon is used by the tests that begin

# An assistant without a model and without vectors.
ASSISTANT = AssistantDeps(
    model=None, embedders=NO_EMBEDDERS, top_k=3, threshold=None, model_seconds=0, price_input=0, price_output=0
)

Fields = dict[str, str] | list[tuple[str, str]]  # of a form; a list where a name stands several times


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

    def client(self) -> Client:
        return Client(self.url)

    async def signed_in(self, who: str = "linxiao") -> Client:
        """A browser of somebody who has signed in; `Client.sign_in` does it, which takes a password its time."""
        client, database = self.client(), self.seed.database
        async with database.transaction(self.seed.workspace_id) as tx:
            email = f"{who}@{SLUG}.example"
            agent_id = await tx.value("select id from agent where email = %(email)s", email=email)
            token = await open_session(tx, agent_id=agent_id, now=self.seed.clock.now())
        client.cookies.update_cookies({COOKIE: token}, URL(self.url))
        return client


@pytest.fixture
async def template(cluster: Cluster, template: str, request: pytest.FixtureRequest) -> str:
    """With the made-up people, whose afternoon began half a minute ago at most."""
    if "site" not in request.fixturenames:
        return template

    async def fill(database: Database) -> str:
        database.reactions = reactions()
        return (await create_seed(database, SystemClock())).saved()

    return await cluster.template(f"zhiban_seed_{int(time.time() / FRESH)}", fill)


@pytest.fixture
async def site(cluster: Cluster, template: str, urls: DatabaseUrls) -> AsyncIterator[Site]:
    clock = SystemClock()
    pubsub = PubSub(urls.app)
    async with Database(urls.app, work_size=4, page_size=4) as database:
        database.publish = pubsub.publish
        database.reactions = reactions()
        await pubsub.open()
        seed = Seed.restored(cluster.said(template), database, clock)
        renderer = Renderer(["desk"], assets=Assets(), clock=clock, names=bootstrap.names())
        app = FastAPI()
        app.state.member_labels = bootstrap.member_labels()
        app.state.channel_labels = bootstrap.channel_labels()
        app.add_middleware(SecurityHeaders)
        Auth(database, clock, renderer).install(app)
        add_routes(app, sign_in.router)
        add_routes(app, second_factor_pages.router)
        add_routes(app, agent_pages.router)
        add_routes(app, rule_pages.router)
        add_routes(app, presence_pages.router)
        add_routes(app, team_pages.router)
        knowledge_pages.install(app, Trials(database, clock, ASSISTANT), PostgresFileStore(database, clock))
        Checks(database, NoticeSetup(addresses=["wecom-robot:abc"]), clock).install(app)
        suggested: list[int] = []

        async def suggest(_workspace_id: int, conversation_id: int) -> Suggestion | None:
            suggested.append(conversation_id)
            return Suggestion("可以的，我先把会话搁置到今晚 10:30。", (Source("反向代理与签名校验"),), 86)

        settings = DeskSettings(
            limits_of=lambda _kind: LIMITS, files=PostgresFileStore(database, clock), suggest=suggest
        )
        conversation_pages.install(app, settings)
        broker = SseBroker(database, pubsub)
        app.state.broker = broker
        add_routes(app, stream.router)
        app.mount("/static", renderer.assets.app())
        async with served(app) as url:
            yield Site(seed, app, broker, url, suggested)
            broker.close()
        await pubsub.close()


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


# What the tests bring about themselves: networks cut off, pages that are not there.
EXPECTED = ("EventSource", "net::ERR_", "Failed to fetch", "status of 401", "status of 404", "status of 409")

Visit = Callable[..., Awaitable[Page]]


@pytest.fixture
async def visit(chromium: Browser) -> AsyncIterator[Visit]:
    """Open a page; what its console complains about fails the test at the end."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    async def go(
        url: str,
        *,
        dark: bool = False,
        locale: str = "zh-CN",
        width: int = 1440,
        height: int = 900,
        touch: bool = False,
    ) -> Page:
        context = await chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            locale=locale,
            timezone_id="Asia/Shanghai",
            has_touch=touch,
        )
        contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(8000)
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(url)
        return page

    yield go
    for context in contexts:
        await context.close()
    assert not [one for one in complaints if not any(expected in one for expected in EXPECTED)]


@pytest.fixture
def enter(site: Site, visit: Visit) -> Visit:
    """Sign in as 林晓 and stand before the desk."""

    async def go(path: str = "/", **how: object) -> Page:
        page = await visit(site.url + "/login", **how)
        await page.fill("[name=email]", "linxiao@qinghe.example")
        await page.fill("[name=password]", PASSWORD)
        await page.press("[name=password]", "Enter")
        await page.wait_for_selector("html[data-ready]")
        if path != "/":
            await page.goto(site.url + path)
            await page.wait_for_selector("html[data-ready]")
        return page

    return go

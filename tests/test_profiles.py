"""A profile of the browser that outlives a test keeps nothing of it; what it could keep, ends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from playwright.async_api import BrowserContext, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from tests.browser import visiting
from tests.profiles import Profiles
from zhiban.testing.serving import served

LOOK = {"viewport": {"width": 390, "height": 844}, "locale": "zh-CN", "has_touch": True}
# Everything that a page can leave behind, in a window that it names.
LEFT = """async () => {
  window.name = 'left'
  document.cookie = 'left=1'
  localStorage.left = sessionStorage.left = 1
  await (await caches.open('left')).put('/left', new Response('left'))
  await new Promise(resolve => { indexedDB.open('left').onsuccess = resolve })
  await navigator.serviceWorker.register('/worker.js')
  await navigator.serviceWorker.ready
  await fetch('/day')
  new BroadcastChannel('left').onmessage = () => fetch('/heard')
  history.pushState(null, '', '/further')
}"""
FOUND = """async () => {
  new BroadcastChannel('left').postMessage('anybody?')
  await fetch('/day')
  return [
    window.name, document.cookie, localStorage.length, sessionStorage.length, history.length,
    await caches.keys(), (await indexedDB.databases()).length,
    (await navigator.serviceWorker.getRegistrations()).length, navigator.onLine, Notification.permission,
  ]
}"""
AGES = {"/day": "private, max-age=86400", "/for-ever": "public, max-age=31536000, immutable"}


class Town:
    """A server whose answers may be kept for a day, for good, or not at all. It counts who asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.app = Starlette(routes=[Route("/{path:path}", self.answer)])

    async def answer(self, request: Request) -> HTMLResponse:
        path = request.url.path
        self.asked[path] += 1
        headers = {"cache-control": AGES.get(path, "no-store")}
        return HTMLResponse("", headers=headers, media_type="text/javascript" if path == "/worker.js" else "text/html")


@pytest.fixture
async def town() -> AsyncIterator[tuple[Town, str]]:
    town = Town()
    async with served(town.app) as url:
        yield town, url


async def opened(profiles: Profiles, url: str) -> Page:
    page = await (await profiles.take(LOOK, lambda _request: None)).context.new_page()
    await page.goto(url)
    return page


async def test_whoever_takes_it_next_finds_it_as_new(profiles: Profiles, town: tuple[Town, str]) -> None:
    server, url = town
    page = await opened(profiles, url)
    new, context = await page.evaluate(FOUND), page.context
    await profiles.give_back()
    for _ in range(10):
        page = await opened(profiles, url)
        assert page.context is context
        await page.evaluate(LEFT)
        await context.add_cookies([{"name": "left", "value": "1", "url": "http://elsewhere.example"}])
        await (await context.new_page()).goto(url)  # nobody closes it
        await profiles.give_back()
        page = await opened(profiles, url)
        asked = server.asked["/day"]
        assert await context.cookies() == []
        assert await page.evaluate(FOUND) == new
        assert server.asked["/day"] == asked + 1
        assert server.asked["/heard"] == 0
        await profiles.give_back()


async def test_what_may_be_kept_for_good_is_kept(profiles: Profiles, town: tuple[Town, str]) -> None:
    server, url = town
    for _ in range(3):
        page = await opened(profiles, url)
        await page.evaluate("fetch('/for-ever')")
        await profiles.give_back()
    assert server.asked["/for-ever"] == 1
    page = await opened(profiles, url)
    await page.evaluate("fetch('/day')")
    await profiles.give_back()
    page = await opened(profiles, url)
    await page.evaluate("fetch('/for-ever')")
    await profiles.give_back()
    assert server.asked["/for-ever"] == 2  # a browser forgets everything or nothing


async def offline(page: Page) -> None:
    await page.context.set_offline(True)


async def permitted(page: Page) -> None:
    await page.context.grant_permissions(["notifications"])


async def routed(page: Page) -> None:
    await page.context.route("**/*", lambda route: route.abort())


async def scripted(page: Page) -> None:
    await page.context.add_init_script("window.name = 'somebody else'")


async def stopped(page: Page) -> None:
    await page.clock.install()


async def asked_by_devtools(page: Page) -> None:
    await (await page.context.new_cdp_session(page)).send("Emulation.setCPUThrottlingRate", {"rate": 2})


async def listened(page: Page) -> None:
    page.context.on("page", lambda page: page.close())


async def closed(page: Page) -> None:
    await page.context.close()


@pytest.mark.parametrize("does", [offline, permitted, routed, scripted, stopped, asked_by_devtools, listened, closed])
async def test_what_cannot_be_taken_back_ends_it(
    profiles: Profiles, town: tuple[Town, str], does: Callable[[Page], Awaitable[None]]
) -> None:
    page = await opened(profiles, town[1])
    await does(page)
    used: BrowserContext = page.context
    await profiles.give_back()
    assert page.is_closed()
    page = await opened(profiles, town[1])
    assert page.context is not used
    await profiles.give_back()


async def test_two_visitors_at_once_are_two(profiles: Profiles, town: tuple[Town, str]) -> None:
    for _ in range(2):
        one, other = await opened(profiles, town[1]), await opened(profiles, town[1])
        await one.evaluate(LEFT)
        assert one.context is not other.context
        assert await other.evaluate("[document.cookie, localStorage.length]") == ["", 0]
        await profiles.give_back()


async def looked(profiles: Profiles, url: str, does: str) -> str:
    """The title that a page has in the end. Fails as a test does that `visit` was given to."""
    async with visiting(profiles) as visit:
        page = await visit(url)
        await page.evaluate(does)
        await page.evaluate("new Promise(setTimeout)")
        return await page.title()


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("console.error('it hurts')", "it hurts"),
        ("console.warn('it may hurt')", "it may hurt"),
        ("setTimeout(() => { throw new Error('it broke') })", "it broke"),
        ("fetch('/conversations/undefined')", "an address made of nothing"),
    ],
)
async def test_what_a_page_complains_about_fails_its_own_test(
    profiles: Profiles, town: tuple[Town, str], does: str, said: str
) -> None:
    with pytest.raises(AssertionError, match=said):
        await looked(profiles, town[1], does)
    assert await looked(profiles, town[1], "document.title = 'quiet'") == "quiet"

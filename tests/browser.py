"""A browser to look at pages with: one for each worker, a profile as new for each visit."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from tests import slowness
from tests.profiles import Profiles

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Request

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("ZHIBAN_BROWSER") or next((found for name in NAMES if (found := shutil.which(name))), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--in-process-gpu",  # no graphics card draws: a process for one only costs, a seventh of the whole
    "--renderer-process-limit=1",  # for a profile: what one page compiled need not be compiled by the next
    "--js-flags=--no-opt --no-maglev",  # no page lives long enough to earn it back: a sixth where a rule book is asked
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# What the tests bring about themselves: networks cut off, pages that are not there, a sound before the first touch.
PATIENCE = 30_000  # milliseconds: only a test that fails waits so long
EXPECTED = (
    "EventSource",
    "net::ERR_",
    "Failed to fetch",
    "status of 401",
    "status of 404",
    "status of 409",
    "status of 503",
    "AudioContext",
)

NOTHING = frozenset({"null", "undefined", "NaN"})  # what an address has where a script had nothing to put there

Visit = Callable[..., Awaitable["Page"]]


async def holds(page: Page, expression: str) -> None:
    """Wait until an expression of JavaScript is true in the page. A function is evaluated once and then called; a bare
    expression would be evaluated anew with every look, which our Content Security Policy refuses from the second on."""
    await page.wait_for_function(f"() => {expression}")


def made_of_nothing(url: str) -> bool:
    """Whether a script built this address without having what belongs there."""
    return not NOTHING.isdisjoint(URL(url).path.split("/"))


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    from playwright.async_api import async_playwright, expect  # most tests need no browser

    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
async def profiles(chromium: Browser) -> Profiles:
    return Profiles(chromium)


@asynccontextmanager
async def visiting(profiles: Profiles) -> AsyncIterator[Visit]:
    """Open a page, with a session's `cookie` where one is given; what its console complains about fails the test."""
    complaints: list[str] = []

    def asked(request: Request) -> None:
        if made_of_nothing(request.url):
            said = f"{request.method} {request.url} ({request.resource_type} of {request.headers.get('referer')})"
            complaints.append(f"an address made of nothing: {said}")

    async def go(
        url: str,
        *,
        cookie: tuple[str, str] | None = None,
        dark: bool = False,
        locale: str = "zh-CN",
        width: int = 1440,
        height: int = 900,
        touch: bool = False,
    ) -> Page:
        look = {
            "viewport": {"width": width, "height": height},
            "color_scheme": "dark" if dark else "light",
            "locale": locale,
            "timezone_id": "Asia/Shanghai",
            "has_touch": touch,
        }
        context = (await profiles.take(look, asked)).context
        await slowness.slow_down(context)
        if cookie:
            origin = str(URL(url).origin())  # with a path, it would be the cookie of what lies below
            await context.add_cookies([{"name": cookie[0], "value": cookie[1], "url": origin}])
        page = await context.new_page()
        await slowness.slow_page_down(page)
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(url)
        return page

    try:
        yield go
    finally:
        await profiles.give_back()
    unexpected = [one for one in complaints if not any(expected in one for expected in EXPECTED)]
    assert not unexpected, unexpected


@pytest.fixture
async def visit(profiles: Profiles) -> AsyncIterator[Visit]:
    async with visiting(profiles) as go:
        yield go

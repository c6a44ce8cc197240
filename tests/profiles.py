"""Profiles of the browser that outlive a test, so that scripts and styles stay compiled. Nothing else stays.

Whoever takes a profile finds it as a new one is: no page, cookie or storage, and in its cache only what has its content
in its address. What a test did to it that this page does not take back ends it with that test.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from yarl import URL

from tests import slowness

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, CDPSession, Page, Request, Response

IDLE = 3  # profiles that wait for the next test: each has a process of its own
TAKEN_BACK = frozenset({"add_cookies", "clear_cookies", "cookies", "new_page"})  # by `Profile.begin` and `Profile.end`
STAYS = ("no-store", "immutable")  # answers that say so are kept nowhere, or may be kept for good

Asked = Callable[["Request"], None]


class Profile:
    """One profile, with a blank page that keeps its process between tests."""

    def __init__(self, context: BrowserContext, blank: Page, devtools: CDPSession) -> None:
        self.context = context
        self.spent = False  # it cannot be made as new again
        self._blank = blank
        self._devtools = devtools
        self._asked: Asked | None = None
        self._origins: set[URL] = set()
        self._cached = False
        context.on("request", self._on_request)
        context.on("response", self._on_response)
        for owner in (context, context.clock, context.credentials, context.tracing):
            for name, method in inspect.getmembers(owner, inspect.ismethod):
                if not name.startswith("_") and name not in TAKEN_BACK:
                    setattr(owner, name, self._spending(method))

    @classmethod
    async def opened(cls, browser: Browser, look: dict[str, Any]) -> Profile:
        context = await browser.new_context(**look)
        blank = await context.new_page()
        return cls(context, blank, await context.new_cdp_session(blank))

    async def begin(self, asked: Asked) -> None:
        """Make it as new. Not when the test before ends: what its pages still had on their way is answered by then."""
        self._asked = asked
        await self.context.clear_cookies()
        while self._origins:
            origin = str(self._origins.pop())
            await self._devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        if self._cached:
            await self._devtools.send("Network.clearBrowserCache")
            self._cached = False

    async def end(self) -> None:
        if self.spent:
            if not self.context.is_closed():
                await slowness.close(self.context)
            return
        for page in self.context.pages:
            if page is not self._blank:
                await page.close()

    def _on_request(self, request: Request) -> None:
        url = URL(request.url)
        if url.scheme in ("http", "https"):
            self._origins.add(url.origin())
        if self._asked:
            self._asked(request)

    def _on_response(self, response: Response) -> None:
        said = response.headers.get("cache-control", "")
        self._cached = self._cached or not any(one in said for one in STAYS)

    def _spending(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def spend(*args: Any, **kwargs: Any) -> Any:
            self.spent = True
            return method(*args, **kwargs)

        return spend


class Profiles:
    """Those of one worker."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._idle: list[tuple[dict[str, Any], Profile]] = []  # the one that was used last at the end
        self._taken: list[tuple[dict[str, Any], Profile]] = []

    async def take(self, look: dict[str, Any], asked: Asked) -> Profile:
        """A profile as new, for the test that runs."""
        found = next((one for one in reversed(self._idle) if one[0] == look), None)
        if found:
            self._idle.remove(found)
        else:
            found = look, await Profile.opened(self._browser, look)
        self._taken.append(found)
        await found[1].begin(asked)
        return found[1]

    async def give_back(self) -> None:
        """All that the test took."""
        while self._taken:
            look, profile = self._taken.pop()
            await profile.end()
            if not profile.spent:
                self._idle.append((look, profile))
        while len(self._idle) > IDLE:
            _, oldest = self._idle.pop(0)
            await oldest.context.close()

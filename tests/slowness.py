"""Pages on a slow machine, or far away, on purpose: a test that acts before a page is ready fails every time then.

`ZHIBAN_SLOW` names what is slow, several with commas: `cpu` (scripts and layout), `requests` (each leaves late, so that
they overtake each other) and `answers` (each arrives late, so that it may be older than what the page shows).
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page, Route

SLOW = frozenset(filter(None, os.environ.get("ZHIBAN_SLOW", "").split(",")))
KNOWN = frozenset({"cpu", "requests", "answers"})
CPU = 4  # times as long
REQUEST = (0.05, 0.4)  # seconds, drawn for each
ANSWER = (150, 400)  # milliseconds, drawn for each page
assert SLOW <= KNOWN, f"ZHIBAN_SLOW names some of {sorted(KNOWN)}, not {sorted(SLOW - KNOWN)}"


async def slow_down(context: BrowserContext) -> None:
    if "requests" in SLOW:
        await context.route("**/*", _late)


async def slow_page_down(page: Page) -> None:
    if SLOW & {"cpu", "answers"}:
        devtools = await page.context.new_cdp_session(page)
        if "cpu" in SLOW:
            await devtools.send("Emulation.setCPUThrottlingRate", {"rate": CPU})
        if "answers" in SLOW:
            conditions = {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
            await devtools.send("Network.enable")
            await devtools.send("Network.emulateNetworkConditions", {**conditions, "latency": random.randint(*ANSWER)})


async def _late(route: Route) -> None:
    if route.request.resource_type != "ping":  # said while a page is left: nothing waits for it
        await asyncio.sleep(random.uniform(*REQUEST))
    await route.continue_()


async def close(context: BrowserContext) -> None:
    if "requests" in SLOW:
        await context.unroute_all(behavior="ignoreErrors")  # what is on its way when a test ends
    await context.close()

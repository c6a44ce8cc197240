"""How soon a list on the screen follows what happens elsewhere."""

from __future__ import annotations

import asyncio

from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Site
from tests.desk.test_browser import says


async def test_what_somebody_resolves_is_theirs_to_look_back_at_and_shows_at_once(site: Site, enter: Visit) -> None:
    page, elsewhere = await enter("/?queue=mine&status=resolved"), await site.signed_in()
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url) if "/desk/list" in request.url else None)
    # By a clock that moves a fifth as fast as ours: the pace of a desk follows how long answers take.
    await page.clock.install()
    await page.reload()
    await page.wait_for_selector("html[data-ready]")
    await page.clock.pause_at(await page.evaluate("Date.now() + 1000"))

    async def fetches(count: int) -> int:
        """Milliseconds of the page until it has asked for so many lists."""
        passed = 0
        async with asyncio.timeout(60):
            while len(fetched) < count:
                await page.clock.run_for(10)
                await asyncio.sleep(0.05)
                passed += 10
        return passed

    await says(site, "顾南乔", "还在吗")  # 陈默's, and stays his
    await fetches(len(fetched) + 1)
    await elsewhere.post(f"/conversations/{site.seed.conversations['顾南乔']}/resolve", {}, hx_request="true")
    assert await fetches(len(fetched) + 1) < 3000  # as long as numbers may wait
    await page.clock.resume()
    await expect(page.locator(".conv", has_text="顾南乔")).to_be_visible()

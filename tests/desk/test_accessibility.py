"""What a rule book for accessible pages (axe) says of ours, and what those hear who do not see them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Page, ViewportSize, expect

from tests.browser import Visit, holds
from tests.desk.addresses import ADDRESSES, COLLEAGUE
from tests.desk.conftest import Client, Site
from tests.desk.test_browser import opened, says
from tests.desk.test_survey_page import asked
from tests.desk.test_ticket_drafts import begun
from tests.desk.test_wecom_settings import connected
from tests.desk.walking import Walk, addresses, begin_walk
from zhiban.people import first_owner
from zhiban.people.auth import COOKIE

pytestmark = pytest.mark.browser

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "rules": {"label-content-name-mismatch": {"enabled": True}},
    "resultTypes": ["violations"],  # of what is right, nobody wants to know every place
    "preload": {"assets": ["media"]},  # style sheets are read for no rule that is asked for: a sixth of a page's time
}
# Only what is wrong leaves the browser: the whole verdict is a hundred times as much.
JUDGED = """
async rules => (await axe.run(rules)).violations.flatMap(
  one => one.nodes.map(node => `${one.id}: ${node.html.slice(0, 160)}`))"""


# What has no page of its own: files, and what others' servers call or lead back to.
NO_PAGE = {
    "/attachments/{attachment_id}",
    "/attachments/{attachment_id}/playback",
    "/f/{token}",
    "/desk/action-files/{file_id}",
    "/desk/files/{file_id}",
    "/login/sso/{workspace_id}/{provider_id}",
    "/me/logins/{provider_id}",
    "/settings/trackers/app/installed/{public_id}",
}
# Pages that say what went wrong.
REFUSALS = {"/login/sso/callback", "/settings/trackers/app"}
# Other looks of pages, by something behind a question mark, and one that is not there.
ALSO = (
    "/tickets?view=board",
    "/tickets/new?conversation=1",
    "/settings/views/new?look=1",
    "/?queue=all&filter=" + quote('{"conditions": [{"kind": "waiting", "minutes": 600}]}'),
    "/nowhere",
)
WIDE, PHONE = ViewportSize(width=1440, height=900), ViewportSize(width=390, height=844)
# Where a bar at the bottom of a page covers nothing any more.
TO_THE_END = "document.querySelectorAll('.scroll').forEach(one => one.scrollTo(0, one.scrollHeight))"
# How much further than the window a page reaches, in pixels.
TOO_WIDE = "Math.max(0, document.documentElement.scrollWidth - innerWidth)"
SHARES = 4  # as many tests, side by side


# What is still on its way in is paler than it will be.
STILL = """
document.querySelector('.htmx-request') === null && document.getAnimations().every(
  one => one.playState !== 'running' || one.effect.getComputedTiming().endTime === Infinity)"""


async def faults(page: Page) -> list[str]:
    await holds(page, STILL)
    return await violations(page)


async def violations(page: Page) -> list[str]:
    """The same for a page on which something always moves."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE_SCRIPT)
    found: list[str] = await page.evaluate(JUDGED, RULES)
    return found


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)], ids=["wide", "narrow"])
async def test_the_desk_keeps_the_rules(site: Site, enter: Visit, width: int, height: int) -> None:
    page = await enter(width=width, height=height)
    assert await faults(page) == []
    await opened(page, "周予安")
    await expect(page.locator("h1:visible").last).to_have_text("周予安")
    assert await faults(page) == []
    await page.keyboard.press("Alt+p")
    await page.keyboard.press("Alt+a")
    assert await faults(page) == []
    await page.keyboard.press("Escape")
    await page.keyboard.press("Alt+m")
    assert await faults(page) == []
    await page.keyboard.press("Escape")
    await page.keyboard.press("Alt+g")
    assert await faults(page) == []


@asynccontextmanager
async def samples(site: Site) -> AsyncIterator[dict[str, str]]:
    """Addresses of pages that need something of their own to be there, by their paths."""
    owner, seed = await site.signed_in(), site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        setup = await first_owner.new_setup_link(tx, now=seed.clock.now())
    invited = await owner.post("/settings/people", COLLEAGUE)
    join = re.search(r"/join/[^\"<]+", invited.text)
    assert join is not None
    _, survey = await asked(site, "唐亦可")
    said = json.loads((await owner.get(f"/conversations/{seed.conversations['马骁']}/pickable")).text)
    draft = await begun(owner, seed.conversations["马骁"], said["yes"][:1])
    async with connected(site) as (_owner, _wecom, connection):
        yield {
            "/setup/{token}": f"/setup/{setup}",
            "/join/{token}": join[0],
            "/s/{token}": survey,
            "/ticket-drafts/{draft_id}": draft,
            "/settings/connections/{connection_id}/contacts": f"{connection}/contacts",
        }


async def pages(walk: Walk, owner: Client, known: dict[str, str], share: int) -> list[tuple[str, bool]]:
    """The address of each page of the desk in this share, and whether it is looked at without having signed in. Fails
    where an address is neither a page nor a part of one, a file or a way to somewhere else: then it needs a sample."""
    found: list[tuple[str, bool]] = []
    without: set[str] = set()
    paths = {path: address for address in addresses(walk.site) if (path := address.removeprefix("GET ")) != address}
    shared = sorted(paths.keys() - {"/stream"})[share::SHARES]
    for path in shared:
        address = paths[path]
        foreign = ADDRESSES[address].whom == "everybody"
        client = walk.site.client() if foreign else owner
        where = known.get(path) or walk.filled(path)
        answer = await client.get(where)
        whole = answer.headers.get("content-type", "").startswith("text/html") and "<html" in answer.text[:500]
        if whole and (answer.status == 200 or path in REFUSALS):
            found.append((where, foreign))
        elif answer.status not in (200, 303):
            without.add(path)
    assert without == NO_PAGE.intersection(shared)
    return found + [(where, False) for where in ALSO[share::SHARES]]


@pytest.mark.parametrize("share", range(SHARES))
async def test_every_page_keeps_the_rules(site: Site, visit: Visit, share: int) -> None:
    walk, owner = await begin_walk(site), await site.signed_in()
    async with samples(site) as known:
        found = await pages(walk, owner, known, share)
        inside = await visit(site.url + "/me", cookie=(COOKIE, await site.session()))
        outside = await visit(site.url + "/login")
        for page in (inside, outside):
            await page.add_init_script(AXE_SCRIPT)  # half a megabyte, sent once
        wrong: dict[str, list[str]] = {}
        for where, foreign in found:
            page = outside if foreign else inside
            await page.goto(site.url + where)
            said = await faults(page)
            # Once more at the other end of what pages are seen on: a phone in the dark.
            await page.set_viewport_size(PHONE)
            await page.emulate_media(color_scheme="dark")
            await page.evaluate(TO_THE_END)
            said += [f"dark, on a phone: {one}" for one in await faults(page)]
            if wider := await page.evaluate(TOO_WIDE):
                said.append(f"on a phone: {wider} px too wide")
            await page.emulate_media(color_scheme="light")
            await page.set_viewport_size(WIDE)
            if said:
                wrong[where] = said
    assert wrong == {}


async def test_news_is_said_aloud(site: Site, enter: Visit) -> None:
    page = await enter("/?queue=unassigned")
    await page.mouse.move(900, 400)
    await says(site, "马骁", "又来一句")
    await expect(page.locator("#said")).to_have_text("马骁发来新消息")
    assert await page.get_attribute("#said", "aria-live") == "polite"
    await page.click("#queue-mine")  # another queue is no news
    await expect(page.locator("#list")).to_have_attribute("data-queue", "mine")
    await expect(page.locator("#said")).to_have_text("马骁发来新消息")
    await opened(page, "周予安")
    await expect(page.get_by_role("log", name="消息")).to_have_attribute("aria-live", "polite")
    await expect(page.locator("summary.owner")).to_have_accessible_name("处理人：林晓")

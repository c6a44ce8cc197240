"""What a rule book for accessible pages (axe) says of ours, and what those hear who do not see them."""

from __future__ import annotations

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.browser import Visit, holds
from tests.desk.conftest import Site
from tests.desk.test_browser import opened, says

pytestmark = pytest.mark.browser

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "rules": {"label-content-name-mismatch": {"enabled": True}},
}


PAGES = (
    *("/tickets", "/tickets?view=board", "/tickets/new?conversation=1"),
    *("/settings/health", "/settings/people", "/settings/labels", "/settings/teams", "/me", "/nowhere"),
    *("/settings/inboxes", "/settings/inboxes/1", "/settings/inboxes/1/policy"),
    *("/settings/tokens", "/settings/notifiers", "/settings/sessions", "/settings/retention", "/settings/audit"),
    *(
        "/settings/sign-in",
        "/settings/reminders",
        "/settings/repositories",
        "/settings/conversation-fields",
        "/workspaces",
    ),
)


# What is still on its way in is paler than it will be.
STILL = """
document.querySelector('.htmx-request') === null && document.getAnimations().every(
  one => one.playState !== 'running' || one.effect.getComputedTiming().endTime === Infinity)"""


async def faults(page: Page) -> list[str]:
    await holds(page, STILL)
    found = await Axe().run(page, options=RULES)
    return [f"{one['id']}: {node['html'][:160]}" for one in found.response["violations"] for node in one["nodes"]]


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


async def test_the_other_pages_keep_the_rules(site: Site, enter: Visit) -> None:
    page = await enter()
    for path in PAGES:
        await page.goto(site.url + path)
        assert await faults(page) == [], path
    await page.context.clear_cookies()
    await page.goto(site.url + "/login")
    assert await faults(page) == []


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

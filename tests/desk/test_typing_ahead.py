"""What is typed before what was asked for is there: it belongs to that, and goes out to nobody."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser import Visit
from tests.desk.conftest import Site
from tests.desk.test_browser import BOX, opened
from tests.desk.test_entries import REFUND, write


async def held(page: Page, url: str) -> asyncio.Event:
    """Keep these requests until the event is set."""
    going = asyncio.Event()

    async def late(route: Route) -> None:
        await going.wait()
        await route.continue_()

    await page.route(url, late)
    return going


@pytest.mark.browser
@pytest.mark.parametrize(
    ("keys", "waits", "field", "typed"),
    [
        ("Alt+b", "**/lazy/entries.js*", "#kb-q", "退款"),
        ("Alt+b", "**/knowledge", "#kb-q", "退款"),
        ("Alt+s", "**/desk/emoji", "#emo-q", "heart"),
        ("Control+k", "**/command", "#cmd-q", "工单"),
    ],
)
async def test_a_search_is_typed_before_its_field_is_there(
    site: Site, enter: Visit, keys: str, waits: str, field: str, typed: str
) -> None:
    await write(site, ("怎么申请退款", REFUND), ("换货的运费", "我们出。"))
    page = await enter()
    await opened(page, "周予安")
    box, found = page.locator(BOX), page.locator(field)
    await page.keyboard.type("您好，")
    going = await held(page, waits)
    await page.keyboard.press(keys)
    await page.keyboard.type(typed)
    await page.keyboard.press("Enter")
    going.set()
    await expect(found).to_be_focused()
    await expect(found).to_have_value(typed)
    await page.keyboard.press("Escape")
    await expect(box).to_be_focused()
    await expect(box).to_have_value("您好，")
    await expect(page.locator("#sending .msg")).to_have_count(0)


@pytest.mark.browser
async def test_escape_gives_up_what_has_not_come_yet(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    box = page.locator(BOX)
    await page.keyboard.type("您好")
    going = await held(page, "**/knowledge")
    await page.keyboard.press("Alt+b")
    await page.keyboard.type("算了")
    await page.keyboard.press("Escape")
    await expect(box).to_be_focused()
    await page.keyboard.type("，")
    going.set()
    await expect(page.locator("input[aria-busy]")).to_have_count(0)
    await expect(page.locator("#kb")).to_have_count(0)
    await expect(box).to_have_value("您好，")
    await expect(box).to_be_focused()


@pytest.mark.browser
async def test_enter_behind_a_slash_waits_for_what_it_offers(site: Site, enter: Visit) -> None:
    lin = await site.signed_in()
    await lin.post("/settings/snippets", {"name": "发票说明", "text": "发票在订单里申请。", "shared": "true"})
    page = await enter()
    await opened(page, "周予安")
    box = page.locator(BOX)
    going = await held(page, "**/snippets")
    await page.keyboard.type("/fp")
    await page.keyboard.press("Enter")
    await expect(box).to_have_value("/fp")
    going.set()
    await expect(page.locator("#slash .opt")).to_have_text(["发票说明"])
    await page.keyboard.press("Enter")
    await expect(box).to_have_value("发票在订单里申请。")
    await expect(page.locator("#sending .msg")).to_have_count(0)

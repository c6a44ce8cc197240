"""Answers that were put together before a draft was saved and arrive after it: what was typed is what is shown."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser import Visit, holds
from tests.desk.conftest import Site
from tests.desk.test_browser import BOX, opened
from tests.desk.test_composer import drafted, write
from tests.desk.test_typing_ahead import held

pytestmark = pytest.mark.browser

CONVERSATION = re.compile(r"/conversations/\d+(\?|$)")
# Neither a draft nor a reply of this browser is still on its way.
ARRIVED = """Object.entries(localStorage).filter(([key]) => key.startsWith('zhiban:unsaved'))
    .every(([, one]) => !Object.keys(JSON.parse(one).drafts).length && !Object.keys(JSON.parse(one).unsent).length)"""
MODES = [("Alt+l", "reply"), ("Alt+p", "note")]


async def overtaken(page: Page, meanwhile: Callable[[], Awaitable[None]]) -> None:
    """Let the next answer with a conversation arrive late: this happens between its making and its arrival."""

    async def late(route: Route) -> None:
        answer = await route.fetch()
        await meanwhile()
        await route.fulfill(response=answer)

    await page.route(CONVERSATION, late, times=1)


@pytest.mark.parametrize(("key", "mode"), MODES)
async def test_who_comes_back_finds_the_last_letters(site: Site, enter: Visit, key: str, mode: str) -> None:
    page = await enter()
    await opened(page, "周予安")
    await page.keyboard.press(key)
    await write(page, "先看一下")
    await drafted(site, "周予安", {mode: "先看一下"})
    going = await held(page, "**/draft")

    async def saved() -> None:
        going.set()
        await holds(page, ARRIVED)

    await write(page, "，再回您")
    await opened(page, "沈嘉宁")
    await overtaken(page, saved)
    await opened(page, "周予安")
    await expect(page.locator(BOX)).to_have_value("先看一下，再回您")
    await page.locator(BOX).press("End")
    await write(page, "。")
    await drafted(site, "周予安", {mode: "先看一下，再回您。"})


@pytest.mark.parametrize(("key", "mode"), MODES)
async def test_a_page_that_is_loaded_anew_has_the_last_letters(site: Site, enter: Visit, key: str, mode: str) -> None:
    page = await enter()
    await opened(page, "周予安")
    await page.keyboard.press(key)
    await write(page, "先看一下")
    await drafted(site, "周予安", {mode: "先看一下"})
    beside = await page.context.new_page()  # a page that is being left cannot be asked
    await beside.goto(f"{site.url}/search")
    await page.bring_to_front()
    going = await held(page, "**/draft")

    async def saved() -> None:
        going.set()
        await holds(beside, ARRIVED)

    async with page.expect_request("**/draft"):
        await write(page, "，再回您")
    await overtaken(page, saved)
    await page.reload()
    await page.wait_for_selector("html[data-ready]")
    await expect(page.locator(BOX)).to_have_value("先看一下，再回您")
    await page.locator(BOX).press("End")
    await write(page, "。")
    await drafted(site, "周予安", {mode: "先看一下，再回您。"})


async def test_what_was_sent_meanwhile_is_no_draft_again(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    await write(page, "已经寄出了")
    await drafted(site, "周予安", {"reply": "已经寄出了"})
    going = await held(page, "**/replies")

    async def arrived() -> None:
        going.set()
        await holds(page, ARRIVED)

    await page.keyboard.press("Enter")
    await opened(page, "沈嘉宁")
    await overtaken(page, arrived)
    await opened(page, "周予安")
    await expect(page.locator(BOX)).to_have_value("")
    await drafted(site, "周予安", {})


async def test_two_windows_show_what_was_written_last(site: Site, enter: Visit) -> None:
    first = await enter()
    second = await first.context.new_page()
    await second.goto(first.url)
    await second.wait_for_selector("html[data-ready]")
    await opened(first, "周予安")
    await write(first, "先看一下")
    await drafted(site, "周予安", {"reply": "先看一下"})
    await opened(first, "沈嘉宁")
    await opened(second, "周予安")

    async def written() -> None:
        await second.locator(BOX).press("End")
        await write(second, "，再回您")
        await drafted(site, "周予安", {"reply": "先看一下，再回您"})
        await holds(second, ARRIVED)

    await overtaken(first, written)
    await opened(first, "周予安")
    await expect(first.locator(BOX)).to_have_value("先看一下，再回您")
    # And the other way round: what the server was asked for after it is what counts.
    await first.locator(BOX).press("End")
    await write(first, "。")
    await drafted(site, "周予安", {"reply": "先看一下，再回您。"})
    await holds(first, ARRIVED)
    await second.reload()
    await expect(second.locator(BOX)).to_have_value("先看一下，再回您。")

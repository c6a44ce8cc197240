"""Picking messages in the thread, with the mouse, with keys and with a finger, up to the ticket."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from playwright.async_api import Route, expect

from tests.browser import Visit
from tests.desk.conftest import Site
from tests.desk.test_accessibility import faults
from tests.desk.test_ticket_drafts import repository
from tests.desk.test_tickets import rows

PICTURES = os.environ.get("ZHIBAN_PICTURES", "")


async def test_messages_are_picked_with_keys_mouse_and_finger(site: Site, enter: Visit) -> None:
    await repository(site)
    conversation = site.seed.conversations["周予安"]
    page = await enter(f"/conversations/{conversation}")
    bar, ticks = page.locator("#pickbar"), page.locator("#messages .tick:not(:disabled)")
    # The page changes, and picking is given up and begun again, before the server has said what may be picked.
    asked, again, said = 0, asyncio.Event(), asyncio.Event()

    async def slow(route: Route) -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            again.set()
        await said.wait()
        await route.continue_()

    await page.route("**/pickable?*", slow)
    for _ in range(3):
        await page.keyboard.press("Alt+t")
        await page.evaluate("document.dispatchEvent(new CustomEvent('htmx:after:swap'))")
    async with asyncio.timeout(30):
        await again.wait()
    said.set()
    await expect(bar).to_have_count(1)
    await expect(bar.locator("b")).to_have_text("选要放进工单的消息")
    await expect(ticks.last).to_be_focused()
    await page.keyboard.press("Space")
    await page.keyboard.press("Shift+ArrowUp")
    await page.keyboard.press("Shift+ArrowUp")
    await expect(bar.locator("b")).to_have_text("选了3条")
    await page.keyboard.press("Escape")
    await expect(bar).to_have_count(0)
    await expect(page.locator("#messages .tick")).to_have_count(0)

    await page.get_by_role("link", name="选消息开工单").first.click()
    messages = page.locator("#messages .msg:not([data-off])")
    await expect(bar).to_have_count(1)
    await messages.nth(0).locator(".say").click()
    await messages.nth(2).locator(".say").click(modifiers=["Shift"])
    await expect(bar.locator("b")).to_have_text("选了3条")
    await messages.nth(1).locator(".tick").click()
    await expect(bar.locator("b")).to_have_text("选了2条")
    assert await faults(page) == []
    if PICTURES:
        await page.screenshot(path=Path(PICTURES) / "pick.png")
    # Others write meanwhile: what was picked stays, and nothing more is.
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        tx.publish_after_commit("conversation_changed", conversation)
    await expect(bar.locator("b")).to_have_text("选了2条")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/ticket-drafts/*")
    await page.select_option("[name=repository]", label="qinghe/sync（公开）")
    await expect(page.locator("#h-dup")).to_have_text("可能重复")
    assert await faults(page) == []
    if PICTURES:
        await page.screenshot(path=Path(PICTURES) / "draft.png", full_page=True)
    await page.locator("[name=title]").fill("验签失败")
    await page.keyboard.press("Control+Enter")
    await page.wait_for_url("**/tickets/*")
    await expect(page.locator("h1.title")).to_have_text("验签失败")

    phone = await enter(f"/conversations/{conversation}", width=390, height=844, touch=True)
    await phone.locator(".thread__card").tap()
    await phone.locator("#tickets [data-pick-messages]").tap()
    await expect(phone.locator("#pickbar")).to_have_count(1)
    await phone.locator("#messages .msg:not([data-off])").nth(0).locator(".say").tap()
    await expect(phone.locator("#pickbar b")).to_have_text("选了1条")
    if PICTURES:
        await phone.screenshot(path=Path(PICTURES) / "pick-390.png")
    await phone.locator("#pickbar [name=join]").tap()
    await phone.wait_for_url("**/ticket-drafts/*")
    if PICTURES:
        await phone.screenshot(path=Path(PICTURES) / "draft-390.png")
    await phone.get_by_role("button", name="加到这张").tap()
    await phone.wait_for_url("**/tickets/*")
    assert await rows(site, "select count(*)::int from ticket") == [(1,)]


async def test_what_is_clicked_before_the_server_has_answered_is_picked(site: Site, enter: Visit) -> None:
    await repository(site)
    page = await enter(f"/conversations/{site.seed.conversations['周予安']}")
    picking, said = page.get_by_role("link", name="选消息开工单").first, asyncio.Event()

    async def slow(route: Route) -> None:
        await said.wait()
        await route.continue_()

    await page.route("**/pickable?*", slow)
    messages = page.locator("#messages .msg[data-mid]")
    # What was clicked for one picking, which was given up, is not picked in the next.
    await picking.click()
    await messages.nth(1).locator(".say").click()
    await picking.click()
    await picking.click()
    await messages.nth(0).locator(".say").click()
    await messages.nth(2).locator(".say").click(modifiers=["Shift"])
    await messages.nth(1).locator(".say").click()
    await expect(page.locator("#pickbar")).to_have_count(0)
    said.set()
    await expect(page.locator("#pickbar b")).to_have_text("选了2条")
    assert [await messages.nth(n).locator(".tick").is_checked() for n in range(3)] == [True, False, True]

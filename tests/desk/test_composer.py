"""Writing to a contact in a real browser: what it costs, what is refused before it is sent; no word is ever lost."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import parse_qs

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser import Visit, holds
from tests.desk.conftest import Site
from tests.desk.test_browser import BOX, opened

pytestmark = pytest.mark.browser

SEND = "#compose button[data-for=reply].btn"


async def cut_off(route: Route) -> None:
    await route.abort()


async def drafted(site: Site, who: str, texts: dict[str, str], *, within: float = 30) -> None:
    """Wait until the server keeps these drafts of this conversation, and no others."""
    deadline = time.monotonic() + within
    while True:
        async with site.seed.database.transaction(site.seed.workspace_id) as tx:
            rows = await tx.rows(
                "select mode, text from draft where conversation_id = %(id)s", id=site.seed.conversations[who]
            )
        if dict(rows) == texts:
            return
        assert time.monotonic() < deadline, rows
        await asyncio.sleep(0.02)


async def write(page: Page, text: str) -> None:
    await page.locator(BOX).press_sequentially(text)


async def test_a_reply_that_failed_is_a_draft_again_when_the_conversation_is_left(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    await page.route("**/replies", cut_off)
    await write(page, "没有发出去的一句")
    await page.keyboard.press("Enter")
    await expect(page.locator("#sending .msg[data-state=failed]")).to_contain_text("没有发出：网络不通")
    await write(page, "后来写的")
    await opened(page, "沈嘉宁")
    await drafted(site, "周予安", {"reply": "没有发出去的一句\n后来写的"})
    await expect(page.locator(".conv:has-text('周予安') .draft")).to_be_visible()
    await opened(page, "周予安")
    await expect(page.locator(BOX)).to_have_value("没有发出去的一句\n后来写的")
    await expect(page.locator("#sending .msg")).to_have_count(0)


async def test_what_is_typed_without_a_network_outlives_the_page(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    await page.route("**/draft", cut_off)
    await page.route("**/replies", cut_off)
    await write(page, "发不出去的")
    await page.keyboard.press("Enter")
    await expect(page.locator("#sending .msg[data-state=failed]")).to_be_visible()
    await write(page, "写到一半的")
    await page.reload()
    await page.wait_for_selector("html[data-ready]")
    await expect(page.locator(BOX)).to_have_value("发不出去的\n写到一半的")
    await page.unroute("**/draft")
    await page.locator(BOX).press("End")
    await write(page, "。")
    await drafted(site, "周予安", {"reply": "发不出去的\n写到一半的。"})
    # Nothing of it stays on this machine, once the answer is there.
    await holds(page, "!Object.keys(localStorage).some((key) => key.startsWith('zhiban:unsaved'))")


async def test_a_reply_and_a_note_are_written_apart(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    await write(page, "给对方的")
    await page.keyboard.press("Alt+p")
    await expect(page.locator(BOX)).to_have_value("")
    await write(page, "给同事的")
    await expect(page.locator("#compose .keys")).to_contain_text("添加")
    await opened(page, "沈嘉宁")
    await drafted(site, "周予安", {"reply": "给对方的", "note": "给同事的"})
    await opened(page, "周予安")
    await expect(page.locator("#compose")).to_have_attribute("data-mode", "note")
    await expect(page.locator(BOX)).to_have_value("给同事的")
    await page.keyboard.press("Enter")
    await expect(page.locator("#messages .msg[data-by=note]").last).to_contain_text("给同事的")
    await page.keyboard.press("Alt+l")
    await expect(page.locator(BOX)).to_have_value("给对方的")
    await drafted(site, "周予安", {"reply": "给对方的"})


async def test_a_long_reply_says_how_many_messages_it_takes_and_is_never_cut(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    await page.fill(BOX, "很长的一段话。" * 100)
    await expect(page.locator("#parts")).to_have_text("会分成2条发出")
    await expect(page.locator(SEND)).to_be_enabled()
    words = "很长的一段话。" * 600
    await page.fill(BOX, words)
    await expect(page.locator("#parts")).to_have_text("要7条才发得完，只剩5条，请缩短")
    await expect(page.locator(SEND)).to_be_disabled()
    await page.keyboard.press("Enter")
    await expect(page.locator("#sending .msg")).to_have_count(0)
    await expect(page.locator(BOX)).to_have_value(words)
    await page.fill(BOX, "短了。")
    await expect(page.locator("#parts")).to_have_text("")
    await expect(page.locator(SEND)).to_be_enabled()


async def test_words_that_the_server_refuses_come_back_with_the_reason(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    await page.route(
        "**/replies", lambda route: route.fulfill(status=409, body="对方再发来消息之前，平台不允许任何人回复。")
    )
    await write(page, "来不及了")
    await page.keyboard.press("Enter")
    await expect(page.locator("#toasts")).to_contain_text("平台不允许任何人回复")
    await expect(page.locator(BOX)).to_have_value("来不及了")
    await expect(page.locator("#sending .msg")).to_have_count(0)


async def test_when_colleagues_use_up_the_replies_sending_stops_at_once(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    await write(page, "我也想回一句")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        for number in range(5):
            await site.seed.replies(tx, "周予安", f"第{number}条", by="陈默", at=site.seed.clock.now())
    await expect(page.locator(SEND)).to_be_disabled()
    await expect(page.locator(SEND)).to_have_attribute("title", "现在不能回复")
    await expect(page.locator("#strip")).to_contain_text("这次的5条已用完，等对方再说话才能回复")
    await page.keyboard.press("Enter")
    await expect(page.locator("#sending .msg")).to_have_count(0)
    await expect(page.locator(BOX)).to_have_value("我也想回一句")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await site.seed.says(tx, "周予安", "还在吗", at=site.seed.clock.now())
    await expect(page.locator(SEND)).to_be_enabled()
    await expect(page.locator(BOX)).to_have_value("我也想回一句")


async def test_a_window_that_ends_while_nothing_happens_closes_by_itself(site: Site, enter: Visit) -> None:
    page = await enter()
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run(
            "update conversation set last_incoming_at = %(now)s - interval '48 hours' + interval '6 seconds' "
            "where id = %(id)s",
            now=site.seed.clock.now(),
            id=site.seed.conversations["周予安"],
        )
    await opened(page, "周予安")
    await expect(page.locator(SEND)).to_be_enabled()
    await expect(page.locator(SEND)).to_be_disabled()
    await expect(page.locator("#strip")).to_contain_text("48小时已过")


async def test_without_a_network_a_row_says_that_it_did_not_open(site: Site, enter: Visit) -> None:
    page = await enter()
    await page.route("**/conversations/*", cut_off)
    await page.click(".conv:has-text('周予安')")
    await expect(page.locator("#toasts")).to_have_text("没有打开：网络不通")


async def test_a_reply_says_which_suggestion_it_was_made_of(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    async with page.expect_response("**/suggestion/confirm") as answer:
        await page.get_by_role("button", name="这就是答案").click()
    assert (await answer.value).status == 200
    await expect(page.locator("#toasts .toast")).to_contain_text("没有新的可记")  # the double's names no message
    await page.locator("#suggestion [data-adopt]").click()
    await write(page, "有事再找我。")
    async with page.expect_request("**/replies") as sent:
        await page.locator(SEND).click()
    form = parse_qs((await sent.value).post_data or "")
    assert form["text"] == ["可以的，我先把会话搁置到今晚 10:30。有事再找我。"]
    assert form["adopted"] == ["0:0"]
    await write(page, "另外的一句")
    async with page.expect_request("**/replies") as sent:
        await page.locator(SEND).click()
    assert "adopted" not in parse_qs((await sent.value).post_data or "")


async def test_two_who_answer_at_once_are_told_and_no_word_is_lost(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    zhou = site.seed.conversations["周予安"]
    await write(page, "我也来回一句")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await site.seed.replies(tx, "周予安", "我是陈默，已经处理", by="陈默", at=site.seed.clock.now())
    await page.keyboard.press("Enter")
    await expect(page.locator("#toasts")).to_contain_text("陈默刚刚回复了")
    await expect(page.locator(BOX)).to_have_value("我也来回一句")
    await expect(page.locator("#messages")).to_contain_text("我是陈默，已经处理")
    await page.locator(BOX).press("Enter")
    await expect(page.locator("#messages .msg").last).to_contain_text("我也来回一句")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        sent = await tx.values(
            "select text from message where conversation_id = %(id)s and direction = 'out' order by id desc limit 2",
            id=zhou,
        )
    assert sent == ["我也来回一句", "我是陈默，已经处理"]

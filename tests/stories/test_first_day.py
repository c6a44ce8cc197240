"""The first day of a desk, in the browser: from the setting up until a returning contact reaches another colleague."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect
from tests.browser import Visit
from tests.stories.conftest import Shop

from zhiban.kit.clock import SystemClock
from zhiban.people import first_owner

pytestmark = pytest.mark.browser

LI = "wmLIXIAO"
PASSWORD = "a long sentence"
ROW = ".conv"
BOX = "#compose textarea:visible"


async def _writes(page: Page, key: str, words: str) -> None:
    await page.keyboard.press(key)
    await expect(page.locator(BOX)).to_be_focused()
    await page.keyboard.type(words)
    await page.keyboard.press("Enter")
    await expect(page.locator("#messages .msg").last).to_contain_text(words)


async def test_from_the_setting_up_to_the_contact_who_comes_back(shop: Shop, visit: Visit) -> None:
    await shop.behaves(assignment={"by": "balanced"})
    async with shop.work() as tx:
        token = await first_owner.new_setup_link(tx, now=SystemClock().now())
    lin = await visit(f"{shop.url}/setup/{token}")
    await lin.get_by_label("您的名字").fill("林晓")
    await lin.get_by_label("邮箱").fill("linxiao@example.test")
    await lin.get_by_label("密码").fill(PASSWORD)
    await lin.get_by_role("button", name="开始使用").click()
    await lin.wait_for_selector("html[data-ready]")

    await lin.goto(f"{shop.url}/settings/people")
    form = lin.locator("form[action='/settings/people']")
    await form.get_by_label("名字").fill("陈默")
    await form.get_by_label("邮箱").fill("chenmo@example.test")
    await form.get_by_role("button", name="添加").click()
    link = await lin.locator("#link").input_value()

    # She is the only one there, so she is given it; she answers, notes and puts it off.
    await lin.goto(f"{shop.url}/")
    await shop.says(LI, "转人工")
    await lin.click(ROW)
    await _writes(lin, "Alt+l", "您好，我是林晓")
    await shop.wecom.until_sent(LI, 2)
    await _writes(lin, "Alt+p", "等仓库回话")
    await lin.keyboard.press("Alt+m")
    await lin.keyboard.press("Enter")
    await expect(lin.locator(".toast")).to_contain_text("搁置到")
    await shop.becomes("snoozed")
    await shop.says(LI, "还没有消息吗", answers=0)
    await lin.click(ROW)
    await expect(lin.locator("#messages")).to_contain_text("还没有消息吗")
    await lin.reload()  # what stands there from the beginning counts as read at once
    await lin.wait_for_selector("html[data-ready]")
    await lin.keyboard.press("Alt+e")
    await expect(lin.locator(".toast").last).to_contain_text("已解决")
    resolved = await shop.becomes("resolved")
    assert resolved.assignee_id is None  # as the rule that comes with the program wants it

    chen = await visit(link)
    await chen.fill("[name=password]", PASSWORD)
    await chen.press("[name=password]", "Enter")
    await chen.wait_for_selector("html[data-ready]")
    await lin.click("#menu-me > summary")
    await lin.locator("#menu-me").get_by_role("button", name="离线").click()
    await shop.says(LI, "转人工")
    await chen.locator(ROW).click()
    await expect(chen.locator("summary.owner")).to_have_accessible_name("处理人：陈默")
    await expect(chen.locator("#messages")).to_contain_text("等仓库回话")
    facts = await shop.rows(
        "select a.name from event e join agent a on a.id = e.actor_id where e.kind = 'conversation_resolved'"
    )
    assert facts == [("林晓",)]

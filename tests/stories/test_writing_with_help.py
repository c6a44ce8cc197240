"""The assistant beside the agent: it puts a draft differently and sums up, in the browser, and never sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.browser import Visit
from tests.stories.conftest import Shop
from tests.stories.test_files import at_desk

from zhiban.people.auth import COOKIE
from zhiban.testing.llm import LlmSimulator

if TYPE_CHECKING:
    from playwright.async_api import Page

LI = "wmLIXIAO"


@pytest.mark.browser
async def test_a_draft_is_put_differently_undone_and_summed_up(
    thinking: tuple[Shop, LlmSimulator], visit: Visit
) -> None:
    from playwright.async_api import expect

    shop, model = thinking
    shop.wecom.contact_says(LI, "转人工，杯子有裂纹")
    await shop.eventually("select 1 from conversation where status = 'open'")
    conversation = (await shop.conversation()).id
    await shop.wecom.until_sent(LI, 1)  # that people will answer
    async with at_desk(shop) as desk:
        token = next(cookie.value for cookie in desk.http.cookie_jar if cookie.key == COOKIE)
        page: Page = await visit(f"{shop.url}/conversations/{conversation}", cookie=(COOKIE, token))
        await page.wait_for_selector("html[data-ready]")
        box, assist = page.locator("#compose-reply"), page.locator("#assist > summary")
        await box.fill("给您换一个。明天寄出。")
        await assist.click()
        await page.get_by_role("button", name="写短一点").click()
        await expect(box).to_have_value("给您换一个。")
        await page.keyboard.press("Control+z")
        await expect(box).to_have_value("给您换一个。明天寄出。")
        model.then('{"text": "给您换一个，另外赔您 88 元。"}')
        await assist.click()
        await page.get_by_role("button", name="更亲切").click()
        await expect(page.locator("#toasts")).to_contain_text("您没有写过")
        await expect(box).to_have_value("给您换一个。明天寄出。")
        await assist.click()
        await page.get_by_role("button", name="把会话概括成备注").click()
        await expect(page.locator("#compose-note")).to_have_value("对方问：转人工，杯子有裂纹")
    assert len(shop.wecom.sent(LI)) == 1

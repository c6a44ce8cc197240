"""The assistant beside the agent, in the browser: why, into the knowledge and back, versions; sound in both themes."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser import Visit, holds
from tests.desk.conftest import Site
from tests.desk.test_accessibility import STILL, faults
from tests.desk.test_browser import CONTRAST
from tests.desk.test_keeping import BARE, WHO, replied
from tests.desk.test_knowledge import SHIPS, written


@pytest.mark.browser
async def test_from_why_into_the_knowledge_and_back(site: Site, enter: Visit) -> None:
    seed, reply = site.seed, await replied(site, "稍等", SHIPS)
    await written(site, 支持哪些数据库=("MySQL、达梦和金仓。",), 怎么退款=("点申请退款。",))
    async with seed.database.transaction(seed.workspace_id) as tx:
        zhou = seed.conversations["周予安"]
        await tx.run(
            "insert into message_translation (workspace_id, message_id, language, text, created_at) "
            "select workspace_id, min(id), 'zh', '译好的话', now() from message where conversation_id = %(id)s "
            "and author = 'contact' group by 1",
            id=zhou,
        )
    page = await enter(f"/conversations/{zhou}")

    async def sound() -> None:
        assert await faults(page) == []
        for scheme in ("dark", "light"):
            await page.emulate_media(color_scheme=scheme)
            await holds(page, STILL)
            assert await page.evaluate(CONTRAST) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    await expect(page.locator(".say-in")).to_contain_text("译好的话")
    await page.locator(".why > summary").click()
    await expect(page.locator(".why__in h4").first).to_be_visible()
    await expect(page.locator(".why__in")).to_contain_text("会话由同事处理")
    await sound()
    await page.goto(f"{site.url}/conversations/{seed.conversations[WHO]}")
    await page.wait_for_selector("html[data-ready]")
    await page.locator(f'.msg[data-mid="{reply}"]').hover()
    await page.get_by_role("link", name="把这条回复加入知识库").last.click()
    asked = page.get_by_role("textbox", name="问题", exact=True)
    await expect(asked).to_have_value(BARE)
    await sound()
    await asked.fill("怎么退款")
    await expect(page.locator("#nearest")).to_contain_text("知识库里已经有这一条")
    await asked.fill("支持达梦数据库吗")
    await page.get_by_role("button", name="保存").click()
    await page.wait_for_url(f"**/conversations/{seed.conversations[WHO]}*")
    await page.get_by_role("link", name="已在知识库").click()
    await expect(page.get_by_role("textbox", name="答案")).to_have_value(SHIPS)
    await page.get_by_role("textbox", name="答案").fill(SHIPS + "金仓也可以。")
    await page.get_by_role("button", name="保存").click()
    await page.get_by_role("link", name=re.compile("1个旧版本")).click()
    await expect(page.locator(".diff ins")).to_contain_text("金仓也可以。")
    await sound()
    await page.goto(f"{page.url.split('?')[0]}?version=1&against=now")
    await page.get_by_role("button", name="恢复这一版").click()
    await expect(page.get_by_role("textbox", name="答案")).to_have_value(SHIPS)

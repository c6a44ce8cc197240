"""An owner connects a QQ account in the browser: a token made for it, an address, and what is seen once it is there."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import expect

from tests.desk.conftest import Visit
from tests.desk.test_accessibility import faults
from tests.desk.test_connecting import enter, owned
from zhiban.container import App
from zhiban.kit.settings import load
from zhiban.main import application
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.onebot import BOT, BOT_NAME, OneBotProgram
from zhiban.testing.serving import served

pytestmark = pytest.mark.browser

GROUP, LI = 700100, 20002


async def test_an_account_is_connected_answers_and_its_gap_and_a_stranger_are_told(
    urls: DatabaseUrls, tmp_path: Path, visit: Visit
) -> None:
    app = App.build(load(env_file=None, zhiban_data=tmp_path, zhiban_secret_key="a key for tests only"), urls)
    app.start_workers()
    async with served(application(app)) as url:
        page = await visit(f"{url}/login")
        await enter(page, url, await owned(app))
        await page.goto(f"{url}/settings/inboxes/new?vendor=onebot")
        await page.get_by_role("textbox", name="连接的名字").fill("qq-1")
        await page.get_by_role("button", name="保存，看下一步").click()
        token = await page.locator("#made-token").input_value()
        address = await page.locator("#callback").input_value()
        assert address.startswith(url.replace("http://", "ws://") + "/streams/")
        await expect(page.locator("#step-address")).to_have_attribute("data-state", "doing")
        assert await faults(page) == []

        async with OneBotProgram(token=token) as program:
            program.group(GROUP, "青禾用户群", {LI: "李华"})
            await program.connect(address)
            standing = page.locator("#gateway")
            await expect(standing).to_contain_text(f"已登录：{BOT_NAME}")
            await expect(page.locator("#step-address")).to_have_attribute("data-state", "done")
            await page.get_by_role("button", name="全部再查一次").click()
            await expect(page.locator("#step-account")).to_have_attribute("data-state", "done")
            at = {"type": "at", "data": {"qq": str(BOT)}}
            await program.says(LI, [at, {"type": "text", "data": {"text": " 怎么申请退款？"}}], group=GROUP)
            await expect(page.locator("#step-message")).to_have_attribute("data-state", "done")
            async with OneBotProgram(token=token, self_id=10001001) as other:
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await other.connect(address)
            await expect(page.locator("#refused")).to_contain_text("两个账号要用两个连接")
            await program.disconnect()
            await expect(standing).to_contain_text("等对方连上来")
            await program.connect(address)
            await expect(page.locator("#steps")).to_contain_text("可能漏了消息")
            await expect(standing).to_contain_text("已登录")
            await program.disconnect()
            await expect(standing).to_contain_text("等对方连上来")
            await program.connect(address)
            await expect(page.locator("#gaps")).to_contain_text("更早")  # the first is not forgotten
            await expect(standing).to_contain_text("已登录")
            assert await faults(page) == []

"""An owner connects a gateway in the browser, sees the code to scan, who is logged in, and when nobody listened."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.desk.conftest import Visit
from tests.desk.test_accessibility import faults
from tests.desk.test_connecting import enter, owned
from tests.integrations.wechaty import gateways
from zhiban.container import App
from zhiban.kit.settings import load
from zhiban.main import application
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.serving import served

pytestmark = pytest.mark.browser


async def test_a_gateway_is_connected_scanned_and_its_gap_is_told(
    urls: DatabaseUrls, tmp_path: Path, visit: Visit
) -> None:
    gateway = gateways.fresh()
    # Which hosts of the private network may be called is the operator's to say.
    settings = load(
        env_file=None, zhiban_data=tmp_path, zhiban_secret_key="a key for tests only", zhiban_private_hosts="127.0.0.1"
    )
    app = App.build(settings, urls)
    app.start_workers()
    async with served(application(app)) as url:
        page = await visit(f"{url}/login")
        await enter(page, url, await owned(app))
        await page.goto(f"{url}/settings/inboxes/new?vendor=wechaty")
        await page.get_by_role("textbox", name="网关的名字").fill("wx-1")
        await page.get_by_role("textbox", name="网关的地址").fill(f"127.0.0.1:{gateway.port}")
        await page.get_by_label("网关的Token").fill(gateways.TOKEN)
        await page.get_by_role("button", name="保存，看下一步").click()
        await expect(page.locator("#step-gateway")).to_have_attribute("data-state", "done")

        standing = page.locator("#gateway")
        await expect(standing).to_contain_text("正在连接网关")
        await gateway.play("scan", qrcode="http://weixin.qq.com/x/abcdef")
        await expect(page.locator("#login-code svg")).to_be_visible()
        assert await faults(page) == []
        await gateway.play("login")
        await expect(standing).to_contain_text(f"已登录：{gateways.BOT_NAME}")
        await expect(page.locator("#login-code")).to_have_count(0)
        await gateway.says("wxid_zhao", "在吗", to=gateways.BOT)
        await expect(standing).to_contain_text("最近一条消息")
        await gateway.play("drop")
        await expect(page.locator("#steps")).to_contain_text("可能漏了消息")
        await expect(standing).to_contain_text("已登录")
        assert await faults(page) == []

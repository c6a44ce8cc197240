"""An owner without a terminal: connecting WeCom in the browser until a contact's question is answered through it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from yarl import URL

from tests.desk.conftest import Visit
from tests.desk.test_accessibility import faults
from tests.stories.conftest import SHOP, until
from zhiban.container import App
from zhiban.kit.clock import SystemClock
from zhiban.kit.settings import load
from zhiban.knowledge import service as knowledge
from zhiban.main import application
from zhiban.people import service as people
from zhiban.people.auth import COOKIE
from zhiban.people.models import Role
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.serving import served
from zhiban.testing.wecom import asgi
from zhiban.testing.wecom.simulator import AGENT_ID, CORP_ID, SECRET, WeComSimulator

pytestmark = pytest.mark.browser

LI = "wmLIXIAO"
REFUSED = "not allow to access from your ip, from ip: 203.0.113.9"


async def owned(app: App) -> str:
    """An owner, and what the shop knows. Returns a session."""
    workspace_id = (await app.database.workspaces())[0]
    shop = app.settings.data / "shop.md"
    shop.write_text(SHOP)
    async with app.database.page_transaction(workspace_id) as tx:
        await knowledge.ensure_base(tx, "default", "知识库")
        id_ = await people.add_agent(tx, email="owner@example.test", name="林晓", role=Role.OWNER, password_hash=None)
        token = await people.open_session(tx, agent_id=id_, now=SystemClock().now())
    await knowledge.import_paths(app.database, workspace_id, "default", [shop], now=SystemClock().now())
    return token


async def enter(page: Page, url: str, token: str) -> None:
    address = URL(url)
    await page.context.add_cookies([{"name": COOKIE, "value": token, "url": f"{address.origin()}/"}])
    await page.goto(f"{url}/settings")


async def test_wecom_is_connected_in_the_browser_and_answers(urls: DatabaseUrls, tmp_path: Path, visit: Visit) -> None:
    wecom = WeComSimulator()
    async with wecom, served(asgi.application(wecom)) as wecom_url:
        known = {"zhiban_data": tmp_path, "zhiban_secret_key": "a key for tests only"}
        # The operator's proxy: nobody types an address at the desk that our secrets are sent to.
        app = App.build(load(env_file=None, **known, wecom_api_base=f"{wecom_url}/cgi-bin"), urls)
        app.start_workers()
        async with served(application(app)) as url:
            token = await owned(app)
            page = await visit(f"{url}/login")
            await enter(page, url, token)
            await page.locator(".calm").get_by_role("link", name="接入渠道").click()
            await page.get_by_role("link", name="企业微信").first.click()
            await page.get_by_role("textbox", name="企业ID").fill(CORP_ID)
            await page.get_by_label("应用的AgentId").fill(str(AGENT_ID))
            await page.get_by_label("应用的Secret").fill(SECRET)
            assert await faults(page) == []
            wecom.fail("kf/account/list", errcode=60020, errmsg=REFUSED, times=None)
            await page.get_by_role("button", name="保存，看下一步").click()

            # The server is not among the trusted addresses yet: that step says so, the one before it is done.
            step = page.locator(".conn > li")
            await expect(page.locator("#step-address")).to_have_attribute("data-state", "failed")
            await expect(page.locator("#step-address")).to_contain_text("203.0.113.9")
            await expect(page.locator("#step-values")).to_have_attribute("data-state", "done")
            await expect(page.locator("#step-accounts")).to_have_attribute("data-state", "todo")
            assert await faults(page) == []

            # Token and key were made up, and stand here once. Saving the address there is seen here by itself.
            made = {name: await page.input_value(f"#made-{name}") for name in ("token", "encoding_aes_key")}
            wecom.configure(await page.input_value("#callback"), token=made["token"], aes_key=made["encoding_aes_key"])
            await wecom.verify()
            await expect(page.locator("#step-callback")).to_have_attribute("data-state", "done")

            wecom.faults.clear()
            await page.get_by_role("button", name="再查一次").last.click()
            await expect(page.locator("#step-accounts")).to_have_attribute("data-state", "done")
            await expect(page.locator("#step-accounts")).to_contain_text("售后客服")
            await expect(page.locator("#step-message")).to_have_attribute("data-state", "doing")

            wecom.contact_says(LI, "怎么申请退款？")
            await until(lambda: wecom.sent(LI))
            assert "申请售后" in wecom.sent(LI)[-1].text
            await expect(page.locator("#step-message")).to_have_attribute("data-state", "done")
            await expect(page.locator("#steps")).to_contain_text("全部接通")
            await expect(step).to_have_count(5)

            # Nothing of it is ever shown again.
            await page.goto(f"{url}/settings/inboxes")
            await page.get_by_role("link", name="接入步骤和凭据").click()
            await expect(page.locator("#step-accounts")).to_have_attribute("data-state", "done")
            html = await page.content()
            assert not [secret for secret in (SECRET, *made.values()) if secret in html]
            workspace_id = (await app.database.workspaces())[0]
            async with app.database.transaction(workspace_id) as tx:
                log = str(await tx.rows("select data from event"))
            assert not [secret for secret in (SECRET, *made.values()) if secret in log]

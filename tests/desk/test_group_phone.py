"""The demo's group: you speak as its members, and read what the group reads."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from fastapi import FastAPI
from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.test_accessibility import violations
from tests.stories.conftest import SHOP, settings_for
from zhiban import bootstrap
from zhiban.channels import inboxes
from zhiban.channels.service import connect
from zhiban.container import App
from zhiban.kit.clock import SystemClock
from zhiban.knowledge import service as knowledge
from zhiban.main import application
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.group_phone import MEMBERS, SAID, GroupPhone
from zhiban.testing.phone import PhoneDemo
from zhiban.testing.serving import served
from zhiban.testing.webhook import SECRET, WebhookProgram
from zhiban.testing.wecom import asgi
from zhiban.testing.wecom.simulator import WeComSimulator

PICTURES = os.environ.get("ZHIBAN_PICTURES", "")


async def test_five_people_talk_in_the_demos_group(urls: DatabaseUrls, tmp_path: Path, visit: Visit) -> None:
    wecom, program = WeComSimulator(), WebhookProgram()
    async with wecom, served(asgi.application(wecom)) as platform, served(program.app) as other:
        app = App.build(settings_for(tmp_path, platform), urls)
        app.start_workers()

        def install(pages: FastAPI) -> None:
            phone.install(pages)
            group.install(pages)

        front = application(app, demo=True, install=install)
        async with served(front) as url:
            workspace_id = (await app.database.workspaces())[0]
            phone = PhoneDemo(wecom, app.database, app.pubsub, workspace_id=workspace_id)
            group = GroupPhone(program, phone)
            async with app.database.page_transaction(workspace_id) as tx:
                await add_agent(tx, email="lin@example.test", name="林知夏", role=Role.OWNER, password_hash=None)
                await knowledge.ensure_base(tx, "default", "知识库")
                values = {"source": "site", "url": f"{other}/inbox", "secret": SECRET, "allow_private": "true"}
                await connect(tx, app.vault, bootstrap.CHANNELS["webhook"], values, now=datetime.now(UTC))
                row = next(row for row in await inboxes.connections(tx) if row.vendor == "webhook")
            program.hooks = f"{url}/hooks/{row.public_id}"
            (tmp_path / "shop.md").write_text(SHOP)
            await knowledge.import_paths(
                app.database, workspace_id, "default", [tmp_path / "shop.md"], now=SystemClock().now()
            )
            for _ in range(2):  # the second start finds the group as it is
                await group.furnish(SystemClock().now())
            page = await visit(f"{url}/demo/group?who={MEMBERS[3].external_id}")
            await page.wait_for_selector("html[data-ready]")
            await expect(page.locator(".wx")).to_have_count(len(SAID))
            await page.fill("#ph-form input", "@值班助手 怎么申请退款？")
            await page.press("#ph-form input", "Enter")
            await expect(page.locator("#ph-chat")).to_contain_text("@韩川 在“我的订单”里找到订单")
            assert await violations(page) == []
            if PICTURES:
                await page.screenshot(path=Path(PICTURES) / "group-phone.png")
            front.leave()

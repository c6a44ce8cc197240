"""The demo's loop: three messages of the group become an issue, its maintainer closes it, and the group hears it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from fastapi import FastAPI
from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.test_accessibility import faults, violations
from tests.stories.conftest import settings_for
from zhiban import bootstrap
from zhiban.channels import inboxes
from zhiban.channels.service import connect
from zhiban.container import App
from zhiban.conversations import groups
from zhiban.conversations.group_policy import GroupPolicy
from zhiban.events import SYSTEM
from zhiban.kit.clock import SystemClock
from zhiban.knowledge import service as knowledge
from zhiban.main import application
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.demo_folder import open_demo
from zhiban.testing.demo_github import REPOSITORY, STOOD, DemoGitHub
from zhiban.testing.github.pages import rendered
from zhiban.testing.group_phone import MEMBERS, GroupPhone
from zhiban.testing.phone import PhoneDemo
from zhiban.testing.sample_picture import TAKEN
from zhiban.testing.serving import served
from zhiban.testing.webhook import SECRET, WebhookProgram
from zhiban.testing.wecom import WeComSimulator

PICTURES = os.environ.get("ZHIBAN_PICTURES", "")


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(1200):
        if await holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen")


async def _holds(condition: Callable[[], bool]) -> bool:
    return condition()


async def test_what_the_group_says_becomes_an_issue_that_is_closed_over_there(
    urls: DatabaseUrls, tmp_path: Path, visit: Visit
) -> None:
    keys, program = open_demo(tmp_path / "demo"), WebhookProgram()
    app = App.build(settings_for(tmp_path, "http://127.0.0.1:9", zhiban_url="http://demo.test"), urls)
    app.start_workers()

    def install(pages: FastAPI) -> None:
        group.install(pages)
        github.install(pages)

    front = application(app, demo=True, install=install)
    async with served(program.app) as other, served(front) as url:
        workspace_id = (await app.database.workspaces())[0]
        group = GroupPhone(program, PhoneDemo(WeComSimulator(), app.database, app.pubsub, workspace_id=workspace_id))
        github = DemoGitHub(keys, tmp_path / "demo", url)
        async with app.database.page_transaction(workspace_id) as tx:
            await add_agent(tx, email="lin@example.test", name="林知夏", role=Role.OWNER, password_hash=None)
            await knowledge.ensure_base(tx, "default", "知识库")
            values = {"source": "site", "url": f"{other}/inbox", "secret": SECRET, "allow_private": "true"}
            await connect(tx, app.vault, bootstrap.CHANNELS["webhook"], values, now=datetime.now(UTC))
            row = next(row for row in await inboxes.connections(tx) if row.vendor == "webhook")
        program.hooks = f"{url}/hooks/{row.public_id}"
        await group.furnish(SystemClock().now())

        async def heard(words: str) -> bool:
            return any(words in one.text for one in await group.chat() if one.by == "assistant")

        async with github.simulator, served(github.app) as api, aiohttp.ClientSession(url) as maintainer:
            await github.connect(
                group.phone,
                bootstrap.TRACKERS["github"],
                api_base=api,
                connections=app.connections,
                vault=app.vault,
                clock=app.clock,
            )
            await group.says(MEMBERS[3], "以上三条开工单")
            await _until(lambda: heard("确认"))
            await group.says(MEMBERS[3], "确认")
            number = len(STOOD) + 1
            place = f"/demo/github/{REPOSITORY}/issues/{number}"
            await _until(lambda: heard(f"{url}{place}"))
            listed = await (await maintainer.get("/demo/github")).text()
            assert "模拟的GitHub" in listed
            assert listed.index(place) < listed.index(STOOD[0][3])
            page = await (await maintainer.get(place)).text()
            assert "新款什么时候补货呀" in page
            assert "zhiban:draft" not in page  # what is hidden at GitHub is hidden here

            look = await visit(url + "/demo/github")
            assert await faults(look) == []
            await look.goto(url + place)
            assert await faults(look) == []
            await look.fill("#gh-text", "下周三补货，补了就关。")
            await look.get_by_role("button", name="评论", exact=True).click()
            await expect(look.locator(".gh__say")).to_have_count(2)
            if PICTURES:
                await look.screenshot(path=Path(PICTURES) / "github-issue.png")

            own = {"Origin": url}
            foreign = await maintainer.post(place, data={"then": "completed"}, headers={"Origin": "https://evil.test"})
            assert foreign.status == 403
            closed = await maintainer.post(place, data={"then": "completed"}, headers=own)
            assert closed.status == 200
            await _until(lambda: heard("完成"))
            assert f"#{number} " in await (await maintainer.get("/demo/github?state=closed")).text()
            assert (await maintainer.get(f"/demo/github/{REPOSITORY}/issues/99")).status == 404

            # Back in the group somebody quotes what was told, with the arrow beside it: words, then a word that acts.
            (repo,) = github.simulator.repos.values()
            entry = repo.entries[number]
            await look.goto(f"{url}/demo/group?who={MEMBERS[3].external_id}")
            await look.wait_for_selector("html[data-ready]")
            for words in ("还要再等等", "重开"):
                told = look.locator(".wx").filter(has_text=place)
                await told.last.locator("[data-quote]").click()
                await expect(look.locator("#ph-quote")).to_contain_text(f"#{number}")
                await look.fill("#ph-form input", words)
                await look.press("#ph-form input", "Enter")
                await expect(look.locator("#ph-quote")).to_be_hidden()
                await expect(look.locator(".wx[data-me] .q").last).to_contain_text(f"#{number}")
            assert await violations(look) == []
            await _until(lambda: _holds(lambda: entry.state == "open"))
            assert ["还要再等等" in one.body for one in entry.comments] == [False, True]
            await look.set_viewport_size({"width": 390, "height": 844})
            assert await violations(look) == []
            if PICTURES:
                await look.screenshot(path=Path(PICTURES) / "group-quoting.png")
            # Once the group publishes pictures, one that is sent in answer stands at the issue, and says nothing more.
            async with app.database.transaction(workspace_id) as tx:
                id_ = await tx.value("select id from conversation where kind = 'group'")
                policy = GroupPolicy(publish_files="pictures")
                await groups.configure(tx, id_, policy, by=SYSTEM, now=SystemClock().now())
            await look.set_viewport_size({"width": 1280, "height": 800})
            await look.locator(".wx").filter(has_text=place).last.locator("[data-quote]").click()
            await look.locator("[data-show]").click()
            await expect(look.locator(".wx[data-me]").last).to_contain_text("[图片]")
            await _until(lambda: _holds(lambda: len(entry.comments) == 3))
            shown = re.search(r'<img src="(/f/[0-9a-z-]+)" alt="图片">', await (await maintainer.get(place)).text())
            assert shown is not None
            picture = await maintainer.get(shown[1])
            assert (picture.status, picture.headers["content-type"]) == (200, "image/png")
            assert TAKEN not in await picture.read()
            await look.goto(url + place)
            await expect(look.locator(f'img[src="{shown[1]}"]')).to_have_js_property("naturalWidth", 360)
            assert await faults(look) == []
            if PICTURES:
                await look.screenshot(path=Path(PICTURES) / "github-picture.png")
            closed = await maintainer.post(place, data={"then": "completed"}, headers=own)
            assert closed.status == 200
            await look.goto("about:blank")

            # The next start finds the issues as they were left, and counts on.
            again = DemoGitHub(keys, tmp_path / "demo", url).simulator
            (repo,) = again.repos.values()
            assert [(one.number, one.state, len(one.comments)) for one in repo.entries.values()][-1] == (
                number,
                "closed",
                3,
            )
            assert again.opens(repo, "somebody", "noch eins").number == number + 1
        front.leave()


def test_what_people_write_at_the_simulated_github_does_nothing_to_the_page() -> None:
    published = rendered("![图片](https://desk.example/f/1-2-ab) ![x](https://evil.test/f/../p.png)")
    assert published.count("<img") == 1
    assert 'src="/f/1-2-ab"' in published
    shown = rendered("**ja** <script>x()</script> ![p](https://evil.test/p.png) [l](javascript:x()) <!-- key -->")
    assert "<strong>ja</strong>" in shown
    assert "&lt;script&gt;" in shown
    assert "<img" not in shown
    assert 'href="javascript' not in shown
    assert "key" not in shown

"""The demo's phone: what the contact sees, and the way of their message inside; from phone to desk and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.async_api import Page, expect

from tests.browser import Visit
from tests.desk.conftest import Client
from tests.desk.test_accessibility import violations
from tests.desk.test_browser import BOX, CONTRAST, NAMELESS
from tests.stories.conftest import SHOP, settings_for
from zhiban.assistant.suggesting import is_question
from zhiban.container import App
from zhiban.kit.clock import SystemClock
from zhiban.knowledge import service as knowledge
from zhiban.main import application
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.phone import PERSONAS, PhoneDemo
from zhiban.testing.serving import served
from zhiban.testing.wecom import asgi
from zhiban.testing.wecom.simulator import WeComSimulator


@pytest.fixture
async def demo(urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a whole installation with its phone and one colleague, 林知夏."""
    wecom = WeComSimulator()
    async with wecom, served(asgi.application(wecom)) as platform:
        app = App.build(settings_for(tmp_path, platform), urls)
        app.start_workers()

        def install(pages: FastAPI) -> None:
            PhoneDemo(wecom, app.database, app.pubsub, workspace_id=workspace_id).install(pages)

        front = application(app, demo=True, install=install)
        async with served(front) as url:
            workspace_id = (await app.database.workspaces())[0]
            async with app.database.page_transaction(workspace_id) as session:
                await add_agent(session, email="lin@example.test", name="林知夏", role=Role.OWNER, password_hash=None)
                await knowledge.ensure_base(session, "default", "知识库")
            (tmp_path / "shop.md").write_text(SHOP)
            await knowledge.import_paths(
                app.database, workspace_id, "default", [tmp_path / "shop.md"], now=SystemClock().now()
            )
            wecom.configure(f"{url}/wecom/callback")
            # From now on nothing is fetched that no callback announced: the first poll may have to be tried again.
            async with asyncio.timeout(30):
                while not await _polled(app, workspace_id):  # noqa: ASYNC110 - the poller does it
                    await asyncio.sleep(0.05)
            yield url
            front.leave()


async def _polled(app: App, workspace_id: int) -> bool:
    async with app.database.transaction(workspace_id) as tx:
        return bool(await tx.value("select exists (select from pull_state where pulled_at is not null)"))


async def say(page: Page, text: str) -> None:
    await page.fill("#ph-form input", text)
    await page.press("#ph-form input", "Enter")


@pytest.mark.browser
async def test_a_question_goes_all_the_way_and_a_person_answers_on_the_phone(demo: str, visit: Visit) -> None:
    phone = await visit(demo + "/demo/phone")
    await phone.wait_for_selector("html[data-ready]")
    await say(phone, "怎么申请退款？")
    await expect(phone.locator(".wx:not([data-me])")).to_contain_text("7 天内都可以申请")
    steps = phone.locator("#ph-inside li")
    for words in (
        "对方按下发送",
        "存下原文",
        "取回消息",
        "助手开始想",
        "查知识，把握",
        "有把握，直接回答",
        "平台收下，送到手机",
    ):
        await expect(steps.filter(has_text=words)).to_have_count(1)
    await expect(phone.locator("#ph-inside .chip")).to_have_text("助手接待")

    await say(phone, "你们老板的车是什么颜色")
    await expect(phone.locator(".wx:not([data-me])").last).to_contain_text("人工客服")
    await expect(phone.locator("#ph-inside .chip")).to_have_text("进行中")

    assert await violations(phone) == []
    desk = await phone.context.new_page()
    await desk.goto(demo + "/demo/desk?next=/?queue=unassigned")
    await desk.wait_for_selector("html[data-ready]")
    await desk.click(".conv")
    await desk.fill(BOX, "蓝色的。")
    await desk.press(BOX, "Enter")
    await expect(phone.locator(".wx:not([data-me])").last).to_contain_text("蓝色的。")
    await expect(phone.locator(".wx:not([data-me])").last.locator(".av")).to_have_text("知夏")
    await expect(desk.locator("#messages .msg").last).to_contain_text("已发出")

    await phone.click("[data-say='转人工']")
    await expect(desk.locator("#messages .msg").last).to_contain_text("转人工")
    await expect(phone.locator("#ph-inside")).to_contain_text("同事在接待，助手不插话")
    # One person has one colour, on the phone and on the desk.
    assert await desk.get_attribute("#messages .msg[data-side=us] >> nth=-1 >> .av", "data-hue") == (
        await phone.get_attribute(".wx:not([data-me]) >> nth=-1 >> .av", "data-hue")
    )
    assert await desk.get_attribute("#messages .msg:not([data-side]) >> nth=0 >> .av", "data-hue") == (
        await phone.get_attribute(".wx[data-me] >> nth=0 >> .av", "data-hue")
    )


@pytest.mark.browser
async def test_who_waits_for_a_colleague_is_not_told_that_one_is_there(demo: str, visit: Visit) -> None:
    phone = await visit(demo + "/demo/phone")
    await phone.wait_for_selector("html[data-ready]")
    empty = await phone.locator("#ph-inside .steps li").bounding_box()
    assert empty is not None
    assert empty["height"] < 40  # one line, not one character below the other
    await say(phone, "转人工")
    await expect(phone.locator("#ph-inside .chip")).to_have_text("进行中")
    await say(phone, "人呢？")
    await expect(phone.locator("#ph-inside")).to_contain_text("等同事接手，助手不插话")
    await expect(phone.locator("#ph-inside")).not_to_contain_text("同事在接待")


@pytest.mark.browser
async def test_what_does_not_arrive_stays_on_the_phone_with_a_word(demo: str, visit: Visit) -> None:
    phone = await visit(demo + "/demo/phone")
    await phone.wait_for_selector("html[data-ready]")
    await phone.route("**/demo/phone/say", lambda route: route.abort())
    await say(phone, "在吗")
    await expect(phone.locator("#ph-away")).to_contain_text("没有送到")
    await expect(phone.locator("#ph-form input")).to_have_value("在吗")
    await phone.unroute("**/demo/phone/say")
    await phone.press("#ph-form input", "Enter")
    await expect(phone.locator(".wx[data-me]")).to_contain_text("在吗")
    await expect(phone.locator("#ph-away")).to_be_hidden()


# How long the page waited, from one answer to the next question.
PAUSES = """() => {
  const asked = performance.getEntriesByType("resource").filter((one) => one.name.includes("/live"));
  return asked.slice(1).map((one, number) => one.startTime - asked[number].responseEnd);
}"""


@pytest.mark.browser
async def test_news_follows_news_without_a_pause(demo: str, visit: Visit) -> None:
    phone = await visit(demo + "/demo/phone")
    await phone.wait_for_selector("html[data-ready]")
    await say(phone, "怎么申请退款？")
    await expect(phone.locator(".wx:not([data-me])")).to_contain_text("7 天内都可以申请")
    await expect(phone.locator("#ph-inside li").filter(has_text="平台收下")).to_have_count(1)
    pauses = await phone.evaluate(PAUSES)
    assert pauses
    assert min(pauses) < 500  # milliseconds; while the server is away it is asked once a second


@pytest.mark.browser
async def test_a_menu_can_be_tapped(demo: str, visit: Visit) -> None:
    phone = await visit(demo + f"/demo/phone?who={PERSONAS[1].external_id}", width=390, height=844, touch=True)
    await phone.wait_for_selector("html[data-ready]")
    await say(phone, "钱和发票")
    await phone.locator(".tap").last.click()
    await expect(phone.locator(".wx[data-me]").last).to_contain_text("转人工")
    assert await phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await phone.evaluate(CONTRAST) == []
    for dark in (False, True):
        for path in ("/demo/phone", "/docs"):
            page = await visit(demo + path, dark=dark)
            assert await page.evaluate(CONTRAST) == []
            assert await page.evaluate(NAMELESS) == []


async def test_nobody_else_can_be_played_and_a_silent_phone_answers_nothing_new(demo: str) -> None:
    browser = Client(demo)
    assert (await browser.get("/demo/phone?who=wmSOMEBODY")).status == 404
    page = (await browser.get("/demo/phone")).text
    assert "还没有说过话" in page
    seen = page.split('data-seen="')[1].split('"')[0]
    stale = await browser.get(f"/demo/phone/live?who={PERSONAS[0].external_id}&seen=x{seen}")
    assert stale.status == 200
    assert "<hx-partial" in stale.text
    assert (
        await browser.post("/demo/phone/say", {"who": PERSONAS[0].external_id}, origin="https://evil.example")
    ).status == 403


async def test_the_api_is_documented_without_a_script(demo: str) -> None:
    page = await Client(demo).get("/docs")
    assert page.status == 200
    assert "<script" not in page.text
    assert "接口文档" in page.text


@pytest.mark.parametrize(
    ("text", "asks"),
    [("怎么退款", True), ("转人工", False), ("谢谢", False), ("", False), ("没用", False), ("那运费呢？", True)],
)
def test_what_a_suggestion_may_be_looked_up_for(text: str, asks: bool) -> None:
    assert is_question(text) is asks

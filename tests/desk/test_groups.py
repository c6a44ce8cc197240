"""A group on the desk: who said what, who is there, how we behave in it, and a reply that names its members."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Client, Site
from tests.desk.seed import LIMITS
from tests.desk.test_accessibility import faults
from zhiban.conversations import groups
from zhiban.conversations.group_policy import Consent
from zhiban.conversations.ingest import ingest
from zhiban.events import SYSTEM
from zhiban.knowledge import service as knowledge
from zhiban.ports import GroupChanged, GroupMember, IncomingMessage, Kind, MembersJoined, SenderRole
from zhiban.tickets import repositories

PICTURES = os.environ.get("ZHIBAN_PICTURES", "")
GROUP = "g-1"
PEOPLE = (
    GroupMember("liang", "梁小满", "小满", "owner"),
    GroupMember("yang", "杨建国", "老杨"),
    GroupMember("lu", "陆知行"),
    GroupMember("xu", "许言", "<b>许言</b>"),
    *(GroupMember(f"u{number}", f"成员甲{number:03}") for number in range(60)),
)


async def talks(site: Site) -> int:
    """A group in which something was said; returns its conversation."""
    seed, now = site.seed, site.seed.clock.now()

    def said(number: int, who: str, text: str, **more: Any) -> IncomingMessage:
        more = {"group": True, **more}
        return IncomingMessage(f"g{number}", GROUP, who, SenderRole.CONTACT, Kind.TEXT, text, now, **more)

    async with seed.database.transaction(seed.workspace_id) as tx:
        items = [
            GroupChanged(GROUP, now, "青禾交流 1 群", PEOPLE),
            said(1, "yang", "昨晚主库切了一次，增量同步丢了两三秒的数据"),
            said(2, "lu", "我这边也是，切换后位点会跳", reply_to="g1"),
            MembersJoined(GROUP, (GroupMember("he", "何思源"),), now, "liang", event_id="j1"),
        ]
        await ingest(tx, seed.inbox, items, now=now, process_id=1)
        id_ = int(await tx.value("select id from conversation where external_id = %(g)s", g=GROUP))
        xu = await tx.value("select contact_id from participant where external_id = 'xu'")
        await groups.set_consent(tx, id_, xu, Consent.UNSTORED, by=SYSTEM, now=now)
        await ingest(tx, seed.inbox, [said(3, "xu", "我的电话是13800000000")], now=now, process_id=1)
    return id_


@pytest.fixture
async def agent(site: Site) -> Client:
    return await site.signed_in()


async def test_a_group_is_shown_with_whoever_said_something(site: Site, agent: Client) -> None:
    id_ = await talks(site)
    listed = (await agent.get("/?queue=groups")).text
    assert "青禾交流 1 群" in listed
    assert f"/conversations/{id_}?queue=groups" in listed
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await knowledge.ensure_base(tx, "default", "青禾知识库")
        mode = {"mode": "first"}
        await repositories.link(tx, id_, "qinghe/*", settings=mode, by=SYSTEM, now=site.seed.clock.now())
    everything = (await agent.get("/?queue=all")).text
    assert (f'id="row-{id_}"' in everything, 'id="queue-groups"' in everything) == (False, True)
    page = (await agent.get(f"/conversations/{id_}?queue=groups")).text
    linked = page.partition('id="linked"')[2].partition("</section>")[0]
    assert ("qinghe/*" in linked, "每个议题只说一次" in linked, "/settings/repositories" in linked) == (
        True,
        True,
        True,
    )
    assert "<span>知识库</span><span>青禾知识库</span>" in page
    for words in ("老杨", "陆知行", "何思源</b>进了群", "这位成员要求不保存消息内容", "65人", "1人要求不保存或不引用"):
        assert words in page, words
    assert ("&lt;b&gt;许言&lt;/b&gt;" in page, "<b>许言</b>" in page, "13800000000" in page) == (True, False, False)
    assert '<b>老杨</b><span class="cut">昨晚主库' in page  # what 陆知行 answers


async def test_a_reply_to_the_group_names_its_members(site: Site, agent: Client) -> None:
    id_ = await talks(site)
    form = {"text": "@老杨 @陆知行 2.4.2 修好了，@小满 也请看看", "key": "k1"}
    assert (await agent.post(f"/conversations/{id_}/replies", form)).status == 204
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        text, mentions = await tx.row(
            "select text, mentions from message where direction = 'out' and client_key = 'k1'"
        )
    # The memory channel cannot name anybody: the names stand before the words.
    assert (text, mentions) == ("@老杨 @陆知行 @小满 2.4.2 修好了，@小满 也请看看", [])
    formatted = {"text": "@老杨 **2.4.2** 修好了", "key": "k2", "formatted": "true"}
    assert (await agent.post(f"/conversations/{id_}/replies", formatted)).status == 204
    assert "@老杨 <strong>2.4.2</strong> 修好了" in (await agent.get(f"/conversations/{id_}?queue=groups")).text


async def test_how_we_behave_in_a_group_is_for_whoever_manages_inboxes(site: Site, agent: Client) -> None:
    id_ = await talks(site)
    limits = {"files_at_once": "1", "files_per_member": "3", "files_per_group": "20"}
    form = {
        **limits,
        "answers": "sure",
        "quiet_from": "22:00",
        "quiet_to": "08:00",
        "welcome": "欢迎！",
        "read_only": "",
    }
    saved = await agent.post(f"/conversations/{id_}/group", form)
    assert (saved.status, "已保存" in saved.text, "22:00-08:00" in saved.text) == (200, True, True)
    assert "每人3张，全群20张，不问就开" in saved.text
    assert "没有变化" in (await agent.post(f"/conversations/{id_}/group", form)).text
    bound = await agent.post(f"/conversations/{id_}/group", {**form, "files": "bound"})
    assert bound.text.count("绑定了账号的成员和群管理") == 4  # what is set, and the choice of three
    assert '<option value="bound" selected>' in bound.text
    signed = await agent.post(f"/conversations/{id_}/group", {**form, "signature": "anonymous"})
    assert '<option value="anonymous" selected>' in signed.text
    public = await agent.post(f"/conversations/{id_}/group", {**form, "publish_files": "pictures"})
    assert '<option value="pictures" selected>公开图片' in public.text
    await agent.post(f"/conversations/{id_}/group", form)
    for wrong in (
        {"answers": "always"},
        {"quiet_from": "25:00", "quiet_to": "26:00"},
        {"welcome_minutes": "0"},
        {"files_per_member": "0"},
        {"publish_files": "films"},
    ):
        assert (await agent.post(f"/conversations/{id_}/group", {**form, **wrong})).status == 409
    as_text = await agent.post(f"/conversations/{id_}/group", {**form, "news_as": "text"})
    assert '<option value="text" selected>文字' in as_text.text
    assert "没有变化" in (await agent.post(f"/conversations/{id_}/group", form)).text  # a form that asks nothing of it
    # From which base it is answered is asked where there are several; a form that does not ask leaves it.
    assert "从哪个知识库回答" not in as_text.text
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await knowledge.ensure_base(tx, "default", "知识库")
        cloud = await knowledge.ensure_base(tx, "cloud", "云产品")
    chosen = await agent.post(f"/conversations/{id_}/group", {**form, "base": str(cloud)})
    assert (chosen.status, f'<option value="{cloud}" selected>云产品' in chosen.text) == (200, True)
    assert "<span>知识库</span><span>云产品</span>" in chosen.text
    assert "没有变化" in (await agent.post(f"/conversations/{id_}/group", form)).text
    assert (await agent.post(f"/conversations/{id_}/group", {**form, "base": "999"})).status == 404
    assert (await agent.post(f"/conversations/{id_}/group", {**form, "base": "x"})).status == 409
    back = await agent.post(f"/conversations/{id_}/group", {**form, "base": "inbox"})
    assert "<span>知识库</span><span>知识库</span>" in back.text
    direct = site.seed.conversations["周予安"]
    assert (await agent.post(f"/conversations/{direct}/group", form)).status == 404
    await agent.post(f"/conversations/{id_}/group", {**form, "read_only": "1"})
    refused = await agent.post(f"/conversations/{id_}/replies", {"text": "在吗", "key": "k2"})
    assert (refused.status, "只读" in refused.text) == (409, True)


async def test_what_a_channel_lets_us_hear_of_a_group_is_said_beside_it(
    site: Site, agent: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = await talks(site)
    usual = (await agent.get(f"/conversations/{id_}?queue=groups")).text
    assert ('id="group-hears"' in usual, 'id="group-policy"' in usual) == (False, True)
    monkeypatch.setattr("tests.desk.conftest.LIMITS", replace(LIMITS, hears="addressed"))
    addressed = (await agent.get(f"/conversations/{id_}?queue=groups")).text
    assert ("只给我们@助手的消息" in addressed, 'id="group-policy"' in addressed) == (True, True)
    monkeypatch.setattr("tests.desk.conftest.LIMITS", replace(LIMITS, hears="nothing"))
    for language, words in (
        ("zh", ("不给群里的消息", "这个渠道不能在群里说话", "现在不能回复")),
        ("en", ("gives no messages of groups", "This channel cannot speak in groups")),
    ):
        await agent.post("/preferences", {"locale": language})
        silent = (await agent.get(f"/conversations/{id_}?queue=groups")).text
        for said in words:
            assert said in silent, said
        assert 'id="group-policy"' not in silent


async def test_one_lives_with_groups_all_day(site: Site, enter: Visit) -> None:
    id_ = await talks(site)
    page = await enter(f"/conversations/{id_}?queue=groups")
    await page.locator("#compose-reply").press_sequentially("@老")
    await expect(page.locator("#mates .opt")).to_have_text("老杨")
    await page.keyboard.press("Enter")
    await page.locator("#compose-reply").press_sequentially("看一下")
    await expect(page.locator("#compose-reply")).to_have_value("@老杨 看一下")
    assert await faults(page) == []
    await page.keyboard.press("Enter")
    await expect(page.locator("#talk")).to_contain_text("@老杨 看一下")
    seed = site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        now = seed.clock.now()
        answer = IncomingMessage("g9", GROUP, "yang", SenderRole.CONTACT, Kind.TEXT, "好，晚上看", now, group=True)
        await ingest(tx, seed.inbox, [answer], now=now, process_id=1)
    await expect(page.locator("#talk")).to_contain_text("好，晚上看")
    await page.locator("#group-settings > summary").click()
    await page.select_option('#group-settings [name="answers"]', "never")
    await page.get_by_role("button", name="保存").click()
    await expect(page.locator("#group-policy")).to_contain_text("不回答")
    if PICTURES:
        await page.screenshot(path=Path(PICTURES) / "group.png")

"""Knowledge in the composer: looked up beside what is written, put where one writes, learnt from when it is sent."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import Route, expect

from tests.browser import Visit, holds
from tests.desk.conftest import Client, Site
from tests.desk.test_accessibility import STILL, faults
from tests.desk.test_browser import BOX, CONTRAST, opened
from tests.knowledge.material import LetterEmbedder
from tests.twin import open_inbox
from zhiban.assistant.inserting import EntrySearch
from zhiban.channels.configuring import set_base
from zhiban.knowledge import queries
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.vectors import Embedders
from zhiban.people.models import Role

REFUND = "打开“我的订单”，点**申请退款**，详见[退款规则](https://docs.qinghe.example/refund)。"


@dataclass(frozen=True)
class FoundRow:
    title: str
    source: str
    opening: str
    article: int
    chunk: int


async def write(site: Site, *entries: tuple[str, str], base: str = "default") -> list[int]:
    seed = site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        base_id = await knowledge.ensure_base(tx, base, "知识库")
        return [
            await knowledge.put_faq(tx, base_id, question=question, answer=answer, now=seed.clock.now())
            for question, answer in entries
        ]


def rows(page: str) -> list[FoundRow]:
    found = re.findall(
        r'data-article="(\d+)" data-chunk="(\d+)"><span class="kb__t"><b class="cut">(.*?)</b>'
        r'<small class="cut">(.*?)</small></span><span class="kb__p">(.*?)</span>',
        page,
    )
    return [
        FoundRow(html.unescape(title), source, html.unescape(opening), int(article), int(chunk))
        for article, chunk, title, source, opening in found
    ]


async def look(agent: Client, conversation: int, q: str | None = None) -> list[FoundRow]:
    answer = await agent.get(f"/conversations/{conversation}/knowledge" + ("" if q is None else f"?q={q}"))
    assert answer.status == 200
    return rows(answer.text)


async def words(agent: Client, conversation: int, one: FoundRow, **query: str) -> dict[str, str]:
    asked = "&".join([f"chunk={one.chunk}", *(f"{name}={value}" for name, value in query.items())])
    answer = await agent.get(f"/conversations/{conversation}/knowledge/{one.article}?{asked}")
    assert answer.status == 200, answer.text
    return dict(json.loads(answer.text))


async def test_the_base_of_the_inbox_is_searched_and_no_other(site: Site) -> None:
    lin = await site.signed_in()
    ma = site.seed.conversations["马骁"]
    page = (await lin.get(f"/conversations/{ma}/knowledge")).text
    assert ("还是空的" in page, "/knowledge/articles/new" in page) == (True, True)
    await write(
        site, ("怎么申请退款", REFUND), ("支持达梦数据库吗", "支持，从2.3起。"), ("How to reset it", "Hold it.")
    )
    await write(site, ("退款的内部规则", "只有内部知道"), base="inside")
    # What the contact asked is looked up before anything is typed.
    panel = (await lin.get(f"/conversations/{ma}/knowledge")).text
    assert "对方问：你们支持达梦数据库吗？文档里没有找到" in panel
    assert rows(panel)[0].title == "支持达梦数据库吗"
    found = await look(lin, ma, "退款")
    assert [one.title for one in found] == ["怎么申请退款"]
    assert found[0].opening.startswith("打开“我的订单”，点申请退款，详见退款规则（https")
    assert found[0].source == "手写"
    assert [one.title for one in await look(lin, ma, "rese")] == ["How to reset it"]  # half a word
    assert await look(lin, ma, "没有这种东西啊") == []
    # Nobody asked anything since a colleague answered: the newest entries are offered.
    newest = await look(lin, site.seed.conversations["唐亦可"])
    assert [one.title for one in newest] == ["How to reset it", "支持达梦数据库吗", "怎么申请退款"]
    (hidden,) = await write(site, ("另一条", "也只有内部知道"), base="inside")
    path = f"/conversations/{ma}/knowledge/{hidden}?chunk=1"
    assert (await lin.get(path)).status == 404
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        inside = await knowledge.ensure_base(tx, "inside", "内部")
        await set_base(tx, site.seed.inbox.inbox_id, inside, now=site.seed.clock.now())
    assert {one.title for one in await look(lin, ma, "退款")} == {"退款的内部规则"}
    assert (await lin.get(f"/conversations/{ma}/knowledge/{found[0].article}?chunk={found[0].chunk}")).status == 404


class AskedEmbedder(LetterEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def embed(self, texts: Sequence[str], **wishes: Any) -> list[list[float]]:
        if wishes.get("purpose") == "query":
            self.asked += texts
        return await super().embed(texts, **wishes)


async def test_a_paid_embedder_is_not_asked_at_each_pause_of_typing(site: Site) -> None:
    seed, embedder = site.seed, AskedEmbedder()
    await write(site, ("怎么申请退款", REFUND), ("支持达梦数据库吗", "支持，从2.3起。"))
    async with seed.database.transaction(seed.workspace_id) as tx:
        base = await queries.base_by_slug(tx, "default")
    assert base is not None
    await knowledge.embed_base(seed.database, seed.workspace_id, base.id, embedder)
    conversation = seed.conversations["马骁"]
    for remote, asked in ((True, ["申请退款"]), (False, ["退款", "申请退款"])):
        search = EntrySearch(seed.database, Embedders(embedder, remote=lambda _, remote=remote: remote))
        site.app.state.desk = replace(site.app.state.desk, entries=search)
        lin = await site.signed_in()
        embedder.asked.clear()
        pages = [
            (await lin.get(f"/conversations/{conversation}/knowledge?q={text}&typing={typing}")).text
            for text, typing in (("退款", "true"), ("申请退款", "false"), ("申请退款", "true"))
        ]
        assert embedder.asked == asked
        assert ["data-by-words" in page for page in pages] == [remote, False, False]
        assert {rows(page)[0].title for page in pages} == {"怎么申请退款"}


async def test_who_may_not_answer_or_see_gets_nothing(site: Site) -> None:
    await write(site, ("怎么申请退款", REFUND))
    other = await open_inbox(site.seed.database, site.seed.workspace_id, public_id="other", name="别处")
    chen, ma = await site.signed_in("chenmo"), site.seed.conversations["马骁"]
    for role, inboxes, status in ((Role.READ_ONLY, None, 409), (Role.AGENT, [other.inbox_id], 404)):
        async with site.seed.database.transaction(site.seed.workspace_id) as tx:
            await tx.run(
                "update agent set role = %(role)s, inbox_ids = %(inboxes)s where id = %(id)s",
                role=role,
                inboxes=inboxes,
                id=site.seed.agents["陈默"],
            )
        assert (await chen.get(f"/conversations/{ma}/knowledge?q=退款")).status == status
    # An agent who may not write knowledge is told who may, where there is none.
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update agent set inbox_ids = null where id = %(id)s", id=site.seed.agents["陈默"])
        await tx.run("delete from article")
        await tx.run("update knowledge_base set bodies = 0")
    page = (await chen.get(f"/conversations/{ma}/knowledge")).text
    assert ("负责人、管理员和主管可以写知识。" in page, "/knowledge/articles/new" in page) == (True, False)


async def test_marks_become_words_and_what_is_too_long_is_cut_at_a_sentence_and_told(site: Site) -> None:
    lin, ma = await site.signed_in(), site.seed.conversations["马骁"]
    long = "很长的一句话说不完。" * 400
    await write(site, ("怎么申请退款", REFUND), ("长长的说明", long), ("没有句号", "字" * 5000))
    (short,) = await look(lin, ma, "申请退款")
    said = await words(lin, ma, short)
    assert said["text"] == "打开“我的订单”，点申请退款，详见退款规则（https://docs.qinghe.example/refund）。"
    assert said["told"] == ""
    limits = site.seed.limits
    one = next(one for one in await look(lin, ma, "长长的说明") if one.title == "长长的说明")
    said = await words(lin, ma, one)
    assert long.startswith(said["text"])
    assert said["text"].endswith("。")
    assert len(limits.parts(said["text"])) == 3
    assert said["told"] == f"“长长的说明”太长，只放了前{len(said['text'])}个字"
    assert (await words(lin, ma, one, mode="note"))["text"] == long
    # Where fewer messages may still go out, there is no room for three.
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        for number in range(4):
            await site.seed.replies(tx, "马骁", f"第{number}条", by="陈默", at=site.seed.clock.now())
    assert len(limits.parts((await words(lin, ma, one))["text"])) == 1
    bare = next(one for one in await look(lin, ma, "没有句号") if one.title == "没有句号")
    assert len((await words(lin, ma, bare))["text"]) > 500


async def evidence(site: Site) -> list[tuple[str, str]]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return list(await tx.rows("select wording, kind from phrasing_evidence order by id"))


async def test_sending_it_says_what_the_contact_meant(site: Site) -> None:
    lin, ma = await site.signed_in(), site.seed.conversations["马骁"]
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await site.seed.says(tx, "陆遥", "国产库能不能用达梦", at=site.seed.clock.now())
    await write(site, ("支持达梦数据库吗", "支持，从2.3版起可以选达梦。"))
    talk = site.seed.conversations["陆遥"]
    (one,) = await look(lin, talk)
    said = await words(lin, talk, one)
    assert said["ref"]
    path = f"/conversations/{talk}/replies"
    assert (await lin.post(path, {"text": "这个我问问", "key": "a", "adopted": said["ref"]})).status == 204
    assert await evidence(site) == []  # nothing of the entry is left in it
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await site.seed.says(tx, "陆遥", "国产库能不能用达梦", at=site.seed.clock.now())
    said = await words(lin, talk, one)
    form = {"text": "您好，" + said["text"], "key": "b", "adopted": said["ref"]}
    assert (await lin.post(path, form)).status == 204
    assert await evidence(site) == [("国产库能不能用达梦", "adopted")]
    # Of two open questions nobody can say which one it answers.
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await site.seed.says(tx, "陆遥", "达梦要另外付钱吗", at=site.seed.clock.now())
        await site.seed.says(tx, "陆遥", "达梦的驱动在哪里下载", at=site.seed.clock.now())
    assert (await words(lin, talk, one))["ref"] == ""
    assert (await words(lin, ma, one))["ref"].startswith(f"{one.article}:")


@pytest.mark.browser
async def test_what_one_went_to_stays_chosen_when_rows_come_late(site: Site, enter: Visit) -> None:
    await write(site, ("怎么申请退款", REFUND), ("退款多久到账", "三天内到账。"), ("换货的运费", "我们出。"))
    page = await enter()
    await opened(page, "沈嘉宁")
    chosen = page.locator("#kb .opt[aria-selected=true] b")
    await page.keyboard.press("Alt+b")
    await expect(page.locator("#kb-q")).to_be_focused()
    come = asyncio.Event()

    async def late(route: Route) -> None:
        await come.wait()
        await route.continue_()

    await page.route("**/knowledge?*", late)
    async with page.expect_response(lambda one: f"q={quote('退款')}" in one.url):
        await page.keyboard.type("退款")
        await page.keyboard.press("ArrowDown")
        while await chosen.inner_text() != "退款多久到账":
            await page.keyboard.press("ArrowDown")
        come.set()
    await expect(page.locator("#kb .opt")).to_have_count(2)
    await expect(chosen).to_have_text("退款多久到账")


@pytest.mark.browser
async def test_it_is_put_where_one_writes_by_keys_alone(site: Site, enter: Visit) -> None:
    await write(site, ("怎么申请退款", REFUND), ("退款多久到账", "三天内到账。"), ("换货的运费", "我们出。"))
    page = await enter()
    await opened(page, "沈嘉宁")
    box, options = page.locator(BOX), page.locator("#kb .opt")
    await page.keyboard.type("您好，。请查收")
    for _ in range(4):
        await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("Alt+b")
    await expect(page.locator("#kb-q")).to_be_focused()
    await page.keyboard.type("退款")
    await expect(options).to_have_count(2)  # of three
    assert await faults(page) == []
    assert await page.evaluate(CONTRAST) == []
    await expect(page.locator("#kb-said")).to_contain_text("找到")
    where = await options.locator("b").all_text_contents()
    for _ in range(where.index("退款多久到账")):
        await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(box).to_have_value("您好，三天内到账。。请查收")
    await expect(box).to_be_focused()
    await expect(page.locator("#kb")).to_have_count(0)
    await page.keyboard.press("Control+z")
    await expect(box).to_have_value("您好，。请查收")
    # Escape goes back to where one wrote; what is selected stays.
    await page.keyboard.press("Control+a")
    await page.keyboard.press("Alt+b")
    await expect(page.locator("#kb-q")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(box).to_be_focused()
    await page.click("[data-kb]")
    await page.locator("#kb-q").fill("换货的运费")
    await expect(page.locator(".kb__h")).to_have_count(0)
    await expect(options.first).to_contain_text("换货的运费")
    await options.first.click()
    await expect(box).to_have_value("您好，。请查收我们出。")
    # Behind a slash, and in a note.
    await page.keyboard.press("Alt+p")
    await page.keyboard.type("记 /kb")
    await expect(page.locator("#slash .opt")).to_have_text(["插入知识"])
    await page.keyboard.press("Enter")
    await expect(page.locator("#kb-q")).to_be_focused()
    await expect(page.locator("#kb-found")).to_contain_text("对方问：")
    await page.locator("#kb-q").fill("没有这种东西啊")
    await expect(page.locator("#kb-found")).to_contain_text("没有找到。换个词试试。")
    await page.keyboard.press("Enter")  # nothing is chosen, nothing happens
    await page.locator("#kb-q").fill("退款多久")
    await expect(options.first).to_contain_text("退款多久到账")
    await page.keyboard.press("Enter")
    await expect(box).to_have_value("记 三天内到账。")
    # Another conversation, another text: the panel does not stay.
    await page.keyboard.press("Alt+b")
    await expect(page.locator("#kb")).to_be_visible()
    await opened(page, "周予安")
    await expect(page.locator("#kb")).to_have_count(0)
    # The command bar has it, too.
    await page.keyboard.press("Control+k")
    await page.locator("#cmd-q").fill("插入知识")
    await page.keyboard.press("Enter")
    await expect(page.locator("#kb-q")).to_be_focused()


@pytest.mark.browser
async def test_a_reply_made_of_one_entry_is_learnt_from_and_one_made_of_two_is_not(site: Site, enter: Visit) -> None:
    await write(
        site, ("支持达梦数据库吗", "支持，从2.3版起可以选达梦。"), ("达梦要另外付钱吗", "不用，*所有*版本都带。")
    )
    for who in ("陆遥", "江一帆"):
        async with site.seed.database.transaction(site.seed.workspace_id) as tx:
            await site.seed.says(tx, who, "国产库能不能用达梦", at=site.seed.clock.now())
    page = await enter()

    async def insert(*titles: str) -> None:
        for title in titles:
            await page.keyboard.press("Alt+b")
            await page.locator("#kb-q").fill(title)
            await expect(page.locator("#kb .opt b").first).to_have_text(title)
            await expect(page.locator(".kb__h")).to_have_count(0)
            await page.keyboard.press("Enter")
            await expect(page.locator("#kb")).to_have_count(0)

    async def sends(who: str, *titles: str) -> None:
        await page.goto(f"{site.url}/conversations/{site.seed.conversations[who]}?queue=all")
        await page.wait_for_selector("html[data-ready]")
        await insert(*titles)
        await page.keyboard.press("Enter")
        await expect(page.locator("#messages .msg[data-side=us]")).to_have_count(1)

    await sends("陆遥", "支持达梦数据库吗", "达梦要另外付钱吗")
    assert await evidence(site) == []
    # A reply that comes back, because a colleague was quicker, is still made of it.
    await page.route("**/replies", lambda route: route.fulfill(status=409, body="苏禾刚刚回复了。"), times=1)
    await page.goto(f"{site.url}/conversations/{site.seed.conversations['江一帆']}?queue=all")
    await page.wait_for_selector("html[data-ready]")
    await insert("支持达梦数据库吗")
    await page.keyboard.press("Enter")
    await expect(page.locator("#toasts")).to_contain_text("苏禾刚刚回复了。")
    await expect(page.locator(BOX)).to_have_value("支持，从2.3版起可以选达梦。")
    await page.locator(BOX).press("Enter")
    await expect(page.locator("#messages .msg[data-side=us]")).to_have_count(1)
    assert await evidence(site) == [("国产库能不能用达梦", "adopted")]
    # In a formatted reply an entry's asterisks are letters.
    await page.locator("[data-rich]").click()
    await expect(page.locator("#rich")).to_be_visible()
    await insert("达梦要另外付钱吗")
    await expect(page.locator(BOX)).to_have_value(r"不用，\*所有\*版本都带。")


@pytest.mark.browser
async def test_what_was_removed_meanwhile_and_a_lost_network_are_told(site: Site, enter: Visit) -> None:
    (refund,) = await write(site, ("怎么申请退款", REFUND))
    page = await enter(width=390, height=844)
    await opened(page, "沈嘉宁")
    await page.click("[data-kb]")
    await page.locator("#kb-q").fill("退款")
    await expect(page.locator("#kb .opt")).to_have_count(1)
    await page.emulate_media(color_scheme="dark")
    await holds(page, STILL)
    assert await page.evaluate(CONTRAST) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        base = await knowledge.base_for(tx)
        await knowledge.remove(tx, base, article_id=refund, now=site.seed.clock.now())
    await page.click("#kb .opt")
    await expect(page.locator("#toasts")).to_contain_text("也许已经删除")
    await expect(page.locator("#kb")).to_be_visible()
    await page.route("**/knowledge?*", lambda route: route.abort())
    await page.locator("#kb-q").fill("退")
    await expect(page.locator("#toasts")).to_contain_text("没有打开")

"""Knowledge at the desk: gaps are closed, articles written and changed, questions tried, all without a terminal."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from playwright.async_api import expect
from psycopg import sql

from tests.browser import Visit, holds
from tests.desk.conftest import Client, Site
from tests.desk.test_accessibility import STILL, faults
from tests.desk.test_browser import CONTRAST
from zhiban.events import SYSTEM, Actor
from zhiban.knowledge import gap_queries, queries
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.article_lists import PAGE, article_lines
from zhiban.knowledge.jobs import KnowledgeJobs
from zhiban.knowledge.models import EvidenceKind
from zhiban.knowledge.retrieval import search

DAMENG = "你们支持达梦数据库吗"
SHIPS = "支持，达梦 8 可以作源库，也可以作目标库。"


async def written(site: Site, **entries: tuple[str, ...]) -> dict[str, int]:
    """Articles of the default base by their questions; each value is its answer, then its similar questions."""
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        base = await knowledge.base_for(tx)
        return {
            question: await knowledge.put_faq(
                tx, base, question=question, answer=answer, similar=tuple(similar), now=site.seed.clock.now()
            )
            for question, (answer, *similar) in entries.items()
        }


async def gap_of(site: Site, question: str = DAMENG, who: str = "马骁") -> int:
    """What somebody asked in vain."""
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        talk = site.seed.conversations[who]
        contact = await tx.value("select contact_id from conversation where id = %(id)s", id=talk)
        message = await tx.value("select max(id) from message where conversation_id = %(id)s", id=talk)
        return await knowledge.record_gap(
            tx,
            question,
            conversation_id=talk,
            contact_id=contact,
            message_id=message,
            now=site.seed.clock.now(),
        )


async def counted(site: Site) -> dict[str, int]:
    """How many rows every table holds."""
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        names = await tx.values("select table_name::text from information_schema.tables where table_schema = 'public'")
        count = sql.SQL("select count(*) from {}")
        return {name: await tx.value(count.format(sql.Identifier(name))) for name in names}


async def tries(client: Client, question: str) -> str:
    tried = await client.post("/knowledge/try", {"question": question}, hx_request="true")
    assert tried.status == 200
    return tried.text


async def test_a_gap_becomes_an_article_with_the_contacts_own_wordings(site: Site) -> None:
    lin, gap = await site.signed_in(), await gap_of(site)
    assert DAMENG in (await lin.get("/knowledge/gaps")).text
    page = (await lin.get(f"/knowledge/gaps/{gap}")).text
    assert f'href="/conversations/{site.seed.conversations["马骁"]}"' in page
    assert f'value="{DAMENG}"' in page
    empty = await lin.post(f"/knowledge/gaps/{gap}/answer", {"question": "支持达梦吗", "answer": " "})
    assert (empty.status, "支持达梦吗" in empty.text) == (422, True)
    done = await lin.post(f"/knowledge/gaps/{gap}/answer", {"question": "支持达梦吗", "answer": SHIPS})
    assert done.headers["location"] == f"/knowledge/gaps/{gap}"
    assert "现在由“支持达梦吗”来答" in (await lin.get(done.headers["location"])).text
    again = await lin.post(f"/knowledge/gaps/{gap}/answer", {"question": "支持达梦吗", "answer": SHIPS})
    assert (again.status, "刚刚有人处理过" in again.text) == (422, True)
    assert again.text.count(SHIPS) == 1  # what the second one wrote is still there to copy
    assert (await lin.post("/knowledge/gaps/999/answer", {"question": "x", "answer": "y"})).status == 404
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        article = (await gap_queries.gap(tx, gap)).article_id
        assert article is not None
        assert [row.text for row in await queries.phrasings(tx, [article])] == ["支持达梦吗", DAMENG]
        told = await tx.rows("select kind, actor_kind, actor_id from event where kind = 'gap_closed'")
    assert told == [("gap_closed", "agent", site.seed.agents["林晓"])]
    told = await tries(lin, DAMENG)
    assert "直接回答" in told
    assert SHIPS in told


async def test_a_gap_is_an_article_said_differently(site: Site) -> None:
    ids = await written(site, 支持哪些数据库=("MySQL、达梦和金仓。",), 怎么退款=("点申请退款。",))
    lin, gap = await site.signed_in(), await gap_of(site)
    page = (await lin.get(f"/knowledge/gaps/{gap}")).text
    assert "支持哪些数据库" in page  # the nearest is offered
    found = (await lin.get(f"/knowledge/gaps/{gap}/articles?text=退款", hx_request="true")).text
    assert re.findall(r'value="(\d+)"', found) == [str(ids["怎么退款"])]
    assert "没有哪种问法" in (await lin.get(f"/knowledge/gaps/{gap}/articles?text=宇宙", hx_request="true")).text
    assert "怎么退款" in (await lin.get(f"/knowledge/gaps/{gap}?text=退款")).text  # without scripts
    assert (await lin.post(f"/knowledge/gaps/{gap}/join", {"article_id": "999"})).status == 422
    joined = await lin.post(f"/knowledge/gaps/{gap}/join", {"article_id": str(ids["支持哪些数据库"])})
    assert joined.status == 303
    assert "现在由“支持哪些数据库”来答" in (await lin.get(joined.headers["location"])).text
    article = (await lin.get(f"/knowledge/articles/{ids['支持哪些数据库']}")).text
    assert "学到的问法" in article
    assert DAMENG in article
    told = await tries(lin, DAMENG)
    assert "直接回答" in told
    assert "MySQL、达梦和金仓。" in told
    # And taken back: the wording leads nowhere any more.
    taught = re.findall(r"/phrasings/(\d+)/remove", article)
    path = f"/knowledge/articles/{ids['支持哪些数据库']}/phrasings/{taught[0]}/remove"
    assert (await lin.post(path.replace(str(ids["支持哪些数据库"]), str(ids["怎么退款"]), 1))).status == 404
    assert (await lin.post(path)).status == 303
    assert (await lin.post(path)).status == 404
    assert "直接回答</b>" not in await tries(lin, DAMENG)


async def test_what_is_dismissed_can_be_taken_back(site: Site) -> None:
    lin, gap = await site.signed_in(), await gap_of(site)
    assert (await lin.post(f"/knowledge/gaps/{gap}/dismiss")).status == 303
    twice = await lin.post(f"/knowledge/gaps/{gap}/dismiss")
    assert (twice.status, "刚刚有人处理过" in twice.text) == (422, True)
    assert DAMENG in (await lin.get("/knowledge/gaps?status=dismissed")).text
    assert "撤销忽略" in (await lin.get(f"/knowledge/gaps/{gap}")).text
    assert (await lin.post(f"/knowledge/gaps/{gap}/reopen")).status == 303
    assert (await lin.post(f"/knowledge/gaps/{gap}/explode")).status == 404
    assert await gap_of(site) == gap


async def test_an_article_is_written_changed_by_one_at_a_time_and_removed(site: Site) -> None:
    lin = await site.signed_in()
    assert "还没有知识" in (await lin.get("/knowledge")).text
    form = {
        "question": "能开专票吗",
        "answer": "能，**当天**发到邮箱。",
        "similar": "开不开专票\n\n 有专票吗 ",
        "category": "发票",
    }
    assert (await lin.post("/knowledge/articles", {**form, "answer": ""})).status == 422
    here = (await lin.post("/knowledge/articles", form)).headers["location"]
    page = (await lin.get(here)).text
    assert "能，当天发到邮箱。" in page  # as contacts read it
    seen = re.findall(r'name="seen" value="(\w+)"', page)[0]
    for gone in ("", "00"):
        assert (await lin.post(here, {**form, "seen": gone})).status == 422
    changed = {**form, "answer": "能，三天内寄到。", "similar": "有专票吗\n怎么开专票", "seen": seen}
    assert (await lin.post(here, changed)).status == 303
    late = await lin.post(here, {**changed, "answer": "不能。"})
    assert (late.status, "刚刚有人改过" in late.text, "不能。" in late.text) == (422, True, True)
    told = await tries(lin, "怎么开专票")
    assert "能，三天内寄到。" in told
    assert "直接回答</b>" not in await tries(lin, "开不开票")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        changes = await tx.rows("select actor_kind, actor_id from event where kind = 'article_changed'")
    assert changes == [("agent", site.seed.agents["林晓"])] * 2
    assert (await lin.post(f"{here}/remove")).headers["location"] == "/knowledge?base=default"
    assert (await lin.get(here)).status == 404
    assert (await lin.post(here, changed)).status == 404
    assert "能，三天内寄到。" not in await tries(lin, "怎么开专票")


async def test_articles_are_found_by_every_wording_a_page_at_a_time(site: Site) -> None:
    lin, now = await site.signed_in(), site.seed.clock.now()
    await written(site, 怎么退款=("点申请退款。", "钱要怎么拿回来"))
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        base = await knowledge.base_for(tx)
        await tx.run(
            "insert into article (workspace_id, base_id, kind, key, title, answer, digest, created_at, updated_at, "
            "saved_from) select %(w)s, %(b)s, 'faq', n::text, '第' || n || '问', '答', '', %(now)s, %(now)s, 'editor' "
            "from generate_series(1, %(n)s) n",
            w=tx.workspace_id,
            b=base,
            n=PAGE,
            now=now + timedelta(seconds=1),
        )
        assert [one.title for one in await article_lines(tx, base, text="拿回来")] == ["怎么退款"]
        assert [one.title for one in await article_lines(tx, base, text="%")] == []
    first = (await lin.get("/knowledge")).text
    assert first.count('class="entry"') == PAGE
    assert "怎么退款" not in first
    later = (await lin.get(re.findall(r'href="(/knowledge\?[^"]*before=\d+)"', first)[0].replace("&amp;", "&"))).text
    assert "怎么退款" in later
    assert "回到最新" in later
    assert "怎么退款" in (await lin.get("/knowledge?text=拿回来")).text
    assert "没有哪种问法里有" in (await lin.get("/knowledge?text=宇宙飞船")).text
    assert (await lin.get("/knowledge?base=nowhere")).status == 404


async def test_trying_a_question_leaves_no_trace(site: Site) -> None:
    await written(site, 怎么退款=("点申请退款。", "如何退款"), 怎么开发票=("在订单里点开票。",))
    lin, before = await site.signed_in(), await counted(site)
    told = await tries(lin, "如何退款")
    assert "直接回答" in told
    assert "点申请退款。" in told
    assert "参考：" in told  # what stands below the answer, too
    assert "青禾官方客服" in told  # by whose policy
    assert "转人工" in await tries(lin, "你们老板的车什么颜色")
    assert "客套话" in await tries(lin, "你好")
    assert "不查知识库" in await tries(lin, "转人工")
    assert 'id="trial"' in await tries(lin, "  ")
    whole = await lin.post("/knowledge/try", {"question": "如何退款"})  # without scripts
    assert "<html" in whole.text
    assert "点申请退款。" in whole.text
    for strange in ("\x00\x07", "'; drop table article; --", "<script>alert(1)</script>", "？" * 2000):
        assert "<script>alert" not in await tries(lin, strange)
    assert await counted(site) == before


async def test_what_was_learnt_is_confirmed_and_taken_back(site: Site) -> None:
    ids = await written(site, 怎么退款=("点申请退款。",), 怎么开发票=("在订单里点开票。",))
    lin, now = await site.signed_in(), site.seed.clock.now()
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        talk = site.seed.conversations["马骁"]
        contact = await tx.value("select contact_id from conversation where id = %(id)s", id=talk)
        wordings = [
            await knowledge.record_evidence(
                tx,
                ids["怎么退款"],
                text,
                kind=EvidenceKind.TAP,
                by=Actor("contact", contact),
                conversation_id=talk,
                now=now,
            )
            for text in ("东西不想要了", "买错了可以退掉吗")
        ]
    assert all(wordings)
    page = (await lin.get("/knowledge/learnt")).text
    for words in ("“东西不想要了”", "怎么退款", "马骁", f'href="/conversations/{talk}"'):
        assert words in page
    assert "马骁" not in (await (await site.signed_in("chenmo")).get("/knowledge/learnt")).text
    article = f"/knowledge/articles/{ids['怎么退款']}"
    assert "等确认的问法" in (await lin.get(article)).text
    here = f"/knowledge/learnt/{wordings[0]}"
    assert (await lin.post(f"{here}/approve", {"status": "waiting"})).headers["location"].endswith("status=waiting")
    assert "点申请退款。" in await tries(lin, "东西不想要了")
    assert "“东西不想要了”" in (await lin.get("/knowledge/learnt?status=active")).text
    back = await lin.post(f"/knowledge/learnt/{wordings[1]}/reject", {"status": str(ids["怎么退款"])})
    assert (back.status, back.headers.get("location")) == (303, article), re.findall("alert.*?</p>", back.text)
    assert "“买错了可以退掉吗”" in (await lin.get("/knowledge/learnt?status=rejected")).text
    assert (await lin.post(f"{here}/reject")).status == 303
    assert "点申请退款。" not in await tries(lin, "东西不想要了")
    assert (await lin.post(f"{here}/explode")).status == 404
    assert (await lin.post("/knowledge/learnt/999/approve")).status == 404
    await written(site, 东西不想要了=("请联系我们。",))
    refused = await lin.post(f"{here}/approve", {"status": "rejected"})
    assert (refused.status, "东西不想要了" in refused.text) == (422, True)


async def test_words_that_mean_the_same_are_changed_and_a_job_indexes_the_base_anew(site: Site) -> None:
    await written(site, 水壶可以热牛奶吗=("水壶可以热牛奶。",), 怎么退款=("点申请退款。",))
    lin = await site.signed_in()
    one = await lin.post("/knowledge/synonyms", {"base": "default", "words": "水壶、茶炊\n孤单"})
    assert (one.status, "第2行只有一个词" in one.text, "孤单" in one.text) == (422, True, True)
    form = {"base": "default", "words": "水壶、茶炊 # 老人的说法\n\n退款,退钱"}
    assert (await lin.post("/knowledge/synonyms", form)).status == 303
    page = (await lin.get("/knowledge")).text
    assert "正在按新的同义词重建索引" in page
    assert "水壶、茶炊" in page
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        base = await knowledge.base_for(tx)
        assert not (await search(tx, base, "茶炊")).passages
    job = KnowledgeJobs(site.seed.database, site.seed.clock)
    for _again in range(2):
        await job.apply_synonyms(site.seed.workspace_id, base)
    assert "正在按新的同义词重建索引" not in (await lin.get("/knowledge")).text
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        assert [one.title for one in (await search(tx, base, "茶炊")).passages] == ["水壶可以热牛奶吗"]
        told = await tx.rows("select actor_kind, data ->> 'groups' from event where kind = 'synonyms_changed'")
    assert told == [("agent", "2")]


async def test_agents_read_and_try_and_change_nothing(site: Site) -> None:
    ids = await written(site, 怎么退款=("点申请退款。", "如何退款"))
    chen, gap = await site.signed_in("chenmo"), await gap_of(site)
    assert "点申请退款。" in await tries(chen, "如何退款")
    page = (await chen.get(f"/knowledge/gaps/{gap}")).text
    assert "只有负责人、管理员和主管可以修改知识" in page
    assert DAMENG in page
    assert "从哪些会话来" not in page  # as by the API: who asked is not only knowledge
    for words in ("写成新文章", "忽略</button>", "就是这篇"):
        assert words not in page
    article = (await chen.get(f"/knowledge/articles/{ids['怎么退款']}")).text
    assert "保存</button>" not in article
    assert "移除" not in article


async def test_a_supervisor_of_other_inboxes_closes_a_gap_without_seeing_who_asked(site: Site) -> None:
    gap, chen = await gap_of(site), site.seed.agents["陈默"]
    for inboxes, sees in (([site.seed.inbox.inbox_id], True), ([site.seed.inbox.inbox_id + 1], False)):
        async with site.seed.database.transaction(site.seed.workspace_id) as tx:
            await tx.run(
                "update agent set role = 'supervisor', inbox_ids = %(inboxes)s where id = %(id)s",
                inboxes=inboxes,
                id=chen,
            )
        client = await site.signed_in("chenmo")
        page = (await client.get(f"/knowledge/gaps/{gap}")).text
        assert (f'href="/conversations/{site.seed.conversations["马骁"]}"' in page) is sees
    answered = await client.post(f"/knowledge/gaps/{gap}/answer", {"question": "支持达梦吗", "answer": SHIPS})
    assert answered.status == 303


async def test_words_of_strangers_are_words(site: Site) -> None:
    evil = '"><script>alert(1)</script>'
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        base = await knowledge.base_for(tx)
        article = await knowledge.put_faq(
            tx, base, question=evil, answer=evil, similar=(f"{evil}2",), category=evil, now=site.seed.clock.now()
        )
        gap = await knowledge.record_gap(tx, f"火星{evil}", now=site.seed.clock.now())
        await knowledge.add_phrasing(tx, article, f"水星{evil}", source="agent", by=SYSTEM, now=site.seed.clock.now())
    lin = await site.signed_in()
    for path in (f"/knowledge/articles/{article}", f"/knowledge/gaps/{gap}", "/knowledge", f"/knowledge?text={evil}"):
        answer = await lin.get(path)
        assert answer.status == 200
        assert "<script>alert" not in answer.text, path
    previewed = await lin.post("/knowledge/preview", {"answer": f"**粗** {evil}"}, hx_request="true")
    assert "粗" in previewed.text
    assert "<script>alert" not in previewed.text
    foreign = await lin.post("/knowledge/articles", {"question": "x", "answer": "y"}, origin="https://evil.example")
    assert foreign.status == 403


@pytest.mark.browser
async def test_an_owner_answers_a_gap(site: Site, enter: Visit) -> None:
    await written(site, 支持哪些数据库=("MySQL、达梦和金仓。",), 怎么退款=("点申请退款。", "如何退款"))
    await gap_of(site)
    page = await enter()

    async def sound() -> None:
        assert await faults(page) == []
        for scheme in ("dark", "light"):
            await page.emulate_media(color_scheme=scheme)
            await holds(page, STILL)  # colours change softly
            assert await page.evaluate(CONTRAST) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    await page.get_by_role("link", name="知识", exact=True).locator("visible=true").click()
    await expect(page.get_by_role("heading", name="知识", exact=True)).to_be_visible()
    await page.get_by_role("link", name=re.compile("^缺口")).locator("visible=true").last.click()
    await page.locator(".entry", has_text="达梦数据库").click()
    await page.wait_for_url("**/gaps/*")
    await page.wait_for_selector("html[data-ready]")
    await page.get_by_role("searchbox", name="按问法找文章").fill("退款")
    await expect(page.locator("#picks")).to_contain_text("怎么退款")
    await page.get_by_role("textbox", name="答案").fill("支持，**达梦 8** 可以。")
    await expect(page.locator("#preview")).to_have_text("支持，达梦 8 可以。")
    await sound()
    await page.get_by_role("button", name="写成新文章").click()
    await expect(page.locator(".done")).to_contain_text("现在由")
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.locator(".done a").click()
    await expect(page.get_by_role("textbox", name="问题", exact=True)).to_have_value(DAMENG)
    await page.wait_for_selector("html[data-ready]")
    await page.keyboard.press("Alt+t")
    await expect(page.get_by_role("textbox", name="对方会怎么问")).to_be_focused()
    await page.keyboard.type("你们支持达梦数据库吗")
    await page.keyboard.press("Enter")
    await expect(page.locator("#trial")).to_contain_text("支持，达梦 8 可以。")
    await sound()
    await page.keyboard.press("Escape")
    await expect(page.locator("#side")).to_be_hidden()
    await page.get_by_role("link", name="返回列表").click()
    await page.get_by_role("link", name="这个知识库会不会直接回答").click()
    await expect(page.get_by_role("heading", name="会不会直接回答", exact=True)).to_be_visible()

"""An agent's reply becomes knowledge from the conversation, once, and what contacts asked in vain is answered by it."""

from __future__ import annotations

import asyncio
import html
import re
from datetime import timedelta

from tests.desk.conftest import Client, Site
from tests.desk.test_knowledge import SHIPS, gap_of, tries, written
from zhiban.knowledge import gap_queries, queries
from zhiban.people.models import Role

WHO = "马骁"
ASKED = "你们支持达梦数据库吗？文档里没有找到"
BARE = "你们支持达梦数据库吗"


async def replied(site: Site, *texts: str, asked: str = "", who: str = WHO) -> int:
    """林晓 answers, after the contact has said something more. Returns the last reply."""
    seed = site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        if asked:
            await seed.says(tx, who, asked, at=seed.ago(seconds=20))
        for number, text in enumerate(texts):
            await seed.replies(tx, who, text, by="林晓", at=seed.clock.now() + timedelta(seconds=number))
        return int(await tx.value("select max(id) from message where author = 'agent'"))


def fields(page: str) -> dict[str, str]:
    """What stands in the editor."""
    texts = re.findall(r'<textarea [^>]*name="(\w+)"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    texts += re.findall(r'<input type="hidden" name="(gap)" value="(\d+)">', page)
    return {name: html.unescape(text) for name, text in texts}


async def keeps(client: Client, reply: int, **form: str) -> str:
    """Save the editor as it stands, with what is changed. Returns where it leads."""
    page = (await client.get(f"/knowledge/replies/{reply}")).text
    answer = await client.post(f"/knowledge/replies/{reply}", {**fields(page), **form})
    assert answer.status == 303, answer.text
    return answer.headers["location"]


async def test_a_reply_becomes_an_article_and_answers_its_gap(site: Site) -> None:
    lin, gap = await site.signed_in(), await gap_of(site, ASKED)
    reply, talk = await replied(site, "稍等，我查一下", SHIPS), site.seed.conversations[WHO]
    thread = (await lin.get(f"/conversations/{talk}")).text
    assert f'href="/knowledge/replies/{reply}"' in thread
    page = (await lin.get(f"/knowledge/replies/{reply}")).text
    shown = fields(page)
    assert (shown["question"], shown["answer"]) == (BARE, SHIPS)
    assert shown["similar"] == ASKED.replace("？", "，")
    assert f"/knowledge/gaps/{gap}" in page  # that it will be answered
    empty = await lin.post(f"/knowledge/replies/{reply}", {**shown, "answer": " "})
    assert (empty.status, fields(empty.text)["question"]) == (422, BARE)
    assert await keeps(lin, reply) == f"/conversations/{talk}?message={reply}"
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        closed = await gap_queries.gap(tx, gap)
        assert closed.status == "answered"
        article = closed.article_id
        assert article is not None
        assert (await queries.article(tx, article)).answer == SHIPS
    thread = (await lin.get(f"/conversations/{talk}")).text
    assert f'href="/knowledge/articles/{article}"' in thread
    assert f'href="/knowledge/replies/{reply}"' not in thread
    # The second time leads to the entry, whichever way it is tried.
    again = await lin.get(f"/knowledge/replies/{reply}")
    assert again.headers["location"] == f"/knowledge/articles/{article}"
    again = await lin.post(f"/knowledge/replies/{reply}", shown)
    assert again.headers["location"] == f"/knowledge/articles/{article}"
    assert "直接回答" in await tries(lin, BARE)
    # Without the entry it can be kept anew.
    assert (await lin.post(f"/knowledge/articles/{article}/remove")).status == 303
    assert (await lin.get(f"/knowledge/replies/{reply}")).status == 200


async def test_what_is_there_already_learns_the_wording_instead(site: Site) -> None:
    ids = await written(site, 支持哪些数据库=("MySQL、达梦和金仓。",), 怎么退款=("点申请退款。",))
    lin, gap, reply = await site.signed_in(), await gap_of(site, BARE), await replied(site, SHIPS)
    page = (await lin.get(f"/knowledge/replies/{reply}")).text
    assert "知识库里有相近的" in page
    near = await lin.post(f"/knowledge/replies/{reply}/nearest", {"question": "怎么退款"}, hx_request="true")
    assert "知识库里已经有这一条" in near.text
    assert re.findall(r'name="article_id" value="(\d+)"', near.text) == [str(ids["怎么退款"])]
    path, article = f"/knowledge/replies/{reply}/join", ids["支持哪些数据库"]
    for wrong in ({"article_id": str(article)}, {"article_id": "999", "question": BARE}):
        assert (await lin.post(path, wrong)).status in (404, 422)
    form = {"article_id": str(article), **fields(page)}
    both = await asyncio.gather(lin.post(path, form), lin.post(f"/knowledge/replies/{reply}", fields(page)))
    assert [answer.status for answer in both] == [303, 303]  # two at once: one is in, the other is led to it
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        kept = await tx.rows("select message_id from kept_reply")
        assert kept == [(reply,)]
        assert (await gap_queries.gap(tx, gap)).status == "answered"
        facts = await tx.rows("select actor_id from event where kind = 'reply_kept' and conversation_id is not null")
        assert facts == [(site.seed.agents["林晓"],)]


async def test_joining_teaches_and_closes_the_gap(site: Site) -> None:
    ids = await written(site, 支持哪些数据库=("MySQL、达梦和金仓。",))
    lin, gap, reply = await site.signed_in(), await gap_of(site, BARE), await replied(site, SHIPS)
    form = {"article_id": str(ids["支持哪些数据库"]), "question": BARE, "similar": "达梦能用吗", "gap": str(gap)}
    joined = await lin.post(f"/knowledge/replies/{reply}/join", form)
    assert joined.headers["location"].endswith(f"?message={reply}")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        learnt = [row.text for row in await queries.phrasings(tx, [ids["支持哪些数据库"]])]
        assert learnt == ["支持哪些数据库", BARE, "达梦能用吗"]
        assert (await gap_queries.gap(tx, gap)).article_id == ids["支持哪些数据库"]


async def test_what_is_the_contacts_own_is_no_wording(site: Site) -> None:
    lin = await site.signed_in()
    reply = await replied(site, "可以，七天内都能退。", asked="你好。订单20231108556能退吗？不用的线缆可以退货吗")
    shown = fields((await lin.get(f"/knowledge/replies/{reply}")).text)
    assert "线缆" in shown["question"]
    assert "20231108556" not in shown["question"] + shown["similar"]
    silent = await replied(site, "不客气，再见。", asked="谢谢")
    assert fields((await lin.get(f"/knowledge/replies/{silent}")).text)["question"] == ""


async def test_only_replies_of_people_by_those_who_may(site: Site) -> None:
    lin, reply, seed = await site.signed_in(), await replied(site, SHIPS), site.seed
    chen = await site.signed_in("chenmo")
    assert "/knowledge/replies/" not in (await chen.get(f"/conversations/{seed.conversations[WHO]}")).text
    assert (await chen.get(f"/knowledge/replies/{reply}")).status == 409
    async with seed.database.transaction(seed.workspace_id) as tx:
        others = await tx.values(
            "select id from message where author <> 'agent' or direction <> 'out' or kind <> 'text'"
        )
        await tx.run(
            "update agent set role = %(role)s, inbox_ids = '{}' where email like 'chenmo@%%'", role=Role.SUPERVISOR
        )
    for other in others:
        assert (await lin.get(f"/knowledge/replies/{other}")).status == 404
    blind = await site.signed_in("chenmo")  # a supervisor of other inboxes
    assert (await blind.get(f"/knowledge/replies/{reply}")).status == 404
    assert (await blind.post(f"/knowledge/replies/{reply}", {"question": "x", "answer": "y"})).status == 404


async def test_of_a_gap_only_what_was_shown_is_learnt(site: Site) -> None:
    lin, gap = await site.signed_in(), await gap_of(site, BARE)
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        for text in ("支持达梦数据库吗，我的手机 138 0013 8000", "数据库支持达梦的吗"):
            await tx.run(
                "insert into gap_question (workspace_id, gap_id, text, terms, origin, asked_at) "
                "select workspace_id, gap_id, %(text)s, terms, origin, asked_at from gap_question "
                "where gap_id = %(gap)s limit 1",
                text=text,
                gap=gap,
            )
    reply = await replied(site, SHIPS)
    shown = fields((await lin.get(f"/knowledge/replies/{reply}")).text)
    assert "数据库支持达梦的吗" in shown["similar"]
    assert "8000" not in shown["similar"]
    kept = "\n".join(line for line in shown["similar"].split("\n") if line != "数据库支持达梦的吗")
    unseen = await lin.post(
        f"/knowledge/replies/{reply}", {**shown, "gap": "0"}
    )  # what would be answered was not shown
    assert (unseen.status, fields(unseen.text)["gap"]) == (422, str(gap))
    typed = {"question": "怎么退款"}
    other = await lin.post(f"/knowledge/replies/{reply}/nearest", typed, hx_request="true")
    assert fields(other.text)["gap"] == "0"
    await keeps(lin, reply, similar=kept)
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        article = (await gap_queries.gap(tx, gap)).article_id
        assert article is not None
        learnt = [row.text for row in await queries.phrasings(tx, [article])]
    assert learnt == [BARE, *kept.split("\n")]


async def test_nothing_private_stands_in_the_editor(site: Site) -> None:
    lin = await site.signed_in()
    asked = (
        "我叫马骁，能改收货地址吗？微信号是maxiao_88，可以加吗？地址是中山路12号，能送吗？电话138 0013 8000能打通吗？"
    )
    reply = await replied(
        site, "马骁您好，已改，打您１３８００１３８０００，单号SF1234567890，热线400-820-8820。", asked=asked
    )
    shown = fields((await lin.get(f"/knowledge/replies/{reply}")).text)
    private = ("马骁", "maxiao", "中山路", "8000", "８０００", "SF1234567890")
    assert [word for word in private for text in shown.values() if word in text] == []
    assert "热线400-820-8820" in shown["answer"]
    only = await replied(site, "好的。", asked="我的订单 2023 1108 5561 到哪了？")
    assert fields((await lin.get(f"/knowledge/replies/{only}")).text)["question"] == ""

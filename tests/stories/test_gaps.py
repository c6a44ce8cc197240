"""What contacts ask in vain: gathered by what it is about, with who asked it and what a person told them in the end."""

from __future__ import annotations

from datetime import UTC, datetime

import aiohttp
import pytest
from tests.stories.conftest import Shop
from tests.stories.test_suggesting import LI, UNSURE, labels

from zhiban.assistant.gap_answers import gap_detail, words_of_person
from zhiban.conversations import replies
from zhiban.conversations import service as conversations
from zhiban.events import SYSTEM
from zhiban.integrations.wecom.kf import KfChannel
from zhiban.kit.clock import SystemClock
from zhiban.kit.errors import NotFound
from zhiban.knowledge import gap_queries
from zhiban.knowledge import service as knowledge

FOUR_TOPICS = {
    "parking": ("你们门店附近能停车吗", "开车过来车停在哪里", "店里有停车场没有"),
    "student": ("学生有优惠吗", "拿学生证能打几折", "大学生买有学生价不"),
    "kettle": ("这个水壶可以热牛奶吗", "用水壶煮牛奶会不会坏", "水壸能烧牛奶么"),
    "agency": ("你们招代理吗", "想加盟做代理商要什么条件", "怎麼做你們家的代理"),
}


async def gaps(shop: Shop) -> dict[str, int]:
    return dict(await shop.rows("select question, times from gap where status = 'open' order by id"))


async def origins(shop: Shop) -> list[tuple[str, str]]:
    return [(text, origin) for text, origin in await shop.rows("select text, origin from gap_question order by id")]


async def asks_in_vain(shop: Shop, contact: str, text: str) -> None:
    """Ask, and go to a person if that brings only a menu."""
    (reply,) = await shop.says(contact, text)
    if reply.msgtype == "msgmenu":
        shop.wecom.contact_taps(contact, labels(reply)["转人工"])
    await shop.becomes("open", contact)


async def answers(shop: Shop, contact: str, agent: int, *texts: str) -> list[int]:
    sent = []
    for text in texts:
        async with shop.work() as tx:
            talk = await tx.value("select id from conversation where external_id = %(id)s", id=contact)
            sent += await replies.reply(tx, talk, text=text, by=agent, limits=KfChannel.limits, now=datetime.now(UTC))
    await shop.idle()
    return sent


async def test_four_topics_in_twelve_wordings_are_four_gaps(shop: Shop) -> None:
    asked = [(topic, wordings[turn]) for turn in range(3) for topic, wordings in FOUR_TOPICS.items()]
    for number, (_, wording) in enumerate(asked):
        await asks_in_vain(shop, f"wm{number:02d}", wording)
    await shop.eventually(
        "select 1 where not exists (select from gap_question where embedder is null) "
        "and (select count(*) from gap_question) = 12",
        within=30,
    )
    grouped = dict(await shop.rows("select text, gap_id from gap_question"))
    assert {frozenset(grouped[text] for text in wordings) for wordings in FOUR_TOPICS.values()} == {
        frozenset({gap}) for gap in set(grouped.values())
    }
    found = await shop.rows("select times, contacts from gap where status = 'open'")
    assert found == [(3, 3)] * 4


async def test_the_wish_for_a_person_leaves_the_question_and_not_itself(shop: Shop) -> None:
    await shop.says(LI, "怎么申请退款？")
    await shop.says(LI, "你们什么破机器人，转人工")
    await shop.becomes("open")
    await shop.idle()
    assert await origins(shop) == [("怎么申请退款", "asked")]


async def test_complaint_wish_and_question_in_one_message_leave_the_question(shop: Shop) -> None:
    await shop.says(LI, "还是没解决，你们什么破机器人，充一次电能用多久，转人工")
    talk = await shop.becomes("open")
    assert await gaps(shop) == {"充一次电能用多久": 1}
    assert talk.handoff_reason == "asked"
    event = await shop.rows("select data ->> 'question' from event where kind = 'conversation_handed_off'")
    assert event == [("充一次电能用多久",)]


async def test_two_unknown_questions_in_one_message_are_two_gaps(shop: Shop) -> None:
    await asks_in_vain(shop, LI, "你们老板的车是什么颜色？宇宙飞船卖不卖？")
    assert await gaps(shop) == {"你们老板的车是什么颜色": 1, "宇宙飞船卖不卖": 1}


async def test_politeness_leaves_no_gap(shop: Shop) -> None:
    for words in ("你好", "在吗", "有人吗", "谢谢"):
        await shop.says(LI, words)
    await shop.says(LI, "转人工")
    await shop.becomes("open")
    assert not await gaps(shop)


async def test_who_was_content_and_wants_a_person_leaves_no_gap(shop: Shop) -> None:
    await shop.says(LI, "怎么申请退款？")
    await shop.says(LI, "谢谢啦")
    await shop.says(LI, "转人工")
    await shop.becomes("open")
    assert not await gaps(shop)


async def test_what_was_asked_in_an_earlier_cycle_is_not_behind_this_handoff(shop: Shop) -> None:
    await shop.says(LI, "怎么申请退款？")
    async with shop.work() as tx:
        talk = await tx.value("select id from conversation")
        await conversations.resolve(tx, talk, by=SYSTEM, now=SystemClock().now())
    await shop.says(LI, "转人工")
    await shop.becomes("open")
    assert not await gaps(shop)


async def test_a_menu_that_nobody_tapped_counts_once_however_it_goes_on(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    await shop.says(LI, "东西不想要了退款")
    await shop.behaves()
    await shop.says(LI, "可以开发票吗")  # something else
    await shop.idle()
    assert await origins(shop) == [("东西不想要了退款", "menu")]
    for _ in range(2):
        async with shop.work() as tx:
            talk = await tx.value("select id from conversation")
            await conversations.resolve(tx, talk, by=SYSTEM, now=SystemClock().now())
        await shop.says(LI, "可以开发票吗")
    assert await gaps(shop) == {"东西不想要了退款": 1}
    async with shop.work() as tx:
        talk = await tx.value("select id from conversation")
        await conversations.resolve(tx, talk, by=SYSTEM, now=SystemClock().now())
    await shop.behaves(zones=UNSURE)
    await shop.says(LI, "东西不想要了退款")  # the second time
    await shop.says(LI, "都不是")
    await shop.becomes("open")
    assert await gaps(shop) == {"东西不想要了退款": 2}
    assert await shop.rows("select contacts from gap") == [(1,)]


async def test_what_a_person_answered_is_shown_and_becomes_the_entry(shop: Shop) -> None:
    chen = await shop.agent()
    await asks_in_vain(shop, LI, "你们老板的车是什么颜色")
    await answers(shop, LI, chen, "您好", "稍等，我帮您问一下", "是蓝色的，停在店门口。", "还有别的问题吗？")
    async with shop.work() as tx:
        talk = await tx.value("select id from conversation")
        await conversations.resolve(tx, talk, by=SYSTEM, now=SystemClock().now())
    await shop.says(LI, "可以开发票吗")
    await shop.says(LI, "转人工")
    await shop.becomes("open")
    await answers(shop, LI, chen, "发票明天给您寄出。")  # about something else, in the next cycle
    await asks_in_vain(shop, "wmWANG", "老板的车什么颜色呀")
    (last,) = await answers(shop, "wmWANG", chen, "现在换成白色的了。")
    ((gap_id,),) = await shop.rows("select id from gap where question like '%%老板%%'")
    async with shop.work() as tx:
        detail = await gap_detail(tx, gap_id)
        assert [(one.text, one.agent) for one in detail.answers] == [
            ("现在换成白色的了。", "陈默"),
            ("是蓝色的，停在店门口。", "陈默"),
        ]
        assert {one.external_id for one in detail.askers} == {LI, "wmWANG"}
        assert all(one.conversation_id and one.contact_id for one in detail.askers)
        assert (detail.gap.times, detail.gap.contacts) == (2, 2)
        assert (await words_of_person(tx, gap_id)).message_id == last
        other = await tx.value("select id from message where text = '发票明天给您寄出。'")
        with pytest.raises(NotFound):
            await words_of_person(tx, gap_id, other)  # nobody reads other conversations through a gap
        words = await words_of_person(tx, gap_id, last)
        base = await knowledge.base_for(tx)
        await knowledge.answer_gap(tx, gap_id, base, answer=words.text, now=SystemClock().now())
        assert (await gap_queries.gap(tx, gap_id)).status == "answered"
    await shop.eventually(
        "select 1 where not exists (select from phrasing p join article a on a.id = p.article_id where a.kind = 'faq' "
        "and a.title like '%%老板%%' and not exists (select from phrasing_vector v where v.phrasing_id = p.id))"
    )
    phrasings = await shop.rows(
        "select p.text from phrasing p join article a on a.id = p.article_id where a.title like '%%老板%%' order by 1"
    )
    assert phrasings == [("你们老板的车是什么颜色",), ("老板的车什么颜色呀",)]
    (told,) = await shop.says("wmZHAO", "老板的车什么颜色呀")
    assert "现在换成白色的了" in str(told.body)


async def test_an_owner_answers_at_the_desk_what_the_next_contact_is_told(shop: Shop) -> None:
    owner = await shop.session()
    await asks_in_vain(shop, LI, "你们老板的车是什么颜色")
    await asks_in_vain(shop, "wmWANG", "发票能寄到公司吗")
    asked = dict(await shop.rows("select question, id from gap"))
    colour, invoice = asked["你们老板的车是什么颜色"], asked["发票能寄到公司吗"]
    form = {"question": "老板的车是什么颜色？", "answer": "是**蓝色**的。"}
    assert await owner.post(f"/knowledge/gaps/{colour}/answer", form) == 303
    ((entry,),) = await shop.rows("select id from article where title = '可以开发票吗？'")
    assert await owner.post(f"/knowledge/gaps/{invoice}/join", {"article_id": str(entry)}) == 303
    (told,) = await shop.says("wmZHAO", "你们老板的车是什么颜色")
    assert "是蓝色的。" in str(told.body)
    (told,) = await shop.says("wmSUN", "发票能寄到公司吗")
    assert "电子发票当天发到邮箱" in str(told.body)
    assert await gaps(shop) == {}
    sent = aiohttp.FormData(quote_fields=False)
    sent.add_field("files", "问题,答案\n水壶能热牛奶吗,可以，热完请马上清洗。\n".encode(), filename="水壶.csv")
    assert await owner.post("/knowledge/uploads", sent) == 303
    await shop.eventually("select 1 from knowledge_import where status = 'done'", within=120)  # loads the model first
    (told,) = await shop.says("wmQIAN", "水壶能热牛奶吗")
    assert "热完请马上清洗" in str(told.body)

"""What contacts mean: by a number, after what was said before, several things at once, the opposite, nobody at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.stories.conftest import Shop
from tests.stories.test_suggesting import LI, UNSURE, labels

from zhiban.conversations import service as conversations
from zhiban.events import SYSTEM
from zhiban.kit.clock import SystemClock
from zhiban.knowledge import service as knowledge


async def learns(shop: Shop, file: Path, text: str) -> None:
    """The shop's base gets another file."""
    file.write_text(text)
    await knowledge.import_paths(shop.app.database, shop.workspace_id, "default", [file], now=SystemClock().now())


async def gaps(shop: Shop) -> dict[str, int]:
    return dict(await shop.rows("select question, times from gap"))


@pytest.mark.parametrize("words", ["2", "２", "第二个", "二", "选2", "怎么申请退款"])
async def test_a_number_or_the_words_of_an_entry_are_a_tap(shop: Shop, words: str) -> None:
    await shop.behaves(zones=UNSURE)
    (menu,) = await shop.says(LI, "东西不想要了退款")
    assert list(labels(menu))[1] == "怎么申请退款？"
    (answer,) = await shop.says(LI, words)
    assert answer.text.startswith("在“我的订单”里找到订单")
    await shop.idle()
    assert await shop.rows("select 1 from phrasing_evidence where wording = '东西不想要了退款' and kind = 'tap'")
    assert (await shop.conversation()).failures == 0


async def test_the_number_of_the_last_entry_leads_to_a_person(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    (menu,) = await shop.says(LI, "东西不想要了退款")
    await shop.says(LI, str(len(labels(menu))))
    assert (await shop.becomes("open")).handoff_reason == "asked"


async def test_a_section_of_a_document_is_suggested_and_answers_when_tapped(shop: Shop, tmp_path: Path) -> None:
    await learns(
        shop,
        tmp_path / "门店说明.md",
        "# 门店说明\n\n## 到店自提\n\n下单时选“到店自提”，备好货会发短信，凭取货码三天内领取。\n\n"
        "## 礼盒包装\n\n礼盒每份加 15 元，可以附一张贺卡。\n",
    )
    await shop.behaves(zones=UNSURE)
    (menu,) = await shop.says(LI, "到店自提的取货码")
    choices = labels(menu)
    (section,) = [label for label in choices if label.startswith("到店自提")]
    assert "下单时选" in section
    shop.wecom.contact_taps(LI, choices[section])
    answer = (await shop.wecom.until_sent(LI, 2))[-1]
    assert "凭取货码三天内领取" in answer.text
    assert "礼盒" not in answer.text
    assert "门店说明" in answer.text  # where it comes from


@pytest.mark.parametrize("words", ["要多久", "多久能到账", "那要几天呢？"])
async def test_a_short_follow_up_is_about_what_was_said_before(shop: Shop, tmp_path: Path, words: str) -> None:
    await learns(shop, tmp_path / "more.csv", "question,similar_questions,answer\n修好要多久？,要多久,修好要五天。\n")
    await shop.says(LI, "怎么申请退款？")
    (answer,) = await shop.says(LI, words)
    assert "1 到 7 个工作日" in str(answer.body) or "退款多久到账？" in labels(answer)
    assert "修好要五天" not in str(answer.body)


async def test_another_question_is_not_bent_to_what_was_said_before(shop: Shop) -> None:
    await shop.says(LI, "怎么申请退款？")
    (answer,) = await shop.says(LI, "可以开发票吗")
    assert "电子发票" in answer.text


async def test_several_questions_in_one_message_are_answered_each(shop: Shop) -> None:
    (answer,) = await shop.says(LI, "你好，怎么申请退款？可以开发票吗？")
    assert "申请售后" in answer.text
    assert "电子发票" in answer.text


async def test_a_question_that_is_left_is_named_and_kept(shop: Shop) -> None:
    (answer,) = await shop.says(LI, "怎么申请退款？宇宙飞船卖不卖？")
    assert "申请售后" in answer.text
    assert "宇宙飞船卖不卖" in answer.text
    await shop.idle()
    assert await gaps(shop) == {"宇宙飞船卖不卖": 1}
    assert (await shop.conversation()).status == "pending"


async def test_who_does_not_want_it_is_not_told_how_to_get_it(shop: Shop) -> None:
    for number, words in enumerate(("不想退款了", "我不要发票")):
        (reply,) = await shop.says(f"wm{number}", words)
        assert "申请售后" not in reply.text
        assert "电子发票" not in reply.text


async def test_a_long_message_is_read_by_its_clauses(shop: Shop) -> None:
    (reply,) = await shop.says(
        LI,
        "客服您好，打扰一下，我上个礼拜在你们店里买了一个杯子给我妈妈，她说颜色不太喜欢，我跟她商量了很久，"
        "最后还是决定不留了，请问怎么申请退款",
    )
    assert "怎么申请退款？" in str(reply.body)


async def test_whether_somebody_is_there_gets_an_honest_word(shop: Shop) -> None:
    (word,) = await shop.says(LI, "有人吗")
    assert "智能助手" in word.text
    assert "转人工" in word.text
    (word,) = await shop.says(LI, "不用转人工了")
    assert "继续为您服务" in word.text
    assert (await shop.conversation()).status == "pending"


async def test_whoever_takes_no_suggestion_leaves_the_question_behind(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    (menu,) = await shop.says(LI, "东西不想要了退款")
    shop.wecom.contact_taps(LI, labels(menu)["转人工"])
    await shop.becomes("open")
    await shop.idle()
    assert await gaps(shop) == {"东西不想要了退款": 1}


async def test_a_menu_that_nobody_tapped_leaves_the_question_behind(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    await shop.says(LI, "东西不想要了退款")
    await shop.idle()
    assert not await gaps(shop)
    async with shop.work() as tx:
        conversation = await tx.value("select id from conversation")
        await conversations.resolve(tx, conversation, by=SYSTEM, now=SystemClock().now())
    assert await gaps(shop) == {"东西不想要了退款": 1}


async def test_a_tapped_menu_leaves_nothing_behind(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    await shop.says(LI, "东西不想要了退款")
    await shop.says(LI, "1")
    await shop.says(LI, "转人工")
    await shop.becomes("open")
    assert not await gaps(shop)


async def test_a_complaint_is_never_the_question(shop: Shop) -> None:
    await shop.says(LI, "怎么申请退款？")
    await shop.says(LI, "没用，还是没解决")
    await shop.says(LI, "还是没解决")
    assert (await shop.becomes("open")).handoff_reason == "repeated_failure"
    await shop.idle()
    assert await gaps(shop) == {"怎么申请退款": 1}


async def test_none_of_these_is_about_the_question_before(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    await shop.says(LI, "东西不想要了退款")
    await shop.says(LI, "都不是")
    await shop.becomes("open")
    await shop.idle()
    assert await gaps(shop) == {"东西不想要了退款": 1}

"""Menus, small talk, asking for a person, giving up: the assistant's manners before it hands over."""

from __future__ import annotations

from pathlib import Path

from tests.stories.conftest import Shop

from zhiban.automation import service as rules
from zhiban.automation.definition import load_definition
from zhiban.events import SYSTEM
from zhiban.kit.clock import SystemClock
from zhiban.knowledge import service as knowledge
from zhiban.people import teams

LI = "wmLIXIAO"
UNSURE = {"answer": 2, "suggest": 0}  # never sure enough to answer, always enough to suggest


def labels(menu: object) -> dict[str, str]:
    """Entries of a menu: what is read, and what a tap sends."""
    entries = menu.body["msgmenu"]["list"]  # type: ignore[attr-defined]
    return {entry["click"]["content"]: entry["click"]["id"] for entry in entries}


async def test_a_tapped_suggestion_is_answered_and_remembered(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    (menu,) = await shop.says(LI, "东西不想要了退款")
    assert menu.msgtype == "msgmenu"
    assert menu.text == "您是不是想问："
    assert "转人工" in menu.body["msgmenu"]["tail_content"]
    choices = labels(menu)
    assert list(choices)[-1] == "转人工"
    before = len(shop.wecom.sent(LI))
    shop.wecom.contact_taps(LI, choices["怎么申请退款？"])
    answer = (await shop.wecom.until_sent(LI, before + 1))[-1]
    assert answer.text.startswith("在“我的订单”里找到订单")
    await shop.idle()
    assert await shop.rows("select 1 from phrasing_evidence where wording = '东西不想要了退款' and kind = 'tap'")
    assert (await shop.conversation()).failures == 0


async def test_the_last_entry_of_a_menu_leads_to_a_person(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    (menu,) = await shop.says(LI, "东西不想要了退款")
    shop.wecom.contact_taps(LI, labels(menu)["转人工"])
    notice = (await shop.wecom.until_sent(LI, 2))[-1]
    assert "人工客服" in notice.text
    assert (await shop.becomes("open")).handoff_reason == "asked"


async def test_whoever_is_not_helped_twice_gets_a_person(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    (menu,) = await shop.says(LI, "东西不想要了退款")
    assert menu.msgtype == "msgmenu"
    (notice,) = await shop.says(LI, "就是钱什么时候能退")
    assert "人工客服" in notice.text
    assert (await shop.becomes("open")).handoff_reason == "repeated_failure"


async def test_complaining_about_answers_leads_to_a_person(shop: Shop) -> None:
    await shop.says(LI, "怎么申请退款？")
    (again,) = await shop.says(LI, "没用，答非所问")
    assert "换个说法" in again.text
    await shop.says(LI, "还是没用")
    assert (await shop.becomes("open")).handoff_reason == "repeated_failure"


async def test_who_writes_english_reads_english_around_answers(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "faq.csv").write_text("question,answer\nHow do I get a refund?,Open your order and tap Refund.\n")
    await knowledge.import_paths(
        shop.app.database, shop.workspace_id, "default", [tmp_path / "faq.csv"], now=SystemClock().now()
    )
    (answer,) = await shop.says(LI, "How do I get a refund?")
    assert answer.text == "Open your order and tap Refund.\n\nSources: [1] How do I get a refund?"
    await shop.behaves(zones=UNSURE)
    (menu,) = await shop.says(LI, "refund of my order")
    assert menu.text == "Did you mean:"
    assert "Talk to a person" in labels(menu)


async def test_asking_for_a_person_is_enough(shop: Shop) -> None:
    (notice,) = await shop.says(LI, "转人工")
    assert "人工客服" in notice.text
    talk = await shop.becomes("open")
    assert talk.handoff_reason == "asked"
    assert not await shop.rows("select 1 from gap")  # nothing is missing from the knowledge


async def test_words_of_the_policy_lead_to_people_at_once(shop: Shop) -> None:
    await shop.behaves(handoff={"words": ["律师"], "text": "马上为您转接专员。"})
    (notice,) = await shop.says(LI, "我要找律师")
    assert notice.text == "马上为您转接专员。"
    assert (await shop.becomes("open")).handoff_reason == "word"


async def test_politeness_is_answered_with_politeness(shop: Shop) -> None:
    (hello,) = await shop.says(LI, "你好")
    assert hello.text == "您好！请问有什么可以帮您？"
    (thanks,) = await shop.says(LI, "谢谢啦")
    assert "不客气" in thanks.text
    shop.wecom.contact_says(LI, "好的")
    await shop.idle()
    assert len(shop.wecom.sent(LI)) == 2  # which wants no answer
    assert (await shop.conversation()).status == "pending"


async def test_out_of_hours_the_contact_is_told_so(shop: Shop) -> None:
    await shop.behaves(hours={"weekly": {}})
    (notice,) = await shop.says(LI, "转人工")
    assert "非工作时间" in notice.text
    assert (await shop.becomes("open")).handoff_reason == "asked"


async def test_the_words_fit_the_hours_of_the_team_that_it_came_to(shop: Shop) -> None:
    """A rule gives it to the night shift, whose hours are not those of the inbox; what the rule says comes after."""
    await shop.behaves(hours={"weekly": {}})
    now = SystemClock().now()
    async with shop.work() as tx:
        night = await teams.create(tx, name="夜班", now=now)
        await teams.set_hours(tx, night, {}, now=now)  # always there
        given = [{"kind": "assign_team", "team": night}, {"kind": "send_message", "text": "夜班为您服务"}]
        made = load_definition({"on": ["conversation_handed_off"], "actions": given})
        await rules.add(tx, name="给夜班", definition=made, enabled=True, by=SYSTEM, now=now)
    notice, welcome = await shop.says(LI, "转人工", answers=2)
    assert ("非工作时间" in notice.text, welcome.text) == (False, "夜班为您服务")
    await shop.behaves()  # always, as far as the inbox goes
    async with shop.work() as tx:
        await teams.set_hours(tx, night, {"weekly": {}}, now=now)
    notice, _ = await shop.says("wmB", "转人工", answers=2)
    assert "非工作时间" in notice.text

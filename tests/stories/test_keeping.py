"""What is kept between two messages: gaps, blocks, snoozes, cycles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.stories.conftest import Shop

from zhiban.conversations import service as conversations
from zhiban.events import Actor

LI = "wmLIXIAO"


async def test_questions_that_nothing_answers_are_gathered(shop: Shop) -> None:
    for contact in ("wmA", "wmB", "wmC"):
        await shop.says(contact, "你们在火星有分店吗")
    await shop.says("wmD", "帮我算一下微积分作业")
    await shop.idle()
    found = await shop.rows("select question, times from gap order by times desc")
    assert [(row[0], row[1]) for row in found] == [("你们在火星有分店吗", 3), ("帮我算一下微积分作业", 1)]


async def test_a_blocked_contact_is_kept_and_not_served(shop: Shop) -> None:
    chen = await shop.agent()
    await shop.says(LI, "怎么申请退款？")
    talk = await shop.conversation()
    async with shop.work() as tx:
        await conversations.block(tx, talk.id, by=Actor("agent", chen), now=datetime.now(UTC))
    shop.wecom.contact_says(LI, "可以开发票吗？")
    await shop.eventually("select 1 from message where text like '可以开发票%%'")
    await shop.idle()
    assert len(shop.wecom.sent(LI)) == 1
    assert (await shop.conversation()).status == "resolved"
    shop.wecom.contact_enters(LI)
    await shop.eventually("select 1 from event where kind = 'contact_entered'")
    await shop.idle()
    assert len(shop.wecom.sent(LI)) == 1


async def test_a_snoozed_conversation_wakes_at_its_time(shop: Shop) -> None:
    chen = await shop.agent()
    await shop.says(LI, "转人工")
    talk = await shop.becomes("open")
    now = datetime.now(UTC)
    async with shop.work() as tx:
        await conversations.snooze(tx, talk.id, until=now + timedelta(hours=2), by=Actor("agent", chen), now=now)
    assert (await shop.conversation()).status == "snoozed"
    async with shop.work() as tx:
        assert await conversations.wake_snoozed(tx, now=now + timedelta(hours=1)) == 0
        assert await conversations.wake_snoozed(tx, now=now + timedelta(hours=2)) == 1
    woken = await shop.conversation()
    assert (woken.status, woken.handoff_reason, woken.cycle) == ("open", "snooze_over", 1)


async def test_a_snoozed_contact_who_writes_comes_back_at_once(shop: Shop) -> None:
    chen = await shop.agent()
    await shop.says(LI, "转人工")
    talk = await shop.becomes("open")
    now = datetime.now(UTC)
    async with shop.work() as tx:
        await conversations.snooze(tx, talk.id, until=now + timedelta(hours=2), by=Actor("agent", chen), now=now)
    shop.wecom.contact_says(LI, "怎么申请退款？")
    woken = await shop.becomes("open")
    await shop.idle()
    assert (woken.handoff_reason, woken.snoozed_until) == ("wrote_again", None)
    assert len(shop.wecom.sent(LI)) == 1  # people have it


async def test_a_resolved_contact_who_writes_again_is_the_assistants(shop: Shop) -> None:
    chen = await shop.agent()
    await shop.says(LI, "转人工")
    talk = await shop.becomes("open")
    async with shop.work() as tx:
        await conversations.resolve(tx, talk.id, by=Actor("agent", chen), now=datetime.now(UTC))
    await shop.says(LI, "怎么申请退款？")
    await shop.idle()
    again = await shop.conversation()
    assert (again.status, again.cycle, again.id) == ("pending", 2, talk.id)
    kinds = [row[0] for row in await shop.rows("select kind from event where conversation_id is not null order by id")]
    assert "conversation_reopened" in kinds


async def test_what_waited_for_the_assistant_is_not_answered_after_people_were_done(shop: Shop) -> None:
    """Two questions are asked while nothing can be sent; a servicer takes over and finishes."""
    shop.wecom.fail("kf/send_msg", errcode=-1, times=None)
    shop.wecom.contact_says(LI, "怎么申请退款？")
    await shop.eventually("select 1 from message where state = 'queued' and attempts > 0")
    shop.wecom.contact_says(LI, "可以开发票吗？")
    await shop.eventually("select 1 from message where text like '可以开发票%%'")
    shop.wecom.servicer_takes(LI, servicer="lihua")
    await shop.becomes("open")
    shop.wecom.servicer_ends(LI)
    await shop.becomes("resolved")
    shop.wecom.faults.clear()
    (answer,) = await shop.says(LI, "运费谁出？")
    await shop.idle(within=30)
    assert "质量问题运费我们出" in answer.text
    assert len(shop.wecom.sent(LI)) == 1


async def test_with_the_assistant_off_everything_is_peoples(shop: Shop) -> None:
    await shop.behaves(assistant=False)
    shop.wecom.contact_says(LI, "怎么申请退款？")
    talk = await shop.becomes("open")
    assert talk.waiting_since is not None
    async with shop.work() as tx:
        await conversations.resolve(tx, talk.id, by=Actor("agent", await shop.agent()), now=datetime.now(UTC))
    shop.wecom.contact_says(LI, "在吗")
    again = await shop.becomes("open")
    assert (again.cycle, again.handoff_reason) == (2, "wrote_again")
    assert shop.wecom.sent() == []

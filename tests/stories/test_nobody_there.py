"""Who writes to people at night is told that nobody is there: once, and never over somebody's head."""

from __future__ import annotations

from typing import Any

from tests.stories.conftest import Shop

from zhiban.people import teams

LI = "wmLIXIAO"
AWAY = "我们下班了，明天一早回复您。"
NIGHT: dict[str, Any] = {"weekly": {}}  # nobody is ever there


def words(shop: Shop) -> list[str]:
    return [one.text for one in shop.wecom.sent(LI)]


async def looked_at(shop: Shop) -> None:
    """Nothing waits, and no job that would tell the contact."""
    await shop.eventually(
        "select 1 where not exists (select from jobs.procrastinate_jobs "
        "where task_name = 'say_away' and status in ('todo', 'doing'))"
    )
    await shop.idle()


async def test_with_the_assistant_off_it_is_said_once_and_answers_nothing(shop: Shop) -> None:
    await shop.behaves(assistant=False, away=AWAY, hours=NIGHT)
    (told,) = await shop.says(LI, "怎么申请退款？")
    assert told.text == AWAY
    shop.wecom.contact_says(LI, "在吗")
    await shop.eventually("select 1 from message where text = '在吗'")
    async with shop.work() as tx:
        await tx.run("update pull_state set cursor = null")  # everything is delivered once more
    shop.wecom.contact_says(LI, "有人吗")
    await shop.eventually("select 1 from message where text = '有人吗'")
    await looked_at(shop)
    assert words(shop) == [AWAY]
    conversation = await shop.conversation()
    assert conversation.status == "open"
    assert conversation.waiting_since is not None  # it is no reply
    assert conversation.first_reply_at is None
    ((author, state),) = await shop.rows("select author, state from message where direction = 'out'")
    assert (author, state) == ("system", "sent")


async def test_the_words_of_a_handoff_at_night_have_said_it_already(shop: Shop) -> None:
    await shop.behaves(away=AWAY, hours=NIGHT, handoff={"text_out_of_hours": "下班了，已经记下"})
    (told,) = await shop.says(LI, "转人工")
    assert told.text == "下班了，已经记下"
    await shop.becomes("open")
    shop.wecom.contact_says(LI, "什么时候上班")
    await shop.eventually("select 1 from message where text = '什么时候上班'")
    await looked_at(shop)
    assert words(shop) == ["下班了，已经记下"]


async def test_a_handoff_without_words_is_told_all_the_same(shop: Shop) -> None:
    await shop.behaves(away=AWAY, hours=NIGHT, handoff={"text_out_of_hours": ""})
    (told,) = await shop.says(LI, "转人工")
    assert told.text == AWAY


async def test_while_the_assistant_answers_it_is_not_said(shop: Shop) -> None:
    await shop.behaves(away=AWAY, hours=NIGHT)
    (answer,) = await shop.says(LI, "怎么申请退款？")
    assert "申请售后" in answer.text
    await looked_at(shop)
    assert len(words(shop)) == 1
    assert await shop.rows("select 1 from jobs.procrastinate_jobs where task_name = 'say_away'") == []


async def test_after_a_colleague_has_just_answered_somebody_is_there(shop: Shop) -> None:
    await shop.behaves(away=AWAY, hours=NIGHT)
    await shop.says(LI, "怎么申请退款？")
    conversation, desk = int((await shop.conversation()).id), await shop.session()
    await desk.post(f"/conversations/{conversation}/replies", {"text": "我在，您说", "key": "k"})
    await shop.eventually("select 1 from message where text = '我在，您说' and state = 'sent'")
    shop.wecom.contact_says(LI, "订单 12 没到")
    await shop.eventually("select 1 from message where text = '订单 12 没到'")
    await looked_at(shop)
    assert words(shop)[1:] == ["我在，您说"]
    async with shop.work() as tx:
        await tx.run("update message set sent_at = sent_at - interval '6 minutes' where author = 'agent'")
    (told,) = await shop.says(LI, "还在吗")
    assert told.text == AWAY


async def test_the_hours_of_the_team_count(shop: Shop) -> None:
    """By day the inbox is served; the team that has this conversation never is."""
    await shop.behaves(assistant=False, away=AWAY)
    shop.wecom.contact_says(LI, "在吗")
    talk = await shop.becomes("open")
    await looked_at(shop)
    assert words(shop) == []
    desk = await shop.session()
    async with shop.work() as tx:
        team = await teams.create(tx, name="夜里没人", now=shop.app.clock.now())
        await teams.set_hours(tx, team, NIGHT, now=shop.app.clock.now())
    assert await desk.post(f"/conversations/{talk.id}/team", {"to": str(team)}) in (200, 303)
    (told,) = await shop.says(LI, "还在吗")
    assert told.text == AWAY

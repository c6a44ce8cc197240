"""Welcomes, closings, handing over inside WeCom, and what WeCom refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.stories.conftest import AheadClock, Shop, running_shop, until

from zhiban.conversations import outbox, queries, replies, transitions
from zhiban.conversations import service as conversations
from zhiban.conversations.outbox import ReplyWindowClosed
from zhiban.desk.channel_limits import reply_allowance
from zhiban.events import SYSTEM, Actor
from zhiban.integrations.wecom.kf import KfChannel
from zhiban.kit.clock import SystemClock
from zhiban.knowledge import service as knowledge
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.wecom.kf import ASSISTANT, ENDED, HUMAN, NEW, POOL
from zhiban.testing.wecom.simulator import AGENT_ID, OPEN_KFID

LI = "wmLIXIAO"


async def agent_replies(shop: Shop, text: str, *, by: int, at: datetime | None = None) -> None:
    talk = await shop.conversation()
    async with shop.work() as tx:
        await replies.reply(tx, talk.id, text=text, by=by, limits=KfChannel.limits, now=at or datetime.now(UTC))


async def test_whoever_enters_is_welcomed_once_and_at_once(shop: Shop) -> None:
    await shop.behaves(welcome="欢迎光临青禾！")
    shop.wecom.callbacks.times = 3
    shop.wecom.contact_enters(LI, scene="poster7", scene_param="a%3D1")
    (welcome,) = await shop.wecom.until_sent(LI)
    await shop.wecom.callbacks.settle()
    await shop.idle()
    assert [(sent.text, sent.via) for sent in shop.wecom.sent(LI)] == [("欢迎光临青禾！", "event")]
    assert welcome.at - shop.wecom.kf.account(OPEN_KFID).times[0] < 5
    talk = await shop.conversation()
    assert (talk.status, talk.replies_used) == ("resolved", 0)  # nobody has to do anything, and it cost nothing
    ((scene,),) = await shop.rows("select data ->> 'scene' from event where kind = 'contact_entered'")
    assert scene == "poster7"


async def test_a_welcome_that_wecom_finds_too_late_disturbs_nobody(shop: Shop) -> None:
    await shop.behaves(welcome="欢迎光临青禾！")
    shop.wecom.callbacks.silent = True
    shop.wecom.contact_enters(LI)
    shop.wecom.clock.advance(21)
    shop.wecom.callbacks.silent = False
    await shop.says("wmOTHER", "怎么申请退款？")  # whose doorbell brings both
    await shop.eventually("select 1 from message where failure = 'code_expired'")
    await shop.idle()
    assert shop.wecom.sent(LI) == []
    assert (await shop.conversation()).status == "resolved"


async def test_a_welcome_that_we_are_too_late_for_is_not_tried(urls: DatabaseUrls, tmp_path: Path) -> None:
    clock = AheadClock()
    async with running_shop(urls, tmp_path, clock=clock) as shop:
        clock.ahead = timedelta(seconds=30)
        shop.wecom.contact_enters(LI)
        await shop.eventually("select 1 from event where kind = 'contact_entered'")
        await shop.idle()
        assert not await shop.rows("select 1 from message")
        assert "kf/send_msg_on_event" not in shop.wecom.journal.counts


@pytest.mark.parametrize("allowed", [False, True])
async def test_resolving_at_the_desk_says_goodbye_and_ends_the_session(shop: Shop, allowed: bool) -> None:
    """Where the platform lets only a person's session be ended, the goodbye is an ordinary message."""
    if allowed:
        shop.wecom.kf.moves[NEW].add(ENDED)
    await shop.behaves(closing="感谢您的咨询，再见！")
    chen = await shop.agent()
    await shop.says(LI, "转人工")
    await agent_replies(shop, "办好了。", by=chen)
    talk = await shop.conversation()
    async with shop.work() as tx:
        await conversations.resolve(tx, talk.id, by=Actor("agent", chen), now=datetime.now(UTC))
    await shop.wecom.until_sent(LI, 3)  # once it cannot be undone any more
    await shop.idle()
    assert [(sent.text, sent.via) for sent in shop.wecom.sent(LI)[1:]] == [
        ("办好了。", "message"),
        ("感谢您的咨询，再见！", "event" if allowed else "message"),
    ]
    assert shop.wecom.state(LI) == (ENDED if allowed else NEW)
    assert (await shop.conversation()).status == "resolved"
    # The next message begins anew, with the assistant.
    (answer,) = await shop.says(LI, "怎么申请退款？")
    assert "申请售后" in answer.text
    talk = await shop.conversation()
    assert (talk.status, talk.cycle, talk.native_state) == ("pending", 2, None if allowed else "new")


async def test_a_servicer_who_ends_the_session_resolves_it_with_a_goodbye(shop: Shop) -> None:
    await shop.behaves(closing="再见！")
    await shop.says(LI, "怎么申请退款？")
    shop.wecom.servicer_takes(LI, servicer="lihua")
    talk = await shop.becomes("open")
    assert (talk.native_state, talk.native_servicer) == ("human", "lihua")
    shop.wecom.servicer_ends(LI)
    await shop.becomes("resolved")
    await shop.wecom.until_sent(LI, 2)
    await shop.idle()
    assert (shop.wecom.sent(LI)[-1].text, shop.wecom.sent(LI)[-1].via) == ("再见！", "event")


async def test_who_writes_right_after_the_end_is_answered(shop: Shop) -> None:
    await shop.says(LI, "怎么申请退款？")
    shop.wecom.servicer_takes(LI, servicer="lihua")
    await shop.becomes("open")
    shop.wecom.callbacks.silent = True
    shop.wecom.servicer_ends(LI)
    shop.wecom.callbacks.silent = False
    (answer,) = await shop.says(LI, "可以开发票吗？")  # comes with the end in one page
    assert "电子发票" in answer.text
    assert (await shop.conversation()).status == "pending"


async def test_handing_over_to_the_pool(shop: Shop) -> None:
    await shop.behaves(handoff={"to": "pool"})
    (notice,) = await shop.says(LI, "转人工")
    assert "人工客服" in notice.text
    await until(lambda: shop.wecom.state(LI) == POOL)
    await shop.idle()
    assert (await shop.conversation()).native_state == "pool"


async def test_handing_over_to_a_named_servicer_and_back(shop: Shop) -> None:
    shop.wecom.kf.account(OPEN_KFID).servicers["lihua"] = 0
    await shop.behaves(handoff={"to": "servicer:lihua"})
    await shop.says(LI, "转人工")
    await until(lambda: shop.wecom.state(LI) == HUMAN)
    await shop.idle()
    talk = await shop.conversation()
    assert talk.native_state == "human"
    async with shop.work() as tx:
        await conversations.resolve(tx, talk.id, by=Actor("agent", await shop.agent()), now=datetime.now(UTC))
    await until(lambda: shop.wecom.state(LI) == ENDED)  # or the assistant could never answer again
    (answer,) = await shop.says(LI, "怎么申请退款？")
    assert "申请售后" in answer.text


@pytest.mark.parametrize("code", [95014, 95016, 95018, 95019])
async def test_a_refused_move_leaves_the_conversation_with_our_desk(shop: Shop, code: int) -> None:
    await shop.behaves(handoff={"to": "servicer:lihua"})
    shop.wecom.fail("kf/service_state/trans", errcode=code, times=1)
    await shop.says(LI, "转人工")
    await shop.idle()
    talk = await shop.conversation()
    assert (talk.status, talk.handoff_reason) in (("open", "asked"), ("open", "native"))
    ((state, found),) = await shop.rows("select state, failure_code from message where kind = 'move'")
    assert (state, found) == ("failed", code)
    assert not await shop.rows("select 1 from connection where broken is not null")
    assert bool(await shop.rows("select 1 from inbox where broken is not null")) is (code in (95014, 95019))


async def test_a_session_that_people_hold_natively_is_theirs(shop: Shop) -> None:
    shop.wecom.kf.account(OPEN_KFID).native_servicer = "lihua"
    shop.wecom.contact_says(LI, "怎么申请退款？")
    talk = await shop.becomes("open")
    assert talk.handoff_reason == "native"
    servicer = await shop.eventually("select native_servicer from conversation where native_servicer is not null")
    assert servicer == "lihua"
    assert shop.wecom.sent(LI) == []
    assert await shop.rows("select 1 from message where failure = 'human_active' and failure_code = 95018")


@pytest.mark.parametrize(("code", "failure"), [(95001, "allowance_used"), (95002, "window_closed")])
async def test_what_wecom_refuses_stands_on_the_message_and_people_take_over(
    shop: Shop, code: int, failure: str
) -> None:
    shop.wecom.fail("kf/send_msg", errcode=code, times=1)
    shop.wecom.contact_says(LI, "怎么申请退款？")
    assert (await shop.becomes("open")).handoff_reason == "reply_failed"
    await shop.idle()
    ((found, number),) = await shop.rows("select failure, failure_code from message where direction = 'out'")
    assert (found, number) == (failure, code)


async def test_an_undelivered_answer_is_marked_and_handed_over(shop: Shop) -> None:
    shop.wecom.fail_deliveries(LI, 10)
    shop.wecom.contact_says(LI, "怎么申请退款？")
    assert (await shop.becomes("open")).handoff_reason == "reply_failed"
    await shop.idle()
    ((state, failure),) = await shop.rows("select state, failure from message where direction = 'out'")
    assert (state, failure) == ("failed", "refused_by_contact")


async def test_a_failure_told_before_the_answer_to_our_call_stays(shop: Shop) -> None:
    shop.wecom.fail_deliveries(LI, 13)
    shop.wecom.fail("kf/send_msg", status=502, accept=True, times=1)  # accepted, told as failed, answered with 502
    shop.wecom.contact_says(LI, "怎么申请退款？")
    await shop.becomes("open")
    await shop.idle()
    assert len(shop.wecom.sent(LI)) == 1
    ((state, failure),) = await shop.rows("select state, failure from message where direction = 'out'")
    assert (state, failure) == ("failed", "security_restriction")


async def test_agents_see_when_the_reply_window_is_closed(shop: Shop) -> None:
    chen = await shop.agent()
    await shop.says(LI, "转人工")
    for number in range(4):
        await agent_replies(shop, f"第{number}条", by=chen)
    with pytest.raises(ReplyWindowClosed) as used:
        await agent_replies(shop, "第六条", by=chen)
    assert used.value.reason == "allowance_used"
    await shop.wecom.until_sent(LI, 5)
    shop.wecom.contact_says(LI, "好的")
    await shop.eventually("select 1 from conversation where replies_used = 0")
    await agent_replies(shop, "还有我", by=chen)
    await shop.wecom.until_sent(LI, 6)
    with pytest.raises(ReplyWindowClosed) as closed:
        await agent_replies(shop, "太晚了", by=chen, at=datetime.now(UTC) + timedelta(hours=49))
    assert closed.value.reason == "window_closed"


async def test_a_long_answer_goes_out_in_parts_in_order_within_the_allowance(shop: Shop, tmp_path: Path) -> None:
    long = "".join(f"第{number:03d}步：请按照说明书完成这一步，然后检查指示灯。" for number in range(1, 121))
    (tmp_path / "faq.csv").write_text(f"question,answer\n青禾灯怎么安装,{long}\n")
    await knowledge.import_paths(
        shop.app.database, shop.workspace_id, "default", [tmp_path / "faq.csv"], now=SystemClock().now()
    )
    await shop.says(LI, "青禾灯怎么安装", answers=2)
    await shop.idle()
    parts = shop.wecom.sent(LI)
    assert 2 <= len(parts) <= 4  # one stays for a handoff
    assert all(len(part.text.encode()) <= 2048 for part in parts)
    whole = "".join(part.text for part in parts)
    assert whole.startswith(long[:2500])
    assert not await shop.rows("select 1 from message where state = 'failed'")
    assert shop.wecom.state(LI) in (NEW, ASSISTANT)


async def test_resolving_says_goodbye_to_a_member_of_the_app_too(shop: Shop) -> None:
    """A channel without sessions: only the words remain. Through the desk's own door to the database."""
    await shop.behaves(kind="wecom_app", account=str(AGENT_ID), welcome="", closing="再见！")
    office = shop.wecom.office
    shop.wecom.member_says("lihua", "转人工")
    await until(lambda: office.messages)
    talk = await shop.becomes("open", "lihua")
    async with shop.app.database.page_transaction(shop.workspace_id) as tx:
        await conversations.resolve(tx, talk.id, by=Actor("agent", await shop.agent()), now=datetime.now(UTC))
    await until(lambda: len(office.messages) == 2)
    await shop.idle()
    assert office.messages[1].body["content"] == "再见！"
    assert not await shop.rows("select 1 from connection where broken is not null")


async def test_who_enters_and_asks_at_once_is_welcomed_and_answered(shop: Shop) -> None:
    shop.wecom.callbacks.silent = True
    shop.wecom.contact_enters(LI)
    shop.wecom.callbacks.silent = False
    await shop.says(LI, "怎么申请退款？", answers=2)
    await shop.idle()
    welcome, answer = shop.wecom.sent(LI)
    assert (welcome.via, answer.via) == ("event", "message")
    assert "申请售后" in answer.text
    assert (await shop.conversation()).cycle == 1


async def test_who_wrote_again_before_the_goodbye_went_out_is_not_bid_goodbye(shop: Shop) -> None:
    """As when the platform let nothing through for a while: the session goes on."""
    await shop.says(LI, "怎么申请退款？")
    talk = await shop.conversation()
    async with shop.work() as tx:
        state = await transitions.lock(tx, talk.id)
        await outbox.enqueue_session_transfer(
            tx, state, to="ended", actor=SYSTEM, key="z1", text="再见！", now=datetime.now(UTC)
        )
    await shop.eventually("select 1 from message where kind = 'move' and state = 'dropped'")
    assert [sent.text for sent in shop.wecom.sent(LI) if sent.text == "再见！"] == []
    assert shop.wecom.state(LI) != ENDED


async def test_what_an_agent_says_goes_out_before_the_session_ends(shop: Shop) -> None:
    """Said and finished in one breath: the words leave first, then the session ends."""
    await shop.behaves(handoff={"to": "desk"}, closing="再见！")
    chen = await shop.agent()
    await shop.says(LI, "转人工")
    talk = await shop.becomes("open")
    now = datetime.now(UTC)
    shop.wecom.fail("kf/send_msg", latency=0.3, times=1)
    async with shop.work() as tx:
        await replies.reply(tx, talk.id, text="一", by=chen, limits=KfChannel.limits, now=now)
        await replies.reply(tx, talk.id, text="二", by=chen, limits=KfChannel.limits, now=now, client_key="two")
        await conversations.resolve(tx, talk.id, by=Actor("agent", chen), now=now)
    await shop.wecom.until_sent(LI, 4)
    await shop.idle()
    assert [sent.text for sent in shop.wecom.sent(LI)[1:]] == ["一", "二", "再见！"]


@pytest.mark.parametrize(("state", "reason"), [(POOL, "in_pool"), (HUMAN, "human_active"), (ENDED, "session_ended")])
async def test_the_desk_says_before_an_agent_writes_who_has_the_session(shop: Shop, state: int, reason: str) -> None:
    chen = await shop.agent()
    await shop.says(LI, "转人工")
    talk = await shop.becomes("open")
    session = shop.wecom.kf.session(OPEN_KFID, LI)
    session.state, session.servicer = state, "lihua" if state == HUMAN else ""
    await agent_replies(shop, "我来看看", by=chen)  # WeCom had not told us
    await shop.eventually("select 1 from message where failure = %(reason)s", reason=reason)
    await shop.idle()
    async with shop.work() as tx:
        head = await queries.head(tx, talk.id)
    assert reply_allowance(head, KfChannel.limits, datetime.now(UTC)).closed == reason
    with pytest.raises(ReplyWindowClosed) as closed:
        await agent_replies(shop, "还有一句", by=chen)
    assert closed.value.reason == reason
    assert (await shop.conversation()).status == "open"


async def test_a_session_that_cannot_be_ended_stays_resolved(shop: Shop) -> None:
    """WeCom does not let every session end; the goodbye is said all the same, once, and nothing is opened again."""
    await shop.behaves(closing="再见！")
    chen = await shop.agent()
    for _ in range(2):
        await shop.says(LI, "转人工")
        talk = await shop.becomes("open")
        before = len(shop.wecom.sent(LI))
        shop.wecom.fail("kf/service_state/trans", errcode=95016, times=1)
        async with shop.work() as tx:
            await conversations.resolve(tx, talk.id, by=Actor("agent", chen), now=datetime.now(UTC))
        await shop.wecom.until_sent(LI, before + 1)
        await shop.idle()
        assert (shop.wecom.sent(LI)[-1].text, shop.wecom.sent(LI)[-1].via) == ("再见！", "message")
        assert (await shop.conversation()).status == "resolved"

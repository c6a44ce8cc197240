"""Flows from the front door: a rule starts one, the contact answers, and people have what they need when they begin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.stories.conftest import AheadClock, Shop, running_shop
from tests.stories.test_suggesting import labels
from tests.stories.test_webhook_channel import XU, Crm, connected

from zhiban.automation import flows, service
from zhiban.automation.definition import load_definition
from zhiban.automation.flow_definition import load_flow
from zhiban.conversations import service as conversations
from zhiban.conversations.attributes import add_conversation_field
from zhiban.events import SYSTEM
from zhiban.kit.clock import SystemClock
from zhiban.postgres.provisioning import DatabaseUrls

LI = "wmLIXIAO"
RETURNS: list[dict[str, Any]] = [
    {"question": "{{contact.name}}您好，要怎么处理？", "name": "处理方式", "kind": "choice",
     "options": ["退货", "换货", "维修"], "save": "conversation:处理方式"},
    {"question": "订单号是多少？", "name": "订单号", "kind": "code", "pattern": r"DD\d{8}", "example": "DD20261130"},
    {"question": "方便联系您的手机号？", "name": "手机号", "kind": "phone", "save": "contact:phone"},
    {"question": "有照片的话请发一张。", "name": "照片", "kind": "file", "optional": True},
]  # fmt: skip
TO_PEOPLE: list[dict[str, Any]] = [
    {"kind": "send_message", "text": "收到，马上请同事来看。"},
    {"kind": "hand_off", "to": "people"},
]


async def has_flow(shop: Shop, steps: list[dict[str, Any]] = RETURNS, *, word: str = "退换", **more: Any) -> int:
    """A flow that a rule starts when somebody says this word."""
    now = SystemClock().now()
    async with shop.work() as tx:
        await add_conversation_field(
            tx, name="处理方式", kind="list", choices=["退货", "换货", "维修"], by=SYSTEM, now=now
        )
        definition = load_flow({"steps": steps, "actions": TO_PEOPLE, **more})
        flow = await flows.add_flow(tx, name="退换登记", definition=definition, enabled=True, by=SYSTEM, now=now)
        rule = {
            "on": ["message_created"],
            "conditions": {"conditions": [{"kind": "message_direction", "direction": "in"},
                                          {"kind": "message_text", "operator": "contains", "values": [word]}]},
            "actions": [{"kind": "start_flow", "flow": flow}],
        }  # fmt: skip
        await service.add(tx, name="要退换", definition=load_definition(rule), enabled=True, by=SYSTEM, now=now)
    return flow


async def notes(shop: Shop, thread: str) -> list[str]:
    found = await shop.rows(
        "select m.text from message m join conversation c on c.workspace_id = m.workspace_id "
        "and c.id = m.conversation_id where m.kind = 'note' and c.external_id = %(thread)s order by m.id",
        thread=thread,
    )
    return [text for (text,) in found]


async def test_over_wecom_a_flow_asks_one_thing_after_the_other_and_hands_over_with_the_answers(shop: Shop) -> None:
    await has_flow(shop)
    (menu,) = await shop.says(LI, "我要退换")
    assert menu.msgtype == "msgmenu"
    assert menu.text == "您好，要怎么处理？"
    shop.wecom.contact_taps(LI, labels(menu)["换货"])
    assert (await shop.wecom.until_sent(LI, 2))[-1].text == "订单号是多少？"
    (again,) = await shop.says(LI, "不记得了")
    assert again.text == "格式好像不对，请核对后再发一次，例如 DD20261130。\n订单号是多少？"
    (phone,) = await shop.says(LI, "找到了，dd20261120")
    assert phone.text == "方便联系您的手机号？"
    (photo,) = await shop.says(LI, "138 0013 8000")
    assert photo.text == "有照片的话请发一张。（可以回复“跳过”）"
    (thanks,) = await shop.says(LI, "跳过")
    assert thanks.text == "收到，马上请同事来看。"

    conversation = await shop.becomes("open", LI)
    assert (conversation.flow_run_id, conversation.handoff_reason) == (None, "flow")
    assert conversation.attributes == {"处理方式": "换货"}
    assert await notes(shop, LI) == ["退换登记\n处理方式：换货\n订单号：dd20261120\n手机号：13800138000"]
    assert await shop.rows("select attributes ->> 'phone' from contact where attributes ? 'phone'") == [
        ("13800138000",)
    ]
    assert await shop.rows("select outcome, step from flow_run") == [("finished", 3)]
    said = await shop.rows("select content ->> 'what' from message where kind = 'activity' order by id")
    assert [what for (what,) in said] == ["flow_started", "attributes_changed", "flow_finished", "handed_off"]
    # What was told to the flow is nothing that knowledge lacks.
    assert await shop.rows("select 1 from gap") == []


@pytest.fixture
async def crm(shop: Shop) -> AsyncIterator[Crm]:
    async with connected(shop) as found:
        yield found


async def test_over_a_channel_without_menus_options_are_numbered_and_the_assistant_goes_on_afterwards(
    crm: Crm,
) -> None:
    await has_flow(crm.shop, RETURNS[:1], actions=[{"kind": "add_note", "text": "问完了"}])
    await crm.program.says(XU, "东西要退换", name="徐慧")
    asked = await crm.heard("怎么处理")
    assert asked == "徐慧您好，要怎么处理？\n1. 退货\n2. 换货\n3. 维修\n回复序号即可。"
    await crm.program.says(XU, "5")
    assert (await crm.heard("请从下面选一个")).endswith(asked)
    await crm.program.says(XU, "3")
    await crm.shop.eventually("select 1 from flow_run where outcome = 'finished'")
    assert await notes(crm.shop, XU) == ["退换登记\n处理方式：维修", "问完了"]
    await crm.program.says(XU, "怎么申请退款？")
    assert "申请售后" in await crm.heard("申请售后")
    assert (await crm.shop.conversation(XU)).status == "pending"


@pytest.mark.parametrize(
    ("words", "outcome", "reason"),
    [("我不想填了，转人工", "asked", "asked"), ("算了", "cancelled", "flow"), ("我要投诉你们", "asked", "asked")],
)
async def test_whoever_wants_a_person_or_no_more_questions_gets_a_person_at_once(
    shop: Shop, words: str, outcome: str, reason: str
) -> None:
    await has_flow(shop)
    await shop.says(LI, "我要退换")
    await shop.says(LI, "换货")
    (notice,) = await shop.says(LI, words)
    assert "人工客服" in notice.text
    assert (await shop.becomes("open", LI)).handoff_reason == reason
    assert await shop.rows("select outcome from flow_run") == [(outcome,)]
    assert await notes(shop, LI) == ["退换登记\n处理方式：换货"]
    (answer,) = await shop.rows("select count(*) from message where direction = 'out' and author = 'flow'")
    assert answer == (2,)


async def test_a_question_that_does_not_arrive_lets_nobody_wait(shop: Shop) -> None:
    await has_flow(shop, RETURNS[2:3])
    shop.wecom.fail("kf/send_msg", errcode=95001, times=1)
    shop.wecom.contact_says(LI, "我要退换")
    assert (await shop.becomes("open", LI)).handoff_reason == "reply_failed"
    assert await shop.rows("select outcome from flow_run") == [("interrupted",)]


async def test_after_three_answers_that_are_none_people_get_it(shop: Shop) -> None:
    await has_flow(shop, RETURNS[1:2])
    await shop.says(LI, "我要退换")
    await shop.says(LI, "不知道")
    await shop.says(LI, "真的不知道")
    (notice,) = await shop.says(LI, "说了不知道")
    assert "人工客服" in notice.text
    await shop.becomes("open", LI)
    assert await shop.rows("select outcome from flow_run") == [("failed",)]


@pytest.mark.parametrize("assistant", [True, False])
async def test_whoever_begins_a_conversation_may_be_asked_before_anything_else(shop: Shop, assistant: bool) -> None:
    await shop.behaves(assistant=assistant)
    now = SystemClock().now()
    asked = [{"question": "请问怎么称呼您？", "name": "称呼", "kind": "text", "save": "contact:name"}]
    async with shop.work() as tx:
        definition = load_flow({"steps": asked, "actions": TO_PEOPLE})
        flow = await flows.add_flow(tx, name="登记", definition=definition, enabled=True, by=SYSTEM, now=now)
        rule = {"on": ["conversation_created"], "actions": [{"kind": "start_flow", "flow": flow}]}
        await service.add(tx, name="先问", definition=load_definition(rule), enabled=True, by=SYSTEM, now=now)
    (first,) = await shop.says(LI, "可以开发票吗？")  # which is no name
    assert first.text == "请问怎么称呼您？"
    (thanks,) = await shop.says(LI, "李晓")
    assert thanks.text == "收到，马上请同事来看。"
    await shop.becomes("open", LI)
    assert await notes(shop, LI) == ["登记\n称呼：李晓"]


async def test_who_asks_something_else_that_is_known_is_answered_and_asked_again(shop: Shop) -> None:
    await has_flow(shop, RETURNS[1:3])
    await shop.says(LI, "我要退换")
    for _ in range(3):  # that is no try of an answer, however often
        answer, again = await shop.says(LI, "可以开发票吗？", answers=2)
        assert answer.text.startswith("可以，在订单详情里点“申请发票”")
        assert "参考：" in answer.text
        assert again.text == "订单号是多少？"
    (again,) = await shop.says(LI, "你们老板是谁？")  # nothing that is known for certain
    assert again.text.startswith("格式好像不对")
    (phone,) = await shop.says(LI, "DD20261120")
    assert phone.text == "方便联系您的手机号？"
    await shop.says(LI, "13800138000")
    await shop.becomes("open", LI)
    assert await notes(shop, LI) == ["退换登记\n订单号：DD20261120\n手机号：13800138000"]
    assert await shop.rows("select question, decision from turn order by id") == [("可以开发票吗？", "Answer")] * 3


async def test_an_agent_who_takes_it_ends_the_flow_and_unsent_questions_stay_unsent(shop: Shop) -> None:
    await has_flow(shop)
    chen = await shop.agent()
    await shop.says(LI, "我要退换")
    await shop.says(LI, "维修")
    conversation = await shop.conversation(LI)
    async with shop.work() as tx:
        await conversations.take(tx, conversation.id, by=chen, now=SystemClock().now())
    shop.wecom.contact_says(LI, "DD20261120")
    await shop.eventually("select 1 from message where direction = 'in' and text = 'DD20261120'")
    await shop.idle()
    assert [one.text for one in shop.wecom.sent(LI)][-1] == "订单号是多少？"
    assert await shop.rows("select outcome from flow_run") == [("interrupted",)]
    assert await notes(shop, LI) == ["退换登记\n处理方式：维修"]
    after = await shop.conversation(LI)
    assert (after.status, after.assignee_id, after.flow_run_id) == ("open", chen, None)


async def test_where_no_assistant_answers_a_flow_does_and_then_people_have_it(shop: Shop) -> None:
    await shop.behaves(assistant=False)
    await has_flow(shop, RETURNS[2:3], actions=[])
    await shop.says(LI, "我要退换")
    assert (await shop.conversation(LI)).status == "pending"
    shop.wecom.contact_says(LI, "13800138000")
    conversation = await shop.becomes("open", LI)
    assert conversation.flow_run_id is None
    assert await shop.rows("select outcome from flow_run") == [("finished",)]


async def test_whoever_falls_silent_is_asked_no_more(urls: DatabaseUrls, tmp_path: Path) -> None:
    clock = AheadClock()
    async with running_shop(urls, tmp_path, clock=clock) as shop:
        await has_flow(shop, minutes=30)
        await shop.says(LI, "我要退换")
        await shop.says(LI, "退货")
        await shop.idle()
        clock.ahead = timedelta(minutes=31)
        assert (await shop.wecom.until_sent(LI, 3))[-1].text == "收到，马上请同事来看。"
        await shop.becomes("open", LI)
        assert await shop.rows("select outcome from flow_run") == [("silent",)]
        assert await notes(shop, LI) == ["退换登记\n处理方式：退货"]


async def test_a_flow_that_is_changed_goes_on_as_it_began_and_one_that_is_removed_hands_over(shop: Shop) -> None:
    flow = await has_flow(shop)
    await shop.says(LI, "我要退换")
    now = SystemClock().now()
    async with shop.work() as tx:
        shorter = load_flow({"steps": [{"question": "别的问题？", "kind": "text"}]})
        await flows.change_flow(tx, flow, definition=shorter, enabled=False, by=SYSTEM, now=now)
    (asked,) = await shop.says(LI, "退货")
    assert asked.text == "订单号是多少？"
    async with shop.work() as tx:
        await flows.remove_flow(tx, flow, by=SYSTEM, now=now)
    (notice,) = await shop.says(LI, "DD20261120")
    assert "人工客服" in notice.text
    await shop.becomes("open", LI)
    assert await shop.rows("select outcome from flow_run") == [("removed",)]

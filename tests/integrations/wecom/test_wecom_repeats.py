"""A message whose outcome nobody knows is sent again, and is still one message."""

from __future__ import annotations

from typing import Any

import pytest

from zhiban.integrations.wecom.api import WeComApi
from zhiban.integrations.wecom.kf import KfChannel
from zhiban.ports import Kind, Outgoing, Refusal, SendRefused, TryLater
from zhiban.testing.wecom import OPEN_KFID, WeComSimulator

LIN = "wmTESTLIN"


def text(key: str, words: str = "七天内可退") -> Outgoing:
    return Outgoing(key=key, thread=LIN, kind=Kind.TEXT, text=words)


async def refused(sending: Any) -> Refusal:
    with pytest.raises(SendRefused) as caught:
        await sending
    return caught.value.refusal


@pytest.mark.parametrize(
    "mishap",
    [
        {"accept": True, "drop": True},
        {"accept": True, "status": 502},
        {"accept": True, "body": b""},
        {"accept": True, "errcode": -1, "times": 3},
    ],
)
async def test_hostile_68_an_unknown_outcome_repeated_is_one_message(
    channel: KfChannel, sim: WeComSimulator, mishap: dict[str, Any]
) -> None:
    sim.contact_says(LIN, "怎么退货？")
    sim.fail("kf/send_msg", **mishap)
    with pytest.raises(TryLater) as caught:
        await channel.send(text("out-1"))
    assert caught.value.unknown
    assert await channel.send(text("out-1")) == "out-1"
    assert len(sim.sent(LIN)) == 1


async def test_a_busy_platform_that_did_accept_is_one_message(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_says(LIN, "怎么退货？")
    sim.fail("kf/send_msg", accept=True, errcode=-1)
    assert await channel.send(text("out-1")) == "out-1"
    assert len(sim.sent(LIN)) == 1


REPEATS = [(95099, "request refused"), (40058, "invalid Request Parameter"), (1, "msgid exists"), (400777, "系统拒绝")]


@pytest.mark.parametrize("look", REPEATS)
async def test_a_repeat_is_recognised_whatever_wecom_calls_it(
    api: WeComApi, sim: WeComSimulator, look: tuple[int, str]
) -> None:
    """A process was killed between sending and writing down: another sends the same again, and knows nothing of it."""
    sim.kf.duplicate = look
    sim.contact_says(LIN, "怎么退货？")
    await KfChannel(api, OPEN_KFID).send(text("out-1"))
    channel = KfChannel(api, OPEN_KFID)
    with pytest.raises(TryLater) as caught:
        await channel.send(text("out-1"))
    assert caught.value.unknown
    assert await channel.send(text("out-2")) == "out-2"  # now it knows what WeCom certainly has, and can ask
    assert await channel.send(text("out-1")) == "out-1"
    asked = sim.journal.counts["kf/send_msg"]
    assert await channel.send(text("out-2")) == "out-2"
    assert sim.journal.counts["kf/send_msg"] == asked + 1
    assert [sent.msgid for sent in sim.sent(LIN)] == ["out-1", "out-2"]


@pytest.mark.parametrize("look", REPEATS)
async def test_another_refusal_is_not_taken_for_a_repeat(
    channel: KfChannel, sim: WeComSimulator, look: tuple[int, str]
) -> None:
    sim.kf.duplicate = look
    sim.contact_says(LIN, "怎么退货？")
    await channel.send(text("out-1"))
    sim.fail("kf/send_msg", errcode=77777, errmsg="new kind of refusal")
    assert await refused(channel.send(text("out-2"))) is Refusal.BAD_MESSAGE
    sim.fail("kf/send_msg", errcode=40058, errmsg="invalid Request Parameter, thumb_media_id")
    assert await refused(channel.send(text("out-2"))) is Refusal.BAD_MESSAGE
    assert [sent.msgid for sent in sim.sent(LIN)] == ["out-1"]


async def test_a_refusal_that_nobody_can_judge_is_given_up_at_last(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_says(LIN, "怎么退货？")
    sim.fail("kf/send_msg", errcode=77777, errmsg="new kind of refusal", times=None)
    for _ in range(4):
        with pytest.raises(TryLater):
            await channel.send(text("out-1"))
    assert await refused(channel.send(text("out-1"))) is Refusal.BAD_MESSAGE


async def test_a_welcome_whose_answer_was_lost_is_one_welcome(channel: KfChannel, sim: WeComSimulator) -> None:
    code = sim.contact_enters(LIN)
    assert code
    sim.fail("kf/send_msg_on_event", accept=True, drop=True)
    with pytest.raises(TryLater):
        await channel.reply_to_event(code, text("wel-1", "欢迎"))
    assert await channel.reply_to_event(code, text("wel-1", "欢迎")) == "wel-1"
    assert len(sim.sent(LIN)) == 1

"""What WeCom limits, by account and by call, and what its refusal to send may mean."""

from __future__ import annotations

import pytest

from zhiban.integrations.wecom.api import WeComApi
from zhiban.integrations.wecom.kf import KfChannel
from zhiban.ports import Kind, NativeState, Outgoing, Refusal, SendRefused, TryLater
from zhiban.testing.wecom import OPEN_KFID, WeComSimulator

LIN = "wmTESTLIN"


def text(key: str) -> Outgoing:
    return Outgoing(key=key, thread=LIN, kind=Kind.TEXT, text="七天内可退")


async def test_pulls_without_a_token_have_a_budget_and_never_hold_up_those_with_one(
    channel: KfChannel, sim: WeComSimulator
) -> None:
    await channel.pull(cursor=None, token=None)
    for _ in range(5):
        with pytest.raises(TryLater) as caught:
            await channel.pull(cursor=None, token=None)
        assert 0 < caught.value.after <= 60
    assert sim.journal.counts["kf/sync_msg"] == 1
    sim.contact_says(LIN, "在吗")
    assert len((await channel.pull(cursor=None, token=sim.kf.fresh_token())).items) == 1


async def test_a_limit_on_pulls_without_a_token_holds_up_nothing_else(api: WeComApi, sim: WeComSimulator) -> None:
    sim.add_account("wkSECOND", "售前客服")
    first, second = KfChannel(api, OPEN_KFID), KfChannel(api, "wkSECOND")
    sim.fail("kf/sync_msg", errcode=45009)
    with pytest.raises(TryLater) as caught:
        await first.pull(cursor=None, token=None)
    assert caught.value.after >= 60
    await second.pull(cursor=None, token=None)
    await first.pull(cursor=None, token=sim.kf.fresh_token())


async def test_a_rate_limited_account_does_not_silence_another(api: WeComApi, sim: WeComSimulator) -> None:
    sim.add_account("wkSECOND", "售前客服")
    first, second = KfChannel(api, OPEN_KFID), KfChannel(api, "wkSECOND")
    sim.contact_says(LIN, "在吗")
    sim.contact_says(LIN, "在吗", open_kfid="wkSECOND")
    sim.fail("kf/send_msg", errcode=45009)
    for _ in range(3):
        with pytest.raises(TryLater) as caught:
            await first.send(text("k1"))
        assert caught.value.after >= 59
    await second.send(text("k2"))
    await first.native_state(LIN)
    assert sim.journal.counts["kf/send_msg"] == 2


@pytest.mark.parametrize(
    ("state", "refusal", "native"),
    [
        (2, Refusal.IN_POOL, NativeState.POOL),
        (3, Refusal.HUMAN_ACTIVE, NativeState.HUMAN),
        (4, Refusal.SESSION_ENDED, NativeState.ENDED),
    ],
)
async def test_95018_says_who_has_the_session(
    channel: KfChannel, sim: WeComSimulator, state: int, refusal: Refusal, native: NativeState
) -> None:
    sim.contact_says(LIN, "人工")
    session = sim.kf.session(OPEN_KFID, LIN)
    session.state, session.servicer = state, "lihua" if state == 3 else ""
    with pytest.raises(SendRefused) as caught:
        await channel.send(text("out-1"))
    assert (caught.value.refusal, caught.value.native, caught.value.servicer) == (
        refusal,
        native,
        session.servicer or None,
    )
    sim.fail("kf/service_state/get", status=502)
    with pytest.raises(SendRefused) as caught:
        await channel.send(text("out-2"))
    assert caught.value.refusal is Refusal.HUMAN_ACTIVE

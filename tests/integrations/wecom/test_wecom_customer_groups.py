"""客户群 over the simulated wire: every page and owner, what is refused in words, and whatever an event may say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhiban.integrations.wecom.api import WeComApi
from zhiban.integrations.wecom.config import WeComConfig
from zhiban.integrations.wecom.customer_groups import ACCOUNT, CustomerGroups, CustomerGroupsChannel, check
from zhiban.integrations.wecom.vendor import WeCom
from zhiban.kit.clock import SystemClock
from zhiban.kit.http import Http
from zhiban.ports import (
    ConnectionBroken,
    FeatureOff,
    GroupStale,
    Kind,
    Outgoing,
    ReadsGroups,
    Refusal,
    SendRefused,
    TryLater,
    UnknownVendorEvent,
)
from zhiban.testing.wecom import WeComSimulator


@pytest.fixture
def groups(api: WeComApi) -> CustomerGroups:
    return CustomerGroups(api)


async def test_every_group_is_listed_page_by_page_and_owner_by_owner(
    sim: WeComSimulator, groups: CustomerGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zhiban.integrations.wecom.customer_groups.PAGE_SIZE", 2)
    assert not await groups.has_any()
    made = [sim.customer_groups.create(f"群{number}", "chen", "wm1") for number in range(5)]
    made.append(sim.customer_groups.create("群六", "lihua", "wm2"))
    assert await groups.has_any()
    assert [chat async for chat in groups.ids()] == made
    # More than a thousand members are visible: the list has to be asked owner by owner.
    sim.customer_groups.visible = 1001
    for member in ("chen", "lihua"):
        sim.befriend(member, "wm1")
    assert sorted([chat async for chat in groups.ids()]) == sorted(made)


async def test_a_group_is_read_with_whoever_is_in_it(sim: WeComSimulator, groups: CustomerGroups) -> None:
    sim.contacts.names |= {"wm1": "林晓", "chen": "陈默"}
    chat = sim.customer_groups.create("青禾客户 1 群", "chen", "wm1", "lihua")
    sim.customer_groups.chats[chat].admins.add("lihua")
    found = await CustomerGroupsChannel(groups, SystemClock()).group(chat)
    assert found is not None
    assert found.name == "青禾客户 1 群"
    assert found.members is not None
    assert [(one.external_id, one.name, one.role) for one in found.members] == [
        ("member:chen", "陈默", "owner"),
        ("wm1", "林晓", "member"),
        ("member:lihua", "lihua", "admin"),
    ]
    assert all(one.joined_at for one in found.members)
    sim.customer_groups.dismiss(chat)
    assert await CustomerGroupsChannel(groups, SystemClock()).group(chat) is None


async def test_what_stands_in_the_way_is_said_in_words(sim: WeComSimulator, groups: CustomerGroups) -> None:
    chat = sim.customer_groups.create("一群", "chen", "wm1")
    assert (await check(groups)).level == "ok"
    sim.staff.hidden.add("chen")
    with pytest.raises(FeatureOff, match="outside the app's visible range"):
        await groups.group(chat, now=SystemClock().now())
    for code, error in ((60111, SendRefused), (84061, SendRefused), (81017, SendRefused), (60020, ConnectionBroken)):
        sim.fail("externalcontact/groupchat/get", errcode=code)
        with pytest.raises(error) as caught:
            await groups.group(chat, now=SystemClock().now())
        assert str(code) in caught.value.sentence
        assert len(caught.value.sentence) > 30
    sim.fail("externalcontact/groupchat/list", errcode=45009, errmsg="api freq out of limit, minute limit")
    with pytest.raises(TryLater) as limited:
        [chat async for chat in groups.ids()]
    assert limited.value.after >= 60
    assert not await groups.has_any()  # and no other account suffers from it


async def test_without_the_permission_nothing_is_broken(sim: WeComSimulator, groups: CustomerGroups) -> None:
    sim.customer_groups.create("一群", "chen", "wm1")
    sim.contacts.callable = False
    assert not await groups.has_any()
    with pytest.raises(FeatureOff):
        [chat async for chat in groups.ids()]
    found = await check(groups)
    assert (found.level, bool(found.problem), bool(found.cure)) == ("skip", True, True)


async def test_an_event_says_which_group_to_read_and_nothing_can_be_sent(
    groups: CustomerGroups, deliveries: Path
) -> None:
    channel = CustomerGroupsChannel(groups, SystemClock())
    assert isinstance(channel, ReadsGroups)
    noted, stale = channel.read((deliveries / "chat_change__joined.xml").read_text("utf-8"))
    assert isinstance(noted, UnknownVendorEvent)
    assert isinstance(stale, GroupStale)
    assert (noted.kind, stale.thread) == ("change_external_chat.update", "wrTESTCHAT01")
    with pytest.raises(SendRefused) as caught:
        await channel.send(Outgoing("z1", "wrTESTCHAT01", Kind.TEXT, "大家好"))
    assert caught.value.refusal is Refusal.READ_ONLY


@settings(max_examples=60, deadline=None)
@given(body=st.text(), chat=st.text(max_size=10), change=st.text(max_size=10))
def test_whatever_an_event_says_is_taken(body: str, chat: str, change: str) -> None:
    channel = CustomerGroupsChannel(None, SystemClock())  # type: ignore[arg-type]  # nothing is called
    assert channel.read(body) is not None
    written = (
        f"<xml><MsgType>event</MsgType><Event>change_external_chat</Event><ChatId><![CDATA[{chat}]]></ChatId>"
        f"<ChangeType><![CDATA[{change}]]></ChangeType><CreateTime>{change}</CreateTime></xml>"
    )
    assert channel.read(written) is not None


async def test_all_customer_groups_are_one_inbox(
    sim: WeComSimulator, http: Http, base: str, config: WeComConfig
) -> None:
    vendor = WeCom(http, config.model_copy(update={"api_base": base}), None, SystemClock())
    before = [one.external_id for one in await vendor.accounts()]
    sim.customer_groups.create("一群", "chen", "wm1")
    assert [one.external_id for one in await vendor.accounts()] == [*before, ACCOUNT]
    account = vendor.account(ACCOUNT)
    assert vendor.channel(account.kind, account.external_id).kind == account.kind
    assert vendor.namespace(account.kind) == vendor.namespace("wecom_kf")  # customers are the same people

"""Members of the corp write to the app; contacts become members' friends; accounts come and go."""

from __future__ import annotations

import json
from typing import Any

from tests.stories.conftest import Shop, until

from zhiban.channels.topics import CONFIG
from zhiban.conversations.jobs import RECONCILE_FOLLOWS
from zhiban.kit.jobs import enqueue
from zhiban.testing.wecom.simulator import AGENT_ID, OPEN_KFID

LI, LIHUA = "wmLIXIAO", "lihua"
UNSURE = {"answer": 2, "suggest": 0}


async def configure(shop: Shop, **config: Any) -> int:
    async with shop.work() as tx:
        await tx.run("update connection set config = config || %(more)s::jsonb", more=json.dumps(config))
        connection_id = int(await tx.value("select id from connection"))
        tx.publish_after_commit(CONFIG, connection_id)
        return connection_id


async def relation(shop: Shop, **wanted: Any) -> Any:
    conditions = " and ".join(f"{name} is not distinct from %({name})s" for name in wanted) or "true"
    return await shop.eventually(f"select to_jsonb(r) from contact_follow r where {conditions}", **wanted)


async def test_a_member_who_writes_to_the_app_is_answered(shop: Shop) -> None:
    shop.wecom.member_says(LIHUA, "怎么申请退款？")
    office = shop.wecom.office
    await until(lambda: len(office.messages) == 2)
    await shop.idle()
    welcome, answer = office.messages  # the app does not say that somebody opened it
    assert "我是智能助手" in welcome.body["content"]
    assert (answer.members, answer.msgtype) == ([LIHUA], "text")
    assert "申请售后" in answer.body["content"]
    assert (await shop.conversation(LIHUA)).status == "pending"


async def test_a_member_taps_a_suggestion_on_a_card(shop: Shop) -> None:
    await shop.behaves(kind="wecom_app", account=str(AGENT_ID), welcome="", zones=UNSURE)
    office = shop.wecom.office
    shop.wecom.member_says(LIHUA, "东西不想要了退款")
    await until(lambda: office.messages)
    card = office.messages[0].body
    assert card["main_title"]["title"] == "您是不是想问："
    button = next(entry for entry in card["button_list"] if entry["text"].startswith("怎么申请退款"))
    shop.wecom.callbacks.times = 3
    shop.wecom.member_taps(LIHUA, button["key"], task_id=card["task_id"])
    await until(lambda: len(office.messages) == 2)
    await shop.wecom.callbacks.settle()
    await shop.idle()
    assert "申请售后" in office.messages[1].body["content"]
    assert len(office.messages) == 2
    assert await shop.rows("select 1 from phrasing_evidence where wording = '东西不想要了退款' and kind = 'tap'")


async def test_a_new_friend_is_welcomed_once_tagged_and_named(shop: Shop) -> None:
    await configure(
        shop,
        contact_welcome="您好，我是小禾。",
        contact_welcome_by_source={"poster7": "欢迎从海报来的朋友！"},
        contact_remark="{source}来的",
    )
    shop.wecom.callbacks.times = 3
    code = shop.wecom.befriend(LIHUA, LI, state="poster7")
    contacts = shop.wecom.contacts
    await until(lambda: contacts.welcomes[code].sent)
    assert contacts.welcomes[code].sent == {"text": {"content": "欢迎从海报来的朋友！"}}
    found = contacts.follows[LIHUA, LI]
    await until(lambda: found.remark)
    assert found.remark == "poster7来的"
    (group,) = contacts.groups.values()
    assert (group["group_name"], [tag["name"] for tag in group["tag"]]) == ("来源", ["poster7"])
    assert found.tags == [group["tag"][0]["id"]]
    kept = await relation(shop, state="added")
    assert (kept.member, kept.source) == (LIHUA, "poster7")
    assert shop.wecom.journal.counts["externalcontact/send_welcome_msg"] == 1


async def test_a_friend_without_a_source_is_named_all_the_same(shop: Shop) -> None:
    await configure(shop, contact_remark="{name}·新客{source}")
    shop.wecom.contacts.names[LI] = "李晓"
    shop.wecom.befriend(LIHUA, LI)
    found = shop.wecom.contacts.follows[LIHUA, LI]
    await until(lambda: found.remark)
    assert (found.remark, found.tags) == ("李晓·新客", [])
    await shop.eventually("select 1 from contact where name = '李晓'")


async def test_a_new_friend_is_greeted_out_of_the_box_unless_the_operator_wants_none(shop: Shop) -> None:
    code = shop.wecom.befriend(LIHUA, LI)
    await until(lambda: shop.wecom.contacts.welcomes[code].sent)
    assert "您好" in shop.wecom.contacts.welcomes[code].sent["text"]["content"]
    await configure(shop, contact_welcome="", contact_welcome_by_source={"poster7": "欢迎！"})
    silent = shop.wecom.befriend("zhaomin", LI)
    spoken = shop.wecom.befriend("wangwu", LI, state="poster7")
    await until(lambda: shop.wecom.contacts.welcomes[spoken].sent)
    await shop.eventually(
        "select 1 where (select count(*) from contact_follow) = 3 and not exists ("
        "select 1 from jobs.procrastinate_jobs where task_name = 'welcome_contact' and status in ('todo', 'doing'))"
    )
    assert not shop.wecom.contacts.welcomes[silent].sent


async def test_another_app_that_is_just_welcoming_is_waited_for(shop: Shop) -> None:
    await configure(shop, contact_welcome="您好！")
    shop.wecom.fail("externalcontact/send_welcome_msg", errcode=41096, times=1)
    code = shop.wecom.befriend(LIHUA, LI)
    await until(lambda: shop.wecom.contacts.welcomes[code].sent)


async def test_half_a_friend_becomes_a_whole_one(shop: Shop) -> None:
    await configure(shop, contact_welcome="您好！")
    first = shop.wecom.befriend(LIHUA, LI, state="poster7", half=True)
    await relation(shop, state="half_added")
    await until(lambda: shop.wecom.contacts.welcomes[first].sent)
    assert shop.wecom.contacts.follows[LIHUA, LI].tags == []  # half a friend cannot be tagged yet
    assert shop.wecom.befriend(LIHUA, LI, state="poster7") == ""
    await until(lambda: shop.wecom.contacts.follows[LIHUA, LI].tags)
    await relation(shop, state="added")
    shop.wecom.befriend(LIHUA, LI, state="poster7", half=True)  # an older event that comes late
    await shop.eventually("select 1 from event where kind = 'contact_followed' having count(*) = 3")
    await relation(shop, state="added")


async def test_friends_part(shop: Shop) -> None:
    shop.wecom.befriend(LIHUA, LI)
    await relation(shop, state="added")
    shop.wecom.part(LIHUA, LI)
    assert (await relation(shop, state="removed_by_contact")).removed_at
    shop.wecom.befriend(LIHUA, "wmZHAO")
    await relation(shop, external_id="wmZHAO", state="added")
    shop.wecom.part(LIHUA, "wmZHAO", by_contact=False)
    await relation(shop, external_id="wmZHAO", state="removed_by_us")
    assert await shop.rows("select 1 from event where kind = 'contact_unfollowed' having count(*) = 2")


async def test_a_parting_that_overtakes_the_beginning_is_kept(shop: Shop) -> None:
    shop.wecom.part(LIHUA, LI)
    assert (await relation(shop, state="removed_by_contact")).removed_at


async def test_transfers_are_recorded(shop: Shop) -> None:
    shop.wecom.befriend(LIHUA, LI)
    await relation(shop, state="added")
    shop.wecom.app_event(
        "change_external_contact",
        ChangeType="transfer_fail",
        UserID=LIHUA,
        ExternalUserID=LI,
        FailReason="customer_refused",
    )
    reason = await shop.eventually(
        "select data ->> 'reason' from event where kind = 'contact_unfollowed' and data ->> 'state' = 'transfer_failed'"
    )
    assert reason == "customer_refused"
    shop.wecom.app_event(
        "change_external_contact",
        ChangeType="del_external_contact",
        UserID=LIHUA,
        ExternalUserID=LI,
        Source="DELETE_BY_TRANSFER",
    )
    await relation(shop, state="removed_by_us")


async def test_reconciling_finds_what_was_never_told(shop: Shop) -> None:
    shop.wecom.befriend(LIHUA, LI)
    await relation(shop, state="added")
    shop.wecom.callbacks.silent = True
    shop.wecom.part(LIHUA, LI)
    shop.wecom.contacts.names["wmZHAO"] = "赵一"
    shop.wecom.befriend(LIHUA, "wmZHAO", state="fair")
    shop.wecom.callbacks.silent = False
    async with shop.work() as tx:
        connection = await tx.value("select id from connection")
        await enqueue(tx, RECONCILE_FOLLOWS.of(connection_id=connection))
    found = await relation(shop, external_id="wmZHAO", state="added")
    assert found.source == "fair"
    await relation(shop, external_id=LI, state="ended")
    assert await shop.rows("select 1 from contact where name = '赵一'")


async def test_reconciling_does_not_end_half_a_friendship(shop: Shop) -> None:
    """The platform's list leaves those out whom the member has not added back."""
    shop.wecom.befriend(LIHUA, "wmZHAO")
    await relation(shop, state="added")
    shop.wecom.befriend(LIHUA, LI, half=True)
    await relation(shop, state="half_added")
    shop.wecom.callbacks.silent = True
    shop.wecom.part(LIHUA, "wmZHAO")
    async with shop.work() as tx:
        connection = await tx.value("select id from connection")
        await enqueue(tx, RECONCILE_FOLLOWS.of(connection_id=connection))
    await relation(shop, external_id="wmZHAO", state="ended")
    assert (await relation(shop, external_id=LI)).state == "half_added"


async def test_accounts_come_and_go(shop: Shop) -> None:
    await shop.says(LI, "怎么申请退款？")
    shop.wecom.add_account("wkNEW", "新店客服")
    shop.wecom.give_accounts(added=("wkNEW",), removed=(OPEN_KFID,))
    await shop.eventually("select 1 from inbox where external_id = 'wkNEW' and archived_at is null")
    await shop.eventually("select 1 from inbox where external_id = %(id)s and archived_at is not null", id=OPEN_KFID)
    shop.wecom.contact_says("wmZHAO", "怎么申请退款？", open_kfid="wkNEW")
    (answer,) = await shop.wecom.until_sent("wmZHAO")
    assert answer.open_kfid == "wkNEW"
    shop.wecom.give_accounts(added=(OPEN_KFID,))
    await shop.eventually("select 1 from inbox where external_id = %(id)s and archived_at is null", id=OPEN_KFID)
    await shop.says(LI, "可以开发票吗？")

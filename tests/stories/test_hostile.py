"""Hostile and odd inputs, followed all the way: from WeCom's wire to the rows, the answer and the desk's page."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from tests.stories.conftest import Shop, until

from zhiban.people import service as people
from zhiban.testing.wecom.simulator import OPEN_KFID

LI = "wmLIXIAO"
CODE = """<script>alert(1)</script><img src=x onerror=alert(1)> {{7*7}} ${7*7} %NICKNAME% =cmd|'/C calc'!A0
[click](javascript:alert(1)) "onmouseover="alert(1)"""


async def pulls_of(shop: Shop) -> int:
    return shop.wecom.journal.counts.get("kf/sync_msg", 0)


async def desk_pages(shop: Shop, *paths: str) -> list[str]:
    """Pages of the desk, as a signed-in agent's browser gets them."""
    agent = await shop.agent()
    async with shop.work() as tx:
        token = await people.open_session(tx, agent_id=agent, now=datetime.now(UTC))
    found = []
    async with aiohttp.ClientSession(cookies={"zhiban_session": token}) as browser:
        for path in paths:
            async with browser.get(f"{shop.url}{path}") as answer:
                assert answer.status == 200
                found.append(await answer.text())
    return found


async def test_hostile_49_code_in_messages_and_names_is_shown_as_letters(shop: Shop) -> None:
    shop.wecom.kf.names[LI] = CODE[:60]
    shop.wecom.contact_says(LI, CODE)
    shop.wecom.contact_says(LI, kind="link", title=CODE[:90], desc="", url="javascript:alert(1)", pic_url=CODE[:40])
    await shop.eventually("select 1 from contact where name <> ''")
    await shop.idle()
    talk = await shop.conversation()
    thread, live = await desk_pages(shop, f"/conversations/{talk.id}", f"/conversations/{talk.id}/live")
    for page in (thread, live):
        assert "&lt;script&gt;alert(1)" in page
        assert not re.search(r"<script>alert|<img src=x|href=\"javascript:|\bonerror=alert\(1\)>", page)
    assert "{{7*7}}" in thread
    assert "%NICKNAME%" in thread


async def test_hostile_55_a_callback_in_three_copies_has_one_effect(shop: Shop) -> None:
    shop.wecom.callbacks.times, shop.wecom.callbacks.shuffle = 3, True
    shop.wecom.contact_says(LI, "怎么申请退款？")
    shop.wecom.befriend("lihua", LI)
    await shop.wecom.until_sent(LI)
    await shop.eventually("select 1 from contact_follow")
    await shop.wecom.callbacks.settle()
    await shop.idle()
    assert [delivery.statuses for delivery in shop.wecom.callbacks.log] == [[200]] * 6
    assert len(shop.wecom.sent(LI)) == 1
    assert await shop.rows("select count(*) from message where direction = 'in'") == [(1,)]
    assert await shop.rows("select count(*) from event where kind = 'contact_followed'") == [(1,)]


async def test_hostile_58_a_groups_change_is_kept_whole_with_both_versions(shop: Shop) -> None:
    """Nothing is computed from the difference, so a version that does not follow the last one can do no harm."""
    for last, current in (("v1", "v2"), ("v7", "v8")):
        shop.wecom.app_event(
            "change_external_chat",
            ChatId="wrGROUP",
            ChangeType="update",
            UpdateDetail="add_member",
            MemChangeCnt="2",
            LastMemVer=last,
            CurMemVer=current,
        )
    await shop.eventually(
        "select 1 from event where data ->> 'name' = 'change_external_chat.update' having count(*) = 2"
    )
    rows = await shop.rows("select data -> 'content' from event where data ->> 'name' = 'change_external_chat.update'")
    assert {(row[0]["LastMemVer"], row[0]["CurMemVer"], row[0]["ChatId"]) for row in rows} == {
        ("v1", "v2", "wrGROUP"),
        ("v7", "v8", "wrGROUP"),
    }


async def test_hostile_59_a_thousand_doorbells_are_few_pulls(shop: Shop) -> None:
    await shop.says(LI, "怎么申请退款？")
    await shop.idle()
    before = await pulls_of(shop)
    for _ in range(1000):
        shop.wecom._ring(OPEN_KFID, shop.wecom.kf.fresh_token())
    (answer,) = await shop.says(LI, "可以开发票吗？")
    assert "电子发票" in answer.text
    await shop.wecom.callbacks.settle()
    await shop.idle(within=30)
    assert {delivery.statuses[-1] for delivery in shop.wecom.callbacks.log} == {200}  # perhaps not the first time
    assert await pulls_of(shop) - before < 300
    assert await shop.rows("select count(*) from message where direction = 'in'") == [(2,)]


async def test_hostile_59_many_accounts_at_once_are_all_pulled(shop: Shop) -> None:
    accounts = [f"wk{number:04d}" for number in range(100)]
    for account in accounts:
        shop.wecom.add_account(account, account)
        shop.wecom.contact_enters(LI, open_kfid=account)
    await shop.eventually("select 1 from event where kind = 'contact_entered' having count(*) = 100", within=60)
    await shop.idle(within=60)
    assert await shop.rows("select count(*) from inbox where external_id like 'wk0%'") == [(100,)]
    assert await pulls_of(shop) < 400
    used = await shop.rows("select count(*) from pg_stat_activity where datname = current_database()")
    assert used[0][0] < 60


async def test_hostile_66_what_wecom_may_return_is_stored_once_and_answered(shop: Shop) -> None:
    await shop.says("wmBEFORE", "怎么申请退款？")
    await shop.idle()
    sim = shop.wecom
    sim.callbacks.silent = True
    sim.kf.page_size = 4
    account = sim.kf.accounts[OPEN_KFID]
    twice = sim.contact_says("wmTWICE", "可以开发票吗？")
    for odd in (None, 5, "x", [], {}, {"msgtype": "event"}, {"msgtype": "event", "event": {"event_type": ""}}):
        account.log.append(odd)  # type: ignore[arg-type]
        account.times.append(sim.clock.now())
    for _ in range(2):
        account.log.append(
            next(entry for entry in account.log if isinstance(entry, dict) and entry.get("msgid") == twice)
        )
        account.times.append(sim.clock.now())
    strange: list[dict[str, Any]] = [
        {"send_time": 4102444800},
        {"send_time": 0},
        {"send_time": "x"},
        {"origin": 7},
        {"origin": None},
        {"origin": "3"},
    ]
    for number, change in enumerate(strange):
        sim.contact_says(f"wmODD{number}", "怎么申请退款？")
        account.log[-1] |= change
    sim.kf.contact_writes(OPEN_KFID, "wm777", {"msgtype": "hologram", "hologram": [1]})
    account.log[-1] |= {"external_userid": "wm777", "msgid": 12345}
    sim.callbacks.silent = False
    sim.contact_says(LI, "怎么申请退款？")
    for contact in ("wmTWICE", LI, *(f"wmODD{number}" for number in range(len(strange)))):
        await sim.until_sent(contact)
    await shop.idle()
    assert {len(sim.sent(f"wmODD{number}")) for number in range(len(strange))} == {1}
    assert len(sim.sent("wmTWICE")) == 1
    assert await shop.rows("select count(*) from message where external_id = %(id)s", id=twice) == [(1,)]
    assert await shop.rows("select kind, text from message where external_id = '12345'") == [("other", "[hologram]")]
    assert not await shop.rows("select 1 from message where sent_at > now() + interval '1 hour'")


@pytest.mark.parametrize("seed", range(3))
async def test_hostile_66_pages_out_of_order_lose_and_repeat_nothing(shop: Shop, seed: int) -> None:
    sim = shop.wecom
    sim.callbacks.seed(seed)
    sim.callbacks.times, sim.callbacks.shuffle = 3, True
    sim.kf.page_size = 3
    said = []
    for number in range(20):
        said.append(sim.contact_says(f"wm{number:03d}", "怎么申请退款？"))
        await asyncio.sleep(0.01)
    await until(lambda: len(sim.sent()) >= len(said))
    await sim.callbacks.settle()
    await shop.idle()
    stored = await shop.rows("select external_id from message where direction = 'in'")
    assert sorted(row[0] for row in stored) == sorted(said)
    assert len(sim.sent()) == len(said)

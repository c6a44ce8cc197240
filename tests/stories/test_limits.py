"""WeCom limits how often it is called: nobody is silenced for longer than it asks, and nothing goes out all at once."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from tests.stories.conftest import AheadClock, Shop, running_shop, settings_for, until

from zhiban.container import App
from zhiban.desk.checks import NoticeSetup, findings
from zhiban.integrations.wecom.config import WeComSettings
from zhiban.kit.i18n import Texts
from zhiban.ports import Kind, Outgoing, TryLater
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.wecom import OPEN_KFID
from zhiban.workers.account_poller import SAFETY_POLL

LI, MEI = "wmLIXIAO", "wmMEI"


async def test_after_the_safety_poll_an_answer_does_not_wait_for_a_minute(urls: DatabaseUrls, tmp_path: Path) -> None:
    clock = AheadClock()
    async with running_shop(urls, tmp_path, clock=clock) as shop:
        await shop.says(LI, "怎么申请退款？")
        await shop.idle()
        clock.ahead += SAFETY_POLL * 3
        shop.wecom.clock.advance(SAFETY_POLL.total_seconds() * 3)
        pulled = shop.wecom.journal.counts["kf/sync_msg"]
        await until(lambda: shop.wecom.journal.counts["kf/sync_msg"] > pulled)  # the safety poll, without a token
        began = time.monotonic()
        await shop.says(LI, "可以开发票吗？")
        assert time.monotonic() - began < 30
        await shop.idle()
        assert not any(entry.errcode == 45009 for entry in shop.wecom.journal.entries)


async def test_doorbells_that_ring_three_times_pull_with_a_token(shop: Shop) -> None:
    shop.wecom.callbacks.times = 3
    for number in range(10):
        began = time.monotonic()
        await shop.says(f"wm{number}", "怎么申请退款？")
        assert time.monotonic() - began < 30
    await shop.idle()
    assert not any(entry.errcode == 45009 for entry in shop.wecom.journal.entries)


async def test_a_limited_account_pauses_and_one_goes_first(urls: DatabaseUrls, tmp_path: Path) -> None:
    clock = AheadClock()
    contacts = [f"wm{number}" for number in range(12)]
    async with running_shop(
        urls, tmp_path, clock=clock, before=lambda wecom: wecom.add_account("wkSECOND", "售前客服")
    ) as shop:
        await shop.says(LI, "怎么申请退款？")
        before = shop.wecom.journal.counts["kf/send_msg"]
        shop.wecom.fail("kf/send_msg", errcode=45009)
        shop.wecom.contact_says(contacts[0], "怎么申请退款？")
        await shop.eventually("select 1 from circuit where state = 'open'")
        for contact in contacts[1:]:
            shop.wecom.contact_says(contact, "怎么申请退款？")
        await shop.eventually("select 1 from message where state = 'queued' having count(*) = 12")
        assert shop.wecom.journal.counts["kf/send_msg"] == before + 1
        async with shop.work() as tx:
            (pause,) = [one for one in await findings(tx, NoticeSetup(), Texts("zh")) if one.check == "暂缓的调用"]
        assert "kf/send_msg" in pause.said
        assert "企业微信限制了" in pause.said
        # Another account is not silenced.
        shop.wecom.contact_says(MEI, "怎么申请退款？", open_kfid="wkSECOND")
        await until(lambda: shop.wecom.sent(MEI))
        sent = shop.wecom.journal.counts["kf/send_msg"]
        shop.wecom.fail("kf/send_msg", errcode=45009)
        # After the pause one goes first, and is refused: the others stay where they are.
        clock.ahead += timedelta(seconds=67)
        await until(lambda: shop.wecom.journal.counts["kf/send_msg"] == sent + 1)
        await shop.eventually("select 1 from circuit where state = 'open' and openings = 2")
        assert not any(shop.wecom.sent(contact) for contact in contacts)
        clock.ahead += timedelta(seconds=133)
        await until(lambda: any(shop.wecom.sent(contact) for contact in contacts))
        clock.ahead += timedelta(seconds=20)
        await until(lambda: all(shop.wecom.sent(contact) for contact in contacts))
        await shop.idle()
        assert all(len(shop.wecom.sent(contact)) == 1 for contact in contacts)


async def test_the_pause_is_known_to_every_process(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with running_shop(urls, tmp_path) as shop, AsyncExitStack() as stack:
        address = shop.app.settings.part(WeComSettings).wecom_api_base.removesuffix("/cgi-bin")
        other = await stack.enter_async_context(App.build(settings_for(tmp_path, address), urls))
        await shop.says(LI, "怎么申请退款？")
        await shop.idle()
        shop.wecom.fail("kf/send_msg", errcode=45009, times=1)
        shop.wecom.contact_says(LI, "可以开发票吗？")
        await shop.eventually("select 1 from circuit where state = 'open'")
        sent = shop.wecom.journal.counts["kf/send_msg"]
        (inbox,) = (await shop.rows("select id from inbox where external_id = %(kfid)s", kfid=OPEN_KFID))[0]
        channel = (await other.connections.inbox(shop.workspace_id, inbox)).channel
        await channel.native_state(MEI)  # its first call reads what is paused, beside it
        await asyncio.sleep(0)
        await until(lambda: not other.breakers._reading)
        with pytest.raises(TryLater) as paused:
            await channel.send(Outgoing("k1", MEI, Kind.TEXT, "在的"))
        assert paused.value.after > 50
        assert shop.wecom.journal.counts["kf/send_msg"] == sent

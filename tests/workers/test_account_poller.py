"""One puller for an account, however many processes: the lease, and the cursor that moves with the messages."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.stories.conftest import running_shop, settings_for, until
from zhiban.container import App
from zhiban.integrations.wecom.config import WeComSettings
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.wecom import OPEN_KFID
from zhiban.workers import account_poller


async def test_hostile_63_two_processes_and_one_cursor(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with running_shop(urls, tmp_path) as shop, AsyncExitStack() as stack:
        address = shop.app.settings.part(WeComSettings).wecom_api_base.removesuffix("/cgi-bin")
        homes = [shop.app]
        for _ in range(2):
            app = App.build(settings_for(tmp_path, address), urls)
            app.start_workers()
            homes.append(await stack.enter_async_context(app))
        await shop.says("wmLIXIAO", "怎么申请退款？")
        ((inbox,),) = await shop.rows("select id from inbox where external_id = %(kfid)s", kfid=OPEN_KFID)

        async def ring_everywhere() -> None:
            for _ in range(30):
                for app in homes:
                    assert app.workers is not None
                    app.workers.account_poller.wake(shop.workspace_id, inbox)
                await asyncio.sleep(0.01)

        ringing = asyncio.create_task(ring_everywhere())
        contacts = [f"wm{number}" for number in range(20)]
        for contact in contacts:
            shop.wecom.contact_says(contact, "可以开发票吗？")
        await until(lambda: all(shop.wecom.sent(contact) for contact in contacts))
        await ringing
        await shop.idle()
        assert [len(shop.wecom.sent(contact)) for contact in contacts] == [1] * 20
        ((messages, ids),) = await shop.rows(
            "select count(*), count(distinct external_id) from message where direction = 'in'"
        )
        assert messages == ids == 21


async def test_a_page_that_another_process_took_in_is_left_to_it(urls: DatabaseUrls, tmp_path: Path) -> None:
    """The cursor moves only for its owner: a lease that was lost meanwhile undoes the messages as well."""
    async with running_shop(urls, tmp_path) as shop:
        await shop.says("wmLIXIAO", "怎么申请退款？")
        await shop.idle()
        fault = shop.wecom.fail("kf/sync_msg", latency=0.5, times=1)
        shop.wecom.contact_says("wmLIXIAO", "可以开发票吗？")
        await until(lambda: fault.times == 0)
        async with shop.work() as tx:
            await tx.run("update pull_state set leased_by = 4711, lease_expires_at = now() - interval '1 second'")
        await until(lambda: len(shop.wecom.sent("wmLIXIAO")) == 2)
        await shop.idle()
        assert len(shop.wecom.sent("wmLIXIAO")) == 2


async def test_what_is_announced_during_a_pull_is_fetched_at_once(
    urls: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only an account that goes on being busy lets some more arrive, to fetch them together."""
    async with running_shop(urls, tmp_path) as shop:
        await shop.says("wmLIXIAO", "怎么申请退款？")
        await shop.idle()
        monkeypatch.setattr(account_poller, "GATHER_SECONDS", 3600)
        fault = shop.wecom.fail("kf/sync_msg", latency=0.5, times=1)
        shop.wecom.contact_says("wmLIXIAO", "可以开发票吗？")
        await until(lambda: fault.times == 0)
        shop.wecom.contact_says("wmWANGFANG", "可以开发票吗？")
        await until(lambda: len(shop.wecom.sent("wmLIXIAO")) == 2 and shop.wecom.sent("wmWANGFANG"))
        await shop.idle()  # the second call waits no more either

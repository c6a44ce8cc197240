"""An operator with 微信客服 alone: no AgentId, no 客户联系. Nothing piles up, and nothing cries for help."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.stories.conftest import Shop, running_shop, settings_for, until

from zhiban.channels import inboxes
from zhiban.cli.inboxes import check_connections
from zhiban.container import ensure_default
from zhiban.conversations.jobs import RECONCILE_FOLLOWS
from zhiban.desk.checks import NoticeSetup, failed, findings
from zhiban.integrations.wecom.config import WeComSettings
from zhiban.kit.i18n import Texts
from zhiban.kit.jobs import enqueue
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.wecom import AGENT_ID, OPEN_KFID

LI, LIHUA = "wmLIXIAO", "lihua"


@pytest.fixture
async def small(urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop whose .env names corp id, secret, Token and EncodingAESKey, and nothing else."""
    async with running_shop(urls, tmp_path, wecom_agent_id="") as shop:
        for path in ("get_follow_user_list", "get", "batch/get_by_user", "send_welcome_msg", "remark", "mark_tag"):
            shop.wecom.fail(f"externalcontact/{path}", errcode=48002, times=None)
        yield shop


async def troubles(shop: Shop) -> int:
    async with shop.work() as tx:
        return failed(await findings(tx, NoticeSetup(notices=False), Texts("zh")))


async def test_contacts_are_answered_and_events_of_the_app_hold_up_nothing(small: Shop) -> None:
    small.wecom.befriend(LIHUA, LI, state="poster7")
    small.wecom.member_says(LIHUA, "今天有几个会话？")
    small.wecom.add_account("wkNEW", "新店客服", manage=False)
    small.wecom.give_accounts(added=("wkNEW",))
    await small.eventually("select 1 from inbox where external_id = 'wkNEW' and archived_at is null")
    await small.says(LI, "怎么申请退款？")
    await small.says("wmMEI", "怎么申请退款？")
    await small.idle()
    assert {row[0] for row in await small.rows("select state from delivery")} == {"done"}
    assert await small.rows("select 1 from event where data ->> 'name' = 'message_without_agent_id'")
    assert await small.rows("select 1 from contact_follow where member = 'lihua'")
    async with small.work() as tx:
        seen = {row.external_id for row in await inboxes.inboxes(tx) if row.archived_at is None}
    assert seen == {OPEN_KFID, "wkNEW"}
    assert not small.wecom.office.messages
    assert await troubles(small) == 0


async def test_the_nightly_reading_of_friendships_is_quiet(small: Shop) -> None:
    await small.says(LI, "怎么申请退款？")
    async with small.work() as tx:
        connection = int(await tx.value("select id from connection"))
        await enqueue(tx, RECONCILE_FOLLOWS.of(connection_id=connection))
    why = await small.eventually("select contacts_off from connection where contacts_off is not null")
    assert "48002" in why
    small.wecom.befriend(LIHUA, LI)
    await small.eventually("select 1 from contact_follow")
    await small.eventually(
        "select 1 where not exists (select 1 from jobs.procrastinate_jobs where status in ('todo', 'doing'))"
    )
    assert not await small.rows("select 1 from jobs.procrastinate_jobs where status = 'failed'")
    assert await troubles(small) == 0
    results = [result async for _, result in check_connections(small.app)]
    assert not [result for result in results if result.level == "fail"]
    assert "客户联系" in [result.name for result in results if result.level == "skip"]
    # Switched on later, it is simply used.
    small.wecom.faults.clear()
    async with small.work() as tx:
        await enqueue(tx, RECONCILE_FOLLOWS.of(connection_id=connection))
    await small.eventually("select 1 from connection where contacts_off is null")
    told = await small.rows("select kind from event where kind like 'contact_reading%%' order by id")
    assert told == [("contact_reading_stopped",), ("contact_reading_resumed",)]


async def test_an_edited_contact_is_read_again_and_nobody_else(shop: Shop) -> None:
    for number in range(3):
        shop.wecom.befriend(LIHUA, f"wm{number}")
    await shop.eventually("select 1 from contact_follow having count(*) = 3")
    await shop.eventually(
        "select 1 where not exists (select 1 from jobs.procrastinate_jobs where status in ('todo', 'doing'))"
    )
    before = shop.wecom.journal.counts.get("externalcontact/get", 0)
    shop.wecom.contacts.follows[LIHUA, "wm1"].remark = "老客户"
    shop.wecom.app_event(
        "change_external_contact", ChangeType="edit_external_contact", UserID=LIHUA, ExternalUserID="wm1"
    )
    await shop.eventually("select 1 from contact_follow where external_id = 'wm1' and remark = '老客户'")
    assert shop.wecom.journal.counts["externalcontact/get"] == before + 1
    assert "externalcontact/batch/get_by_user" not in shop.wecom.journal.counts


async def test_an_agent_id_that_is_found_later_goes_to_the_same_connection(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with running_shop(urls, tmp_path, wecom_agent_id="") as shop:
        await shop.says(LI, "怎么申请退款？")
        address = shop.app.settings.part(WeComSettings).wecom_api_base.removesuffix("/cgi-bin")
        shop.app.settings = settings_for(tmp_path, address)
        await ensure_default(shop.app)
        assert await shop.rows("select config ->> 'agent_id' from connection") == [(str(AGENT_ID),)]
        await shop.says(LI, "可以开发票吗？")
        shop.wecom.member_says(LIHUA, "怎么申请退款？")
        await until(lambda: shop.wecom.office.messages)
        # With a secret of its own it is another app.
        shop.app.settings = settings_for(tmp_path, address, wecom_agent_id="1000009", wecom_agent_secret="another")
        await ensure_default(shop.app)
        assert len(await shop.rows("select 1 from connection")) == 2

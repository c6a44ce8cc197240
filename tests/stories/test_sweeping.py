"""The crash net: whatever was lost on the way is found again within seconds."""

from __future__ import annotations

from pathlib import Path

import psycopg
from tests.stories.conftest import Shop, opened_shop, running_shop, until

from zhiban.desk.checks import Checks, NoticeSetup
from zhiban.desk.pages.health import read_health
from zhiban.kit.i18n import Texts
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.serving import served
from zhiban.testing.wecom import WeComSimulator, asgi

LI = "wmLIXIAO"
LOST = """
insert into message (workspace_id, conversation_id, inbox_id, direction, author, kind, text, external_id, state,
  sent_at, created_at)
select workspace_id, id, inbox_id, 'in', 'contact', 'text', '可以开发票吗？', 'lost-1', 'pending', now(),
  now() - interval '10 seconds' from conversation"""


async def poison(urls: DatabaseUrls, table: str, when: str) -> None:
    """From now on the database refuses such rows."""
    trigger = f"create trigger poison before insert on {table} for each row when ({when}) execute function poison()"
    async with await psycopg.AsyncConnection.connect(urls.owner, autocommit=True) as owner:
        await owner.execute(
            "create function poison() returns trigger language plpgsql as $$ begin raise exception 'poison'; end $$"
        )
        await owner.execute(trigger.encode())


async def test_a_question_whose_wake_was_lost_is_answered(shop: Shop) -> None:
    await shop.says(LI, "怎么申请退款？")
    await shop.idle()
    async with shop.work() as tx:
        await tx.run(LOST)
    answer = (await shop.wecom.until_sent(LI, 2))[-1]
    assert "电子发票" in answer.text


async def test_the_lane_of_a_killed_process_is_taken_over(shop: Shop) -> None:
    await shop.says(LI, "怎么申请退款？")
    await shop.idle()
    async with shop.work() as tx:
        await tx.run(LOST)
        await tx.run("update conversation_work set leased_by = 7, lease_expires_at = now() + interval '60 seconds'")
    answer = (await shop.wecom.until_sent(LI, 2))[-1]
    assert "电子发票" in answer.text


async def test_the_pull_of_a_killed_process_is_taken_over(shop: Shop) -> None:
    await shop.says(LI, "怎么申请退款？")
    await shop.idle()
    async with shop.work() as tx:
        await tx.run("update pull_state set leased_by = 7, lease_expires_at = now() + interval '60 seconds'")
    await shop.says(LI, "可以开发票吗？")


async def test_a_lost_doorbell_is_made_up_for_by_the_safety_poll(shop: Shop) -> None:
    await shop.says(LI, "怎么申请退款？")
    await shop.idle()
    shop.wecom.callbacks.silent = True
    shop.wecom.contact_says(LI, "可以开发票吗？")
    async with shop.work() as tx:
        await tx.run("update pull_state set pulled_at = now() - interval '6 minutes'")
    answer = (await shop.wecom.until_sent(LI, 2))[-1]
    assert "电子发票" in answer.text


async def test_what_was_said_while_the_server_was_down_is_answered_when_it_starts(
    urls: DatabaseUrls, tmp_path: Path
) -> None:
    """Nobody rings again: the doorbells went to a server that was not there."""
    wecom = WeComSimulator()
    async with wecom, served(asgi.application(wecom)) as address:
        async with opened_shop(urls, tmp_path, wecom, address) as shop:
            await shop.says(LI, "怎么申请退款？")
            await shop.idle()
            async with shop.work() as tx:
                await tx.run("update pull_state set pulled_at = now() - interval '20 seconds'")
        wecom.callbacks.silent = True
        wecom.contact_says(LI, "可以开发票吗？")
        async with opened_shop(urls, tmp_path, wecom, address):
            answer = (await wecom.until_sent(LI, 2))[-1]
            assert "电子发票" in answer.text


async def test_a_poisonous_delivery_becomes_a_dead_letter_and_blocks_nobody(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with running_shop(urls, tmp_path) as shop:
        await poison(urls, "contact_follow", "new.external_id = 'wmPOISON'")
        shop.wecom.befriend("lihua", "wmPOISON")
        shop.wecom.befriend("lihua", "wmZHAO")
        shop.wecom.member_says("lihua", "怎么申请退款？")
        await until(lambda: shop.wecom.office.messages)
        await shop.eventually("select 1 from contact_follow where external_id = 'wmZHAO'")
        error = await shop.eventually("select error from delivery where state = 'failed'")
        assert "poison" in error
        ((attempts,),) = await shop.rows("select attempts from delivery where state = 'failed'")
        assert attempts == 5
        assert shop.wecom.callbacks.log[0].statuses == [200]
        async with shop.work() as tx:
            checks = Checks(shop.app.database, NoticeSetup(addresses=["wecom-robot:abc"]), shop.app.clock)
            health = await read_health(tx, checks, Texts())
        assert [letter.error for letter in health.deliveries] == [error]
        assert [finding.check for finding in health.at("fail")] == ["回调"]


async def test_an_entry_that_cannot_be_stored_does_not_stop_its_account(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with running_shop(urls, tmp_path) as shop:
        await poison(urls, "message", "new.text = '毒'")
        shop.wecom.callbacks.silent = True
        shop.wecom.contact_says("wmA", "怎么申请退款？")
        bad = shop.wecom.contact_says("wmB", "毒")
        shop.wecom.contact_says("wmB", "可以开发票吗？")
        shop.wecom.callbacks.silent = False
        await shop.says("wmC", "怎么申请退款？")
        await shop.wecom.until_sent("wmA")
        (answer,) = await shop.wecom.until_sent("wmB")
        assert "电子发票" in answer.text
        assert await shop.eventually("select data ->> 'external_id' from event where kind = 'entry_skipped'") == bad


async def test_thinking_that_fails_again_and_again_hands_over_with_a_word(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with running_shop(urls, tmp_path) as shop:
        await poison(urls, "turn", "new.question like '怎么%'")
        (notice,) = await shop.says(LI, "怎么申请退款？")
        assert "人工客服" in notice.text
        assert (await shop.becomes("open")).handoff_reason == "error"
        await shop.idle()
        (answer,) = await shop.says("wmOTHER", "可以开发票吗？")
        assert "电子发票" in answer.text


async def test_a_doorbell_that_names_no_account_means_all_of_them(shop: Shop) -> None:
    await shop.says(LI, "怎么申请退款？")
    await shop.idle()
    shop.wecom.callbacks.silent = True
    shop.wecom.contact_says(LI, "可以开发票吗？")
    shop.wecom.callbacks.silent = False
    shop.wecom.app_event("kf_msg_or_event")
    answer = (await shop.wecom.until_sent(LI, 2))[-1]
    assert "电子发票" in answer.text

"""Old messages are kept and answered by nobody, or by people: never by an assistant days too late."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.stories.conftest import Shop, running_shop, until

from zhiban.channels.policy import Policy
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.serving import served
from zhiban.testing.telegram import TelegramSimulator
from zhiban.testing.wecom.simulator import OPEN_KFID, WeComSimulator


def wrote_hours_ago(wecom: WeComSimulator, contact: str, text: str, *, hours: float) -> None:
    """As if it had been written then: the entry, and the place in the log."""
    entry = {"msgtype": "text", "text": {"content": text}, "send_time": int(wecom.clock.now() - hours * 3600)}
    wecom.kf.contact_writes(OPEN_KFID, contact, entry, ring=False)
    wecom.kf.account(OPEN_KFID).times[-1] -= hours * 3600


def servicer_wrote_hours_ago(wecom: WeComSimulator, contact: str, *, hours: float) -> None:
    wecom.kf.append(
        OPEN_KFID,
        {
            "open_kfid": OPEN_KFID,
            "external_userid": contact,
            "origin": 5,
            "servicer_userid": "lihua",
            "msgtype": "text",
            "text": {"content": "您好"},
            "send_time": int(wecom.clock.now() - hours * 3600),
        },
        ring=False,
    )


async def test_the_first_start_drains_everything_and_answers_only_what_is_recent(
    urls: DatabaseUrls, tmp_path: Path
) -> None:
    def yesterday(wecom: WeComSimulator) -> None:
        wecom.kf.page_size = 7
        for number in range(20):
            wrote_hours_ago(wecom, f"wmOLD{number}", "怎么申请退款？", hours=30)
        servicer_wrote_hours_ago(wecom, "wmSERVED", hours=29)
        wrote_hours_ago(wecom, "wmLIXIAO", "怎么申请退款？", hours=2)

    async with running_shop(urls, tmp_path, before=yesterday) as shop:
        (answer,) = await shop.says("wmLIXIAO", "可以开发票吗？")
        assert "电子发票" in answer.text
        await shop.idle()
        assert len(shop.wecom.sent()) == 1
        ((kept,),) = await shop.rows("select count(*) from message where direction = 'in'")
        assert kept == 22
        assert {row[0] for row in await shop.rows("select status from conversation")} == {"resolved", "pending"}
        assert (await shop.conversation("wmSERVED")).status == "resolved"


async def test_later_what_comes_too_late_goes_to_people_who_are_told(urls: DatabaseUrls, tmp_path: Path) -> None:
    telegram = TelegramSimulator()
    async with (
        served(telegram.app) as address,
        running_shop(
            urls,
            tmp_path,
            notification_channel="telegram:8518085684",
            telegram_bot_token=telegram.token,
            telegram_api_base=address,
        ) as shop,
    ):
        await shop.says("wmOTHER", "怎么申请退款？")
        wrote_hours_ago(shop.wecom, "wmLIXIAO", "怎么申请退款？", hours=1)
        await shop.says("wmOTHER", "可以开发票吗？")
        talk = await shop.becomes("open")
        assert talk.handoff_reason == "late"
        await shop.idle()
        assert shop.wecom.sent("wmLIXIAO") == []
        await until(lambda: telegram.sent)
        assert "消息到得太晚" in telegram.sent[0].text


async def test_a_restored_cursor_brings_nothing_twice(shop: Shop) -> None:
    await shop.behaves(welcome="欢迎！", closing="再见！")
    shop.wecom.contact_enters("wmLIXIAO")
    await shop.wecom.until_sent("wmLIXIAO")
    await shop.says("wmLIXIAO", "怎么申请退款？")
    shop.wecom.servicer_takes("wmLIXIAO", servicer="lihua")
    await shop.becomes("open")
    shop.wecom.servicer_ends("wmLIXIAO")
    await shop.becomes("resolved")
    await shop.says("wmLIXIAO", "转人工")
    await shop.becomes("open")
    await shop.idle()

    async def everything() -> list[Any]:
        return [
            await shop.rows("select count(*) from message"),
            await shop.rows("select count(*) from event where kind in ('contact_entered', 'native_session_changed')"),
            await shop.rows("select id, status, cycle, replies_used from conversation where external_id = 'wmLIXIAO'"),
            len(shop.wecom.sent("wmLIXIAO")),
        ]

    before = await everything()
    async with shop.work() as tx:
        await tx.run("update pull_state set cursor = null")
    (answer,) = await shop.says("wmOTHER", "怎么申请退款？")
    assert "申请售后" in answer.text
    await shop.idle()
    after = await everything()
    assert before[1:] == after[1:]
    assert after[0][0][0] == before[0][0][0] + 2  # the other's question and answer


async def test_a_day_old_backup_answers_nobody_again(shop: Shop) -> None:
    """The rows are gone as well as the cursor: only the age of what comes again protects the contacts."""
    for number in range(5):
        wrote_hours_ago(shop.wecom, f"wmOLD{number}", "怎么申请退款？", hours=3)
    await shop.says("wmLIXIAO", "怎么申请退款？")
    async with shop.work() as tx:
        await tx.run("update pull_state set cursor = null, drained = true")
        await tx.run("delete from message m using conversation c where c.id = m.conversation_id and c.status = 'open'")
    sent = len(shop.wecom.sent())
    await shop.says("wmLIXIAO", "可以开发票吗？")
    await shop.idle()
    assert len(shop.wecom.sent()) == sent + 1


def test_the_age_bound_is_some_minutes() -> None:
    assert timedelta(minutes=5) <= Policy().answers_after <= timedelta(minutes=10)

"""When somebody waits, our people hear of it: Telegram, Apprise, group robots, cards in the app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.stories.conftest import Shop, running_shop, until

from zhiban.automation import queries as rules
from zhiban.automation.service import switch
from zhiban.events import SYSTEM
from zhiban.kit.clock import SystemClock
from zhiban.kit.jobs import dead_letters, enqueue_many
from zhiban.notifications import preferences
from zhiban.notifications import service as notifications
from zhiban.notifications.models import NotificationKind, Way
from zhiban.notifications.personal import TRY_PERSONAL
from zhiban.notifications.service import TELL_AGENT, NewNotification
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.notices import NoticeHook
from zhiban.testing.serving import served
from zhiban.testing.telegram import TelegramSimulator

LI = "wmLIXIAO"


@dataclass
class Told:
    shop: Shop
    telegram: TelegramSimulator
    hook: NoticeHook


@asynccontextmanager
async def telling_shop(urls: DatabaseUrls, folder: Path, channel: str, **more: Any) -> AsyncIterator[Told]:
    """A shop with every way to its people; `{hook}` in the channel is the web hook's address."""
    telegram, hook = TelegramSimulator(), NoticeHook()
    async with AsyncExitStack() as stack:
        telegram_url = await stack.enter_async_context(served(telegram.app))
        hook_url = (await stack.enter_async_context(served(hook.app))).removeprefix("http://")
        shop = await stack.enter_async_context(
            running_shop(
                urls,
                folder,
                notification_channel=channel.format(hook=f"json://{hook_url}"),
                telegram_bot_token=telegram.token,
                telegram_api_base=telegram_url,
                zhiban_url="https://desk.example.test",
                **more,
            )
        )
        yield Told(shop, telegram, hook)


async def test_a_handoff_reaches_people_with_name_question_and_link(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with telling_shop(urls, tmp_path, "telegram:8518085684") as told:
        told.shop.wecom.kf.names[LI] = "李晓"
        await told.shop.says(LI, "你们老板的车是什么颜色")
        await until(lambda: told.telegram.sent)
        (notice,) = told.telegram.sent
        talk = await told.shop.conversation()
        assert notice.chat == "8518085684"
        for part in ("李晓 需要人工处理", "你们老板的车是什么颜色", "知识里没有答案", "时间："):
            assert part in notice.text
        assert f"https://desk.example.test/conversations/{talk.id}" in notice.text


async def test_apprise_and_robots_are_told_as_well(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with telling_shop(urls, tmp_path, "{hook} wecom-robot:693a91f6-7xxx") as told:
        told.shop.wecom.add_robot("693a91f6-7xxx")
        await told.shop.behaves(handoff={"notify": ["telegram:8518085684"]})
        await told.shop.says(LI, "转人工")
        await until(lambda: told.hook.received and told.shop.wecom.robots.messages and told.telegram.sent)
        assert "对方要求人工" in told.hook.received[0]["message"]
        (robot,) = told.shop.wecom.robots.messages
        assert robot.key == "693a91f6-7xxx"
        assert "需要人工处理" in robot.body["content"]


async def test_one_deaf_address_does_not_repeat_the_others(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with telling_shop(urls, tmp_path, "telegram:8518085684 telegram:404404 {hook}") as told:
        told.hook.statuses.append(500)
        await told.shop.says(LI, "转人工")

        async def dead() -> list[Any]:
            async with told.shop.work() as tx:
                return await dead_letters(tx)

        await until(lambda: told.telegram.calls >= 2)
        await told.shop.eventually(
            "select 1 from jobs.procrastinate_jobs where status = 'failed' and task_name = 'send_notification'"
        )
        (letter,) = await dead()
        assert str(letter.args["recipient"]).startswith("telegram:")
        assert "404404" not in str(letter.args)  # addresses may hold passwords
        assert [sent.chat for sent in told.telegram.sent] == ["8518085684"]
        assert await told.shop.rows("select 1 from jobs.procrastinate_jobs where args ->> 'recipient' like 'json:%%'")


async def test_a_server_that_is_busy_is_told_later(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with telling_shop(urls, tmp_path, "telegram:8518085684") as told:
        told.telegram.slow_down(1)
        await told.shop.says(LI, "转人工")
        await until(lambda: told.telegram.sent)
        assert len(told.telegram.sent) == 1


async def test_switched_off_nobody_is_told(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with telling_shop(urls, tmp_path, "telegram:8518085684", notification_enabled=False) as told:
        await told.shop.says(LI, "转人工")
        await told.shop.becomes("open")
        await told.shop.idle()
        await told.shop.says("wmOTHER", "怎么申请退款？")
        assert told.telegram.calls == 0


@pytest.mark.parametrize("handled", [True, False])
async def test_people_hear_when_the_assistant_is_off(urls: DatabaseUrls, tmp_path: Path, handled: bool) -> None:
    async with telling_shop(urls, tmp_path, "telegram:8518085684") as told:
        await told.shop.behaves(assistant=False)
        told.shop.wecom.contact_says(LI, "怎么申请退款？")
        assert (await told.shop.becomes("open")).status == "open"
        await until(lambda: told.telegram.sent)
        if handled:
            told.shop.wecom.contact_says(LI, "在吗")
            await told.shop.eventually("select 1 from message having count(*) = 2")
        await told.shop.idle()
        assert told.shop.wecom.sent() == []
        assert len(told.telegram.sent) == 1


async def test_a_card_in_the_app_lets_a_member_take_the_conversation(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with telling_shop(urls, tmp_path, "") as told:
        shop, office = told.shop, told.shop.wecom.office
        lihua = await shop.agent("李华", member="lihua")
        omar = await shop.agent("欧玛", member="omar")
        elsewhere = await shop.agent("周岚", member="zhou")
        async with shop.work() as tx:
            await tx.run("update agent set inbox_ids = '{}' where id = %(id)s", id=elsewhere)
        await shop.says(LI, "转人工")
        await until(lambda: office.messages)
        (message,) = office.messages
        assert message.members == ["lihua", "omar"]
        async with shop.work() as tx:  # whoever is no agent any more still has the card
            await tx.run("update agent set disabled_at = now() where id = %(id)s", id=omar)
        card = message.body
        assert "需要人工处理" in card["main_title"]["title"]
        (button,) = card["button_list"]
        assert button["text"] == "接入"
        talk = await shop.conversation()
        shop.wecom.member_taps("omar", button["key"], task_id=card["task_id"])
        await until(lambda: office.cards[card["task_id"]].updates)
        assert (await shop.conversation()).assignee_id is None
        shop.wecom.member_taps("lihua", button["key"], task_id=card["task_id"])
        await until(lambda: len(office.cards[card["task_id"]].updates) == 2)
        assert [update["replace_name"] for update in office.cards[card["task_id"]].updates] == [
            "请在工作台接入",
            "已接入",
        ]
        assert (await shop.conversation()).assignee_id == lihua
        # Told by oneself: what is theirs to do may be taken at once, a trial and a mention only lead to the desk.
        chosen = {NotificationKind.WAITING: [Way.PERSONAL], NotificationKind.MENTIONED: [Way.PERSONAL]}
        async with shop.work() as tx:
            now = SystemClock().now()
            await preferences.choose(tx, lihua, ways=chosen, address="member:wecom", waiting_minutes=10, now=now)
            for kind in chosen:
                news = NewNotification(kind, kind, talk.id, talk.inbox_id, SYSTEM, "看看")
                await notifications.notify(tx, news, [lihua], now=now)
            ids = await tx.values("select id from notification where key in ('waiting', 'mentioned') order by key")
            told_of = [TELL_AGENT.of(notification_id=one) for one in ids]
            await enqueue_many(tx, [*told_of, TRY_PERSONAL.of(agent_id=lihua, notice_key="try-1")])
        await until(lambda: len(office.messages) == 4)
        buttons = [one.body["button_list"][0]["key"] for one in office.messages[1:] if "button_list" in one.body]
        assert buttons == [f"take:{talk.id}"]
        # Whose it is meanwhile keeps it: from a colleague one takes at the desk.
        wang = await shop.agent("王芳", member="wangfang")
        shop.wecom.app_event(
            "template_card_event",
            FromUserName="wangfang",
            EventKey=button["key"],
            TaskId=card["task_id"],
            ResponseCode="RC1",
        )
        await shop.eventually("select 1 from event where kind = 'card_action_received' having count(*) = 3")
        assert (await shop.conversation()).assignee_id == lihua != wang
        for key in ("take:99999999999999999999", "take:424242"):
            shop.wecom.app_event(
                "template_card_event", FromUserName="lihua", EventKey=key, TaskId=card["task_id"], ResponseCode="RC0"
            )
        await shop.eventually("select 1 from event where kind = 'card_action_received' having count(*) = 5")
        assert (await shop.conversation()).id == talk.id


async def test_a_rule_tells_people_once_what_it_was_told_to(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with telling_shop(urls, tmp_path, "telegram:8518085684") as told:
        told.shop.wecom.kf.names[LI] = "李晓"
        async with told.shop.work() as tx:
            (rule,) = [one.id for one in await rules.rules(tx) if one.shipped == "urgent_words"]
            await switch(tx, rule, on=True, by=SYSTEM, now=SystemClock().now())
        told.shop.wecom.contact_says(LI, "急急急，在线等")
        await until(lambda: [sent for sent in told.telegram.sent if "已标为紧急" in sent.text])
        talk = await told.shop.conversation()
        assert talk.priority == 4
        (notice,) = [sent for sent in told.telegram.sent if "已标为紧急" in sent.text]
        assert "对方很急，标为紧急并通知" in notice.text
        assert f"/conversations/{talk.id}" in notice.text
        async with told.shop.work() as tx:
            (run,) = await rules.runs_about(tx, talk.id)
        assert [one["outcome"] for one in run.actions] == ["done", "queued"]

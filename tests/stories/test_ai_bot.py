"""Members of a company ask the bot in their groups and in a chat of two: real installation, simulated platform."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.stories.conftest import AheadClock, Shop, running_shop, until

from zhiban import bootstrap
from zhiban.channels import configuring, inboxes, service
from zhiban.channels.policy import Policy
from zhiban.conversations import groups, replies
from zhiban.conversations.outbox import ReplyWindowClosed
from zhiban.events import SYSTEM
from zhiban.kit.clock import SystemClock
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.wecom.bots import SimulatedBot
from zhiban.testing.wecom.simulator import AES_KEY, TOKEN

GROUP = "wrOFFICE01"
KNOWN = "怎么申请退款？"
UNKNOWN = "你们的服务器放在火星上吗？"


@dataclass
class BotShop:
    """A shop that is connected to a bot."""

    shop: Shop
    bot: SimulatedBot
    clock: AheadClock
    hooks: str

    async def hears(self, who: str, text: str, *, chat: str = GROUP, **more: Any) -> str:
        """A member says something; waits until it was looked at, and every stream is finished."""
        msgid = await self.bot.says(who, text, chat=chat, **more)
        await self.shop.eventually("select 1 from message where external_id = %(id)s and state = 'handled'", id=msgid)
        await self.bot.settle()
        await self.shop.idle()
        return msgid

    def later(self, **passed: float) -> None:
        """Time passes, at the platform as here."""
        from datetime import timedelta

        self.clock.ahead += timedelta(**passed)
        self.bot.clock.advance(timedelta(**passed).total_seconds())

    async def replies(self, thread: str, text: str, key: str) -> None:
        """A colleague answers at the desk."""
        agent = await self.shop.eventually("select id from agent limit 1")
        async with self.shop.work() as tx:
            row = await tx.rows("select id, inbox_id from conversation where external_id = %(t)s", t=thread)
            ((id_, inbox_id),) = row
        inbox = await self.shop.app.connections.inbox(self.shop.workspace_id, inbox_id)
        async with self.shop.work() as tx:
            await replies.reply(
                tx, id_, by=agent, text=text, client_key=key, limits=inbox.channel.limits, now=self.clock.now()
            )


@pytest.fixture
async def office(urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[BotShop]:
    clock = AheadClock()
    async with running_shop(urls, tmp_path, clock=clock) as shop:
        base = str((await shop.rows("select config ->> 'api_base' from connection"))[0][0])
        values = {"bot": shop.wecom.bot.name, "token": TOKEN, "encoding_aes_key": AES_KEY, "api_base": base}
        async with shop.work() as tx:
            await service.connect(tx, shop.app.vault, bootstrap.CHANNELS["wecom_bot"], values, now=SystemClock().now())
            row = next(row for row in await inboxes.connections(tx) if row.vendor == "wecom_bot")
        bot = shop.wecom.bot
        bot.file_base = base.removesuffix("/cgi-bin")
        hooks = f"{shop.url}/hooks/{row.public_id}"
        bot.configure(hooks, token=TOKEN, aes_key=AES_KEY)
        await bot.verify()
        yield BotShop(shop, bot, clock, hooks)


async def test_a_group_asks_is_answered_and_handed_over_and_a_colleague_answers(office: BotShop) -> None:
    bot, shop = office.bot, office.shop
    await shop.agent()
    asked = await office.hears("lihua", KNOWN)
    (answer,) = bot.shown
    assert (answer.how, answer.answers, "申请售后" in answer.text, answer.text.startswith("@lihua ")) == (
        "stream",
        asked,
        True,
        True,
    )
    assert "怎么申请退款" in answer.text  # the source below
    # The same call once more, as after a lost answer: nothing is said twice.
    await bot.repeats(asked)
    await shop.idle()
    assert len(bot.shown) == 1
    # What is not known goes to people, and is said so in the stream of who asked.
    await office.hears("wangwu", UNKNOWN)
    found = await shop.conversation(GROUP)
    assert (found.status, found.kind, found.handoff_reason) == ("open", "group", "nothing_found")
    assert bot.shown[-1].how == "stream"
    # A colleague answers from the desk: to the address, once, and is told before a second one that it cannot be.
    await office.replies(GROUP, "没有，在上海。", "k1")
    await until(lambda: bot.sees(GROUP)[-1] == "没有，在上海。")
    assert bot.shown[-1].how == "address"
    await shop.idle()
    with pytest.raises(ReplyWindowClosed):
        await office.replies(GROUP, "还有一句", "k2")
    assert (bot.refused, len(bot.sees(GROUP))) == ([], 3)
    # Whoever names the bot again opens the way again; after an hour it is closed.
    await office.hears("wangwu", "人工")
    office.later(minutes=59)
    with pytest.raises(ReplyWindowClosed):
        await office.replies(GROUP, "太晚了", "k3")


async def test_nobody_answers_in_time_and_the_words_for_that_count_as_one(office: BotShop) -> None:
    bot, shop = office.bot, office.shop
    await shop.agent()
    async with shop.work() as tx:
        inbox = await tx.value("select id from inbox where kind = 'wecom_bot'")
        silent = Policy.model_validate({"assistant": False}).model_dump(mode="json")
        await configuring.set_policy(tx, shop.app.vault, inbox, silent, by=SYSTEM, now=SystemClock().now())
    await bot.says("lihua", "在吗")
    await shop.becomes("open", "lihua")
    assert bot.shown == []
    office.later(seconds=41)
    await bot.settle()
    assert bot.sees("lihua") == ["已收到，稍后在这里回复。"]
    told = await shop.eventually(
        "select to_jsonb(m) from message m where direction = 'out' and state = 'sent' and author = 'system'"
    )
    assert told.text == "已收到，稍后在这里回复。"
    assert (await shop.conversation("lihua")).replies_used == 1
    await office.replies("lihua", "在的，请讲。", "k1")
    await until(lambda: bot.sees("lihua")[-1] == "在的，请讲。")
    await shop.idle()
    with pytest.raises(ReplyWindowClosed):
        await office.replies("lihua", "还在吗？", "k2")
    # In a group each message has an address of its own: what was said for want of an answer leaves those as they are.
    for who in ("lihua", "wangwu", "omar"):
        await bot.says(who, "在吗", chat=GROUP)
    await shop.eventually("select 1 from conversation where external_id = %(g)s", g=GROUP)
    await shop.idle()
    office.later(seconds=41)
    await bot.settle()
    await shop.idle()
    assert len(bot.sees(GROUP)) == 3
    for number, words in enumerate(("在的", "都在")):
        await office.replies(GROUP, words, f"g{number}")
    await until(lambda: bot.sees(GROUP)[-1] == "都在")


async def test_who_writes_three_times_is_answered_below_all_of_it(office: BotShop) -> None:
    bot = office.bot
    bot.poll_every = 0.5  # slower than the assistant
    for text in ("你好", "您好", KNOWN):  # however many of them one turn reads, none is a reason to hand over
        await bot.says("lihua", text)
    await bot.settle()
    await office.shop.idle()
    said = bot.sees("lihua")
    assert any("申请售后" in text for text in said), said
    assert "已收到" not in "".join(said)
    assert bot.refused == []


async def test_five_above_and_what_was_quoted_become_a_ticket(office: BotShop) -> None:
    shop, bot = office.shop, office.bot
    # The bot never saw the first: a member quotes it.
    hidden = "昨晚主库切了一次，增量同步丢了两三秒的数据"
    await office.hears("lihua", "看看这个怎么回事", quote=hidden)
    await office.hears("wangwu", "我这边也是", quote=hidden)
    rows = await shop.rows("select text, sender_contact_id from message where content ? 'quoted'")
    assert rows == [(hidden, None)]
    await office.hears("lihua", "以上五条开工单")
    assert hidden in bot.sees(GROUP)[-1]
    await office.hears("lihua", "确认", quote=bot.sees(GROUP)[-1])
    ((title, state),) = await shop.rows("select title, state from ticket")
    assert title
    assert state
    frozen = {text for (text,) in await shop.rows("select text from ticket_message")}
    assert {hidden, "看看这个怎么回事", "我这边也是"} <= frozen
    # As long as anybody wants nothing kept, what somebody else quotes may be theirs.
    await office.hears("omar", "不要保存我的消息")
    await office.hears("lihua", "这句呢", quote="我的电话是13800000000，请别记下")
    assert not await shop.rows("select 1 from message where text like '%%13800000000%%'")


async def test_pictures_voices_and_greetings(office: BotShop) -> None:
    shop, bot = office.shop, office.bot
    photo = b"\x89PNG\r\n\x1a\n" + b"photo" * 100
    url = bot.stores(photo)
    items = [{"msgtype": "text", "text": {"content": f"@{bot.name} 看图"}}, {"msgtype": "image", "image": {"url": url}}]
    await bot.sends(bot.message("lihua", "", chat=GROUP, msgtype="mixed", mixed={"msg_item": items}))
    stored = await shop.eventually("select to_jsonb(a) from attachment a where state = 'stored'")
    assert (stored.kind, stored.size) == ("image", len(photo))
    await bot.sends(bot.message("wangwu", "", msgtype="voice", voice={"content": KNOWN}))
    await until(lambda: any("申请售后" in text for text in bot.sees("wangwu")))
    await bot.enters("zhaomin")
    assert bot.sees("zhaomin") == []  # no greeting is set
    assert bot.refused == []
    name = await shop.eventually(
        "select p.name from contact p join conversation c on c.contact_id = p.id where c.external_id = 'wangwu' "
        "and p.name <> ''"
    )
    assert name == "wangwu"


async def test_hostile_calls_are_refused_and_store_nothing(office: BotShop) -> None:
    bot = office.bot
    said = bot.message("lihua", KNOWN)
    query, body = bot.call_for(said, nonce="7")
    async with aiohttp.ClientSession() as client:
        for address, sent in (
            (f"{office.hooks}?{query}".replace("nonce=7", "nonce=8"), body),
            (f"{office.hooks}?{query}", body.replace(b'"encrypt"', b'"other"')),
            (f"{office.hooks}?{query}", b"<xml></xml>"),
            (f"{office.hooks}?{query}", b"[" * 5000),
            (office.hooks, body),
        ):
            async with client.post(address, data=sent) as answer:
                assert answer.status in (400, 403)
                assert await answer.read() == b""
    assert not await office.shop.rows(
        "select 1 from delivery d join connection c on c.id = d.connection_id where c.vendor = 'wecom_bot'"
    )


async def test_read_only_groups_hear_nothing_but_that_they_were_heard(office: BotShop) -> None:
    shop, bot = office.shop, office.bot
    await office.hears("lihua", KNOWN)
    async with shop.work() as tx:
        id_ = await tx.value("select id from conversation where external_id = %(g)s", g=GROUP)
        policy = replace_policy(await groups.chat_of(tx, id_))
        await groups.configure(tx, id_, policy, by=SYSTEM, now=datetime.now().astimezone())
    before = len(bot.shown)
    await bot.says("lihua", KNOWN, chat=GROUP)
    office.later(seconds=41)
    await bot.settle()
    await shop.idle()
    assert [one.text for one in bot.shown[before:]] == ["已收到，稍后在这里回复。"]


def replace_policy(chat: groups.GroupChat) -> Any:
    return replace(chat, policy=chat.policy.model_copy(update={"read_only": True})).policy

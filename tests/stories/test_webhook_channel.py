"""A program of somebody's own writes to us and is answered; inboxes begin, pause and end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.stories.conftest import Shop, running_shop, settings_for, until

from zhiban import bootstrap
from zhiban.channels import inboxes, service, withdrawing
from zhiban.channels.credentials import place_of_secrets
from zhiban.container import App
from zhiban.conversations import replies
from zhiban.integrations.webhook.channel import WebhookChannel
from zhiban.integrations.wecom.kf import KfChannel
from zhiban.main import application
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.serving import served
from zhiban.testing.webhook import OTHER_SECRET, SECRET, WebhookProgram
from zhiban.testing.wecom import asgi
from zhiban.testing.wecom.simulator import OPEN_KFID, WeComSimulator

XU = "u-1001"


@dataclass
class Crm:
    """A shop that is connected to a program."""

    shop: Shop
    program: WebhookProgram
    url: str
    connection_id: int

    async def inbox_id(self) -> int:
        return int(await self.shop.eventually("select id from inbox where kind = 'webhook'"))

    async def reconnect(self, **values: Any) -> None:
        """Connect the same program with other values."""
        described = {"source": "crm", "url": f"{self.url}/inbox", "allow_private": "true", **values}
        async with self.shop.work() as tx:
            integration = bootstrap.CHANNELS["webhook"]
            await service.connect(tx, self.shop.app.vault, integration, described, now=datetime.now(UTC))

    async def heard(self, text: str, *, within: float = 30) -> str:
        """Wait until a reply to the contact holds this text; returns the whole."""
        await until(lambda: any(text in one.text for one in self.program.replies(XU)), within=within)
        return next(one.text for one in self.program.replies(XU) if text in one.text)


@asynccontextmanager
async def connected(shop: Shop) -> AsyncIterator[Crm]:
    program = WebhookProgram()
    async with served(program.app) as url:
        crm = Crm(shop, program, url, 0)
        await crm.reconnect(secret=SECRET)
        async with shop.work() as tx:
            row = next(row for row in await inboxes.connections(tx) if row.vendor == "webhook")
        crm.connection_id, program.hooks = row.id, f"{shop.url}/hooks/{row.public_id}"
        yield crm


@pytest.fixture
async def crm(shop: Shop) -> AsyncIterator[Crm]:
    async with connected(shop) as found:
        yield found


async def eventually(condition: Callable[[], Any], *, within: float = 30) -> Any:
    """Wait for what an async function finds."""
    deadline = time.monotonic() + within
    while not (found := await condition()):
        if time.monotonic() > deadline:
            raise AssertionError("it did not happen in time")
        await asyncio.sleep(0.02)
    return found


async def test_a_formatted_reply_has_its_marks_where_they_are_shown_and_nowhere_else(crm: Crm) -> None:
    shop, chen = crm.shop, await crm.shop.agent()
    source = "**急**：见[退款](https://a.example/r)，2*3=6"
    words = "急：见退款（https://a.example/r），2*3=6"
    await crm.program.says(XU, "转人工")
    ours = await shop.becomes("open", XU)
    await shop.says("wmLIXIAO", "转人工")
    wechat = await shop.becomes("open")
    for talk, limits, formatted in (
        (ours, WebhookChannel.limits, True),
        (wechat, KfChannel.limits, True),
        (wechat, KfChannel.limits, False),
    ):
        async with shop.work() as tx:
            now = datetime.now(UTC)
            await replies.reply(tx, talk.id, text=source, by=chen, limits=limits, formatted=formatted, now=now)
    await crm.heard(words)
    sent = next(one for one in crm.program.replies(XU) if one.text == words)
    said = sent.body["message"]
    assert (said["kind"], said["markdown"]) == ("text", source)
    # WeChat shows no formatting: no mark that was meant reaches it, and every letter that was not does.
    told = [one.text for one in await shop.wecom.until_sent("wmLIXIAO", 3)]
    assert told[-2:] == [words, source]
    stored = await shop.rows("select text, content ->> 'rich' from message where author = 'agent' order by id")
    assert stored == [(words, source), (words, source), (source, None)]


async def test_a_message_is_answered_handed_off_answered_by_an_agent_and_leaves_signed(crm: Crm) -> None:
    shop, program = crm.shop, crm.program
    await program.says(XU, "怎么申请退款？", name="徐慧")
    assert "申请售后" in await crm.heard("申请售后")
    assert program.forged == 0

    await program.says(XU, "转人工")
    conversation = await shop.becomes("open", XU)
    ((name,),) = await shop.rows("select name from contact where id = %(id)s", id=conversation.contact_id)
    assert name == "徐慧"

    chen = await shop.agent()
    async with shop.work() as tx:
        await replies.reply(
            tx,
            conversation.id,
            text="我是小陈，马上给您办。",
            by=chen,
            limits=WebhookChannel.limits,
            now=datetime.now(UTC),
        )
    await crm.heard("我是小陈")
    reply = next(one for one in program.replies(XU) if "我是小陈" in one.text)
    for status, column in (("delivered", "delivered_at"), ("read", "read_at")):
        await program.call({"type": "receipt", "message_id": reply.id, "status": status})
        await shop.eventually(f"select 1 from message where external_id = %(id)s and {column} is not null", id=reply.id)

    taken_back = await program.says(XU, "说错了，不是这件")
    await program.call({"type": "recall", "message_id": taken_back})
    await shop.eventually("select 1 from message where external_id = %(id)s and recalled_at is not null", id=taken_back)


async def test_a_repeat_is_stored_once_and_a_forgery_never(crm: Crm) -> None:
    event = {"type": "message", "contact": {"id": XU}, "message": {"id": "m-1", "text": "可以开发票吗？"}}
    assert (await crm.program.call(event, id_="c-1"))[0] == 202
    assert (await crm.program.call(event, id_="c-1"))[0] == 202
    status, answer = await crm.program.call({**event, "message": {"id": "m-2"}})
    assert (status, "message" in answer["error"]) == (422, True)
    signature = {"webhook-signature": "v1," + "A" * 43 + "="}
    assert await crm.program.call(event, **signature) == (403, {"status": "refused"})
    await crm.heard("申请发票")
    await crm.shop.idle()
    welcome, answer = (one.text for one in crm.program.replies(XU))
    assert ("我是智能助手" in welcome, "申请发票" in answer) == (True, True)
    assert len(await crm.shop.rows("select 1 from message where direction = 'in'")) == 1


async def test_who_writes_first_is_welcomed_before_the_answer_and_never_again(crm: Crm) -> None:
    """A program does not say that somebody came in."""
    await crm.program.says(XU, "可以开发票吗？")
    await crm.heard("申请发票")
    await crm.program.says(XU, "怎么申请退款？")
    await crm.heard("申请售后")
    await crm.shop.idle()
    said = [one.text for one in crm.program.replies(XU)]
    assert ["我是智能助手" in one for one in said] == [True, False, False]
    assert "申请发票" in said[1]
    ((author, first_reply),) = await crm.shop.rows(
        "select m.author, c.first_reply_at from message m join conversation c on c.id = m.conversation_id "
        "where m.text like '%%我是智能助手%%'"
    )
    assert (author, first_reply) == ("assistant", None)


async def test_files_come_by_address_and_inside_a_call(crm: Crm) -> None:
    crm.program.files["cup.png"] = b"\x89PNG\r\n\x1a\n a broken cup"
    files = [
        {"url": f"{crm.url}/files/cup.png", "kind": "image", "name": "cup.png", "content_type": "image/png"},
        {"data": "aGVsbG8=", "name": "说明.txt", "content_type": "text/plain"},
    ]
    await crm.program.says(XU, "杯子碎了", files=files)
    stored = await eventually(lambda: _stored_files(crm.shop))
    assert stored == [("cup.png", 21), ("说明.txt", 5)]


async def _stored_files(shop: Shop) -> list[Any]:
    rows = await shop.rows("select filename, size from attachment where state = 'stored' order by id")
    return rows if len(rows) == 2 else []


async def test_a_program_tells_who_a_contact_is(crm: Crm) -> None:
    async def known() -> tuple[Any, ...]:
        rows = await crm.shop.rows("select name, attributes from contact")
        return rows[0] if rows else ()

    def contact(**facts: Any) -> dict[str, Any]:
        return {"type": "contact", "contact": {"id": XU, **facts}}

    await crm.program.call(contact(name="徐慧", attributes={"level": "gold", "since": 2020}))
    await eventually(lambda: _equals(known, ("徐慧", {"level": "gold", "since": 2020})))
    await crm.program.call(contact(name="徐慧（VIP）", attributes={"since": None}))
    await eventually(lambda: _equals(known, ("徐慧（VIP）", {"level": "gold"})))
    async with crm.shop.work() as tx:
        await tx.run("update contact set name = '徐姐'")  # what a colleague calls her
    await crm.program.call(contact(name="X. Hui", attributes={"level": "silver"}))
    await eventually(lambda: _equals(known, ("徐姐", {"level": "silver"})))


async def _equals(found: Callable[[], Any], wanted: tuple[Any, ...]) -> bool:
    return bool(await found() == wanted)


async def test_a_secret_is_changed_without_losing_a_call(crm: Crm) -> None:
    await crm.reconnect(secret=OTHER_SECRET)
    await crm.program.says(XU, "可以开发票吗？")  # still signed with the former one
    crm.program.secret = OTHER_SECRET
    await crm.heard("申请发票")
    await crm.program.says(XU, "运费谁出？")
    await crm.heard("质量问题")
    assert crm.program.forged <= 1  # our first reply may have met the program before it knew the new one


# --------------------------------------------------------------------------------------- beginning, pausing, ending


async def test_a_paused_inbox_listens_and_is_silent(crm: Crm) -> None:
    inbox_id = await crm.inbox_id()
    async with crm.shop.work() as tx:
        await withdrawing.pause(tx, inbox_id, now=datetime.now(UTC))
    await crm.program.says(XU, "怎么申请退款？")
    await crm.shop.becomes("open", XU)
    await crm.shop.idle()
    assert not crm.program.replies(XU)
    async with crm.shop.work() as tx:
        await withdrawing.resume(tx, inbox_id, now=datetime.now(UTC))
    await crm.program.call({"type": "message", "contact": {"id": "u-2"}, "message": {"id": "x", "text": "运费谁出？"}})
    await until(lambda: crm.program.replies("u-2"))


async def test_a_removed_inbox_keeps_its_history_and_forgets_its_secret(crm: Crm) -> None:
    await crm.program.says(XU, "转人工")
    conversation = await crm.shop.becomes("open", XU)
    inbox_id = await crm.inbox_id()
    async with crm.shop.work() as tx:
        assert await withdrawing.remove(tx, crm.shop.app.vault, inbox_id, now=datetime.now(UTC))
    ((sealed, public_id),) = await crm.shop.rows("select secrets, public_id from connection where vendor = 'webhook'")
    assert crm.shop.app.vault.open(sealed, bound_to=place_of_secrets(crm.shop.workspace_id, public_id)) == {}
    event = {"type": "message", "contact": {"id": XU}, "message": {"id": "late", "text": "在吗"}}
    assert (await crm.program.call(event))[0] == 404

    chen = await crm.shop.agent()
    before = len(crm.program.heard)
    async with crm.shop.work() as tx:
        await replies.reply(
            tx, conversation.id, text="还在的", by=chen, limits=WebhookChannel.limits, now=datetime.now(UTC)
        )
    await crm.shop.eventually("select 1 from message where text = '还在的' and failure = 'misconfigured'")
    assert len(crm.program.heard) == before
    assert await crm.shop.rows("select 1 from message where direction = 'in' and text = '转人工'")

    await crm.reconnect(secret=SECRET)
    assert (await crm.program.call(event))[0] == 202
    await crm.shop.eventually("select 1 from message where text = '在吗'")


async def test_what_happens_to_connections_and_inboxes_is_in_the_log(crm: Crm) -> None:
    inbox_id = await crm.inbox_id()
    await crm.reconnect(url="http://127.0.0.1:9/inbox")
    await crm.reconnect(url="http://127.0.0.1:9/inbox")  # changes nothing
    async with crm.shop.work() as tx:
        for _ in range(2):
            await withdrawing.pause(tx, inbox_id, now=datetime.now(UTC))
        for _ in range(2):
            await withdrawing.resume(tx, inbox_id, now=datetime.now(UTC))
        await withdrawing.remove(tx, crm.shop.app.vault, inbox_id, now=datetime.now(UTC))
    rows = await crm.shop.rows(
        "select kind, data from event where kind like 'connection%%' or inbox_id = %(id)s order by id", id=inbox_id
    )
    assert [kind for kind, _ in rows if kind != "connection_added"] == [
        "inbox_added",
        "connection_changed",
        "inbox_paused",
        "inbox_resumed",
        "inbox_removed",
        "connection_removed",
    ]
    assert dict(rows)["connection_changed"]["changed"] == ["url"]
    assert SECRET not in str(rows)


async def test_accounts_have_inboxes_before_anybody_writes(shop: Shop) -> None:
    name = await shop.eventually(
        "select name from inbox where kind = 'wecom_kf' and external_id = %(id)s", id=OPEN_KFID
    )
    assert name == "售后客服"


async def test_an_account_that_is_not_wanted_gets_no_inbox(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with running_shop(urls, tmp_path) as shop:
        await shop.eventually("select 1 from inbox where kind = 'wecom_kf'")
        async with shop.work() as tx:
            await service.restrict(tx, await tx.value("select id from connection"), [OPEN_KFID], now=datetime.now(UTC))
        shop.wecom.add_account("wkOTHER", "售前客服")
        shop.wecom.contact_says("wmLIXIAO", "运费谁出？", open_kfid="wkOTHER")
        await shop.eventually("select 1 from delivery where account = 'wkOTHER' and state = 'parked'")
        await shop.says("wmLIXIAO", "运费谁出？")
        assert not await shop.rows("select 1 from inbox where external_id = 'wkOTHER'")


async def test_an_address_that_was_called_too_early_is_not_deaf(urls: DatabaseUrls, tmp_path: Path) -> None:
    wecom = WeComSimulator()
    async with wecom, served(asgi.application(wecom)) as wecom_url:
        bare = settings_for(tmp_path, wecom_url, wecom_corp_id="", wecom_agent_secret="")
        app = App.build(bare, urls)
        async with served(application(app)) as url, aiohttp.ClientSession() as client:
            for address in ("/wecom/callback", "/hooks/nobody", "/wecom/callback/nobody"):
                async with client.post(url + address, data=b"<xml/>") as answer:
                    assert answer.status == 404
            values = bootstrap.CHANNELS["wecom"].environment(settings_for(tmp_path, wecom_url))
            async with app.database.transaction((await app.database.workspaces())[0]) as tx:
                await service.connect(tx, app.vault, bootstrap.CHANNELS["wecom"], values or {}, now=datetime.now(UTC))
            wecom.configure(f"{url}/wecom/callback")
            await wecom.verify()


async def test_a_stop_does_not_wait_for_all_that_was_delivered(crm: Crm, urls: DatabaseUrls, tmp_path: Path) -> None:
    """What a process has not read when it stops is read by the next one."""
    shop, program = crm.shop, crm.program
    await program.says(XU, "怎么申请退款？")
    await crm.heard("申请售后")
    assert shop.app.workers is not None
    async with shop.work() as tx:
        await tx.rows("select id from conversation for update")  # nothing can be read until this transaction ends
        for _ in range(5):
            await program.says(XU, "可以开发票吗？")
        began = time.monotonic()
        await shop.app.workers.delivery_processor.close(within=0.2)
        assert time.monotonic() - began < 20
    assert await shop.rows("select count(*) from delivery where state = 'pending'") == [(5,)]
    app = App.build(shop.app.settings, urls)
    app.start_workers()
    async with app:
        await eventually(lambda: shop.rows("select 1 where not exists (select from delivery where state = 'pending')"))
        await crm.heard("发票")

"""A process ends while a gateway has our words in its hands: nothing is said twice, and what is unknown is told."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.channels.test_sockets import ROOT, settings_for
from tests.integrations.wechaty import gateways
from tests.integrations.wechaty.gateways import BOT, Gateway

from zhiban import bootstrap
from zhiban.channels.service import connect
from zhiban.container import App, ensure_default
from zhiban.conversations import replies
from zhiban.conversations.sending import UNCONFIRMED
from zhiban.events import Actor
from zhiban.kit.clock import SystemClock
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.postgres.provisioning import DatabaseUrls

LI = "wxid_li"
GAP = "exists (select from event where kind = 'gateway_gap_noted')"
End = Literal["in order", "killed"]


@dataclass
class WeChatDesk:
    """A database with one gateway, agents who write, and one process at a time that works."""

    app: App  # which works on nothing
    urls: DatabaseUrls
    folder: Path
    gateway: Gateway
    workspace_id: int = 0
    agent_id: int = 0
    end: Callable[[], Awaitable[None]] = field(default=lambda: asyncio.sleep(0))  # of the process that works

    async def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        async with self.app.database.transaction(self.workspace_id) as tx:
            return await tx.rows(sql, **values)

    async def eventually(self, sql: str, *, within: float = 30) -> Any:
        """The first value of this query, once it is true."""
        async with asyncio.timeout(within):
            while not (rows := await self.rows(sql)) or not rows[0][0]:  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.05)
        return rows[0][0]

    async def works(self, how: End) -> None:
        """A process begins that can end in this way."""
        if how == "killed":
            arguments = ("-m", "tests.channels.serving_process", self.urls.app, self.urls.owner, str(self.folder))
            child = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
            )
            assert child.stdout is not None
            await asyncio.wait_for(child.stdout.readline(), 60)

            async def kill() -> None:
                with suppress(ProcessLookupError):
                    child.send_signal(signal.SIGKILL)
                await child.wait()

            self.end = kill
            return
        app = App.build(settings_for(self.folder), self.urls)
        app.start_workers()
        await app.open()

        async def close() -> None:
            assert app.workers is not None
            await app.workers.conversation_worker.close(within=0.1)
            await app.close()

        self.end = close

    async def replies(self, text: str, key: str) -> int:
        ((conversation_id, inbox_id),) = await self.rows("select id, inbox_id from conversation")
        inbox = await self.app.connections.inbox(self.workspace_id, inbox_id)
        now = SystemClock().now()
        how: dict[str, Any] = {"limits": inbox.channel.limits, "now": now, "client_key": key}
        async with self.app.database.transaction(self.workspace_id) as tx:
            (id_,) = await replies.reply(tx, conversation_id, text=text, by=self.agent_id, **how)
        return id_

    async def said(self) -> list[str]:
        return [one["text"] for one in await self.gateway.sent()]

    async def hears(self, text: str) -> None:
        """The contact has these words."""
        async with asyncio.timeout(30):
            while text not in await self.said():  # noqa: ASYNC110 - the gateway is another process
                await asyncio.sleep(0.05)


@asynccontextmanager
async def wechat_desk(urls: DatabaseUrls, folder: Path) -> AsyncIterator[WeChatDesk]:
    gateway = gateways.fresh()
    async with App.build(settings_for(folder), urls) as app, AsyncExitStack() as ends:
        desk = WeChatDesk(app, urls, folder, gateway, await ensure_default(app))
        async with app.database.transaction(desk.workspace_id) as tx:
            now = SystemClock().now()
            await connect(tx, app.vault, bootstrap.CHANNELS["wechaty"], gateway.config(), now=now)
            desk.agent_id = await add_agent(tx, email="lin@example.com", name="林", role=Role.OWNER, password_hash=None)
        ends.push_async_callback(lambda: desk.end())
        yield desk


@pytest.mark.process
@pytest.mark.parametrize("how", ["in order", "killed"])
async def test_what_a_process_left_in_the_hands_of_a_gateway_is_not_said_twice(
    urls: DatabaseUrls, tmp_path: Path, how: End
) -> None:
    async with wechat_desk(urls, tmp_path) as desk:
        await desk.works(how)
        await desk.gateway.play("contact", id=LI, name="李华")
        await desk.eventually(f"select state = 'logged_out' or {GAP} from gateway_state")
        await desk.gateway.play("login")
        await desk.eventually("select state = 'online' from gateway_state")
        await desk.gateway.says(LI, "转人工", to=BOT)
        await desk.eventually("select count(*) > 0 from message where direction = 'in' and state = 'handled'")
        await desk.eventually("select count(*) = 0 from message where state = 'queued'")
        await desk.gateway.play("fault", next=["held"])
        first = await desk.replies("明天给您寄", "k1")
        await desk.replies("别着急", "k2")
        await desk.hears("明天给您寄")
        assert await desk.rows(
            "select tried_at is not null from message where client_key in ('k1', 'k2') order by id"
        ) == [
            (True,),
            (False,),
        ]
        await desk.end()

        await desk.works("in order")
        await desk.hears("别着急")
        await desk.eventually("select count(*) = 0 from message where state = 'queued'")
        assert [text for text in await desk.said() if text in ("明天给您寄", "别着急")] == ["明天给您寄", "别着急"]
        stored = "select state, failure, tried_at from message where client_key in ('k1', 'k2') order by id"
        assert await desk.rows(stored) == [("sent", UNCONFIRMED, None), ("sent", None, None)]
        facts = "select data ->> 'confirmed' from event where kind = 'message_sent' order by id desc limit 2"
        assert [confirmed for (confirmed,) in await desk.rows(facts)] == ["true", "false"]

        # Whether it is to be said again is for people to say.
        inbox = await desk.app.connections.inbox(desk.workspace_id, (await desk.rows("select id from inbox"))[0][0])
        async with desk.app.database.transaction(desk.workspace_id) as tx:
            limits, by = inbox.channel.limits, Actor("agent", desk.agent_id)
            await replies.send_again(tx, first, limits=limits, by=by, now=SystemClock().now())
        await desk.eventually("select failure is null and state = 'sent' from message where client_key = 'k1'")
        assert (await desk.said()).count("明天给您寄") == 2


async def test_what_certainly_did_not_leave_is_sent_when_it_can_be(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with wechat_desk(urls, tmp_path) as desk:
        await desk.works("in order")
        await desk.eventually("select true from gateway_state")
        await desk.gateway.play("login")
        await desk.eventually("select state = 'online' from gateway_state")
        await desk.gateway.says(LI, "在吗", to=BOT)
        await desk.eventually("select count(*) > 0 from message where direction = 'in' and state = 'handled'")
        await desk.eventually("select count(*) = 0 from message where state = 'queued'")
        await desk.gateway.play("fault", next=["busy"])
        await desk.replies("在的", "k1")
        await desk.hears("在的")
        await desk.eventually("select state = 'sent' from message where client_key = 'k1'")
        assert await desk.rows("select attempts, failure, tried_at from message where client_key = 'k1'") == [
            (2, None, None)
        ]
        assert (await desk.said()).count("在的") == 1

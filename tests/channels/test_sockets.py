"""A OneBot program at our address: one account, in order, once, over interruptions of everything."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from tests.workers.working_process import KEY
from zhiban import bootstrap
from zhiban.channels import gateways, socket_endpoint, sockets
from zhiban.channels.connections import OpenInbox
from zhiban.channels.service import connect
from zhiban.channels.sockets import LiveSocket
from zhiban.channels.withdrawing import disconnect
from zhiban.container import App, ensure_default
from zhiban.kit.background_tasks import cancelled
from zhiban.kit.clock import SystemClock
from zhiban.kit.settings import Settings, load
from zhiban.main import application
from zhiban.ports import Kind, Outgoing, SocketClient, TryLater
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.onebot import BOT, BOT_NAME, TOKEN, OneBotProgram
from zhiban.testing.serving import served

ROOT = Path(__file__).resolve().parents[2]
GROUP, LI, WANG = 700100, 20002, 20003
ROOM = f"group:{GROUP}"


def settings_for(folder: Path) -> Settings:
    return load(env_file=None, zhiban_data=folder, zhiban_secret_key=KEY, notification_enabled=False)


@dataclass
class Desk:
    """An installation with one OneBot connection, and the program that speaks for the account."""

    app: App
    program: OneBotProgram
    url: str
    workspace_id: int
    connection_id: int
    folder: Path
    urls: DatabaseUrls
    running: AsyncExitStack

    async def restart(self) -> None:
        """The process ends, and another one begins with what is in the database; the program connects again."""
        await self.program.disconnect()
        await self.running.aclose()
        self.app = App.build(settings_for(self.folder), self.urls)
        self.app.start_workers()
        url = await self.running.enter_async_context(served(application(self.app)))
        self.url = f"{url}/streams/{self.url.rpartition('/')[2]}"
        await self.program.connect(self.url)

    async def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        async with self.app.database.transaction(self.workspace_id) as tx:
            return await tx.rows(sql, **values)

    async def eventually(self, sql: str, *wanted: Any, within: float = 30) -> Any:
        """Wait until the first value of the query is one of these, or anything that is true; returns it."""
        found: Any = None
        async with asyncio.timeout(within):
            while True:
                with suppress(psycopg.OperationalError):
                    rows = await self.rows(sql)
                    found = rows[0][0] if rows else None
                if (found in wanted) if wanted else found:
                    return found
                await asyncio.sleep(0.02)

    async def gaps(self) -> list[gateways.ListeningGap]:
        async with self.app.database.transaction(self.workspace_id) as tx:
            return await gateways.gaps(tx, self.connection_id, now=SystemClock().now())

    async def becomes(self, state: str) -> gateways.Gateway:
        await self.eventually(f"select state = '{state}' from gateway_state")
        return await self.state()

    async def state(self) -> gateways.Gateway:
        async with self.app.database.transaction(self.workspace_id) as tx:
            found = await gateways.gateway(tx, self.connection_id)
        assert found is not None
        return found

    async def texts(self) -> list[str]:
        return [text for (text,) in await self.rows("select text from message where direction = 'in' order by id")]

    async def inbox(self, app: App | None = None) -> OpenInbox:
        (row,) = await self.rows("select id from inbox")
        return await (app or self.app).connections.inbox(self.workspace_id, row[0])


@asynccontextmanager
async def installed(urls: DatabaseUrls, folder: Path, **values: Any) -> AsyncIterator[Desk]:
    app = App.build(settings_for(folder), urls)
    app.start_workers()
    async with OneBotProgram() as program, AsyncExitStack() as running:
        url = await running.enter_async_context(served(application(app)))
        program.group(GROUP, "青禾用户群", {LI: "李华", WANG: "小王"})
        program.friends[LI] = "李华"
        workspace_id = await ensure_default(app)
        async with app.database.transaction(workspace_id) as tx:
            given = {"source": "qq-1", "token": TOKEN, **values}
            done = await connect(tx, app.vault, bootstrap.CHANNELS["onebot"], given, now=SystemClock().now())
            public_id = await tx.value("select public_id from connection where id = %(id)s", id=done.id)
        address = f"{url}/streams/{public_id}"
        yield Desk(app, program, address, workspace_id, done.id, folder, urls, running)
        await program.close()


@pytest.fixture
async def desk(urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Desk]:
    async with installed(urls, tmp_path) as found:
        yield found


async def refused(program: OneBotProgram, url: str, **values: Any) -> tuple[int, str]:
    """The answer to a program that is not let in."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await program.connect(url, **values)
    return caught.value.status, caught.value.message


# ---------------------------------------------------------------------------------------------------------- connecting


async def test_only_who_knows_the_token_is_let_in(desk: Desk) -> None:
    stranger = OneBotProgram(token="a-token-that-is-wrong-0123")
    async with stranger:
        assert (await refused(stranger, desk.url))[0] == 403
        assert (await refused(stranger, desk.url, headers={"Authorization": ""}))[0] == 403
        assert (await refused(stranger, desk.url, headers={"Authorization": "Bearer "}))[0] == 403
        assert (await refused(stranger, desk.url[:-3] + "xyz"))[0] == 404
        assert (await refused(stranger, desk.url.replace("/streams/", "/hooks/")))[0] in (403, 400)
    assert (await refused(desk.program, desk.url, headers={"X-Self-ID": ""}))[0] == 400
    async with aiohttp.ClientSession() as client, client.get(desk.url) as answer:
        assert answer.status == 404  # there is nothing to be seen without a WebSocket
    assert await desk.rows("select 1 from gateway_state") == []


async def test_from_connecting_to_the_answer(desk: Desk) -> None:
    await desk.program.connect(desk.url)
    online = await desk.becomes("online")
    assert (online.account, online.account_name) == (str(BOT), BOT_NAME)
    assert await desk.gaps() == []  # there was nothing to miss
    assert await desk.eventually("select verified_at is not null from connection")
    assert await desk.eventually("select subject from conversation where kind = 'group'") == "青禾用户群"
    await desk.program.says(LI, "大家好", group=GROUP)
    await desk.eventually("select count(*) from participant where left_at is null", 2)
    await desk.program.says(LI, "转人工")
    await desk.eventually("select exists (select from message where direction = 'out' and state = 'sent')")
    assert [(one.user, one.group) for one in desk.program.sent] == [(LI, None)]
    assert await desk.texts() == ["大家好", "转人工"]
    assert await desk.eventually("select message_at is not null from gateway_state")
    results = [one async for one in (await desk.inbox()).connection.vendor.checks()]
    assert [(one.level, one.values["program"]) for one in results] == [("ok", "NapCat.Onebot 4.8.0")]
    # QQ throws the account out; a beat of the program says so, and later that it is back.
    beat = {"post_type": "meta_event", "meta_event_type": "heartbeat", "interval": 5000}
    await desk.program.event(**beat, status={"online": False, "good": True})
    await desk.eventually("select broken from connection", gateways.LOGGED_OUT)
    await desk.program.event(**beat, status={"online": True, "good": True})
    await desk.becomes("online")


async def test_another_account_and_a_second_program_are_refused_with_a_reason(desk: Desk) -> None:
    await desk.program.connect(desk.url)
    await desk.becomes("online")
    async with OneBotProgram(self_id=10001001) as other, OneBotProgram() as twin:
        assert (await refused(other, desk.url))[0] == 409
        state = await desk.state()
        assert (state.refused_account, state.refused_why) == ("10001001", socket_endpoint.ANOTHER_ACCOUNT)
        assert state.account == str(BOT)
        assert (await refused(twin, desk.url))[0] == 409
        assert (await desk.state()).refused_why == socket_endpoint.TAKEN
        # When the first is gone, another account may take its place.
        await desk.program.disconnect()
        await desk.eventually("select leased_by is null from gateway_state")
        await other.connect(desk.url)
        await desk.eventually("select account from gateway_state", "10001001")


@pytest.mark.parametrize("at_once", [False, True])
async def test_an_account_is_heard_over_one_of_two_connections(desk: Desk, at_once: bool) -> None:
    async with desk.app.database.transaction(desk.workspace_id) as tx:
        given = {"source": "qq-2", "token": TOKEN}
        done = await connect(tx, desk.app.vault, bootstrap.CHANNELS["onebot"], given, now=SystemClock().now())
        public_id = await tx.value("select public_id from connection where id = %(id)s", id=done.id)
    second = f"{desk.url.rpartition('/')[0]}/{public_id}"
    online = "select count(*) from gateway_state where state = 'online'"
    async with OneBotProgram() as twin:
        if at_once:
            await asyncio.gather(desk.program.connect(desk.url), twin.connect(second))
        else:
            await desk.program.connect(desk.url)
            await desk.eventually(online, 1)
            assert (await refused(twin, second))[0] == 409
        assert await desk.eventually("select broken from connection where broken is not null") == gateways.HEARD_TWICE
        await desk.eventually(online, 1)
        await desk.eventually("select count(*) from gateway_state where leased_by is not null", 1)
        # The account moves: it is heard there.
        await desk.program.disconnect()
        await twin.disconnect()
        await desk.eventually("select not exists (select from gateway_state where leased_by is not null)")
        await twin.connect(second)
        await desk.eventually(f"select state = 'online' from gateway_state where connection_id = {done.id}")
        await desk.eventually(f"select broken is null from connection where id = {done.id}")


async def test_of_two_accounts_that_knock_at_once_one_is_let_in(desk: Desk) -> None:
    """As after a restart, when both come back in the same moment."""
    async with OneBotProgram(self_id=10001001) as other:
        done = await asyncio.gather(desk.program.connect(desk.url), other.connect(desk.url), return_exceptions=True)
        refusals = [one for one in done if one is not None]
        assert [getattr(one, "status", one) for one in refusals] == [409]
        await desk.becomes("online")
        first = desk.program if done[0] is None else other
        assert (await desk.state()).account == str(first.self_id)


async def test_of_sockets_for_calls_alone_the_newest_counts(desk: Desk) -> None:
    await desk.program.connect(desk.url, role="Event")
    await desk.becomes("online")
    programs = [OneBotProgram(groups=desk.program.groups, members=desk.program.members) for _ in range(3)]
    for one in programs:
        await one.connect(desk.url, role="API")
    await programs[0].until(lambda: not programs[0].connected and not programs[1].connected)
    await (await desk.inbox()).channel.send(Outgoing("k1", ROOM, Kind.TEXT, "在"))
    assert [one.text for one in programs[2].sent] == ["在"]
    assert desk.program.connected
    for one in programs:
        await one.close()


async def test_a_program_that_hangs_makes_way_for_its_successor(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_endpoint, "QUICK_PROBE", 0.1)
    await desk.program.connect(desk.url)
    await desk.becomes("online")
    desk.program.always = "silent"
    await asyncio.sleep(0.15)  # until it is not heard of for a moment
    async with OneBotProgram(groups=desk.program.groups, members=desk.program.members) as successor:
        await successor.connect(desk.url)
        await desk.program.until(lambda: not desk.program.connected)
        await successor.says(LI, "还在吗", group=GROUP)
        await desk.eventually("select text from message", "还在吗")
        assert (await desk.state()).state == "online"


async def test_events_and_calls_over_two_sockets(desk: Desk) -> None:
    await desk.program.connect(desk.url, role="Event")
    await desk.becomes("online")
    with pytest.raises(TryLater):
        await (await desk.inbox()).channel.send(Outgoing("k0", ROOM, Kind.TEXT, "在"))
    await desk.program.connect(desk.url, role="API", headers={"X-Client-Role": "Api"})
    await desk.program.says(LI, "大家好", group=GROUP)
    await desk.eventually("select text from message", "大家好")
    assert (await (await desk.inbox()).channel.send(Outgoing("k1", ROOM, Kind.TEXT, "在"))).startswith(ROOM)
    async with OneBotProgram(self_id=10001001) as other:
        assert (await refused(other, desk.url, role="API"))[0] == 409


async def test_a_new_token_ends_the_socket_and_the_former_one_opens_another(desk: Desk) -> None:
    await desk.program.connect(desk.url)
    await desk.becomes("online")
    async with desk.app.database.transaction(desk.workspace_id) as tx:
        given = {"source": "qq-1", "token": "another-token-for-tests-0123"}
        await connect(tx, desk.app.vault, bootstrap.CHANNELS["onebot"], given, now=SystemClock().now())
    await desk.program.until(lambda: not desk.program.connected)
    assert desk.program.close_code == 1012
    await desk.program.connect(desk.url)  # the former token, for a day
    await desk.becomes("online")
    async with desk.app.database.transaction(desk.workspace_id) as tx:
        await disconnect(tx, desk.app.vault, desk.connection_id, now=SystemClock().now())
    await desk.program.until(lambda: not desk.program.connected)
    assert (await refused(desk.program, desk.url))[0] in (403, 404)


async def test_what_was_told_to_nobody_is_named(desk: Desk) -> None:
    await desk.program.connect(desk.url)
    await desk.becomes("online")
    await desk.program.disconnect()
    await desk.eventually("select leased_by is null from gateway_state")
    assert (await desk.state()).reason == "The program is not connected."
    await desk.program.says(LI, "没人听见", group=GROUP)
    desk.program.groups[GROUP] = "改过的名字"
    await desk.program.connect(desk.url)
    await desk.becomes("online")
    assert len(await desk.gaps()) == 1
    await desk.eventually("select subject from conversation where kind = 'group'", "改过的名字")
    assert await desk.texts() == []


# ------------------------------------------------------------------------------------------------------------- hostile


async def test_frames_of_every_bad_kind_end_nothing_but_themselves(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_endpoint, "EVENT_LIMIT", 50_000)
    await desk.program.connect(desk.url)
    await desk.becomes("online")
    foreign = {"post_type": "message", "message_type": "private", "self_id": 7, "user_id": 8, "message_id": 9}
    frames = [
        "",
        "{",
        "[" * 10_000,
        "null",
        '"x"',
        json.dumps({**foreign, "message": "x"}),
        '{"echo": "nobody", "retcode": 0}',
    ]
    for frame in frames:
        await desk.program.raw(frame)
    await desk.program.raw(b"\xff\xfe\x00")
    await desk.program.event(post_type="message", message_type=["group"], user_id={}, message_id=[], message=7)
    odd = [{"type": 7, "data": 8}, {"type": "text", "data": None}]
    told = {"post_type": "message", "message_type": "group", "group_id": GROUP, "user_id": LI, "message_id": 1}
    await desk.program.event(**told, message=odd)
    await desk.program.says(LI, "字\x00符\ud800", group=GROUP)
    repeated = await desk.program.says(LI, "这一句", group=GROUP, message_id=-9, time=1_700_000_000)
    await desk.program.says(LI, "这一句", group=GROUP, message_id=repeated, time=1_700_000_000)
    await desk.program.says(LI, "别的群里同一个编号", message_id=repeated)
    await desk.eventually("select exists (select from message where text = '别的群里同一个编号')")
    said = [
        text
        for (text,) in await desk.rows("select text from message where direction = 'in' and kind = 'text' order by id")
    ]
    assert [text for text in said if text][-2:] == ["这一句", "别的群里同一个编号"]
    assert await desk.rows("select 1 from delivery where state not in ('done', 'pending')") == []
    # What is too large for any event ends the socket, and so does a flood of nonsense; neither harms the next one.
    await desk.program.says(LI, "长" * 60_000, group=GROUP)
    await desk.program.until(lambda: not desk.program.connected)
    assert desk.program.close_code == 1009
    await desk.program.connect(desk.url)
    for _ in range(socket_endpoint.NONSENSE):
        with suppress(ConnectionError, aiohttp.ClientError):
            await desk.program.raw("nonsense")
    await desk.program.until(lambda: not desk.program.connected)
    assert desk.program.close_code == 1008
    await desk.program.connect(desk.url)
    await desk.program.says(LI, "还好吗", group=GROUP)
    await desk.eventually("select exists (select from message where text = '还好吗')")


async def test_calls_that_are_never_answered() -> None:
    asked: list[str] = []

    async def send(frame: str) -> None:
        asked.append(frame)

    live = LiveSocket(SocketClient("7"), send)
    with pytest.raises(TryLater) as caught:
        await live.call("k", "frame", timeout=0.01)
    assert caught.value.unknown
    live.answered("k", "too late")
    live.answered("nobody", "never asked")
    waiting = [asyncio.create_task(live.call(f"k{n}", "frame", timeout=5)) for n in range(sockets.MOST_CALLS)]
    await asyncio.sleep(0)
    with pytest.raises(TryLater) as caught:
        await live.call("one more", "frame", timeout=5)
    assert not caught.value.unknown
    assert "one more" not in asked
    live.answered("k1", "yes")
    live.answered("k1", "twice")
    assert await waiting[1] == "yes"
    live.closed()
    lost = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, TryLater) and one.unknown for one in lost[2:])
    with pytest.raises(TryLater) as caught:
        await live.call("after", "frame", timeout=5)
    assert not caught.value.unknown


async def test_of_calls_in_a_row_only_those_that_left_may_have_arrived() -> None:
    """What counts as sent, where nobody knows, must have been sent."""
    asked: list[str] = []
    going = asyncio.Event()

    async def send(frame: str) -> None:
        asked.append(frame)
        await going.wait()
        raise TryLater("The program has gone.", unknown=True)

    live = LiveSocket(SocketClient("7"), send)
    waiting = [asyncio.create_task(live.call(f"k{n}", f"frame {n}", timeout=5)) for n in range(3)]
    await asyncio.sleep(0)
    going.set()
    lost = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(one, TryLater) and one.unknown for one in lost] == [True, False, False]
    leaving = LiveSocket(SocketClient("7"), send)
    leaving.end(1012, "service restart")
    with pytest.raises(TryLater) as caught:
        await leaving.call("late", "late", timeout=5)
    assert not caught.value.unknown
    assert asked == ["frame 0"]


# ------------------------------------------------------------------------------------------------ processes and crashes


async def test_another_process_calls_over_our_socket(desk: Desk, urls: DatabaseUrls, tmp_path: Path) -> None:
    await desk.program.connect(desk.url)
    await desk.becomes("online")
    async with App.build(settings_for(tmp_path), urls) as other:
        async with asyncio.timeout(30):
            while not (other.pubsub.peers and desk.app.pubsub.peers):  # noqa: ASYNC110 - it is told in no other way
                await asyncio.sleep(0.05)
        channel = (await desk.inbox(other)).channel
        assert await channel.send(Outgoing("k1", ROOM, Kind.TEXT, "来自另一个进程"))
        desk.program.faults.append("lost")
        with pytest.raises(TryLater) as caught:
            await channel.send(Outgoing("k2", ROOM, Kind.TEXT, "答复丢了"))
        assert caught.value.unknown
        # A process that ends while it waits for the answer leaves nothing behind, over whosever socket.
        for number, app in enumerate((other, desk.app)):
            desk.program.faults.append("held")
            sending = asyncio.create_task(
                (await desk.inbox(app)).channel.send(Outgoing(f"h{number}", ROOM, Kind.TEXT, f"没等到{number}"))
            )
            await desk.program.until(lambda text=f"没等到{number}": desk.program.sent[-1].text == text)
            await cancelled([sending])
        assert await desk.rows("select 1 from gateway_call") == []
        assert [one.text for one in desk.program.sent] == ["来自另一个进程", "答复丢了", "没等到0", "没等到1"]
        await desk.program.disconnect()
        await desk.eventually("select leased_by is null from gateway_state")
        with pytest.raises(TryLater) as caught:
            await channel.send(Outgoing("k3", ROOM, Kind.TEXT, "没人连着"))
        assert not caught.value.unknown


@pytest.mark.process
async def test_a_process_that_is_killed_loses_nothing_that_it_took(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with installed(urls, tmp_path) as desk:
        arguments = ("-m", "tests.channels.serving_process", urls.app, urls.owner, str(tmp_path))
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            other = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
            await desk.program.connect(other + desk.url[desk.url.index("/streams/") :])
            flood = asyncio.create_task(_flood(desk.program))
            await desk.eventually("select count(*) > 20 from delivery", within=30)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            told = await flood
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        # Everything that was stored is read by whoever lives, in order and once; the program connects to them.
        await desk.program.until(lambda: not desk.program.connected)
        await _connect_again(desk.program, desk.url)
        await desk.program.says(LI, "又连上了", group=GROUP)
        await desk.eventually("select exists (select from message where text = '又连上了')", within=30)
        stored = (await desk.rows("select count(*) from delivery where body like '%%洪水%%'"))[0][0]
        texts = [text for text in await desk.texts() if text.startswith("洪水")]
        assert 20 < len(texts) == stored <= told
        assert texts == [f"洪水{number}" for number in range(len(texts))]
        assert await desk.gaps()


async def _connect_again(program: OneBotProgram, url: str) -> None:
    """As programs do: until they are let in, which they are once the other process is known to be dead."""
    async with asyncio.timeout(60):
        while not program.connected:
            try:
                await program.connect(url)
            except aiohttp.WSServerHandshakeError as error:
                assert error.status == 409  # noqa: PT017 - every other refusal would be wrong
                await asyncio.sleep(0.2)


async def _flood(program: OneBotProgram) -> int:
    """Talk until the line is cut, or enough was said; how much was told."""
    for number in range(400):
        try:
            await program.says(LI, f"洪水{number}", group=GROUP)
        except (ConnectionError, aiohttp.ClientError):
            return number + 1
        if number > 100:
            await asyncio.sleep(0.002)
    return 400

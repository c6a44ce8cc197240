"""Listening to a real gateway: in order, once, by one process, over interruptions of everything."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.conftest import Cluster
from tests.integrations.wechaty import gateways
from tests.integrations.wechaty.quoting_gateway import quoting_gateway
from tests.workers.working_process import KEY
from zhiban import bootstrap
from zhiban.channels import gateways as states
from zhiban.channels.service import connect
from zhiban.channels.withdrawing import disconnect
from zhiban.container import App, ensure_default, ensure_workspace
from zhiban.kit.clock import SystemClock
from zhiban.kit.settings import Settings, load
from zhiban.postgres.provisioning import DatabaseUrls

ROOT = Path(__file__).resolve().parents[2]
LI = "wxid_lihua"
ROOM = "r1@chatroom"
GAP = "select exists (select from event where kind = 'gateway_gap_noted')"
TICK = 1.0  # seconds to which moments of facts are written


def settings_for(folder: Path) -> Settings:
    return load(env_file=None, zhiban_data=folder, zhiban_secret_key=KEY, notification_enabled=False)


@dataclass
class Desk:
    """An installation whose first connection is a gateway."""

    app: App
    gateway: Any
    workspace_id: int
    connection_id: int

    async def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        async with self.app.database.transaction(self.workspace_id) as tx:
            return await tx.rows(sql, **values)

    async def eventually(self, sql: str, *wanted: Any, within: float = 30) -> Any:
        """Wait until the first value of the query is one of these, or anything that is true; returns it."""
        found: Any = None
        async with asyncio.timeout(within):
            while True:
                with suppress(psycopg.OperationalError):  # its database may be away
                    rows = await self.rows(sql)
                    found = rows[0][0] if rows else None
                if (found in wanted) if wanted else found:
                    return found
                await asyncio.sleep(0.02)

    async def becomes(self, state: str) -> states.Gateway:
        await self.eventually(f"select state = '{state}' from gateway_state")
        return await self.state()

    async def state(self) -> states.Gateway:
        async with self.app.database.transaction(self.workspace_id) as tx:
            found = await states.gateway(tx, self.connection_id)
        assert found is not None
        return found

    async def texts(self) -> list[str]:
        return [text for (text,) in await self.rows("select text from message where direction = 'in' order by id")]

    async def facts(self, kind: str) -> list[dict[str, Any]]:
        return [
            data for (data,) in await self.rows("select data from event where kind = %(kind)s order by id", kind=kind)
        ]


@asynccontextmanager
async def desk(urls: DatabaseUrls, folder: Path, *, works: bool = True, **values: Any) -> AsyncIterator[Desk]:
    gateway = gateways.fresh()
    app = App.build(settings_for(folder), urls)
    if works:
        app.start_workers()
    async with app:
        workspace_id = await ensure_default(app)
        async with app.database.transaction(workspace_id) as tx:
            done = await connect(
                tx, app.vault, bootstrap.CHANNELS["wechaty"], gateway.config(**values), now=SystemClock().now()
            )
        yield Desk(app, gateway, workspace_id, done.id)


async def test_scanned_logged_in_and_out_again(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with desk(urls, tmp_path) as found:
        await found.eventually("select heard_at is not null from gateway_state")
        await found.gateway.play("scan", qrcode="http://weixin.qq.com/x/abc")
        waiting = await found.becomes("scan")
        assert waiting.qr_code == "http://weixin.qq.com/x/abc"
        assert await found.eventually("select broken from connection") == states.WANTS_SCAN
        await found.gateway.play("room", id=ROOM, topic="青禾会员群", memberIdList=[LI, gateways.BOT, "wxid_spare"])
        await found.gateway.play("login")
        online = await found.becomes("online")
        assert (online.account, online.account_name, online.qr_code) == (gateways.BOT, gateways.BOT_NAME, "")
        assert await found.facts("gateway_gap_noted") == []
        await found.gateway.says(LI, "大家好", room=ROOM)
        await found.eventually("select count(*) from message where direction = 'in'", 1)
        await found.gateway.play("logout")
        assert (await found.becomes("logged_out")).account == ""
        assert await found.eventually("select broken from connection") == states.LOGGED_OUT
        await found.gateway.play("login", id="wxid_spare", name="备用号")
        await found.eventually("select account from gateway_state", "wxid_spare")
        await found.eventually("select broken is null from connection")
        # The group goes on in its conversation; what the new account says itself is not taken in, and the old one's is.
        await found.gateway.says("wxid_spare", "我换号了", room=ROOM)
        await found.gateway.says(LI, "知道了", room=ROOM)
        await found.eventually("select count(*) from message where direction = 'in'", 2)
        assert await found.rows("select count(*) from conversation") == [(1,)]
        assert await found.texts() == ["大家好", "知道了"]
        told = [(one["state"], one["account"], one["previous_account"]) for one in await found.facts("gateway_changed")]
    assert told == [
        ("scan", "", ""),
        ("online", gateways.BOT, ""),
        ("logged_out", "", gateways.BOT),
        ("online", "wxid_spare", ""),
    ]


async def test_a_direct_chat_is_answered_and_ones_own_words_are_not(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with desk(urls, tmp_path) as found:
        await found.gateway.play("login")
        await found.becomes("online")
        await found.gateway.play("contact", id=LI, name="李华")
        await found.gateway.says(gateways.BOT, "我自己在手机上说的", to=LI)
        await found.gateway.says(LI, "在吗", to=gateways.BOT, id="m-1")
        await found.gateway.play("emit", event="message", payload={"messageId": "m-1"})  # told twice
        # What is said during a turn is answered in one with it.
        await found.eventually("select exists (select from message where direction = 'out' and state = 'sent')")
        await found.gateway.says(LI, "转人工", to=gateways.BOT)
        await found.eventually("select count(*) > 1 from message where direction = 'in'")
        await found.eventually("select exists (select from message where direction = 'out' and state = 'sent')")
        assert await found.texts() == ["在吗", "转人工"]
        await found.eventually("select name from contact", "李华")
        assert {one["to"] for one in await found.gateway.sent()} == {LI}
        assert (await found.state()).message_at is not None


async def test_a_group_comes_with_its_name_and_its_members(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with desk(urls, tmp_path) as found:
        play = found.gateway.play
        await play("login")
        await found.becomes("online")
        await play("contact", id=LI, name="李华")
        await play("room", id=ROOM, topic="青禾会员群", memberIdList=[LI, "wxid_wang", gateways.BOT])
        await found.gateway.says(LI, "大家好", room=ROOM)
        await found.eventually("select count(*) from participant where left_at is null", 2)
        await play("leave", room=ROOM, who=["wxid_wang"], by=LI)
        await play("topic", room=ROOM, topic="老会员", by=LI)
        await found.eventually("select exists (select from participant where left_at is not null)")
        await found.eventually("select subject from conversation", "老会员")
        (kind, text, sender), *more = await found.rows(
            "select c.kind, m.text, p.name from message m join conversation c on c.id = m.conversation_id "
            "join contact p on p.id = m.sender_contact_id where m.direction = 'in'"
        )
        assert (kind, text, sender, more) == ("group", "大家好", "李华", [])
        assert await found.gateway.sent() == []


async def test_what_comes_while_the_database_is_away_is_stored_in_order(
    urls: DatabaseUrls, cluster: Cluster, tmp_path: Path
) -> None:
    async with desk(urls, tmp_path) as found:
        await found.gateway.play("login")
        await found.becomes("online")
        name = sql.Identifier(str(conninfo_to_dict(urls.app)["dbname"]))
        cluster.admin.execute(sql.SQL("alter database {} allow_connections false").format(name))
        cluster.admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
            [conninfo_to_dict(urls.app)["dbname"]],
        )
        try:
            await found.gateway.play("flood", n=300, talker=LI, text="n", rate=600)
            await asyncio.sleep(1.0)  # long enough for several attempts to fail
        finally:
            cluster.admin.execute(sql.SQL("alter database {} allow_connections true").format(name))
        await found.eventually("select count(*) from message where direction = 'in'", 300, within=30)
        assert [int(text.split()[1]) for text in await found.texts()] == list(range(300))


async def test_a_cut_in_the_middle_of_a_flood_loses_nothing_but_what_it_says(
    urls: DatabaseUrls, tmp_path: Path
) -> None:
    async with desk(urls, tmp_path) as found:
        await found.gateway.play("login")
        await found.becomes("online")
        flood = asyncio.create_task(found.gateway.play("flood", n=600, talker=LI, text="n", rate=300))
        await asyncio.sleep(0.7)
        await found.gateway.play("drop")
        await flood
        await found.eventually(GAP)
        await found.becomes("online")
        await found.gateway.says(LI, "n 600 end", to=gateways.BOT)
        await found.eventually("select exists (select from message where text = 'n 600 end')")
        numbers = [int(text.split()[1]) for text in await found.texts()]
        said = {int(text.split()[1]): float(text.split()[2]) / 1000 for text in (await found.texts())[:-1]}
        (gap,) = await found.facts("gateway_gap_noted")
    since, until = (datetime.fromisoformat(gap[end]).timestamp() for end in ("since", "until"))
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0
    assert numbers[-1] == 600
    missing = sorted(set(range(600)) - set(numbers))
    if missing:
        assert missing == list(range(missing[0], missing[-1] + 1))  # one cut
        # What was said right before and right behind the cut tells when the rest was.
        assert since <= said[missing[0] - 1] + TICK
        assert said.get(missing[-1] + 1, until) - TICK <= until


async def test_who_takes_over_at_a_gateway_that_counts_is_told_what_nobody_heard(
    urls: DatabaseUrls, tmp_path: Path
) -> None:
    async with quoting_gateway() as gateway:
        gateway.keeps = 100
        for turn in range(3):
            app = App.build(settings_for(tmp_path), urls)
            app.start_workers()
            async with app:
                workspace_id = await ensure_default(app)
                found = Desk(app, gateway, workspace_id, 1)
                if turn == 0:
                    async with app.database.transaction(workspace_id) as tx:
                        now = SystemClock().now()
                        await connect(tx, app.vault, bootstrap.CHANNELS["wechaty"], gateway.config(), now=now)
                    await found.becomes("online")
                await gateway.says(LI, f"第{turn}轮", ROOM)
                await found.eventually("select count(*) from message where direction = 'in'", len(gateway.messages))
                texts = [one["text"] for one in gateway.messages.values()]
                assert await found.texts() == texts
                assert await found.facts("gateway_gap_noted") == []
            await gateway.says(LI, f"第{turn}轮之后", ROOM)


async def test_a_gateway_that_somebody_else_listens_to_is_tried_again(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with desk(urls, tmp_path / "one") as found:
        await found.eventually("select heard_at is not null from gateway_state")
        async with found.app.database.transaction(found.workspace_id) as tx:
            # Another installation: the same gateway by another connection.
            other = await connect(
                tx,
                found.app.vault,
                bootstrap.CHANNELS["wechaty"],
                found.gateway.config(source="wx-2"),
                now=SystemClock().now(),
            )
        await found.eventually(
            f"select reason from gateway_state where connection_id = {other.id}",
            "Another program listens to the gateway.",
        )
        async with found.app.database.transaction(found.workspace_id) as tx:
            await disconnect(tx, found.app.vault, found.connection_id, now=SystemClock().now())
        await found.gateway.play("login")
        await found.eventually(f"select state = 'online' from gateway_state where connection_id = {other.id}")


async def test_two_gateways_of_one_account_are_not_heard_twice(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with desk(urls, tmp_path) as found:
        await found.gateway.play("login")
        await found.becomes("online")
        other = gateways.start()
        try:
            await other.play("login")
            async with found.app.database.transaction(found.workspace_id) as tx:
                second = await connect(
                    tx, found.app.vault, bootstrap.CHANNELS["wechaty"], other.config(source="wx-2"),
                    now=SystemClock().now(),
                )  # fmt: skip
            broken = f"select broken from connection where id = {second.id}"
            assert await found.eventually(broken) == states.HEARD_TWICE
            await other.says(LI, "在吗", to=gateways.BOT)
            await found.gateway.says(LI, "在吗", to=gateways.BOT)
            await found.eventually("select count(*) > 0 from message where direction = 'out' and state = 'sent'")
            assert await found.texts() == ["在吗"]
            # The account moves from the one to the other: it is heard there as soon as an operator says so.
            await found.gateway.play("logout")
            await found.becomes("logged_out")
            async with found.app.database.transaction(found.workspace_id) as tx:
                await tx.run("update gateway_state set retry_at = null where connection_id = %(id)s", id=second.id)
            await found.eventually(f"select state = 'online' from gateway_state where connection_id = {second.id}")
            assert await found.eventually(f"select broken is null from connection where id = {second.id}")
        finally:
            other.end()


async def test_one_account_is_heard_by_one_of_two_organisations(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with desk(urls, tmp_path) as found:
        await found.gateway.play("login")
        await found.becomes("online")
        other = gateways.start()
        try:
            await other.play("login")
            there = await ensure_workspace(found.app.database, "other", "另一家", "zh")
            async with found.app.database.transaction(there) as tx:
                second = await connect(
                    tx, found.app.vault, bootstrap.CHANNELS["wechaty"], other.config(source="wx-2"),
                    now=SystemClock().now(),
                )  # fmt: skip
            theirs = replace(found, workspace_id=there, connection_id=second.id)
            assert await theirs.eventually("select broken from connection") == states.HEARD_TWICE
            await other.says(LI, "在吗", to=gateways.BOT)
            await found.gateway.says(LI, "在吗", to=gateways.BOT)
            await found.eventually("select count(*) > 0 from message where direction = 'out' and state = 'sent'")
            assert (await found.texts(), await theirs.texts()) == (["在吗"], [])
            assert await found.rows("select broken from connection") == [(None,)]
            # Where the one lets it go, the other hears it; the one that comes back then is refused in its turn.
            await found.gateway.play("logout")
            await found.becomes("logged_out")
            async with found.app.database.transaction(there) as tx:
                await tx.run("update gateway_state set retry_at = null where connection_id = %(id)s", id=second.id)
            await theirs.becomes("online")
            await found.gateway.play("login")
            assert await found.eventually("select broken from connection", states.HEARD_TWICE)
            # Who is gone for good holds nothing.
            async with found.app.database.transaction(there) as tx:
                await disconnect(tx, found.app.vault, second.id, now=SystemClock().now())
            async with found.app.database.transaction(found.workspace_id) as tx:
                await tx.run("update gateway_state set retry_at = null")
            await found.becomes("online")
        finally:
            other.end()


async def test_a_refused_token_waits_for_an_operator(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with desk(urls, tmp_path, token="wrong_token") as found:
        refused = await found.becomes("refused")
        assert "wrong_token" not in refused.reason
        broken = await found.eventually("select broken from connection")
        assert "does not accept our token" in broken
        async with found.app.database.transaction(found.workspace_id) as tx:
            await connect(
                tx,
                found.app.vault,
                bootstrap.CHANNELS["wechaty"],
                found.gateway.config(),
                now=SystemClock().now(),
            )
        await found.gateway.play("login")
        await found.becomes("online")


@pytest.mark.process
async def test_another_process_listens_when_the_first_is_killed(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with desk(urls, tmp_path, works=False) as found:
        arguments = ["-m", "tests.workers.working_process", urls.app, urls.owner, str(tmp_path)]
        first = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT)
        try:
            await found.gateway.play("login")
            await found.becomes("online")
            await found.gateway.says(LI, "一", to=gateways.BOT)
            await found.eventually("select count(*) from message where direction = 'in'", 1)
            second = App.build(settings_for(tmp_path), urls)
            second.start_workers()
            async with second:
                owner = await found.eventually("select leased_by from gateway_state")
                assert owner != second.pubsub.process_id
                first.send_signal(signal.SIGKILL)
                await first.wait()
                await found.eventually("select leased_by from gateway_state", second.pubsub.process_id)
                await found.eventually(GAP)
                await found.gateway.says(LI, "二", to=gateways.BOT)
                await found.eventually("select count(*) from message where direction = 'in'", 2)
            assert await found.texts() == ["一", "二"]
            assert await found.rows("select leased_by from gateway_state") == [(None,)]
            assert (await found.gateway.play("state"))["loggedIn"]
        finally:
            if first.returncode is None:
                first.kill()
                await first.wait()

"""What a program tells is stored in its order, and it stays connected, however long the database takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.channels.test_sockets import GROUP, LI, ROOM, Desk, installed
from tests.conftest import Cluster
from zhiban.channels import delivery_store, socket_endpoint
from zhiban.ports import Kind, Outgoing, TryLater
from zhiban.postgres.provisioning import DatabaseUrls


@pytest.fixture
async def desk(urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Desk]:
    async with installed(urls, tmp_path) as found:
        yield found


async def test_what_is_told_while_the_database_is_away_waits_in_order(
    desk: Desk, cluster: Cluster, urls: DatabaseUrls
) -> None:
    await desk.program.connect(desk.url)
    await desk.becomes("online")
    name = conninfo_to_dict(urls.app)["dbname"]
    assert isinstance(name, str)
    database = sql.Identifier(name)
    cluster.admin.execute(sql.SQL("alter database {} allow_connections false").format(database))
    cluster.admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
    for number in range(60):
        await desk.program.says(LI, f"第{number}句", group=GROUP)
    cluster.admin.execute(sql.SQL("alter database {} allow_connections true").format(database))
    await desk.eventually("select count(*) = 60 from message where direction = 'in'", within=30)
    assert await desk.texts() == [f"第{number}句" for number in range(60)]


async def test_who_is_not_read_for_a_while_is_not_let_go(
    desk: Desk, urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the program answers stands behind what waits to be stored: that it is silent says nothing about it."""
    monkeypatch.setattr(socket_endpoint, "READ_AHEAD", 2)
    monkeypatch.setattr(socket_endpoint, "PROBE_EVERY", 0.05)
    monkeypatch.setattr(socket_endpoint, "PROBE_SECONDS", 0.2)
    await desk.program.connect(desk.url)
    await desk.becomes("online")
    channel = (await desk.inbox()).channel
    async with (
        await psycopg.AsyncConnection.connect(urls.owner, autocommit=True) as owner,
        owner.transaction(),
    ):
        await owner.execute("lock table delivery in exclusive mode")
        for number in range(8):
            await desk.program.says(LI, f"第{number}句", group=GROUP)
        async with asyncio.timeout(30):
            while not desk.app.sockets.of((desk.workspace_id, desk.connection_id))[0].stalled:  # noqa: ASYNC110 - it is told in no other way
                await asyncio.sleep(0.005)
        with pytest.raises(TryLater) as caught:
            await channel.send(Outgoing("k1", ROOM, Kind.TEXT, "在"))
        assert not caught.value.unknown  # nobody would hear the answer, so it is not asked
        with pytest.raises(TimeoutError):
            await desk.program.until(lambda: not desk.program.connected, within=0.5)
    await desk.eventually("select count(*) = 8 from message where direction = 'in'")
    assert await desk.texts() == [f"第{number}句" for number in range(8)]
    await channel.send(Outgoing("k1", ROOM, Kind.TEXT, "在"))
    assert [one.text for one in desk.program.sent] == ["在"]


# A hiccup: the first attempt to store one sentence fails, with whatever is stored beside it.
_HICCUP = """
create sequence hiccup;
create function hiccup() returns trigger language plpgsql security definer set search_path = public as $$
begin
  if new.body like '%第2句%' and nextval('hiccup') = 1 then raise exception 'hiccup'; end if;
  return new;
end $$;
create trigger hiccup before insert on delivery for each row execute function hiccup()"""


async def test_what_is_stored_in_parts_keeps_its_order(
    desk: Desk, urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_store, "BATCH", 4)
    await desk.program.connect(desk.url)
    await desk.becomes("online")
    channel = (await desk.inbox()).channel
    async with await psycopg.AsyncConnection.connect(urls.owner, autocommit=True) as owner:
        await owner.execute(_HICCUP)
        async with owner.transaction():
            await owner.execute("lock table delivery in exclusive mode")
            for number in range(8):
                await desk.program.says(LI, f"第{number}句", group=GROUP)
            await channel.send(Outgoing("k1", ROOM, Kind.TEXT, "都听到了"))  # it is answered behind them
    await desk.eventually("select count(*) = 8 from message where direction = 'in'")
    assert await desk.texts() == [f"第{number}句" for number in range(8)]

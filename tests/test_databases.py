"""A database that tests use one after the other: nothing of one is seen by the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import psycopg
import pytest

from tests.conftest import TEMPLATE, WORKSPACE, Cluster, _workspace
from tests.databases import MOST_CONNECTIONS, MOST_FREE, MOST_TESTS, KeptDatabase, KeptDatabases, PooledConnection
from tests.twin import open_inbox
from zhiban.container import ensure_workspace
from zhiban.kit.db import NO_WORKSPACE, Database


@pytest.fixture
async def kept(cluster: Cluster, databases: KeptDatabases) -> AsyncIterator[KeptDatabases]:
    found = KeptDatabases(cluster.fresh, cluster.drop)
    yield found
    await found.close()


@pytest.fixture
async def template(cluster: Cluster) -> str:
    return await cluster.template(f"{TEMPLATE}_workspace", _workspace)


async def next_test(kept: KeptDatabases, template: str, used: KeptDatabase) -> KeptDatabase:
    await kept.give_back(template, used)
    return kept.take(template)


async def rows(database: KeptDatabase, sql: str) -> list[tuple[object, ...]]:
    return database.keeper.execute(sql).fetchall()


async def test_what_a_test_wrote_is_gone_and_what_it_changed_is_as_before(
    cluster: Cluster, kept: KeptDatabases, template: str
) -> None:
    first = kept.take(template)
    before, facts = await rows(first, "select * from workspace"), await rows(first, "select count(*) from event")
    async with Database(cluster.of(first.name).app, work_size=1, page_size=1) as database:
        workspace = await ensure_workspace(database, *WORKSPACE)
        inbox = await open_inbox(database, workspace, public_id="other", name="别处")
    await rows(first, "update workspace set name = '别人' returning 1")
    second = await next_test(kept, template, first)
    assert second is first
    assert await rows(second, "select * from workspace") == before
    assert await rows(second, "select count(*) from inbox where public_id = 'other'") == [(0,)]
    assert await rows(second, "select count(*) from event") == facts
    async with Database(cluster.of(second.name).app, work_size=1, page_size=1) as database:
        again = await open_inbox(database, workspace, public_id="other", name="别处")
    assert again.inbox_id == inbox.inbox_id  # numbers are counted from the same on
    await rows(second, "delete from workspace returning 1")
    third = await next_test(kept, template, second)
    assert third is first
    assert await rows(third, "select * from workspace") == before


@pytest.mark.parametrize(
    "done",
    [
        "create table other (id int)",
        "alter table workspace disable row level security",
        "grant truncate on event to zhiban_app",
        "create index on inbox (name)",
        "analyze workspace",
    ],
)
async def test_whoever_did_more_than_write_rows_was_its_last_user(
    kept: KeptDatabases, template: str, done: str
) -> None:
    first = kept.take(template)
    first.keeper.execute(done)
    assert await next_test(kept, template, first) is not first


async def test_whoever_stays_connected_or_holds_a_lock_was_its_last_user(
    cluster: Cluster, kept: KeptDatabases, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.databases.PATIENCE", 0.05)
    first = kept.take(template)
    async with await psycopg.AsyncConnection.connect(cluster.of(first.name).app, autocommit=True):
        second = await next_test(kept, template, first)
        assert second is not first
    database = Database(cluster.of(second.name).app, work_size=1, page_size=1)
    async with database, database.transaction(NO_WORKSPACE) as tx:
        await tx.run("select pg_advisory_lock(1)")
    assert await next_test(kept, template, second) is not second


async def test_connections_of_pools_stay_and_those_of_dropped_databases_do_not(
    cluster: Cluster, kept: KeptDatabases, template: str
) -> None:
    first = kept.take(template)

    async def process() -> int:
        database = Database(cluster.of(first.name).app, work_size=1, page_size=1)
        async with database, database.transaction(NO_WORKSPACE) as tx:
            return int(await tx.value("select pg_backend_pid()"))

    assert await process() == await process()
    assert len(PooledConnection.of(first.name)) == 3  # one of each pool
    async with Database(cluster.of(first.name).app, work_size=4, page_size=1) as database, AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(database.transaction(NO_WORKSPACE))
    assert len(PooledConnection.of(first.name)) == MOST_CONNECTIONS + 2
    for _ in range(MOST_TESTS):
        last, first = first, await next_test(kept, template, first)
        if first is not last:
            break
    assert first is not last
    assert await process() == await process()
    assert not PooledConnection.of(last.name)
    await asyncio.to_thread(cluster.drop, last.name)  # it is gone already
    assert cluster.admin.execute("select 1 from pg_database where datname = %s", (last.name,)).fetchone() is None


async def test_few_wait_for_a_test(cluster: Cluster, kept: KeptDatabases, template: str) -> None:
    """Some templates are used for two minutes: what is copied from them is not kept for the rest of the run."""
    taken = [kept.take(template) for _ in range(MOST_FREE + 1)]
    assert len({one.name for one in taken}) == MOST_FREE + 1
    for one in taken:
        await kept.give_back(template, one)
    there = {name for (name,) in cluster.admin.execute("select datname from pg_database").fetchall()}
    assert {one.name for one in taken} - there == {taken[0].name}
    assert kept.take(template) is taken[-1]

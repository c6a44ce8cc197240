"""One transaction with its workspace: what is kept, undone and told, and what happens without a database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from tests.conftest import FAST, Cluster

from zhiban.container import ensure_workspace
from zhiban.kit.db import NO_WORKSPACE, Database, DatabaseUnavailable, Pool, Transaction
from zhiban.postgres.provisioning import DatabaseUrls, migrate, provision_bundled
from zhiban.postgres.supervisor import BundledPostgres

ADD = "insert into contact (workspace_id, name) values (%(w)s, %(name)s)"


@dataclass
class Name:
    id: int
    name: str


class Trouble(Exception):
    """Something went wrong in the middle."""


async def _fail(tx: Transaction, workspace: int, sql: str = "") -> None:
    await tx.run(ADD, w=workspace, name="小明")
    tx.publish_after_commit("live", 7)
    if sql:
        await tx.run(sql)
    raise Trouble


@pytest.fixture
def told(db: Database) -> list[tuple[str, int, int]]:
    heard: list[tuple[str, int, int]] = []
    db.publish = lambda topic, workspace, id_: heard.append((topic, workspace, id_))
    return heard


@pytest.mark.parametrize("way", ["transaction", "webhook_transaction", "page_transaction"])
async def test_a_block_commits_at_its_end_and_tells_then(
    db: Database, workspace: int, told: list[tuple[str, int, int]], way: str
) -> None:
    async with getattr(db, way)(workspace) as tx:
        assert tx.workspace_id == workspace
        assert await tx.run(ADD, w=workspace, name="小明") == 1
        tx.publish_after_commit("live", 7)
        tx.publish_after_commit("live", 7)
        tx.publish_after_commit("live", 8)
        async with db.transaction(workspace) as other:
            assert await other.rows("select name from contact") == []
        assert told == []
    assert told == [("live", workspace, 7), ("live", workspace, 8)]
    async with db.transaction(workspace) as tx:
        assert await tx.value("select name from contact") == "小明"


@pytest.mark.parametrize("way", ["transaction", "webhook_transaction", "page_transaction"])
async def test_an_error_undoes_everything_and_tells_nobody(
    db: Database, workspace: int, told: list[tuple[str, int, int]], way: str
) -> None:
    for error, sql in ((Trouble, ""), (psycopg.errors.SyntaxError, "no sql")):
        with pytest.raises(error):
            async with getattr(db, way)(workspace) as tx:
                await _fail(tx, workspace, sql)
    assert told == []
    async with db.transaction(workspace) as tx:
        assert await tx.rows("select name from contact") == []


@pytest.mark.parametrize("way", ["transaction", "webhook_transaction", "page_transaction"])
async def test_a_cancelled_block_leaves_a_clean_connection(db: Database, workspace: int, way: str) -> None:
    async def hang() -> None:
        async with getattr(db, way)(workspace) as tx:
            await tx.run(ADD, w=workspace, name="小明")
            await tx.run("select pg_sleep(30)")

    async def hangs() -> bool:
        async with db.transaction(NO_WORKSPACE) as tx:
            return bool(
                await tx.value(
                    "select 1 from pg_stat_activity "
                    "where datname = current_database() and query = 'select pg_sleep(30)'"
                )
            )

    task = asyncio.create_task(hang())
    while not await hangs():
        assert not task.done()
    task.cancel()
    started = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 20
    for _ in range(6):
        async with getattr(db, way)(workspace) as tx:
            assert await tx.rows("select name from contact") == []


@pytest.mark.parametrize("way", ["transaction", "webhook_transaction", "page_transaction"])
async def test_the_workspace_ends_with_its_transaction(urls: DatabaseUrls, workspace: int, way: str) -> None:
    async with Database(urls.app, work_size=1, webhook_size=1, page_size=1) as database:
        async with getattr(database, way)(workspace) as tx:
            assert await tx.value("select app_workspace()") == workspace
        async with getattr(database, way)(NO_WORKSPACE) as tx:
            assert await tx.value("select app_workspace()") == NO_WORKSPACE
            # In between, the connection belonged to nobody.
            await tx.run("commit")
            assert await tx.value("select nullif(current_setting('app.workspace', true), '')") is None
            await tx.run("begin")


async def test_rows_come_as_tuples_values_and_objects(db: Database, workspace: int) -> None:
    async with db.transaction(workspace) as tx:
        for name in ("小明", "小红"):
            await tx.run(ADD, w=workspace, name=name)
        assert await tx.rows("select name from contact order by id") == [("小明",), ("小红",)]
        assert await tx.row("select name from contact where id = -1") is None
        assert await tx.value("select name from contact where id = -1") is None
        names = await tx.objects(Name, "select id, name from contact order by id")
        assert [name.name for name in names] == ["小明", "小红"]
        assert await tx.object(Name, "select id, name from contact where id = %(id)s", id=names[1].id) == names[1]
        assert await tx.object(Name, "select id, name from contact where id = -1") is None


@pytest.mark.parametrize("way", ["transaction", "page_transaction"])
async def test_two_workspaces_at_the_same_time(db: Database, workspace: int, way: str) -> None:
    other = await ensure_workspace(db, "banshan", "半山茶社", "zh")

    async def write(mine: int, name: str) -> None:
        for _ in range(10):
            async with getattr(db, way)(mine) as tx:
                await tx.run(ADD, w=mine, name=name)
                assert {row[0] for row in await tx.rows("select name from contact")} == {name}

    await asyncio.gather(
        *(write(mine, name) for mine, name in ((workspace, "小明"), (other, "小红")) for _ in range(2))
    )


# ------------------------------------------------------------------------------------------ without a database


async def test_no_free_connection_is_a_sentence(urls: DatabaseUrls) -> None:
    pool = Pool(urls.app, name="small", size=1, timeout=0.2)
    await pool.open()
    async with pool.transaction(NO_WORKSPACE):
        with pytest.raises(DatabaseUnavailable, match="in time"):
            async with pool.transaction(NO_WORKSPACE):
                pass
    async with pool.transaction(NO_WORKSPACE) as tx:
        assert await tx.value("select 1") == 1
    await pool.close()
    with pytest.raises(DatabaseUnavailable):
        async with pool.transaction(NO_WORKSPACE):
            pass


async def test_no_free_session_is_a_sentence(urls: DatabaseUrls) -> None:
    async with Database(urls.app, page_size=1, page_seconds=0.2) as database:
        async with database.page_transaction(NO_WORKSPACE):
            with pytest.raises(DatabaseUnavailable, match="in time"):
                async with database.page_transaction(NO_WORKSPACE):
                    pass
        async with database.page_transaction(NO_WORKSPACE) as session:
            assert await session.value("select 1") == 1


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[tuple[BundledPostgres, DatabaseUrls]]:
    postgres = BundledPostgres(tmp_path / "postgres", settings={**FAST, "shared_buffers": "32MB"})
    server = await postgres.start()
    urls = await provision_bundled(server.superuser)
    await migrate(urls)
    yield postgres, urls
    await postgres.stop()


@pytest.mark.process
async def test_a_database_that_went_away_is_a_sentence_and_comes_back(
    own_server: tuple[BundledPostgres, DatabaseUrls],
) -> None:
    postgres, urls = own_server
    async with Database(urls.app, work_size=2, page_seconds=1) as database:
        ways = (database.transaction, database.webhook_transaction, database.page_transaction)
        for way in ways:
            async with way(NO_WORKSPACE) as tx:
                assert await tx.value("select 1") == 1
        await postgres.stop()
        await postgres.start()
        for way in ways:  # the old connections are dead, and nobody notices
            async with way(NO_WORKSPACE) as tx:
                assert await tx.value("select 1") == 1
        await postgres.stop()
        for way in (database.webhook_transaction, database.page_transaction):
            with pytest.raises(DatabaseUnavailable):
                async with way(NO_WORKSPACE) as tx:
                    await tx.value("select 1")
        await postgres.start()
        deadline = time.monotonic() + 60
        for way in ways:
            while True:
                try:
                    async with way(NO_WORKSPACE) as tx:
                        assert await tx.value("select 1") == 1
                    break
                except (DatabaseUnavailable, psycopg.OperationalError):
                    assert time.monotonic() < deadline


async def test_every_workspace_is_known_to_sweeps(db: Database, workspace: int) -> None:
    other = await ensure_workspace(db, "banshan", "半山茶社", "zh")
    assert await db.workspaces() == sorted([workspace, other])
    assert await ensure_workspace(db, "banshan", "半山茶社", "zh") == other


async def test_the_hot_path_looks_rows_up_by_key_from_the_first_row_on(db: Database, workspace: int) -> None:
    """A plan made on an empty table is kept while the table grows; pages may read whole tables when that is cheaper."""
    asked = "explain (costs off) select name from contact where id = %(id)s"
    for way, by_key in (("transaction", True), ("webhook_transaction", True), ("page_transaction", False)):
        async with getattr(db, way)(workspace) as tx:
            assert (await tx.value("show enable_seqscan") == "off") is by_key, way
            if by_key:
                assert "Index Scan" in str(await tx.rows(asked, id=1))


async def test_a_commit_that_does_not_wait_for_the_disk_is_the_exception(cluster: Cluster) -> None:
    pool = Pool(make_conninfo(cluster.superuser, options="-c synchronous_commit=on"), name="t", size=1, timeout=5)
    await pool.open()
    try:
        for durable in (True, False, True):
            async with pool.transaction(NO_WORKSPACE, durable=durable) as tx:
                assert await tx.value("show synchronous_commit") == ("on" if durable else "off")
    finally:
        await pool.close()

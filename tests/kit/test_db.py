"""One transaction with its workspace: what is kept, undone and told, and what happens without a database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from tests.conftest import FAST

from zhiban.container import ensure_workspace
from zhiban.kit.db import NOBODY, Database, DatabaseUnavailable, Pool, Work
from zhiban.postgres.provisioning import Access, migrate, provision_bundled
from zhiban.postgres.supervisor import BundledPostgres

ADD = "insert into contact (workspace_id, name) values (%(w)s, %(name)s)"


@dataclass
class Name:
    id: int
    name: str


class Trouble(Exception):
    """Something went wrong in the middle."""


async def _fail(work: Work, workspace: int, sql: str = "") -> None:
    await work.run(ADD, w=workspace, name="小明")
    work.touch("live", 7)
    if sql:
        await work.run(sql)
    raise Trouble


@pytest.fixture
def told(db: Database) -> list[tuple[str, int, int]]:
    heard: list[tuple[str, int, int]] = []
    db.announce = lambda topic, workspace, id_: heard.append((topic, workspace, id_))
    return heard


@pytest.mark.parametrize("way", ["work", "door", "session"])
async def test_a_block_commits_at_its_end_and_tells_then(
    db: Database, workspace: int, told: list[tuple[str, int, int]], way: str
) -> None:
    async with getattr(db, way)(workspace) as work:
        assert work.workspace_id == workspace
        assert await work.run(ADD, w=workspace, name="小明") == 1
        work.touch("live", 7)
        work.touch("live", 7)
        work.touch("live", 8)
        async with db.work(workspace) as other:
            assert await other.rows("select name from contact") == []
        assert told == []
    assert told == [("live", workspace, 7), ("live", workspace, 8)]
    async with db.work(workspace) as work:
        assert await work.value("select name from contact") == "小明"


@pytest.mark.parametrize("way", ["work", "door", "session"])
async def test_an_error_undoes_everything_and_tells_nobody(
    db: Database, workspace: int, told: list[tuple[str, int, int]], way: str
) -> None:
    for error, sql in ((Trouble, ""), (psycopg.errors.SyntaxError, "no sql")):
        with pytest.raises(error):
            async with getattr(db, way)(workspace) as work:
                await _fail(work, workspace, sql)
    assert told == []
    async with db.work(workspace) as work:
        assert await work.rows("select name from contact") == []


@pytest.mark.parametrize("way", ["work", "door", "session"])
async def test_a_cancelled_block_leaves_a_clean_connection(db: Database, workspace: int, way: str) -> None:
    async def hang() -> None:
        async with getattr(db, way)(workspace) as work:
            await work.run(ADD, w=workspace, name="小明")
            await work.run("select pg_sleep(30)")

    async def hangs() -> bool:
        async with db.work(NOBODY) as work:
            return bool(await work.value("select 1 from pg_stat_activity where query = 'select pg_sleep(30)'"))

    task = asyncio.create_task(hang())
    while not await hangs():
        assert not task.done()
    task.cancel()
    started = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 5
    for _ in range(6):
        async with getattr(db, way)(workspace) as work:
            assert await work.rows("select name from contact") == []


@pytest.mark.parametrize("way", ["work", "door", "session"])
async def test_the_workspace_ends_with_its_transaction(access: Access, workspace: int, way: str) -> None:
    async with Database(access.app, work_size=1, door_size=1, page_size=1) as database:
        async with getattr(database, way)(workspace) as work:
            assert await work.value("select app_workspace()") == workspace
        async with getattr(database, way)(NOBODY) as work:
            assert await work.value("select app_workspace()") == NOBODY
            # In between, the connection belonged to nobody.
            await work.run("commit")
            assert await work.value("select nullif(current_setting('app.workspace', true), '')") is None
            await work.run("begin")


async def test_rows_come_as_tuples_values_and_objects(db: Database, workspace: int) -> None:
    async with db.work(workspace) as work:
        for name in ("小明", "小红"):
            await work.run(ADD, w=workspace, name=name)
        assert await work.rows("select name from contact order by id") == [("小明",), ("小红",)]
        assert await work.row("select name from contact where id = -1") is None
        assert await work.value("select name from contact where id = -1") is None
        names = await work.objects(Name, "select id, name from contact order by id")
        assert [name.name for name in names] == ["小明", "小红"]
        assert await work.object(Name, "select id, name from contact where id = %(id)s", id=names[1].id) == names[1]
        assert await work.object(Name, "select id, name from contact where id = -1") is None


@pytest.mark.parametrize("way", ["work", "session"])
async def test_two_workspaces_at_the_same_time(db: Database, workspace: int, way: str) -> None:
    other = await ensure_workspace(db, "banshan", "半山茶社", "zh")

    async def write(mine: int, name: str) -> None:
        for _ in range(10):
            async with getattr(db, way)(mine) as work:
                await work.run(ADD, w=mine, name=name)
                assert {row[0] for row in await work.rows("select name from contact")} == {name}

    await asyncio.gather(
        *(write(mine, name) for mine, name in ((workspace, "小明"), (other, "小红")) for _ in range(2))
    )


# ------------------------------------------------------------------------------------------ without a database


async def test_no_free_connection_is_a_sentence(access: Access) -> None:
    pool = Pool(access.app, name="small", size=1, timeout=0.2)
    await pool.open()
    async with pool.work(NOBODY):
        with pytest.raises(DatabaseUnavailable, match="in time"):
            async with pool.work(NOBODY):
                pass
    async with pool.work(NOBODY) as work:
        assert await work.value("select 1") == 1
    await pool.close()
    with pytest.raises(DatabaseUnavailable):
        async with pool.work(NOBODY):
            pass


async def test_no_free_session_is_a_sentence(access: Access) -> None:
    async with Database(access.app, page_size=1, page_seconds=0.2) as database:
        async with database.session(NOBODY):
            with pytest.raises(DatabaseUnavailable, match="in time"):
                async with database.session(NOBODY):
                    pass
        async with database.session(NOBODY) as session:
            assert await session.value("select 1") == 1


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[tuple[BundledPostgres, Access]]:
    postgres = BundledPostgres(tmp_path / "postgres", settings={**FAST, "shared_buffers": "32MB"})
    server = await postgres.start()
    access = await provision_bundled(server.superuser)
    await migrate(access)
    yield postgres, access
    await postgres.stop()


@pytest.mark.process
async def test_a_database_that_went_away_is_a_sentence_and_comes_back(
    own_server: tuple[BundledPostgres, Access],
) -> None:
    postgres, access = own_server
    async with Database(access.app, work_size=2) as database:
        ways = (database.work, database.door, database.session)
        for way in ways:
            async with way(NOBODY) as work:
                assert await work.value("select 1") == 1
        await postgres.stop()
        await postgres.start()
        for way in ways:  # the old connections are dead, and nobody notices
            async with way(NOBODY) as work:
                assert await work.value("select 1") == 1
        await postgres.stop()
        for way in (database.door, database.session):
            with pytest.raises(DatabaseUnavailable):
                async with way(NOBODY) as work:
                    await work.value("select 1")
        await postgres.start()
        deadline = time.monotonic() + 20
        for way in ways:
            while True:
                try:
                    async with way(NOBODY) as work:
                        assert await work.value("select 1") == 1
                    break
                except (DatabaseUnavailable, psycopg.OperationalError):
                    assert time.monotonic() < deadline


async def test_every_workspace_is_known_to_sweeps(db: Database, workspace: int) -> None:
    other = await ensure_workspace(db, "banshan", "半山茶社", "zh")
    assert await db.workspaces() == sorted([workspace, other])
    assert await ensure_workspace(db, "banshan", "半山茶社", "zh") == other

"""A PostgreSQL of the operator's own, reached by DATABASE_URL: an older one (16), over TCP, with ordinary roles."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.cli.program import zhiban
from tests.stories.conftest import running_shop

from zhiban.cli.app import Exit
from zhiban.container import ensure_workspace
from zhiban.kit.db import NO_WORKSPACE, Database
from zhiban.kit.errors import Misconfigured, Unavailable
from zhiban.postgres.backup import backup, restore
from zhiban.postgres.provisioning import (
    check_version,
    clean_url,
    migrate,
    provision_bundled,
    provision_external,
    revision,
)
from zhiban.postgres.supervisor import BundledPostgres

pytestmark = pytest.mark.process

PASSWORD = "opensesame"


@dataclass(frozen=True)
class Theirs:
    """The operator's server, and what its administrator can do."""

    superuser: str
    port: int

    def url(self, user: str, database: str) -> str:
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    async def run(self, *statements: str, database: str = "postgres") -> None:
        async with await psycopg.AsyncConnection.connect(
            self.superuser, dbname=database, autocommit=True
        ) as connection:
            for statement in statements:
                await connection.execute(statement.encode())

    async def make(self, name: str, *, rights: str = "createrole", vector: bool = True) -> str:
        """A database with an owner of its own. Returns its URL."""
        await self.run(
            f"create role {name} login password '{PASSWORD}' {rights}",
            f"create database {name} owner {name} encoding 'UTF8' template template0",
        )
        if vector:
            await self.run("create extension vector", database=name)
        return self.url(name, name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theirs]:
    port = _free_port()
    settings = {"shared_buffers": "32MB", "fsync": "off"}
    postgres = BundledPostgres(tmp_path_factory.mktemp("theirs"), version=16, tcp_port=port, settings=settings)
    server = asyncio.run(postgres.start())
    yield Theirs(server.superuser, port)
    asyncio.run(postgres.stop())


@pytest.fixture
async def bundled(tmp_path: Path) -> AsyncIterator[BundledPostgres]:
    postgres = BundledPostgres(tmp_path / "postgres", settings={"shared_buffers": "32MB", "fsync": "off"})
    await postgres.start()
    yield postgres
    await postgres.stop()


@pytest.mark.parametrize("rights", ["createrole", "nocreaterole"])
async def test_an_ordinary_owner_is_enough_and_walls_stand(theirs: Theirs, rights: str) -> None:
    urls = await provision_external(await theirs.make(f"shop_{rights}", rights=rights))
    before, after = await migrate(urls)
    assert before is None
    assert await revision(urls) == (after, after)
    async with Database(urls.app, work_size=2) as database:
        ours = await ensure_workspace(database, "ours", "青禾商店", "zh")
        others = await ensure_workspace(database, "others", "半山茶社", "zh")
        async with database.transaction(others) as tx:
            await tx.run("insert into contact (workspace_id, name) values (%(w)s, '小明')", w=others)
        for workspace, seen in ((ours, 0), (NO_WORKSPACE, 0), (others, 1)):
            async with database.transaction(workspace) as tx:
                assert await tx.value("select count(*) from contact") == seen
        async with database.transaction(ours) as tx:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await tx.run("insert into contact (workspace_id, name) values (%(w)s, '小红')", w=others)


async def _told_of_facts(tmp_path: Path, url: str) -> dict[str, Any]:
    data = tmp_path / "data"
    data.mkdir(exist_ok=True)
    told = await zhiban("doctor", "--json", data=data, DATABASE_URL=url)
    (found,) = [one for one in told.json["findings"] if one["check"] == "事实日志"]
    return dict(found)


async def test_a_role_that_could_rewrite_facts_is_named(theirs: Theirs, tmp_path: Path) -> None:
    url = await theirs.make("lowly", rights="nocreaterole")
    urls = await provision_external(url)
    await migrate(urls)
    found = await _told_of_facts(tmp_path, url)
    assert found["level"] == "warn"
    assert "createrole" in found["cure"]
    # Granted later it changes nothing for tables that are there; they serve as before.
    await theirs.run("alter role lowly createrole")
    assert await provision_external(url) == urls
    async with Database(urls.app, work_size=2) as database:
        await ensure_workspace(database, "ours", "青禾商店", "zh")
    assert (await _told_of_facts(tmp_path, url))["level"] == "warn"
    # Into an empty database everything comes with the second role, which is the first installation's on this server.
    proper = await theirs.make("proper")
    await theirs.run("grant zhiban_app to proper")
    await migrate(await provision_external(proper))
    assert (await _told_of_facts(tmp_path, proper))["level"] == "ok"


async def test_it_may_be_provisioned_at_every_start_and_by_several_at_once(theirs: Theirs) -> None:
    url = await theirs.make("again")
    found = await asyncio.gather(*(provision_external(url) for _ in range(3)))
    assert len(set(found)) == 1
    await asyncio.gather(*(migrate(urls) for urls in found))


async def test_a_database_of_a_newer_version_is_left_alone(theirs: Theirs) -> None:
    urls = await provision_external(await theirs.make("newer"))
    await migrate(urls)
    async with await psycopg.AsyncConnection.connect(urls.owner) as connection:
        await connection.execute("update alembic_version set version_num = '9999'")
    with pytest.raises(Misconfigured, match="newer version of Zhiban"):
        await migrate(urls)
    assert (await revision(urls))[0] == "9999"


async def test_a_migration_that_cannot_be_run_says_why(theirs: Theirs) -> None:
    urls = await provision_external(await theirs.make("broken"))
    async with await psycopg.AsyncConnection.connect(urls.owner) as connection:
        await connection.execute("create table workspace (id int)")
    with pytest.raises(Unavailable, match=r"The migration failed: .*workspace"):
        await migrate(urls)
    assert (await revision(urls))[0] is None


async def test_a_role_above_row_level_security_is_kept_from_the_work(theirs: Theirs) -> None:
    urls = await provision_external(await theirs.make("above", rights="superuser"))
    await migrate(urls)
    async with Database(urls.app, work_size=2) as database, database.transaction(NO_WORKSPACE) as tx:
        bypasses = await tx.value("select rolsuper or rolbypassrls from pg_roles where rolname = current_user")
    assert bypasses is False


async def test_what_the_administrator_must_do_is_said_in_words(theirs: Theirs) -> None:
    without = await theirs.make("without_vector", vector=False)
    with pytest.raises(Misconfigured, match="create extension vector"):
        await provision_external(without)
    with pytest.raises(Misconfigured, match="postgresql://"):
        clean_url("mysql://somewhere/x")
    with pytest.raises(Unavailable, match="does not answer"):
        await provision_external(without.replace(PASSWORD, "wrong"))
    assert clean_url("postgresql+asyncpg://u:p@h/d?sslmode=require") == "postgresql://u:p@h/d?sslmode=require"


async def test_a_backup_moves_from_the_bundled_server_to_theirs(
    theirs: Theirs, bundled: BundledPostgres, tmp_path: Path
) -> None:
    # Processes that start together all do it.
    here, *others = await asyncio.gather(*(provision_bundled(bundled.dsn()) for _ in range(8)))
    assert others == [here] * 7
    await migrate(here)
    async with Database(here.app, work_size=2) as database:
        workspace = await ensure_workspace(database, "default", "青禾商店", "zh")
        async with database.transaction(workspace) as tx:
            await tx.run("insert into contact (workspace_id, name) values (%(w)s, '小明')", w=workspace)
    archive = tmp_path / "moving.tar.gz"
    await backup(here.owner, archive, version="1", files=tmp_path / "files")

    there = await provision_external(await theirs.make("moved"))
    await restore(
        there.owner,
        archive,
        files=tmp_path / "files",
        key=tmp_path / "key",
        upgrade=lambda wanted: migrate(there, to=wanted),
    )
    async with Database(there.app, work_size=2) as database, database.transaction(workspace) as tx:
        assert await tx.rows("select name from contact") == [("小明",)]


async def test_the_whole_product_runs_on_it(theirs: Theirs, tmp_path: Path) -> None:
    url = await theirs.make("product")
    (tmp_path / "faq.csv").write_text("question,similar_questions,answer\n怎么退款？,如何退款,在订单里申请。\n")
    data = tmp_path / "data"
    assert (await zhiban("migrate", data=data, DATABASE_URL=url)).code == Exit.OK
    done = await zhiban("kb", "import", "faq.csv", data=data, KB_DB_URL=url)
    assert done.code == Exit.OK, done.err
    found = await zhiban("kb", "search", "如何退款", "--json", data=data, DATABASE_URL=url)
    assert found.json["passages"][0]["answer"] == "在订单里申请。"
    assert not (data / "postgres").exists()
    await theirs.run("alter role product nologin")
    refused = await zhiban("kb", "stats", data=data, DATABASE_URL=url)
    assert refused.code == Exit.UNAVAILABLE
    assert PASSWORD not in refused.err


@pytest.mark.parametrize("rights", ["nocreaterole", "superuser"])
async def test_a_contact_is_answered_on_it(theirs: Theirs, tmp_path: Path, rights: str) -> None:
    urls = await provision_external(await theirs.make(f"story_{rights}", rights=rights))
    await migrate(urls)
    async with running_shop(urls, tmp_path) as shop:
        (answer,) = await shop.says("wmLIXIAO", "怎么申请退款？")
        assert "7 天内都可以申请" in str(answer.body)
        await shop.idle()


async def test_a_database_in_another_encoding_is_refused(theirs: Theirs) -> None:
    await theirs.run(
        f"create role latin login password '{PASSWORD}'",
        "create database latin owner latin encoding 'LATIN1' locale 'C' template template0",
    )
    with pytest.raises(Misconfigured, match="UTF8"):
        await provision_external(theirs.url("latin", "latin"))


async def test_old_software_is_refused_or_warned_about(theirs: Theirs, caplog: pytest.LogCaptureFixture) -> None:
    url = await theirs.make("aged")
    for version, trouble in (("0.7.4", True), ("0.8.1", False), ("0.8.3", False)):
        # What an old package would say of itself.
        await theirs.run(f"update pg_extension set extversion = '{version}' where extname = 'vector'", database="aged")
        caplog.clear()
        if trouble:
            with pytest.raises(Misconfigured, match=r"0\.8\.0 or newer"):
                await provision_external(url)
        else:
            await provision_external(url)
        warned = "alter extension vector update" in caplog.text
        assert warned is (version == "0.8.1")
    with pytest.raises(Misconfigured, match="PostgreSQL 15"):
        check_version(140011)

"""A backup brings every row and file back, and a damaged one is refused before anything is touched."""

from __future__ import annotations

import asyncio
import gzip
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from zhiban.kit.errors import Conflict, Misconfigured, Unavailable
from zhiban.postgres import archive as archives
from zhiban.postgres.archive import BackupDamaged, inspect
from zhiban.postgres.backup import backup, restore
from zhiban.postgres.provisioning import DatabaseUrls, migrate, provision_bundled
from zhiban.postgres.supervisor import BundledPostgres

pytestmark = pytest.mark.process


@dataclass
class Desk:
    urls: DatabaseUrls
    folder: Path

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def key(self) -> Path:
        return self.folder / "secret.key"

    async def upgrade(self, revision: str) -> None:
        await migrate(self.urls, to=revision)

    async def rows(self, statement: str, workspace: int = 1, **values: object) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self.urls.owner) as connection:
            await connection.execute("select set_config('app.workspace', %s, true)", (str(workspace),))
            cursor = await connection.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BundledPostgres]:
    postgres = BundledPostgres(
        tmp_path_factory.mktemp("backup") / "postgres", settings={"shared_buffers": "32MB", "fsync": "off"}
    )
    asyncio.run(postgres.start())
    yield postgres
    asyncio.run(postgres.stop())


async def desk(server: BundledPostgres, name: str, folder: Path) -> Desk:
    return Desk(await provision_bundled(server.dsn(), name), folder)


async def busy_desk(server: BundledPostgres, name: str, folder: Path) -> Desk:
    """Two organisations with people, odd characters, a job in the hands of a worker, and two files."""
    found = await desk(server, name, folder)
    await migrate(found.urls)
    for number, company in ((1, "半山茶社"), (2, 'O\'Neil & "Söhne"\t\\N')):
        await found.rows(
            "insert into workspace (slug, name) values (%(slug)s, %(name)s)", number, slug=f"w{number}", name=company
        )
        for contact in range(3):
            await found.rows(
                "insert into contact (workspace_id, name, attributes) values (%(w)s, %(name)s, %(attributes)s::jsonb)",
                number,
                w=number,
                name=f"小明\n{contact}",
                attributes='{"城市": "杭州 \\\\ \\t"}',
            )
        await found.rows(
            "insert into identity (workspace_id, contact_id, kind, account, external_id) "
            "select workspace_id, id, 'wecom', 'ww1', 'wm' || id from contact",
            number,
        )
        await found.rows(
            "insert into stored_file (workspace_id, sha256, size, stored_at) values (%(w)s, 'ab', 3, now())",
            number,
            w=number,
        )
        await found.rows(
            "insert into stored_file_part (workspace_id, sha256, position, content) "
            "values (%(w)s, 'ab', 0, %(content)s), (%(w)s, 'ab', 1, '')",
            number,
            w=number,
            content=bytes(range(256)) * 100 + b"\\N\n\t",
        )
    await found.rows("insert into directory (kind, key, workspace_id) values ('inbox', 'abc', 2)")
    await found.rows(
        "insert into jobs.procrastinate_jobs (queue_name, task_name, args, status) "
        "values ('quick', 'fetch', '{\"workspace_id\": 1}', 'doing')"
    )
    (found.files / "1").mkdir(parents=True)
    (found.files / "1" / "图片.png").write_bytes(bytes(range(256)) * 5000)
    (found.files / "empty").touch()
    found.key.write_text("the key of the old machine\n")
    return found


async def test_everything_comes_back_in_another_place(server: BundledPostgres, tmp_path: Path) -> None:
    old = await busy_desk(server, "round_trip_old", tmp_path / "old")
    archive = tmp_path / "backups" / "zhiban.tar.gz"
    written = await backup(old.urls.owner, archive, version="1.0", files=old.files, key=old.key)
    assert archive.stat().st_mode & 0o077 == 0
    assert written.files == 2
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]
    manifest = inspect(archive)
    assert (manifest.version, manifest.has_key) == ("1.0", True)

    new = await desk(server, "round_trip_new", tmp_path / "new")
    new.folder.mkdir()
    new.key.write_text("a key that was made meanwhile\n")
    read = await restore(new.urls.owner, archive, files=new.files, key=new.key, upgrade=new.upgrade)
    assert (read.rows, read.files) == (written.rows, 2)

    for workspace in (1, 2):
        for table in ("workspace", "contact", "identity", "stored_file", "stored_file_part"):
            statement = f"select t::text from {table} t order by 1"
            assert await new.rows(statement, workspace) == await old.rows(statement, workspace)
            assert await new.rows(statement, workspace)
    assert await new.rows("select * from directory") == await old.rows("select * from directory")
    assert (new.files / "1" / "图片.png").read_bytes() == (old.files / "1" / "图片.png").read_bytes()
    assert (new.files / "empty").exists()
    assert new.key.read_text() == "the key of the old machine,a key that was made meanwhile\n"


async def test_after_a_restore_everything_stands_as_before(server: BundledPostgres, tmp_path: Path) -> None:
    """Ids go on, walls and foreign keys stand, and what a dead worker held is to be done again."""
    old = await busy_desk(server, "stands_old", tmp_path / "old")
    archive = tmp_path / "zhiban.tar.gz"
    await backup(old.urls.owner, archive, version="1.0", files=old.files)
    new = await desk(server, "stands_new", tmp_path / "new")
    await restore(new.urls.owner, archive, files=new.files, key=new.key, upgrade=new.upgrade)
    assert not new.key.exists()

    assert await new.rows("insert into contact (workspace_id, name) values (1, '新') returning id") == [(7,)]
    walls = "select relname, relrowsecurity, relforcerowsecurity from pg_class where relkind = 'r' order by 1"
    keys = "select conname, pg_get_constraintdef(oid) from pg_constraint order by 1, 2"
    triggers = "select tgname, tgenabled from pg_trigger where not tgisinternal order by 1"
    for statement in (walls, keys, triggers):
        assert await new.rows(statement) == await old.rows(statement)
    assert await new.rows("select status, worker_id from jobs.procrastinate_jobs") == [("todo", None)]
    assert await new.rows("select count(*) from contact", workspace=2) == [(3,)]


async def test_a_database_with_rows_is_left_alone(server: BundledPostgres, tmp_path: Path) -> None:
    desk_ = await busy_desk(server, "not_empty", tmp_path / "old")
    archive = tmp_path / "zhiban.tar.gz"
    await backup(desk_.urls.owner, archive, version="1.0", files=desk_.files)
    with pytest.raises(Conflict, match="not empty"):
        await restore(desk_.urls.owner, archive, files=desk_.files, key=desk_.key, upgrade=desk_.upgrade)
    assert await desk_.rows("select count(*) from contact") == [(3,)]
    assert await desk_.rows("select bool_and(relforcerowsecurity) from pg_class where relrowsecurity") == [(True,)]
    with pytest.raises(Conflict, match="exists already"):
        await backup(desk_.urls.owner, archive, version="1.0", files=desk_.files)


async def test_a_backup_cut_off_or_changed_is_refused(server: BundledPostgres, tmp_path: Path) -> None:
    desk_ = await busy_desk(server, "damaged", tmp_path / "old")
    archive = tmp_path / "zhiban.tar.gz"
    await backup(desk_.urls.owner, archive, version="1.0", files=desk_.files)
    whole = archive.read_bytes()

    for damaged in (whole[: len(whole) // 2], whole[:-400], b"not a backup", b""):
        archive.write_bytes(damaged)
        with pytest.raises(BackupDamaged):
            inspect(archive)

    plain = gzip.decompress(whole).replace("半山茶社".encode(), "半山咖啡".encode())
    archive.write_bytes(gzip.compress(plain))
    with pytest.raises(BackupDamaged, match="do not match"):
        inspect(archive)
    with pytest.raises(Misconfigured, match="cannot be read"):
        inspect(tmp_path / "nothing.tar.gz")


def test_an_archive_that_points_outside_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("files/../../evil"))
    with pytest.raises(BackupDamaged, match="no backup of ours has"):
        inspect(archive)


async def test_no_server_and_no_place_are_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot be made"):
        await backup("host=/nowhere", tmp_path / "file" / "x.tar.gz", version="1", files=tmp_path)
    with pytest.raises(Unavailable, match="does not answer"):
        await backup("host=/nowhere", tmp_path / "x.tar.gz", version="1", files=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert archives.FORMAT == 1

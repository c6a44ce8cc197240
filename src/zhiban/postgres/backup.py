"""Backups: every row and every file in one archive that any later version can read back.

Not pg_dump: that needs a role above row-level security, a client as new as the server, and TLS that the bundled one
lacks. Rows are copied as text from one snapshot, by the same role that migrates; structure comes from the migrations.
So a backup of the bundled server restores into your own PostgreSQL, and the other way round.

The archive is a .tar.gz: `manifest.json`, `tables/<schema>.<name>`, `files/…`, perhaps `secret.key`, and at the very
end `complete.json` with the digests, without which it counts as cut off.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, assert_never

import psycopg
from psycopg import sql

from zhiban.kit.errors import Conflict, Misconfigured, Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.postgres.archive import (
    PARTIAL,
    PIECE,
    BackupDamaged,
    EntryKind,
    Manifest,
    Table,
    inspect,
    members,
    signed_in_agent,
)

IN_MEMORY = 8 * 2**20  # bytes of one table, beyond which it waits on disk

_TABLES = """
select n.nspname, c.relname, c.relrowsecurity,
  array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        and a.attgenerated = '' order by a.attnum)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname in ('public', 'jobs')
  and c.relname not in ('alembic_version', 'procrastinate_workers')
  and not exists (select 1 from pg_depend d where d.objid = c.oid and d.deptype = 'e')
order by 1, 2"""

_FOREIGN_KEYS = """
select format('%I.%I', n.nspname, c.relname), quote_ident(k.conname), pg_get_constraintdef(k.oid)
from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
where k.contype = 'f' and n.nspname in ('public', 'jobs')"""

_SEQUENCES = """
select format('%I.%I', n.nspname, c.relname), quote_ident(a.attname),
  pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname)
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('public', 'jobs') and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
  and pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname) is not null"""

# The workers of the old machine are gone; what they were doing is to be done again.
_FORGET_WORKERS = """
update jobs.procrastinate_jobs set worker_id = null, status = case status when 'doing' then 'todo' else status end
where worker_id is not null or status = 'doing'"""

BackupProgress = Callable[[str, int], None]
PostgresConnection = psycopg.AsyncConnection[tuple[Any, ...]]


@frozen_dataclass
class Summary:
    path: Path
    tables: int
    rows: int
    files: int
    size: int


def _silent(what: str, done: int) -> None:
    pass


# ---------------------------------------------------------------------------------------------------------- writing


async def backup(
    dsn: str, target: Path, *, version: str, files: Path, key: Path | None = None, progress: BackupProgress = _silent
) -> Summary:
    """Write everything to `target`, which appears only when complete and is readable by us alone.

    `files` is the folder of attachments, `key` the key file to put in as well.
    Raises Conflict when `target` exists, BackupDamaged when a file has a name that no restore would take.
    """
    if target.exists():
        raise Conflict(f"{target} exists already; a backup never replaces another one.")
    partial = target.with_name(target.name + PARTIAL)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{target.parent} cannot be made: {error.strerror or error}.") from error
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as raw:
            with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=4) as archive:
                writer = _ArchiveWriter(archive, target.parent, progress)
                await _write(writer, dsn, version, files, key)
            raw.flush()
            os.fsync(raw.fileno())
        partial.replace(target)
    except OSError as error:
        raise Unavailable(f"The backup could not be written to {target}: {error.strerror or error}.") from error
    finally:
        partial.unlink(missing_ok=True)
    return Summary(target, writer.tables, sum(writer.rows.values()), writer.files, target.stat().st_size)


async def _write(writer: _ArchiveWriter, dsn: str, version: str, files: Path, key: Path | None) -> None:
    async with await _connect(dsn) as connection:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        await connection.set_read_only(True)
        found = await (await connection.execute("select version_num from public.alembic_version")).fetchone()
        tables = await _tables(connection)
        has_key = key is not None and key.exists()
        created = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = Manifest(version, str(found[0] if found else ""), created, tables, has_key)
        writer.add("manifest.json", json.dumps(asdict(manifest), ensure_ascii=False, indent=1).encode())
        workspaces = await _workspaces(connection)
        for table in tables:
            await writer.copy(connection, table, workspaces if table.walled else (0,))
    await asyncio.to_thread(writer.add_folder, files)
    if has_key and key is not None:
        writer.add("secret.key", key.read_bytes())
    writer.finish()


async def _connect(dsn: str) -> PostgresConnection:
    try:
        return await psycopg.AsyncConnection.connect(dsn, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise Unavailable(f"PostgreSQL does not answer: {str(error).strip().splitlines()[0]}") from error


async def _tables(connection: PostgresConnection) -> tuple[Table, ...]:
    rows = await (await connection.execute(_TABLES)).fetchall()
    return tuple(Table(schema, name, tuple(columns), walled) for schema, name, walled, columns in rows)


async def _workspaces(connection: PostgresConnection) -> tuple[int, ...]:
    """Row-level security binds the owner too, so that workspaces have to be entered one by one."""
    row = await (
        await connection.execute(
            sql.SQL("select last_value from {}").format(
                sql.SQL(await _sequence_of(connection, "public.workspace", "workspace_id"))
            )
        )
    ).fetchone()
    return tuple(range(1, (row[0] if row else 0) + 1))


async def _sequence_of(connection: PostgresConnection, table: str, column: str) -> str:
    row = await (await connection.execute("select pg_get_serial_sequence(%s, %s)", (table, column))).fetchone()
    return str(row[0]) if row else ""


class _ArchiveWriter:
    def __init__(self, archive: tarfile.TarFile, scratch: Path, progress: BackupProgress) -> None:
        self._archive = archive
        self._scratch = scratch
        self._progress = progress
        self._digests: dict[str, str] = {}
        self.rows: dict[str, int] = {}
        self.files = 0

    @property
    def tables(self) -> int:
        return len(self.rows)

    def add(self, name: str, content: bytes) -> None:
        self._add(name, io.BytesIO(content), len(content), hashlib.sha256(content).hexdigest())

    def _add(self, name: str, content: IO[bytes], size: int, digest: str) -> None:
        signed_in_agent(name)  # what a restore would refuse must not be written
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        self._archive.addfile(member, content)
        self._digests[name] = digest

    async def copy(self, connection: PostgresConnection, table: Table, workspaces: tuple[int, ...]) -> None:
        """One table as COPY text, workspace after workspace. tar wants the size first, so it is written aside."""
        statement = sql.SQL("copy (select {} from {}) to stdout").format(table.listed, table.identifier)
        digest, rows = hashlib.sha256(), 0
        with tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(self._scratch)) as aside:
            for workspace in workspaces:
                await connection.execute("select set_config('app.workspace', %s, true)", (str(workspace or ""),))
                async with connection.cursor() as cursor:
                    async with cursor.copy(statement) as copy:
                        async for piece in copy:
                            aside.write(piece)
                            digest.update(piece)
                    rows += cursor.rowcount
            size = aside.tell()
            aside.seek(0)
            self._add(table.member, aside, size, digest.hexdigest())
        self.rows[table.member] = rows
        self._progress(table.name, rows)

    def add_folder(self, folder: Path) -> None:
        """Files after rows: whatever a row names was there when its snapshot was taken."""
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if not path.is_file() or path.is_symlink() or path.name.endswith(PARTIAL):
                continue
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    size = file.tell()
                    file.seek(0)
                    self._add(f"files/{path.relative_to(folder).as_posix()}", file, size, digest)
            except FileNotFoundError:
                continue  # removed meanwhile, with its row
            self.files += 1
            self._progress("files", self.files)

    def finish(self) -> None:
        ending = json.dumps({"rows": self.rows, "sha256": self._digests}).encode()
        self.add("complete.json", ending)


# ---------------------------------------------------------------------------------------------------------- reading


async def restore(
    dsn: str,
    source: Path,
    *,
    files: Path,
    key: Path,
    upgrade: Callable[[str], Awaitable[object]],
    progress: BackupProgress = _silent,
) -> Summary:
    """Load a backup into a database without rows. `upgrade` brings the schema to the revision it is called with.

    The caller upgrades to the newest revision afterwards. Nothing is changed unless everything could be loaded.
    Raises BackupDamaged, Conflict (the database has rows), Misconfigured.
    """
    manifest = await asyncio.to_thread(inspect, source)
    await upgrade(manifest.revision)
    restored_key = ""
    async with await _connect(dsn) as connection:
        loader = _Loader(connection, manifest, progress)
        await loader.prepare()
        for member, content in members(source):
            match member.kind:
                case EntryKind.TABLE:
                    await loader.load(member.name, content)
                case EntryKind.FILE:
                    _place(_inside(files, member.parts), content)
                    loader.files += 1
                    progress("files", loader.files)
                case EntryKind.KEY:
                    restored_key = content.read().decode("ascii", "replace")
                case EntryKind.MANIFEST | EntryKind.ENDING:
                    pass
                case _:
                    assert_never(member.kind)
        await loader.finish()
    if restored_key:
        _place_key(key, restored_key)
    return Summary(source, len(manifest.tables), loader.rows, loader.files, source.stat().st_size)


class _Loader:
    """Loads rows without walls, foreign keys and triggers, and puts them all back before it commits."""

    def __init__(self, connection: PostgresConnection, manifest: Manifest, progress: BackupProgress) -> None:
        self._connection = connection
        self._wanted = {table.member: table for table in manifest.tables}
        self._progress = progress
        self._there: tuple[Table, ...] = ()
        self._keys: list[tuple[str, str, str]] = []
        self.rows = 0
        self.files = 0

    async def prepare(self) -> None:
        self._there = await _tables(self._connection)
        known = {table.member for table in self._there}
        missing = sorted(set(self._wanted) - known)
        if missing:
            raise Misconfigured(f"This version has no place for {', '.join(missing)} of the backup.")
        for table in self._there:
            await self._alter(table, "disable trigger user")
            if table.walled:
                await self._alter(table, "no force row level security")
        found = await (await self._connection.execute("select exists (select 1 from public.workspace)")).fetchone()
        if found and found[0]:
            raise Conflict("The database is not empty. Restore into an empty one: a new ZHIBAN_DATA or a new database.")
        rows = await (await self._connection.execute(_FOREIGN_KEYS)).fetchall()
        self._keys = [(child, name, definition) for child, name, definition in rows]
        for child, name, _ in self._keys:
            await self._run(f"alter table {child} drop constraint {name}")
        for table in self._there:
            await self._connection.execute(sql.SQL("truncate {}").format(table.identifier))

    async def load(self, member: str, content: IO[bytes]) -> None:
        table = self._wanted[member]
        statement = sql.SQL("copy {} ({}) from stdin").format(table.identifier, table.listed)
        async with self._connection.cursor() as cursor:
            async with cursor.copy(statement) as copy:
                while piece := content.read(PIECE):
                    await copy.write(piece)
            self.rows += cursor.rowcount
            self._progress(table.name, cursor.rowcount)

    async def finish(self) -> None:
        await self._run(_FORGET_WORKERS)
        for child, name, definition in self._keys:
            await self._run(f"alter table {child} add constraint {name} {definition}")
        for owner, column, sequence in await (await self._connection.execute(_SEQUENCES)).fetchall():
            await self._run(
                f"select setval('{sequence}', greatest(max({column}), 1), max({column}) is not null) from {owner}"
            )
        for table in self._there:
            await self._alter(table, "enable trigger user")
            if table.walled:
                await self._alter(table, "force row level security")

    async def _alter(self, table: Table, how: str) -> None:
        await self._connection.execute(sql.SQL("alter table {} " + how).format(table.identifier))

    async def _run(self, statement: str) -> None:
        """Statements made of names that PostgreSQL itself has quoted."""
        await self._connection.execute(statement.encode())


def _inside(folder: Path, parts: tuple[str, ...]) -> Path:
    """The path below our folder. Raises BackupDamaged when a link that lies there already leads out of it."""
    root = folder.resolve()
    path = root.joinpath(*parts)
    if path.is_symlink() or not path.parent.resolve().is_relative_to(root):
        raise BackupDamaged(f"{path} would lie behind a link that leads out of {folder}; remove the link first.")
    return path


def _place(path: Path, content: IO[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(path.name + PARTIAL)
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while piece := content.read(PIECE):
            file.write(piece)
    partial.replace(path)


def _place_key(path: Path, key: str) -> None:
    """The restored key comes first; one that this installation has made meanwhile still opens what it sealed."""
    present = path.read_text(encoding="ascii").strip() if path.exists() else ""
    keys = dict.fromkeys(part for text in (key, present) for part in text.strip().split(",") if part)
    _place(path, io.BytesIO((",".join(keys) + "\n").encode()))

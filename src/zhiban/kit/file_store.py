"""Where files lie: in PostgreSQL by default, so that every process on every machine reads the same ones.

A file is known by the SHA-256 of its content within a workspace: the same picture sent a hundred times is kept once.
Stores hold bytes and nothing else; names and types stand in the rows that refer to a file.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol

from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import NotFound, Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass

PIECE = 256 << 10  # bytes read or written at once
IN_MEMORY = 1 << 20  # what arrives waits on disk beyond this

_DIGEST = re.compile(r"[0-9a-f]{64}")


class FileMissing(NotFound):
    """The store does not hold the file."""


class FileTooLarge(Unavailable):
    """More bytes came than the caller allows."""


@frozen_dataclass
class Spool:
    """A file that has arrived whole. `head` is its beginning, up to `kit.file_types.HEAD` bytes."""

    file: IO[bytes]
    sha256: str
    size: int
    head: bytes


def checked(sha256: str) -> str:
    """The digest, if it is one: it becomes part of a path. Raises FileMissing."""
    if not _DIGEST.fullmatch(sha256):
        raise FileMissing("There is no such file.")
    return sha256


class FileStore(Protocol):
    """Every method may raise Unavailable: the store does not answer."""

    async def keep(self, workspace_id: int, spool: Spool) -> None:
        """Store the file, whole or not at all. One that is there already is only marked as new."""
        ...

    def read(self, workspace_id: int, sha256: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to but not including `end`. Raises FileMissing before the first piece."""
        ...

    async def remove(self, workspace_id: int, sha256: str, *, stored_before: datetime) -> None:
        """Forget the file unless it was stored again since. Harmless when it is not there."""
        ...

    def listed(self, workspace_id: int, *, stored_before: datetime) -> AsyncIterator[str]:
        """The digests of the files that were last stored before then."""
        ...


@asynccontextmanager
async def spooled(pieces: AsyncIterable[bytes], *, limit: int, head: int) -> AsyncIterator[Spool]:
    """Take in a file and know its digest before it is stored. Raises FileTooLarge past `limit` bytes."""
    digest, size, beginning = hashlib.sha256(), 0, b""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        async for piece in pieces:
            size += len(piece)
            if size > limit:
                raise FileTooLarge(f"The file is larger than {limit} bytes.")
            beginning += piece[: head - len(beginning)]
            digest.update(piece)
            await asyncio.to_thread(file.write, piece)
        file.seek(0)
        yield Spool(file, digest.hexdigest(), size, beginning)


async def pieces_of(file: IO[bytes], size: int | None = None) -> AsyncIterator[bytes]:
    """The rest of an open file, or its next `size` bytes, read in a thread."""
    left = size
    while left is None or left > 0:
        piece = await asyncio.to_thread(file.read, PIECE if left is None else min(PIECE, left))
        if not piece:
            return
        if left is not None:
            left -= len(piece)
        yield piece


class PostgresFileStore:
    """Files as rows of `stored_file` and `stored_file_part`, behind row-level security like everything else."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def keep(self, workspace_id: int, spool: Spool) -> None:
        async with self._database.page_transaction(workspace_id) as tx:
            new = await tx.value(
                "insert into stored_file (workspace_id, sha256, size, stored_at) "
                "values (%(workspace)s, %(sha256)s, %(size)s, %(now)s) "
                "on conflict (workspace_id, sha256) do update set stored_at = excluded.stored_at "
                "returning xmax = 0",
                workspace=workspace_id,
                sha256=spool.sha256,
                size=spool.size,
                now=self._clock.now(),
            )
            if not new:
                return
            position = 0
            spool.file.seek(0)
            async for piece in pieces_of(spool.file):
                await tx.run(
                    "insert into stored_file_part (workspace_id, sha256, position, content) "
                    "values (%(workspace)s, %(sha256)s, %(position)s, %(content)s)",
                    workspace=workspace_id,
                    sha256=spool.sha256,
                    position=position,
                    content=piece,
                )
                position += 1

    async def read(
        self, workspace_id: int, sha256: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """Each piece in a transaction of its own: a slow reader keeps no connection. The content never changes."""
        size = await self._size(workspace_id, sha256)
        at, stop = start, size if end is None else min(end, size)
        while at < stop:
            position, skip = divmod(at, PIECE)
            async with self._database.page_transaction(workspace_id) as tx:
                piece = await tx.value(
                    "select substring(content from %(skip)s + 1 for %(length)s) from stored_file_part "
                    "where sha256 = %(sha256)s and position = %(position)s",
                    sha256=sha256,
                    position=position,
                    skip=skip,
                    length=min(PIECE - skip, stop - at),
                )
            if not piece:
                raise FileMissing("There is no such file.")
            yield bytes(piece)
            at += len(piece)

    async def _size(self, workspace_id: int, sha256: str) -> int:
        async with self._database.page_transaction(workspace_id) as tx:
            size = await tx.value("select size from stored_file where sha256 = %(sha256)s", sha256=sha256)
        if size is None:
            raise FileMissing("There is no such file.")
        return int(size)

    async def remove(self, workspace_id: int, sha256: str, *, stored_before: datetime) -> None:
        async with self._database.page_transaction(workspace_id) as tx:
            await tx.run(
                "delete from stored_file where sha256 = %(sha256)s and stored_at < %(before)s",
                sha256=sha256,
                before=stored_before,
            )

    async def listed(self, workspace_id: int, *, stored_before: datetime) -> AsyncIterator[str]:
        async with self._database.page_transaction(workspace_id) as tx:
            rows = await tx.rows(
                "select sha256 from stored_file where stored_at < %(before)s order by sha256", before=stored_before
            )
        for (sha256,) in rows:
            yield str(sha256)


class FolderFileStore:
    """Files below a folder that only we may enter. For one machine, or a file system that all machines share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, workspace_id: int, sha256: str) -> Path:
        return self._folder / str(int(workspace_id)) / sha256[:2] / checked(sha256)

    async def keep(self, workspace_id: int, spool: Spool) -> None:
        try:
            await asyncio.to_thread(self._keep, self._path(workspace_id, spool.sha256), spool.file)
        except OSError as error:
            raise Unavailable(f"The file cannot be kept in {self._folder}: {error.strerror or error}.") from error

    def _keep(self, path: Path, file: IO[bytes]) -> None:
        try:
            os.utime(path)
        except FileNotFoundError:
            pass
        else:
            return
        for folder in (self._folder, path.parent.parent, path.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        try:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
                file.seek(0)
                shutil.copyfileobj(file, target, PIECE)
                target.flush()
                os.fsync(target.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    async def read(
        self, workspace_id: int, sha256: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        path = self._path(workspace_id, sha256)
        try:
            file = await asyncio.to_thread(path.open, "rb")
        except FileNotFoundError:
            raise FileMissing("There is no such file.") from None
        except OSError as error:
            raise Unavailable(f"The file cannot be read from {self._folder}: {error.strerror or error}.") from error
        with file:
            file.seek(start)
            async for piece in pieces_of(file, None if end is None else max(0, end - start)):
                yield piece

    async def remove(self, workspace_id: int, sha256: str, *, stored_before: datetime) -> None:
        path = self._path(workspace_id, sha256)
        try:
            if await asyncio.to_thread(_is_older, path, stored_before):
                await asyncio.to_thread(path.unlink, missing_ok=True)
        except OSError as error:
            raise Unavailable(f"The file cannot be removed from {self._folder}: {error.strerror or error}.") from error

    async def listed(self, workspace_id: int, *, stored_before: datetime) -> AsyncIterator[str]:
        folder = self._folder / str(int(workspace_id))
        for path in await asyncio.to_thread(lambda: sorted(folder.glob("*/*"))):
            if not _DIGEST.fullmatch(path.name):
                continue
            if await asyncio.to_thread(_is_older, path, stored_before):
                yield path.name


def _is_older(path: Path, than: datetime) -> bool:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) < than
    except FileNotFoundError:
        return False

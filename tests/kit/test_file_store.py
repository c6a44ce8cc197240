"""One contract for every place where files may lie: PostgreSQL, a folder, an S3-compatible store."""

from __future__ import annotations

import asyncio
import hashlib
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from zhiban.bootstrap import file_store
from zhiban.integrations.s3 import S3FileStore
from zhiban.kit.clock import SystemClock
from zhiban.kit.db import Database
from zhiban.kit.errors import Misconfigured, Unavailable
from zhiban.kit.file_store import (
    PIECE,
    FileMissing,
    FileStore,
    FileTooLarge,
    FolderFileStore,
    PostgresFileStore,
    Spool,
    spooled,
)
from zhiban.kit.settings import load
from zhiban.testing.s3 import S3Simulator
from zhiban.testing.serving import served

FILM = bytes(range(256)) * 4096 + b"the end"  # over several pieces, with an odd rest
LATER = datetime.now(UTC) + timedelta(days=1)
EARLIER = datetime.now(UTC) - timedelta(days=1)


def s3(simulator: S3Simulator, url: str, *, secret: str | None = None) -> S3FileStore:
    return S3FileStore(
        simulator.bucket, "zhiban", endpoint=url, key=simulator.key, secret=SecretStr(secret or simulator.secret)
    )


@pytest.fixture(params=["postgres", "folder", "s3"])
async def store(request: pytest.FixtureRequest, db: Database, tmp_path: Path) -> AsyncIterator[FileStore]:
    match request.param:
        case "postgres":
            yield PostgresFileStore(db, SystemClock())
        case "folder":
            yield FolderFileStore(tmp_path / "files")
        case "s3":
            simulator = S3Simulator()
            async with served(simulator) as url:
                yield s3(simulator, url)


async def arriving(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


def spool(content: bytes, *, limit: int = 1 << 30) -> AbstractAsyncContextManager[Spool]:
    return spooled(arriving(content), limit=limit, head=16)


async def keep(store: FileStore, workspace: int, content: bytes) -> str:
    async with spool(content) as kept:
        await store.keep(workspace, kept)
        return kept.sha256


async def read(store: FileStore, workspace: int, sha256: str, **part: int | None) -> bytes:
    return b"".join([piece async for piece in store.read(workspace, sha256, **part)])  # type: ignore[arg-type]


async def listed(store: FileStore, workspace: int, before: datetime = LATER) -> list[str]:
    return [sha256 async for sha256 in store.listed(workspace, stored_before=before)]


async def test_a_file_comes_back_as_it_was(store: FileStore, workspace: int) -> None:
    sha256 = await keep(store, workspace, FILM)
    assert sha256 == hashlib.sha256(FILM).hexdigest()
    assert await read(store, workspace, sha256) == FILM


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 1), (0, 0), (5, 5), (PIECE - 1, PIECE + 1), (PIECE, 3 * PIECE + 7), (len(FILM) - 3, None), (10, 10**9)],
)
async def test_any_part_can_be_read(store: FileStore, workspace: int, start: int, end: int | None) -> None:
    sha256 = await keep(store, workspace, FILM)
    assert await read(store, workspace, sha256, start=start, end=end) == FILM[start:end]


async def test_the_same_file_is_kept_once(store: FileStore, workspace: int) -> None:
    await asyncio.gather(*(keep(store, workspace, FILM) for _ in range(4)))
    assert await listed(store, workspace) == [hashlib.sha256(FILM).hexdigest()]


async def test_a_file_that_is_not_there_says_so(store: FileStore, workspace: int) -> None:
    for sha256 in ("0" * 64, "../../secret.key"):
        with pytest.raises(FileMissing):
            await read(store, workspace, sha256)
    await store.remove(workspace, "0" * 64, stored_before=LATER)


async def test_a_workspace_does_not_see_the_files_of_another(store: FileStore, workspace: int) -> None:
    sha256 = await keep(store, workspace, FILM)
    with pytest.raises(FileMissing):
        await read(store, workspace + 1, sha256)
    assert await listed(store, workspace + 1) == []


async def test_a_file_is_removed_unless_it_was_stored_again(store: FileStore, workspace: int) -> None:
    sha256 = await keep(store, workspace, b"short")
    assert await listed(store, workspace, EARLIER) == []
    await store.remove(workspace, sha256, stored_before=EARLIER)
    assert await read(store, workspace, sha256) == b"short"
    await store.remove(workspace, sha256, stored_before=LATER)
    with pytest.raises(FileMissing):
        await read(store, workspace, sha256)
    assert await keep(store, workspace, b"short") == sha256
    assert await read(store, workspace, sha256) == b"short"


async def test_too_much_is_refused_before_anything_is_kept() -> None:
    with pytest.raises(FileTooLarge):
        async with spool(b"12345", limit=4):
            raise AssertionError("it was taken")


async def test_a_folder_is_ours_alone_and_holds_no_halves(tmp_path: Path, workspace: int) -> None:
    store = FolderFileStore(tmp_path / "files")
    await keep(store, workspace, FILM)
    paths = list((tmp_path / "files").rglob("*"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()] == [0o600]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()} == {0o700}


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be kept"):
        await keep(FolderFileStore(tmp_path / "files"), 1, b"x")


async def test_a_folder_that_nothing_can_be_removed_from_is_named(tmp_path: Path) -> None:
    sha256 = "a" * 64
    in_the_way = tmp_path / "files" / "1" / "aa"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("no folder")
    with pytest.raises(Unavailable, match="cannot be removed"):
        await FolderFileStore(tmp_path / "files").remove(1, sha256, stored_before=LATER)


@asynccontextmanager
async def simulated(change: Callable[[S3Simulator], None]) -> AsyncIterator[tuple[S3Simulator, str]]:
    simulator = S3Simulator()
    change(simulator)
    async with served(simulator) as url:
        yield simulator, url


async def test_a_wrong_key_is_an_error_without_secrets() -> None:
    async with simulated(lambda _: None) as (simulator, url):
        with pytest.raises(Unavailable) as caught:
            await keep(s3(simulator, url, secret="another"), 1, b"x")
    assert "another" not in str(caught.value)
    assert url not in str(caught.value)


async def test_a_store_that_refuses_is_unavailable() -> None:
    async with simulated(lambda simulator: setattr(simulator, "failing", 403)) as (simulator, url):
        with pytest.raises(Unavailable):
            await keep(s3(simulator, url), 1, b"x")


@pytest.mark.parametrize(
    ("setting", "kind"),
    [
        ("", PostgresFileStore),
        ("postgres", PostgresFileStore),
        ("folder:files", FolderFileStore),
        ("s3://b/p", S3FileStore),
    ],
)
def test_a_setting_chooses_the_place(setting: str, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FILE_STORE", setting), ("FILE_STORE_KEY", "k"), ("FILE_STORE_SECRET", "s")):
        monkeypatch.setenv(name, value)
    assert type(file_store(load(), Database(""), SystemClock())) is kind


@pytest.mark.parametrize("setting", ["folder:", "s3://", "s3:///x", "ftp://x", "/srv/files"])
def test_a_place_that_is_none_is_refused(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILE_STORE", setting)
    with pytest.raises(Misconfigured, match="folder:/path"):
        load()


def test_a_bucket_without_a_key_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match="FILE_STORE_KEY"):
        S3FileStore("files", key="", secret=SecretStr(""))

"""A folder whose PostgreSQL runs on between commands, as beside a running service: starting it takes its time."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cli.program import running, zhiban
from tests.conftest import FAST
from zhiban.postgres.supervisor import BundledPostgres


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A data folder in which one command has run: set up once for all workers, to be copied and not to be used."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    data = shared / "installed" / "data"
    with (shared / "installed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not data.exists():
            data.parent.mkdir()
            done = asyncio.run(zhiban("kb", "stats", data=data))
            assert done.code == 0, done.err
            # The way to its socket is of this place.
            (data / "postgres" / "socket-folder").unlink()
    return data


@pytest.fixture(scope="session")
def demonstrated(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The data folder of a demonstration that was started and stopped once, likewise."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    data = shared / "demonstrated" / "data"

    async def demonstrate() -> None:
        async with running("demo", "--port", "0", data=data) as demo:
            await demo.says("/docs")
            assert await demo.stop() == 0
        (data / "demo" / "postgres" / "socket-folder").unlink(missing_ok=True)

    with (shared / "demonstrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not data.exists():
            data.parent.mkdir()
            asyncio.run(demonstrate())
    return data


@pytest.fixture
async def copied(installed: Path, data: Path) -> Path:
    """The test's own `data`, an installation that stands still."""
    await asyncio.to_thread(shutil.copytree, installed, data, symlinks=True)
    return data


@pytest.fixture
async def kept(copied: Path) -> AsyncIterator[Path]:
    """The test's own `data`, an installation, with its PostgreSQL kept running until the end of the test."""
    data = copied
    postgres = BundledPostgres(data / "postgres", settings=FAST)
    await postgres.start()
    yield data
    await postgres.stop()

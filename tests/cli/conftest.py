"""A folder whose PostgreSQL runs on between commands, as beside a running service: starting it takes its time."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cli.program import zhiban
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


@pytest.fixture
async def kept(installed: Path, data: Path) -> AsyncIterator[Path]:
    """The test's own `data`, an installation, with its PostgreSQL kept running until the end of the test."""
    await asyncio.to_thread(shutil.copytree, installed, data, symlinks=True)
    postgres = BundledPostgres(data / "postgres", settings=FAST)
    await postgres.start()
    yield data
    await postgres.stop()

"""What every test may lean on: a real PostgreSQL, a fresh database each, a clock to set, and no way to the internet."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.browser import chromium, profiles, visit  # noqa: F401 - fixtures
from tests.databases import KeptDatabases, kept_connections
from tests.failures import pytest_terminal_summary  # noqa: F401 - a hook
from tests.knowledge.material import SAMPLE, LetterEmbedder
from zhiban.container import ensure_workspace
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.knowledge import service
from zhiban.ports import Embedder
from zhiban.postgres.provisioning import APP, OWNER, DatabaseUrls, migrate, provision_bundled
from zhiban.postgres.supervisor import BundledPostgres
from zhiban.testing import forge_bodies

# How long a busy machine takes to think of an example says nothing about us. Each run thinks of others, so a third of
# the usual number is enough; HYPOTHESIS_PROFILE=thorough for a change of what a property is about.
_ANY_MACHINE: Any = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("zhiban", max_examples=35, **_ANY_MACHINE)
settings.register_profile("thorough", max_examples=300, **_ANY_MACHINE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "zhiban"))

TEMPLATE = "zhiban_template"
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "400"}
# Statistics shall be a test's own: only databases that are kept live as long as autovacuum waits.
FAST |= {"autovacuum": "off"}
# Whoever drops a database looks at every buffer.
FAST |= {"wal_level": "minimal", "max_wal_senders": "0", "shared_buffers": "128MB"}
if sys.platform in ("linux", "darwin"):  # the kernel copies the files of a template: a fifth of the processor time
    FAST["file_copy_method"] = "clone"
WORKSPACE = ("default", "青禾商店", "zh")
MORNING = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
MEMORY = Path("/dev/shm")
ROOM_IN_MEMORY = 4 << 30
# Some of whose tests compute for half a minute: begun last, they would keep one worker when the others are done.
LONG = {"test_accessibility.py", "test_github.py", "test_kernel_property.py", "test_promises.py", "test_slow_github.py"}
LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


@pytest.hookimpl(tryfirst=True)  # before marks are asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for the browser needs one. Between workers, stories, which mostly wait, are spread among what
    computes, the longest first, none at the end."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    waiting = [item for item in items if "stories" in item.path.parts or item.get_closest_marker("process")]
    waiting.sort(key=lambda item: item.path.name != "test_nothing_lost.py")
    among = set(waiting)
    computing = [item for item in items if item not in among]
    computing.sort(key=lambda item: item.path.name not in LONG)
    every = max(1, int(len(computing) * 0.8 / max(len(waiting), 1)))
    items[:] = []
    while computing or waiting:
        items += waiting[:1] + computing[:every]
        del waiting[:1], computing[:every]


def pytest_collection_finish() -> None:
    """What was collected stays for good: looking through thousands of tests for garbage again and again costs time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _only_loopback() -> Iterator[None]:
    """Refuse every connection that would leave this machine."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def check(address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(LOOPBACK):
            raise AssertionError(f"a test wanted to reach {address!r}")

    def guarded(self: socket.socket, address: Any) -> None:
        check(address)
        connect(self, address)

    def guarded_ex(self: socket.socket, address: Any) -> int:
        check(address)
        return connect_ex(self, address)

    socket.socket.connect, socket.socket.connect_ex = guarded, guarded_ex  # type: ignore[method-assign]
    yield
    socket.socket.connect, socket.socket.connect_ex = connect, connect_ex  # type: ignore[method-assign]


def _problem(method: str, path: str, body: Any) -> str:
    from tests.integrations.github.described import problem

    return problem(method, path, body)


forge_bodies.check = _problem


@pytest.fixture(autouse=True)
def _bodies_fit() -> Iterator[None]:
    """Nothing was sent to a simulated GitHub that GitHub does not describe."""
    yield
    assert forge_bodies.taken() == []


@dataclass(frozen=True)
class Cluster:
    """The test run's server, with a migrated template on it."""

    superuser: str
    urls: DatabaseUrls
    shared: Path  # a folder of all workers of this run
    admin: psycopg.Connection[Any]  # kept open: making a database takes no longer than connecting

    def of(self, name: str) -> DatabaseUrls:
        return DatabaseUrls(
            app=make_conninfo(self.urls.app, dbname=name, user=APP),
            owner=make_conninfo(self.urls.owner, dbname=name, user=OWNER),
        )

    def clone(self, name: str, template: str) -> None:
        self.admin.execute(
            # Copying the files takes a sixth of the time that writing every page into the log takes.
            sql.SQL("create database {} template {} owner {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(template), sql.Identifier(OWNER)
            )
        )

    def fresh(self, template: str) -> tuple[str, psycopg.Connection[Any]]:
        """A new database with what a template holds, and a superuser's connection to it."""
        name = f"t{os.getpid()}_{id(object()) % 10**9}_{int(datetime.now(UTC).timestamp() * 1e6)}"
        self.clone(name, template)
        return name, psycopg.connect(
            make_conninfo(self.superuser, dbname=name), autocommit=True, application_name="tests"
        )

    def drop(self, name: str) -> None:
        self.admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    async def template(self, name: str, fill: Fill) -> str:
        """A template that the worker which wants it first fills. Returns its name."""
        with (self.shared / f"{name}.lock").open("w") as lock:
            await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
            done = self.shared / f"{name}.done"
            if not done.exists():
                self.drop(name)
                self.clone(name, TEMPLATE)
                async with Database(self.of(name).app, work_size=4, page_size=3) as database:
                    said = await fill(database)
                done.write_text(said or "")
        return name

    def said(self, name: str) -> str:
        """What filling a template had to say."""
        return (self.shared / f"{name}.done").read_text()


Fill = Callable[[Database], Awaitable[str | None]]


async def _workspace(database: Database) -> None:
    await ensure_workspace(database, *WORKSPACE)


def _sample(embedder: Embedder | None) -> Fill:
    """The knowledge of the demonstration."""

    async def fill(database: Database) -> None:
        workspace = await ensure_workspace(database, *WORKSPACE)
        await service.import_paths(database, workspace, "default", [SAMPLE], embedder=embedder, now=MORNING)

    return fill


async def _start(folder: Path, shared: Path) -> tuple[BundledPostgres, Cluster]:
    postgres = BundledPostgres(folder, settings=FAST)
    server = await postgres.start()
    urls = await provision_bundled(server.superuser, TEMPLATE)
    await migrate(urls)
    admin = psycopg.connect(server.superuser, autocommit=True)
    return postgres, Cluster(server.superuser, urls, shared, admin)


def _data_folder(shared: Path) -> Path:
    """Where the run's data lies: in memory where there is room, as a database costs hundreds of files (a seventh of
    the processor time of a disk's file system). What a run that was killed left there is removed."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)) or shutil.disk_usage(MEMORY).free < ROOM_IN_MEMORY:
        return shared / "postgres"
    for old in MEMORY.glob("zhiban-tests-*"):
        if time.time() - old.stat().st_mtime > 86_400:
            shutil.rmtree(old, ignore_errors=True)
    return MEMORY / f"zhiban-tests-{os.environ.get('PYTEST_XDIST_TESTRUNUID') or os.getpid()}"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One server for the whole run: the workers of pytest-xdist share it, the last one stops it."""
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    with (shared / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = _data_folder(shared)
        postgres, found = asyncio.run(_start(folder, shared))
    yield found
    found.admin.close()
    with (shared / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        asyncio.run(postgres.stop())
        if not (folder / "cluster" / "postmaster.pid").exists():
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def template(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    """What this test's database is a copy of: with a workspace and the sample base, where it wants them."""
    if "embedded_sample_base" in request.fixturenames:
        return await cluster.template(f"{TEMPLATE}_embedded", _sample(LetterEmbedder()))
    if "sample_base" in request.fixturenames:
        return await cluster.template(f"{TEMPLATE}_sample", _sample(None))
    if "workspace" in request.fixturenames:
        return await cluster.template(f"{TEMPLATE}_workspace", _workspace)
    return TEMPLATE


@pytest.fixture(scope="session")
async def databases(cluster: Cluster) -> AsyncIterator[KeptDatabases]:
    found = KeptDatabases(cluster.fresh, cluster.drop)
    with kept_connections():
        yield found
    await found.close()


@pytest.fixture
async def urls(cluster: Cluster, template: str, databases: KeptDatabases) -> AsyncIterator[DatabaseUrls]:
    """A database for this test alone, with what its template holds."""
    database = databases.take(template)
    yield cluster.of(database.name)
    await databases.give_back(template, database)


@pytest.fixture
async def db(urls: DatabaseUrls) -> AsyncIterator[Database]:
    async with Database(urls.app, work_size=4, page_size=3, kept=0) as database:
        yield database


@pytest.fixture
async def workspace(db: Database) -> int:
    """The id of a workspace."""
    return await ensure_workspace(db, *WORKSPACE)


async def _default_base(db: Database, workspace: int) -> int:
    async with db.transaction(workspace) as tx:
        return await service.base_for(tx)


@pytest.fixture
async def sample_base(db: Database, workspace: int) -> int:
    """The id of a base with the knowledge of the demonstration, without vectors."""
    return await _default_base(db, workspace)


@pytest.fixture
async def embedded_sample_base(db: Database, workspace: int) -> int:
    """The id of a base with the knowledge of the demonstration and vectors of `LetterEmbedder`."""
    return await _default_base(db, workspace)


@pytest.fixture
def clock() -> SetClock:
    """Friday, 20 November 2026, ten in the morning in China."""
    return SetClock(MORNING)

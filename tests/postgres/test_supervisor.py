"""The bundled PostgreSQL under kill -9, with two owners, in long folders and beside strange pids."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

import psutil
import psycopg
import pytest

from zhiban.kit.errors import Misconfigured, Unavailable
from zhiban.kit.memory import memory_limit
from zhiban.postgres.supervisor import BundledPostgres, Server

pytestmark = pytest.mark.process

AS_ROOT = os.geteuid() == 0
QUICK = {"shared_buffers": "16MB"}


def bundled(folder: Path, **options: object) -> BundledPostgres:
    return BundledPostgres(folder, settings=QUICK, **options)  # type: ignore[arg-type]


async def ask(server: Server, sql: str) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(server.superuser, autocommit=True) as connection:
        cursor = await connection.execute(sql.encode())
        return await cursor.fetchall() if cursor.description else []


async def until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    """A data folder whose server, if a test left one, is gone afterwards."""
    place = tmp_path / "postgres"
    yield place
    pidfile = next(tmp_path.rglob("postmaster.pid"), None)
    if pidfile is not None:
        pid = int(pidfile.read_text().split()[0])
        if psutil.pid_exists(pid) and psutil.Process(pid).name() == "postgres":
            os.kill(pid, signal.SIGQUIT)
            await until(lambda: not alive(pid))


def in_another_process(folder: Path, then: str) -> subprocess.Popen[str]:
    """Start the server from a process of its own, which then says its pid and goes on as told."""
    program = f"""
        import asyncio, sys, time
        from pathlib import Path
        from zhiban.postgres.supervisor import BundledPostgres

        async def main():
            postgres = BundledPostgres(Path({str(folder)!r}), settings={QUICK!r})
            server = await postgres.start()
            print(server.pid, flush=True)
            {then}

        asyncio.run(main())
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("version", [18, 16])
async def test_a_restart_keeps_the_rows(folder: Path, version: Literal[18, 16]) -> None:
    postgres = bundled(folder, version=version)
    server = await postgres.start()
    await ask(server, "create table letters (words text)")
    await ask(server, "insert into letters values ('退款多久到账？')")
    assert await postgres.stop()
    assert not alive(server.pid)
    assert (await postgres.status()).state == "stopped"

    server = await postgres.start()
    assert await ask(server, "select words from letters") == [("退款多久到账？",)]
    assert (await ask(server, "show server_version_num"))[0][0].__str__().startswith(str(version))
    status = await postgres.status()
    assert (status.state, status.version, status.pid) == ("running", version, server.pid)
    await postgres.stop()


async def test_the_cluster_speaks_utf8_everywhere_and_has_vectors(folder: Path) -> None:
    postgres = bundled(folder)
    server = await postgres.start()
    assert await ask(server, "show server_encoding") == [("UTF8",)]
    assert await ask(server, "select datlocprovider::text, datlocale from pg_database where datname = 'postgres'") == [
        ("b", "C.UTF-8")
    ]
    await ask(server, "create extension vector")
    assert await ask(server, "show listen_addresses") == [("",)]
    assert folder.stat().st_mode & 0o077 == 0
    assert server.socket_dir.stat().st_mode & 0o077 == 0
    await postgres.stop()


async def test_nothing_is_there_before_the_first_start(folder: Path) -> None:
    postgres = bundled(folder)
    assert (await postgres.status()).state == "absent"
    assert not await postgres.stop()
    with pytest.raises(Unavailable):
        postgres.dsn()


async def test_a_killed_server_comes_back_with_every_acknowledged_row(folder: Path) -> None:
    postgres = bundled(folder)
    server = await postgres.start()
    await ask(server, "create table letters (words text)")
    for round_ in range(3):
        await ask(server, f"insert into letters values ('{round_}')")
        os.kill(server.pid, signal.SIGKILL)
        server = await postgres.start()
        assert await ask(server, "select count(*) from letters") == [(round_ + 1,)]
    assert await postgres.stop()


async def test_the_watch_starts_a_killed_server_again_at_the_same_address(folder: Path) -> None:
    postgres = bundled(folder)
    first = await postgres.start()
    watch = asyncio.create_task(postgres.keep_running(0.05))
    os.kill(first.pid, signal.SIGKILL)

    deadline = time.monotonic() + 60
    while True:
        try:
            assert await ask(first, "select 1") == [(1,)]
            break
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    watch.cancel()
    assert await postgres.stop()


async def test_the_server_outlives_its_killed_owner_and_the_next_one_adopts_it(folder: Path) -> None:
    owner = in_another_process(folder, "time.sleep(600)")
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    assert alive(pid)

    heir = bundled(folder)
    server = await heir.start()
    assert server.pid == pid
    assert await heir.stop()
    assert not alive(pid)


async def test_ctrl_c_in_the_terminal_does_not_reach_the_server(folder: Path) -> None:
    owner = in_another_process(folder, "time.sleep(600)")
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    assert os.getsid(pid) != os.getsid(owner.pid)
    assert os.getpgid(pid) != os.getpgid(owner.pid)
    owner.kill()
    owner.wait()


async def test_the_last_of_two_stops_it_and_the_first_does_not(folder: Path) -> None:
    serve, command = bundled(folder), bundled(folder)
    first = await serve.start()
    second = await command.start()
    assert first.pid == second.pid
    assert not await command.stop()
    assert await ask(first, "select 1") == [(1,)]
    assert await serve.stop()
    assert not alive(first.pid)


async def test_two_processes_that_start_at_once_share_one_server(folder: Path) -> None:
    others = [in_another_process(folder, "sys.stdin.readline(); print(await postgres.stop())") for _ in range(3)]
    pids = set()
    for other in others:
        assert other.stdout is not None
        pids.add(int(await asyncio.to_thread(other.stdout.readline)))
    assert len(pids) == 1
    stopped = [(await asyncio.to_thread(other.communicate, "go\n"))[0].strip() for other in others]
    assert stopped == ["False", "False", "True"]
    assert not alive(pids.pop())


async def test_a_pid_file_left_by_a_container_does_not_stand_in_the_way(folder: Path) -> None:
    """After a restart of a container, the pid in the file belongs to some other program."""
    postgres = bundled(folder)
    server = await postgres.start()
    pidfile = server.pid, (folder / "cluster" / "postmaster.pid").read_text()
    await postgres.stop()

    stranger = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    stale = pidfile[1].replace(str(pidfile[0]), str(stranger.pid), 1)
    (folder / "cluster" / "postmaster.pid").write_text(stale)
    assert (await postgres.status()).state == "stopped"
    server = await postgres.start()
    assert await ask(server, "select 1") == [(1,)]
    assert alive(stranger.pid)
    await postgres.stop()
    stranger.communicate()


async def test_an_unfinished_pid_file_is_forgotten(folder: Path) -> None:
    postgres = bundled(folder)
    await postgres.start()
    await postgres.stop()
    (folder / "cluster" / "postmaster.pid").write_text("")
    server = await postgres.start()
    assert await ask(server, "select 1") == [(1,)]
    await postgres.stop()


async def test_a_long_path_gets_a_short_socket_that_others_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    long = tmp_path / ("很长的文件夹" * 8) / 'and "odd", $names'
    postgres = bundled(long)
    server = await postgres.start()
    assert len(os.fsencode(server.socket_dir)) < 93
    assert not server.socket_dir.is_relative_to(long)
    assert server.socket_dir.stat().st_mode & 0o077 == 0

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    other = bundled(long)
    assert (await other.start()).socket_dir == server.socket_dir
    await other.stop()
    assert await ask(server, "select 1") == [(1,)]
    await postgres.stop()
    server.socket_dir.rmdir()


async def test_odd_names_need_no_quoting(tmp_path: Path, folder: Path) -> None:
    postgres = bundled(tmp_path / 'a "b", $(c)')
    server = await postgres.start()
    assert await ask(server, "select 1") == [(1,)]
    await postgres.stop()
    server.socket_dir.rmdir()


async def test_a_cluster_of_another_version_is_named(folder: Path) -> None:
    old = bundled(folder, version=16)
    await old.start()
    await old.stop()
    with pytest.raises(Misconfigured, match="made by PostgreSQL 16, and this release brings 18"):
        await bundled(folder).start()


async def test_a_start_cut_off_in_the_middle_leaves_nothing_half_made(folder: Path) -> None:
    (folder / "cluster.new").mkdir(parents=True)
    (folder / "cluster.new" / "PG_VERSION").write_text("18\n")
    postgres = bundled(folder)
    assert await ask(await postgres.start(), "select 1") == [(1,)]
    await postgres.stop()


async def test_a_foreign_folder_is_left_alone(folder: Path) -> None:
    (folder / "cluster").mkdir(parents=True)
    (folder / "cluster" / "thesis.txt").write_text("mine")
    with pytest.raises(Misconfigured, match="not empty and not a PostgreSQL cluster"):
        await bundled(folder).start()
    assert (folder / "cluster" / "thesis.txt").read_text() == "mine"


async def test_a_file_instead_of_a_folder_is_said_in_words(folder: Path) -> None:
    folder.write_text("")
    with pytest.raises(Misconfigured, match="is a file, not a folder"):
        await bundled(folder).start()


async def test_a_wrong_setting_is_said_in_words(folder: Path) -> None:
    postgres = BundledPostgres(folder, settings={"shared_buffers": "a lot"})
    with pytest.raises(Unavailable, match=r"did not start.*shared_buffers"):
        await postgres.start()


async def test_an_eighth_of_the_memory_may_be_buffers(folder: Path) -> None:
    postgres = BundledPostgres(folder)
    server = await postgres.start()
    try:
        [(buffers,)] = await ask(server, "select setting::bigint * 8192 from pg_settings where name = 'shared_buffers'")
    finally:
        await postgres.stop()
    assert buffers == min(max(memory_limit() // 8, 2**27), 2**31) // 2**20 * 2**20


async def test_a_tcp_port_asks_for_the_password_and_says_when_it_is_taken(folder: Path, tmp_path: Path) -> None:
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    with pytest.raises(Unavailable, match="port is taken"):
        await bundled(folder, tcp_port=port).start()
    listener.close()

    postgres = bundled(folder, tcp_port=port)
    await postgres.start()
    password = (folder / "password").read_text()
    assert (folder / "password").stat().st_mode & 0o077 == 0
    address = f"host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout=5"
    async with await psycopg.AsyncConnection.connect(address, password=password) as connection:
        await connection.execute("select 1")
    with pytest.raises(psycopg.OperationalError, match="password"):
        await psycopg.AsyncConnection.connect(address, password="guess")
    await postgres.stop()


@pytest.mark.skipif(not AS_ROOT, reason="only root has to step down")
async def test_root_becomes_nobody_where_namespaces_are_forbidden(folder: Path) -> None:
    """pytest's own folder is closed to others, as a home is: first the refusal in words, then a reachable place."""
    with pytest.raises(Misconfigured, match="nobody may not enter"):
        await bundled(folder, root="nobody").start()

    reachable = Path("/var/tmp") / f"zhiban-test-{os.getpid()}"
    postgres = bundled(reachable, root="nobody")
    try:
        server = await postgres.start()
        await ask(server, "create table letters (words text)")
        assert psutil.Process(server.pid).username() == "nobody"
        await postgres.stop()

        again = bundled(reachable)  # now with a namespace: the files follow
        assert await ask(await again.start(), "select count(*) from letters") == [(0,)]
        await again.stop()

        server = await postgres.start()
        assert await ask(server, "select count(*) from letters") == [(0,)]
        await postgres.stop()
    finally:
        subprocess.run(["rm", "-rf", str(reachable)], check=True)


@pytest.mark.skipif(not AS_ROOT, reason="only root can become somebody without a name")
async def test_a_full_disk_and_a_closed_folder_are_said_in_words(tmp_path: Path, folder: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    mount = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(full))
    if await mount.wait():
        pytest.skip("this machine lets nobody mount")
    try:
        with pytest.raises(Unavailable, match=r"disk.*full"):
            await bundled(full / "postgres").start()
    finally:
        await (await asyncio.create_subprocess_exec("umount", "-l", str(full))).wait()


def everybodys_python() -> str | None:
    """A Python of our version that other users may start: ours may live in root's closed home."""
    for candidate in (os.path.realpath(sys.executable), f"/usr/bin/python3.{sys.version_info.minor}"):
        if Path(candidate).exists() and all(folder.stat().st_mode & 0o001 for folder in Path(candidate).parents):
            return candidate
    return None


@pytest.mark.skipif(not AS_ROOT or everybodys_python() is None, reason="only root can become others")
@pytest.mark.parametrize(("uid", "said"), [("65534", "running"), ("54321", "running|needs a user with a name")])
async def test_ordinary_users_and_users_without_a_name(uid: str, said: str) -> None:
    """A container may run as any number; then a user namespace helps, or a sentence does."""
    place = Path("/var/tmp") / f"zhiban-test-{uid}-{os.getpid()}"
    place.mkdir()
    os.chown(place, int(uid), int(uid))
    program = f"""
        import asyncio, os
        from pathlib import Path
        import zhiban.postgres.binaries, psycopg, zhiban.postgres.daemonize
        from zhiban.postgres.supervisor import BundledPostgres
        from zhiban.kit.errors import ZhibanError
        packaged = zhiban.postgres.binaries._copy(zhiban.postgres.binaries.find(18), Path({str(place)!r}) / "own")
        zhiban.postgres.binaries.find = lambda version: packaged
        os.setgroups([]); os.setgid({uid}); os.setuid({uid})

        async def main():
            postgres = BundledPostgres(Path({str(place)!r}) / "data")
            try:
                await postgres.start()
            except ZhibanError as error:
                print(error)
            else:
                print((await postgres.status()).state)
                await postgres.stop()

        asyncio.run(main())
    """
    try:
        done = subprocess.run(
            [everybodys_python() or "", "-c", textwrap.dedent(program)],
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": os.pathsep.join(part for part in sys.path if part.endswith(("src", "site-packages")))},
        )
        assert re.search(said, done.stdout), done.stdout + done.stderr
    finally:
        subprocess.run(["rm", "-rf", str(place)], check=True)

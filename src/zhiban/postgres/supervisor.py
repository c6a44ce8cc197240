"""The PostgreSQL that comes with the package: made, started, shared, watched and stopped by us.

Any number of processes may use one data folder. Whoever comes first starts the server, the others attach, and the last
to leave stops it. Presence is a shared lock on a file, which the kernel drops when its holder is killed: a server whose
owner died is adopted by the next process. The server runs in its own session, so that Ctrl-C in a terminal reaches us
and not it, and it is stopped only after our own connections are closed.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, NoReturn

import psycopg
from psycopg.conninfo import make_conninfo

from zhiban.kit.errors import Misconfigured, Unavailable, ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.memory import memory_limit
from zhiban.kit.os_errors import held_by_orphans, in_words, tail, translate
from zhiban.postgres.binaries import Output, PostgresBinaries, Version, choose

log = logging.getLogger(__name__)

SUPERUSER = "postgres"
SOCKET_PORT = 5432  # only part of the socket's file name unless a TCP port is asked for
LONGEST_SOCKET_PATH = 107  # sun_path of Linux without its final zero byte
LONGEST_LOG = 10_000_000  # bytes, then the log of the previous days is kept once
GIB = 2**30


@frozen_dataclass
class Server:
    """A running server and how to reach it."""

    socket_dir: Path
    port: int
    pid: int
    version: Version
    tcp_port: int | None = None

    @property
    def superuser(self) -> str:
        return self.dsn()

    def dsn(self, user: str = SUPERUSER, dbname: str = "postgres") -> str:
        """A libpq connection string over the private socket; being allowed into its folder is the authentication."""
        return make_conninfo(
            "",
            host=str(self.socket_dir),
            port=self.port,
            user=user,
            dbname=dbname,
            sslmode="disable",
            gssencmode="disable",
        )


@frozen_dataclass
class ServerStatus:
    state: Literal["absent", "stopped", "running"]
    version: int | None = None
    pid: int | None = None


@frozen_dataclass
class _Pidfile:
    pid: int
    port: int
    socket_dir: str


class BundledPostgres:
    """The bundled server of one folder.

    `tcp_port` opens it on the loopback address as well, with the password in the folder's `password` file.
    `settings` override PostgreSQL's own; `patience` is how many seconds a start, with its crash recovery, may take.
    """

    def __init__(
        self,
        folder: Path,
        *,
        version: Version = 18,
        tcp_port: int | None = None,
        settings: Mapping[str, str] | None = None,
        root: Literal["auto", "namespace", "nobody"] = "auto",
        patience: float = 120,
    ) -> None:
        self.folder = folder.expanduser().absolute()
        self.version: Version = version
        self._tcp_port = tcp_port
        self._settings = dict(settings or {})
        self._root = root
        self._patience = patience
        self._programs: PostgresBinaries | None = None
        self._presence: int | None = None
        self._server: Server | None = None

    @property
    def cluster(self) -> Path:
        return self.folder / "cluster"

    @property
    def log_file(self) -> Path:
        return self.folder / "postgres.log"

    # ------------------------------------------------------------------------------------------------ in and out

    async def start(self) -> Server:
        """Make the cluster if it is new, start its server unless it runs, and be counted as one of its users.

        Raises Misconfigured when it can never work here, Unavailable when trying again later may help.
        """
        with translate(self.folder):
            self._prepare_folder()
            async with self._one_at_a_time():
                newcomer = self._presence is None
                if self._presence is None:
                    self._presence = _lock_file(self.folder / "users")
                    fcntl.flock(self._presence, fcntl.LOCK_SH)
                try:
                    self._server = await self._running() or await self._bring_up()
                except BaseException:
                    if newcomer:
                        self._leave()
                    raise
        return self._server

    async def stop(self) -> bool:
        """Stop being one of its users; the last one stops the server. Returns whether it was stopped."""
        if self._presence is None:
            return False
        async with self._one_at_a_time():
            last = self._is_last()
            self._leave()
            self._server = None
            if last:
                await self._shut_down()
            return last

    async def keep_running(self, every: float = 0.25) -> NoReturn:
        """Watch the server and start it again when it was killed. Runs until cancelled."""
        while True:
            await asyncio.sleep(every)
            if self._server is None or _is_postmaster(self._server.pid, self.cluster):
                continue
            log.error("PostgreSQL is gone (pid %d); starting it again", self._server.pid)
            try:
                server = await self.start()
                log.warning("PostgreSQL runs again (pid %d)", server.pid)
            except ZhibanError as error:
                log.error("PostgreSQL did not start: %s", error)  # noqa: TRY400 - the sentence says it all
                await asyncio.sleep(1)

    async def status(self) -> ServerStatus:
        """What is there, without starting or changing anything."""
        version = self._version_of_cluster()
        if version is None:
            return ServerStatus("absent")
        running = await self._running()
        return ServerStatus("running", version, running.pid) if running else ServerStatus("stopped", version)

    def dsn(self, user: str = SUPERUSER, dbname: str = "postgres") -> str:
        if self._server is None:
            raise Unavailable("The bundled PostgreSQL has not been started.")
        return self._server.dsn(user, dbname)

    async def programs(self) -> PostgresBinaries:
        """PostgreSQL's own programs, pg_dump among them, as the user they may run as."""
        if self._programs is None:
            self._programs = await choose(self.version, self.folder, root=self._root)
        return self._programs

    # ------------------------------------------------------------------------------------------- locks and folders

    def _prepare_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable", str(self.folder))

    @asynccontextmanager
    async def _one_at_a_time(self) -> AsyncIterator[None]:
        """Starts and stops of all processes happen one after the other."""
        turn = _lock_file(self.folder / "lock")
        try:
            deadline = time.monotonic() + self._patience
            while not _try_exclusive(turn):
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"Another process has been starting or stopping PostgreSQL in {self.folder} for long."
                    )
                await asyncio.sleep(0.02)
            yield
        finally:
            os.close(turn)

    def _is_last(self) -> bool:
        # Turning a shared lock into an exclusive one gives the shared one up first, which suits someone leaving.
        return self._presence is not None and _try_exclusive(self._presence)

    def _leave(self) -> None:
        if self._presence is not None:
            os.close(self._presence)
            self._presence = None

    async def _socket_dir(self, programs: PostgresBinaries) -> Path:
        """A 0700 folder whose socket path fits, and has no comma, at which libpq would split it.

        Written down, so that all processes find the same after a crash.
        """
        note = self.folder / "socket-folder"
        if note.exists():
            folder = Path(note.read_text(encoding="utf-8"))
        else:
            folder = self.folder / "socket"
            if len(os.fsencode(_socket_of(folder, 65535))) > LONGEST_SOCKET_PATH or set(str(folder)) & set(',"'):
                folder = _short_folder(self.folder)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        own = folder.parent == self.folder
        if not own and (folder.is_symlink() or found.st_uid not in (os.geteuid(), programs.uid)):
            raise Misconfigured(f"{folder} belongs to somebody else; remove it, PostgreSQL's socket has to go there.")
        os.chown(folder, programs.uid, programs.gid)
        folder.chmod(0o700)
        note.write_text(str(folder), encoding="utf-8")
        return folder

    # -------------------------------------------------------------------------------------------------- the cluster

    def _version_of_cluster(self) -> int | None:
        try:
            return int((self.cluster / "PG_VERSION").read_text().strip())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise Misconfigured(
                f"{self.cluster} is damaged: its PG_VERSION is not a number. Restore a backup."
            ) from error

    async def _bring_up(self) -> Server:
        programs = await self.programs()
        if programs.how == "user":
            self.folder.chmod(0o711)  # nobody has to pass through; what is inside stays closed
        version = self._version_of_cluster()
        if version is None:
            await self._make_cluster(programs)
        elif version != self.version:
            raise Misconfigured(
                f"{self.cluster} was made by PostgreSQL {version}, and this release brings {self.version}. "
                f"Make a backup with the release that made it, move the folder away and restore the backup."
            )
        self.cluster.chmod(0o700)  # PostgreSQL insists, and volumes come with other ideas
        if self.cluster.stat().st_uid != programs.uid:
            await asyncio.to_thread(_give, self.cluster, programs)
        return await self._start_server(programs)

    async def _make_cluster(self, programs: PostgresBinaries) -> None:
        """initdb into a folder of its own and rename: a cluster half made is never mistaken for one."""
        if self.cluster.exists() and any(self.cluster.iterdir()):
            raise Misconfigured(f"{self.cluster} is not empty and not a PostgreSQL cluster. Move it away.")
        unfinished = self.folder / "cluster.new"
        await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
        password = self._password_file()
        unfinished.mkdir(mode=0o700)
        pwfile = unfinished.with_name("password.new")
        pwfile.write_text(password.read_text())
        pwfile.chmod(0o600)
        for path in (unfinished, pwfile):
            os.chown(path, programs.uid, programs.gid)
        locale = (
            ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
            if self.version >= 17
            else ("--locale=C.UTF-8",)
        )
        output = await programs.run(
            "initdb",
            *("-D", unfinished, "-U", SUPERUSER, "-E", "UTF8", *locale),
            *("--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={pwfile}", "--no-instructions"),
        )
        pwfile.unlink()
        if output.code:
            raise in_words(f"The database could not be made in {self.folder}", output.text)
        if self.cluster.exists():
            self.cluster.rmdir()
        unfinished.rename(self.cluster)

    def _password_file(self) -> Path:
        path = self.folder / "password"
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(24))
        return path

    # --------------------------------------------------------------------------------------------------- the server

    async def _start_server(self, programs: PostgresBinaries) -> Server:
        socket_dir = await self._socket_dir(programs)
        port = self._tcp_port or SOCKET_PORT
        patience = time.monotonic() + self._patience
        orphans = time.monotonic() + 5  # after a SIGKILL its children hold the shared memory for a second or two
        while True:
            self._forget_stale_pid()
            self._rotate_log()
            offset = self.log_file.stat().st_size if self.log_file.exists() else 0
            pid = await programs.daemon(self.log_file, "postgres", *self._arguments(socket_dir, port))
            server = Server(socket_dir, port, pid, self.version, self._tcp_port)
            if await self._answers(server, patience):
                return server
            said = tail(self.log_file, offset)
            if not held_by_orphans(said) or time.monotonic() > orphans:
                raise in_words("The bundled PostgreSQL did not start", said)
            await asyncio.sleep(0.2)

    def _arguments(self, socket_dir: Path, port: int) -> list[str]:
        # What does not fit is copied from the system's cache, which at 100,000 entries was most of a search. It is
        # taken as it fills: a small installation never has more than it stores.
        memory = min(max(memory_limit() // 8, GIB // 8), 2 * GIB)
        settings = {
            "listen_addresses": "127.0.0.1" if self._tcp_port else "",
            "unix_socket_directories": f'"{socket_dir}"',
            "unix_socket_permissions": "0700",
            "port": str(port),
            "shared_buffers": f"{memory // 2**20}MB",
            "max_connections": "100",
            "wal_compression": "on",
            "max_wal_size": "2GB",
            "jit": "off",
            "timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
            "log_checkpoints": "off",
        } | self._settings
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return ["-D", str(self.cluster), *options]

    async def _running(self) -> Server | None:
        """The server that runs on our cluster, proved by asking it, or None."""
        noted = _read_pidfile(self.cluster)
        if noted is None:
            return None
        server = Server(Path(noted.socket_dir), noted.port, noted.pid, self.version, self._tcp_port)
        if not _is_postmaster(noted.pid, self.cluster):
            if await _ask(server) == self.cluster:
                return server  # the pid is another container's, the socket in the shared folder answers
            return None
        if await self._answers(server, time.monotonic() + self._patience):
            return server
        return None

    async def _answers(self, server: Server, deadline: float) -> bool:
        """Whether it answers `select`; waits through start-up and crash recovery as long as its process lives."""
        while time.monotonic() < deadline:
            if await _ask(server) is not None:
                return True
            if not _is_postmaster(server.pid, self.cluster):
                return False
            await asyncio.sleep(0.02)
        raise Unavailable(
            f"PostgreSQL (pid {server.pid}) has not answered for {self._patience:.0f} s; see {self.log_file}."
        )

    def _forget_stale_pid(self) -> None:
        """PostgreSQL refuses to start while the pid in its file lives, even when that pid is somebody else by now."""
        noted = _read_pidfile(self.cluster)
        if noted is not None and not _is_postmaster(noted.pid, self.cluster):
            (self.cluster / "postmaster.pid").unlink(missing_ok=True)

    def _rotate_log(self) -> None:
        if self.log_file.exists() and self.log_file.stat().st_size > LONGEST_LOG:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))

    async def _shut_down(self) -> None:
        output = Output(0, "")
        for mode in ("fast", "immediate"):
            noted = _read_pidfile(self.cluster)
            if noted is None or not _is_postmaster(noted.pid, self.cluster):
                return
            programs = await self.programs()
            output = await programs.run("pg_ctl", "-D", self.cluster, "-m", mode, "-w", "-t", "30", "stop")
            if output.code == 0:
                return
        raise Unavailable(f"PostgreSQL did not stop: {output.text.strip()[-400:]}")


# ---------------------------------------------------------------------------------------------------------- small parts


def _socket_of(folder: Path, port: int) -> str:
    return f"{folder}/.s.PGSQL.{port}"


def _short_folder(data: Path) -> Path:
    key = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - owner is checked
        folder = Path(base or "/nowhere") / f"zhiban-{os.geteuid()}-{key}"
        if folder.parent.is_dir() and len(os.fsencode(_socket_of(folder, 65535))) <= LONGEST_SOCKET_PATH:
            return folder
    raise Misconfigured(f"The path {data} is too long for PostgreSQL's socket. Choose a shorter ZHIBAN_DATA.")


def _lock_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _try_exclusive(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_pidfile(cluster: Path) -> _Pidfile | None:
    """What a postmaster wrote down: pid, folder, start, port, socket folder. None while it is not complete."""
    try:
        lines = (cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return _Pidfile(int(lines[0]), int(lines[3]), lines[4])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (IndexError, ValueError):
        return _Pidfile(0, 0, "")


def _is_postmaster(pid: int, cluster: Path) -> bool:
    """Whether that pid is the postmaster of this cluster, told by its command line: pids are used again."""
    if pid <= 0:
        return False
    words = _command_line(pid)
    # A child's title replaces the command line in place; only the postmaster keeps its arguments apart.
    return len(words) > 2 and Path(words[0]).name == "postgres" and words[1:3] == ["-D", str(cluster)]


def _command_line(pid: int) -> list[str]:
    """The words with which a process was started; none when it ended, or is not ours to look at."""
    if sys.platform != "linux":  # where a server can do without it: half a megabyte
        import psutil

        try:
            return psutil.Process(pid).cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            return []
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
    except OSError:
        return []


async def _ask(server: Server) -> Path | None:
    """The folder of the server that answers there, or None."""
    if not server.port or not os.path.exists(_socket_of(server.socket_dir, server.port)):  # noqa: ASYNC240 - no wait
        return None
    try:
        connection = await psycopg.AsyncConnection.connect(server.superuser, connect_timeout=5, autocommit=True)
        async with connection:
            row = await (await connection.execute("select current_setting('data_directory')")).fetchone()
    except psycopg.OperationalError:
        return None
    return Path(row[0]) if row else None


def _give(cluster: Path, programs: PostgresBinaries) -> None:
    """After a change between namespace and nobody, or of the user who starts us (as root), the files follow."""
    try:
        for path in (cluster, *cluster.rglob("*")):
            os.chown(path, programs.uid, programs.gid, follow_symlinks=False)
    except PermissionError as error:
        raise Misconfigured(
            f"{cluster} belongs to user {cluster.stat().st_uid}, and we run as {os.geteuid()}. "
            "Start as its owner, or give it to us with chown -R."
        ) from error

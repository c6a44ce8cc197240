"""Commands as processes of their own, forked from one that has loaded the program already.

Loading takes a second or more and is the same each time. Everything else is as an operator's shell does it: arguments,
environment, folder, pipes and exit code. `program.running` starts whole processes, loading included.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

_HEAD = struct.Struct(">I")


class ForkServer:
    """A process that has loaded the program and forks a command whenever it is asked to."""

    def __init__(self, environment: Mapping[str, str], cwd: Path) -> None:
        """`environment` and `cwd` are what the program sees while it is loaded, its language among it."""
        self._control, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        theirs.close()
        atexit.register(self.close)

    def close(self) -> None:
        self._control.close()
        self._process.wait(10)

    async def run(
        self,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
        cwd: Path,
        *,
        without: str = "",
        seconds: float,
    ) -> tuple[int, bytes, bytes]:
        """Run a command to its end, as if the package `without` were not installed. Returns its exit code and what it
        wrote. Raises TimeoutError."""
        pipes = [os.pipe() for _ in range(3)]
        told = {"arguments": arguments, "environment": dict(environment), "cwd": str(cwd), "without": without}
        order = json.dumps(told).encode()
        socket.send_fds(self._control, [_HEAD.pack(len(order))], [write for _, write in pipes])
        self._control.sendall(order)
        for _, write in pipes:
            os.close(write)
        reading = (asyncio.to_thread(_read, read) for read, _ in pipes)
        out, err, code = await asyncio.wait_for(asyncio.gather(*reading), seconds)
        return int(code), out, err


def _read(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read()


def _serve(control: socket.socket) -> None:
    from zhiban.cli.app import every_module, load_module

    for module in (*every_module(), "vendor_tools"):
        load_module(f"zhiban.cli.{module}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for the commands
    while True:
        head, descriptors, _, _ = socket.recv_fds(control, _HEAD.size, 3)
        if not head:
            return
        (size,) = _HEAD.unpack(head)
        order = b""
        while len(order) < size:
            order += control.recv(size - len(order))
        if os.fork() == 0:
            control.close()
            _keep(json.loads(order), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(order: dict[str, object], out: int, err: int, code: int) -> NoReturn:
    """Fork the command, and tell its exit code when it has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    command = os.fork()
    if command == 0:
        os.close(code)
        _become(order, out, err)
    os.close(out)
    os.close(err)
    _, status = os.waitpid(command, 0)
    os.write(code, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(order: dict[str, object], out: int, err: int) -> NoReturn:
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    os.chdir(str(order["cwd"]))
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    if order["without"]:
        # Nothing of the program may have loaded it before it was wanted.
        assert sys.modules.setdefault(str(order["without"]), None) is None  # type: ignore[arg-type]
    from zhiban.cli import main

    main(order["arguments"])  # type: ignore[arg-type]


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))

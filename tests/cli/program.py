"""The program as an operator starts it: a real process with an environment of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zhiban.testing.demo_folder import SimulatedKeys

START = "from zhiban.cli import main; main()"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(data: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "PYTHONPATH") if name in os.environ}
    return {**kept, "ZHIBAN_DATA": str(data), **more}


KEYS = SimulatedKeys.random()  # a service does not start with the published ones


def wecom_settings(url: str) -> dict[str, str]:
    return KEYS.environment(f"{url}/cgi-bin")


async def zhiban(*arguments: str, data: Path, **more: str) -> Done:
    """Run a command to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        START,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=data.parent,
        env=environment(data, **more),
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    return Done(process.returncode or 0, out.decode(), err.decode())


class Program:
    """A command that goes on running."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text()

    async def says(self, words: str, *, within: float = 60) -> str:
        """Wait until the words appear in its output, which is returned."""
        deadline = time.monotonic() + within
        while words not in self.said:
            if self.process.returncode is not None or time.monotonic() > deadline:
                raise AssertionError(f"it never said {words!r} but:\n{self.said}")
            await asyncio.sleep(0.02)
        return self.said

    async def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Press Ctrl-C and wait for the end. Returns the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(how)
        return await asyncio.wait_for(self.process.wait(), 60)


@asynccontextmanager
async def running(*arguments: str, data: Path, **more: str) -> AsyncIterator[Program]:
    log = data.parent / f"{arguments[0]}-{time.monotonic_ns()}.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            START,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=data.parent,
            env=environment(data, **more),
        )
    program = Program(process, log)
    try:
        yield program
    finally:
        if process.returncode is None:
            await program.stop()

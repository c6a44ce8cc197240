"""The program as an operator starts it: a real process with an environment of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from tests.cli.forks import ForkServer
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
    # Loading the embedder is most of the time of a search; what needs it asks for it.
    return {**kept, "ZHIBAN_DATA": str(data), "EMBEDDING_PROVIDER": "none", **more}


KEYS = SimulatedKeys.random()  # a service does not start with the published ones


def wecom_settings(url: str) -> dict[str, str]:
    return KEYS.environment(f"{url}/cgi-bin")


async def zhiban(*arguments: str, data: Path, without: str = "", **more: str) -> Done:
    """Run a command to its end, as if the package `without` were not installed."""
    given = environment(data, **more)
    forks = _forks(given, data.parent)
    code, out, err = await forks.run(arguments, given, data.parent, without=without, seconds=120)
    return Done(code, out.decode(), err.decode())


_FORKS: dict[str | None, ForkServer] = {}


def _forks(given: Mapping[str, str], cwd: Path) -> ForkServer:
    """The program speaks the language that it was loaded with."""
    locale = given.get("ZHIBAN_LOCALE") or dotenv_values(cwd / ".env").get("ZHIBAN_LOCALE")
    if locale not in _FORKS:
        _FORKS[locale] = ForkServer({**given, **({"ZHIBAN_LOCALE": locale} if locale else {})}, cwd)
    return _FORKS[locale]


class Program:
    """A command that goes on running."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text()

    async def says(self, words: str, *, within: float = 180) -> str:
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
async def running(*arguments: str, data: Path, start: str = START, **more: str) -> AsyncIterator[Program]:
    log = data.parent / f"{arguments[0]}-{time.monotonic_ns()}.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            start,
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

"""Starts the product and what surrounds it as real processes: for stories that kill, and benchmarks that load."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from zhiban.testing.demo_folder import SimulatedKeys


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Process:
    """A child with its own process group."""

    name: str
    child: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        return self.child.pid

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def memory(self) -> float:
        """Resident megabytes."""
        return psutil.Process(self.pid).memory_info().rss / 2**20

    async def stop(self, how: int = signal.SIGTERM) -> None:
        if self.child.returncode is None:
            os.killpg(self.pid, how)
            await self.child.wait()


@dataclass
class ProcessHarness:
    """The running parts and how to move them."""

    folder: Path
    wecom: str
    server: str
    session: aiohttp.ClientSession
    environment: dict[str, str]
    processes: dict[str, Process] = field(default_factory=dict)

    async def control(self, verb: str, **arguments: Any) -> Any:
        async with self.session.post(f"{self.wecom}/control/{verb}", json=arguments) as answer:
            found = json.loads(await answer.read())
            if answer.status != 200:
                raise RuntimeError(f"{verb}: {found}")
            return found["result"]

    async def start(self, name: str, *command: str) -> Process:
        log = (self.folder / f"{name}.log").open("ab")
        child = await asyncio.create_subprocess_exec(
            *command, stdout=log, stderr=log, start_new_session=True, env=self.environment
        )
        process = self.processes[name] = Process(name, child)
        return process

    async def serve(self, name: str = "server", *options: str) -> float:
        """Start the product and return the seconds until it was ready."""
        port = self.server.rsplit(":", 1)[1]
        began = time.perf_counter()
        process = await self.start(
            name, sys.executable, "-m", "zhiban", "serve", "--host", "127.0.0.1", "--port", port, *options
        )
        await self.answers(f"{self.server}/ready", process)
        return time.perf_counter() - began

    async def answers(self, url: str, process: Process, *, within: float = 40) -> None:
        deadline = time.monotonic() + within
        while True:
            try:
                async with self.session.get(url) as answer:
                    if answer.status == 200:
                        return
            except (aiohttp.ClientError, OSError):
                pass
            if process.child.returncode is not None or time.monotonic() > deadline:
                log = (self.folder / f"{process.name}.log").read_text()[-3000:]
                raise RuntimeError(f"{process.name} does not answer at {url}:\n{log}")
            await asyncio.sleep(0.02)

    def postgres_cpu(self) -> float:
        """Processor time of this stage's PostgreSQL, with that of sessions that are open now."""
        pid = int((self.folder / "data" / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0])
        postmaster = psutil.Process(pid)
        total = 0.0
        for process in (postmaster, *postmaster.children()):
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system
        return total


@asynccontextmanager
async def start_harness(**more: str) -> AsyncIterator[ProcessHarness]:
    """WeCom simulated in a process of its own, a data folder, and the shop's knowledge imported."""
    folder = Path(tempfile.mkdtemp(prefix="zhiban-bench-"))
    wecom, port = free_port(), free_port()
    environment = {
        # Where compiled modules may not be kept, each start would measure the compiler.
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LLM_", "WECOM_", "ZHIBAN_")) and name != "PYTHONDONTWRITEBYTECODE"
        },
        "ZHIBAN_DATA": str(folder / "data"),
        **SimulatedKeys.random().environment(f"http://127.0.0.1:{wecom}/cgi-bin"),
        "ZHIBAN_LOG_LEVEL": "WARNING",
        **more,
    }
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=900)) as session:
        found = ProcessHarness(folder, f"http://127.0.0.1:{wecom}", f"http://127.0.0.1:{port}", session, environment)
        try:
            process = await found.start(
                "wecom",
                sys.executable,
                "-m",
                "zhiban.testing.wecom",
                "--port",
                str(wecom),
                "--callback",
                f"{found.server}/wecom/callback",
            )
            await found.answers(f"{found.wecom}/control/journal", process)
            yield found
        finally:
            for process in reversed(found.processes.values()):
                await process.stop()
            shutil.rmtree(folder, ignore_errors=True)

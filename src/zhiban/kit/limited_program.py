"""Programs of ours that read what strangers send: each run lives for one file, without our environment."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path


class ProgramTooSlow(Exception):
    """It was ended because it had not finished in time."""


async def run_program(program: Path, *arguments: object, timeout: float) -> subprocess.CompletedProcess[str]:
    """The program's end, awaited in a thread as decision 0010 wants it. Raises ProgramTooSlow after so many seconds."""
    command = [sys.executable, "-I", str(program), *map(str, arguments)]
    environment = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own program, on a file we wrote
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
        )

    try:
        return await asyncio.to_thread(run)
    except subprocess.TimeoutExpired:
        raise ProgramTooSlow from None

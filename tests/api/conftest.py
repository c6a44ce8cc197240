"""The whole application on loopback with one small shop's knowledge, a colleague and a program that call it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.stories.conftest import SHOP, settings_for
from zhiban.container import App
from zhiban.kit.clock import SetClock
from zhiban.knowledge import service as knowledge
from zhiban.main import application
from zhiban.people import service as people
from zhiban.people import tokens
from zhiban.people.auth import COOKIE
from zhiban.people.models import Role
from zhiban.people.tokens import Scope
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.serving import served


@dataclass
class Api:
    app: App
    clock: SetClock
    url: str
    workspace: int
    cookie: str

    async def ask(self, method: str, path: str, *, known: bool = True, **more: Any) -> tuple[int, Any]:
        """As a browser of ours asks: with the cookie when `known`, and always with its origin."""
        headers = {"Origin": self.url, **more.pop("headers", {})}
        if known:
            headers["Cookie"] = f"{COOKIE}={self.cookie}"
        status, said, _ = await self.send(method, path, headers=headers, **more)
        return status, said

    async def call(self, method: str, path: str, token: str, **more: Any) -> tuple[int, Any]:
        """As a program asks: with a token and nothing else."""
        status, said, _ = await self.send(method, path, headers={"Authorization": f"Bearer {token}"}, **more)
        return status, said

    async def send(self, method: str, path: str, **more: Any) -> tuple[int, Any, aiohttp.typedefs.LooseHeaders]:
        async with (
            aiohttp.ClientSession() as client,
            client.request(method, self.url + path, allow_redirects=False, **more) as answer,
        ):
            return answer.status, await answer.json() if await answer.read() else None, answer.headers

    async def token(
        self, name: str, *scopes: Scope, workspace: int | None = None, expires_at: datetime | None = None
    ) -> str:
        async with self.app.database.transaction(workspace or self.workspace) as tx:
            _, text = await tokens.create(
                tx, name, scopes=scopes or tokens.LEAST, expires_at=expires_at, now=self.clock.now()
            )
        return text


@pytest.fixture
async def api(urls: DatabaseUrls, tmp_path: Path, clock: SetClock) -> AsyncIterator[Api]:
    app = App.build(settings_for(tmp_path, "http://127.0.0.1:9"), urls, clock=clock)
    async with served(application(app)) as url:
        (workspace,) = await app.database.workspaces()
        (tmp_path / "shop.md").write_text(SHOP)
        async with app.database.page_transaction(workspace) as session:
            await knowledge.ensure_base(session, "default", "知识库")
        now = clock.now()
        await knowledge.import_paths(app.database, workspace, "default", [tmp_path / "shop.md"], now=now)
        async with app.database.transaction(workspace) as tx:
            agent = await people.add_agent(
                tx, email="lin@example.test", name="林晓", role=Role.AGENT, password_hash=None
            )
            cookie = await people.open_session(tx, agent_id=agent, now=now)
        yield Api(app, clock, url, workspace, cookie)

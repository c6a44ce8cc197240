"""The JSON door: everything its own description promises holds for whatever is sent to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.stories.conftest import SHOP, settings_for
from zhiban.container import App
from zhiban.kit.clock import SystemClock
from zhiban.knowledge import service as knowledge
from zhiban.main import application
from zhiban.people import service as people
from zhiban.people.auth import COOKIE
from zhiban.people.models import Role
from zhiban.people.passwords import HashQueue
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.serving import served

PASSWORD = "einszweidrei"


@dataclass
class Api:
    url: str
    cookie: str

    async def ask(self, method: str, path: str, *, known: bool = True, **more: Any) -> tuple[int, Any]:
        headers = {"Origin": self.url, **more.pop("headers", {})}
        if known:
            headers["Cookie"] = f"{COOKIE}={self.cookie}"
        async with (
            aiohttp.ClientSession() as client,
            client.request(method, self.url + path, headers=headers, allow_redirects=False, **more) as answer,
        ):
            return answer.status, await answer.json()


@pytest.fixture
async def api(urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Api]:
    app = App.build(settings_for(tmp_path, "http://127.0.0.1:9"), urls)
    async with served(application(app)) as url:
        (workspace,) = await app.database.workspaces()
        (tmp_path / "shop.md").write_text(SHOP)
        async with app.database.page_transaction(workspace) as session:
            await knowledge.ensure_base(session, "default", "知识库")
        now = SystemClock().now()
        await knowledge.import_paths(app.database, workspace, "default", [tmp_path / "shop.md"], now=now)
        hashed = await HashQueue().hash(PASSWORD)
        async with app.database.transaction(workspace) as tx:
            await people.add_agent(tx, email="lin@example.test", name="林晓", role=Role.AGENT, password_hash=hashed)
        token = await people.sign_in(
            app.database, HashQueue(), email="lin@example.test", password=PASSWORD, now=now, hint="tests"
        )
        yield Api(url, token)


async def test_a_colleague_tries_a_question(api: Api) -> None:
    status, found = await api.ask("POST", "/api/test_kb", json={"query": "怎么申请退款？", "top_k": 3})
    assert status == 200
    assert found["zone"] == "answer"
    assert "7 天内都可以申请" in found["passages"][0]["text"]
    assert found["why"]


async def test_only_colleagues_and_only_from_our_own_pages(api: Api) -> None:
    for method, path in (("POST", "/api/test_kb"), ("GET", "/api/articles"), ("GET", "/api/articles/1")):
        body = {"query": "退款"} if method == "POST" else None
        assert (await api.ask(method, path, known=False, json=body))[0] == 401
    status, said = await api.ask(
        "POST", "/api/test_kb", json={"query": "退款"}, headers={"Origin": "https://elsewhere.example"}
    )
    assert status == 403
    assert "another site" in said["detail"]


async def test_what_the_database_cannot_hold_is_refused(api: Api) -> None:
    async with aiohttp.ClientSession() as client:
        for email, password in (("lin\x00@example.test", "x"), ("lin@example.test", "\x00"), ("\ud800", "\ud800")):
            body = {"email": email, "password": password}
            form = "&".join(f"{name}={quote(value, errors='surrogatepass')}" for name, value in body.items())
            headers = {"Origin": api.url, "Content-Type": "application/x-www-form-urlencoded"}
            async with client.post(f"{api.url}/login", data=form, headers=headers) as answer:
                assert answer.status in (401, 422)


async def test_whatever_is_sent_fits_the_description(api: Api) -> None:
    await asyncio.to_thread(_attack, api)


def _attack(api: Api) -> None:
    schema = schemathesis.openapi.from_url(f"{api.url}/api/openapi.json", headers={"Cookie": f"{COOKIE}={api.cookie}"})
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=40,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def fits(case: schemathesis.Case) -> None:
            case.call_and_validate(headers={"Origin": api.url}, cookies={COOKIE: api.cookie}, timeout=10)

        fits()
        tried += 1
    assert tried >= 3

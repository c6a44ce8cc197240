"""The page about the API: what it prints works as it stands, in both languages, and it fits a phone."""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import shlex
import shutil
from pathlib import Path

import aiohttp
import pytest

from tests.api.conftest import Api
from tests.api.test_similar_issues import repository
from tests.api.test_tickets import conversation
from tests.browser import Visit
from tests.desk.test_accessibility import faults
from zhiban.events import Actor
from zhiban.knowledge import queries
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.models import EvidenceKind
from zhiban.people.auth import COOKIE
from zhiban.people.contacts import ensure_contacts
from zhiban.people.tokens import Scope

CODE = re.compile(r"<pre[^>]*><code>(curl .*?)</code></pre>", re.DOTALL)


async def _page(api: Api, language: str = "zh-CN") -> str:
    async with (
        aiohttp.ClientSession() as client,
        client.get(
            f"{api.url}/docs", headers={"accept-language": language, "cookie": f"{COOKIE}={api.cookie}"}
        ) as answer,
    ):
        assert answer.status == 200
        return await answer.text()


async def _run(command: str, token: str, folder: Path) -> tuple[int, str]:
    """The status and the body that this line of a shell brings, in a folder with the file that it may send."""
    (folder / "contract.pdf").write_bytes(b"%PDF-1.7 the contract")
    shell = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        f"{command} -s -w '\\n%{{http_code}}'",
        stdout=asyncio.subprocess.PIPE,
        cwd=folder,
        env={**os.environ, "ZHIBAN_TOKEN": token, "no_proxy": "*"},
    )
    said, _ = await asyncio.wait_for(shell.communicate(), 30)
    body, _, status = said.decode().rpartition("\n")
    return int(status), body


async def _somebody_taps(api: Api) -> None:
    async with api.app.database.transaction(api.workspace) as tx:
        (contact,) = (await ensure_contacts(tx, "wecom", "corp", ["wmLI"], now=api.clock.now())).values()
        (*_, article) = await queries.articles(tx, await knowledge.base_for(tx))
        by, asked = Actor("contact", contact.id), "东西不想要了谁出运费"
        await knowledge.record_evidence(tx, article.id, asked, kind=EvidenceKind.TAP, by=by, now=api.clock.now())


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
async def test_every_printed_command_works_as_it_stands(api: Api, tmp_path: Path) -> None:
    token = await api.token("docs", *Scope)
    async with api.app.database.transaction(api.workspace) as tx:
        await knowledge.record_gap(tx, "能寄到日本吗", now=api.clock.now())
    await conversation(api, channel="webhook")
    await _somebody_taps(api)
    await repository(api)
    commands = [html.unescape(found) for found in CODE.findall(await _page(api))]
    statuses = {}
    for command in commands:
        method = shlex.split(command)[2]
        status, body = await _run(command, token, tmp_path)
        statuses[f"{method} {shlex.split(command)[3].removeprefix(api.url)}"] = status
        if "test_kb" in command:
            assert json.loads(body)["passages"]
    assert statuses == {
        "POST /api/test_kb": 200,
        "GET /api/conversations": 200,
        "GET /api/conversations/1": 200,
        "GET /api/conversations/1/messages": 200,
        "POST /api/conversations/1/messages": 201,
        "POST /api/conversations/1/notes": 201,
        "PATCH /api/conversations/1": 200,
        "GET /api/files?conversation_id=1": 200,
        "POST /api/files?conversation_id=1": 201,
        "DELETE /api/files/1": 204,
        "GET /api/issues/similar?repository=1&text=export": 200,
        "GET /api/reports": 200,
        "GET /api/learned": 200,
        "POST /api/learned/1/approve": 200,
        "POST /api/learned/1/undo": 200,
        "GET /api/articles": 200,
        "GET /api/articles/1": 200,
        "POST /api/articles": 201,
        "DELETE /api/articles/1": 204,
        "GET /api/gaps": 200,
        "GET /api/gaps/1": 200,
        "GET /api/gaps/1/answers": 200,
        "POST /api/gaps/1/close": 200,
        "POST /api/knowledge/eval": 200,
        "GET /api/tickets": 200,
        "POST /api/tickets": 201,
        "GET /api/tickets/1": 200,
        "PATCH /api/tickets/1": 200,
        "POST /api/tickets/1/comments": 201,
    }
    status, body = await _run(commands[0], "zhiban_1_wrong", tmp_path)
    assert (status, json.loads(body)) == (401, {"detail": "This is no token of ours."})


async def test_samples_are_sensible(api: Api) -> None:
    page = html.unescape(await _page(api))
    assert '"query": "如何退款？"' in page
    assert '"top_k": 5' in page
    assert '"base": "default"' in page
    assert '"…"' not in page


async def test_the_page_speaks_the_readers_language(api: Api) -> None:
    chinese, english = html.unescape(await _page(api)), html.unescape(await _page(api, "en"))
    for page, ours, theirs in (
        (chinese, ("试一个问题", "没有令牌，或令牌不对", "需要的权限"), ("Try a question", "What a contact would ask")),
        (english, ("Try a question", "What a contact would ask", "Scope:"), ("试一个问题", "需要的权限", "请求体")),
    ):
        assert all(words in page for words in ours)
        assert not any(words in page for words in theirs)
    for page in (chinese, english):
        assert 'export ZHIBAN_TOKEN="$(zhiban token create docs)"' in page


async def test_the_description_is_for_whom_we_know(api: Api) -> None:
    assert (await api.ask("GET", "/api/openapi.json", known=False))[0] == 401
    assert (await api.call("GET", "/api/openapi.json", await api.token("generator")))[0] == 200


async def test_the_description_names_the_ways_in(api: Api) -> None:
    _, described = await api.ask("GET", "/api/openapi.json")
    ways = described["components"]["securitySchemes"]
    assert ways["token"] | {"description": ""} == {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "zhiban_…",
        "description": "",
    }
    assert (ways["session"]["type"], ways["session"]["in"]) == ("apiKey", "cookie")
    needed = {
        f"{method} {path}": one["security"] for path, item in described["paths"].items() for method, one in item.items()
    }
    assert needed["post /api/test_kb"] == [{"token": ["knowledge:read"]}, {"session": ["knowledge:read"]}]
    assert needed["delete /api/articles/{article_id}"][0] == {"token": ["knowledge:write"]}


@pytest.mark.browser
@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
async def test_it_fits_a_phone(api: Api, visit: Visit, locale: str) -> None:
    page = await visit(f"{api.url}/docs", width=390, height=844, locale=locale, cookie=(COOKIE, api.cookie))
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    assert await faults(page) == []

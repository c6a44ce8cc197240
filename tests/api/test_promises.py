"""The JSON API: everything its own description promises holds for whatever is sent to it."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import aiohttp
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import ignored_auth

from tests.api.conftest import Api
from zhiban.people.auth import COOKIE
from zhiban.people.tokens import Scope


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


async def test_whatever_a_colleague_sends_fits_the_description(api: Api) -> None:
    # The cookie proves who it is, whatever a proxy's Authorization header says. Behind it is what programs ask, too.
    sent = {"headers": {"Origin": api.url}, "cookies": {COOKIE: api.cookie}, "excluded_checks": [ignored_auth]}
    await asyncio.to_thread(_attack, api, 5, **sent)


async def test_whatever_a_program_sends_fits_the_description(api: Api) -> None:
    token = await api.token("contract", *Scope)
    await asyncio.to_thread(_attack, api, 15, headers={"Authorization": f"Bearer {token}"})


def _attack(api: Api, examples: int, **sent: Any) -> None:
    schema = schemathesis.openapi.from_url(f"{api.url}/api/openapi.json", headers={"Cookie": f"{COOKIE}={api.cookie}"})
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def fits(case: schemathesis.Case) -> None:
            case.call_and_validate(timeout=60, **sent)

        fits()
        tried += 1
    assert tried >= 5


async def test_large_answers_are_compressed_and_small_ones_and_streams_are_not(api: Api) -> None:
    async with aiohttp.ClientSession(auto_decompress=False) as client:
        sent = {"Accept-Encoding": "gzip", "Cookie": f"{COOKIE}={api.cookie}"}
        encodings = {}
        for path in ("/docs", "/api/openapi.json", "/health", "/stream"):
            async with client.get(api.url + path, headers=sent) as answer:
                assert answer.status == 200, path
                encodings[path] = answer.headers.get("content-encoding")
    assert encodings == {"/docs": "gzip", "/api/openapi.json": "gzip", "/health": None, "/stream": None}

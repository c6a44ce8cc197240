"""What every answer forbids, what strangers may read, and who may do what to whom."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import openpyxl
import psycopg
import pytest

from tests.desk.conftest import Site
from tests.passwords import quickly_hashed
from tests.stories.conftest import settings_for
from zhiban.container import App
from zhiban.knowledge.converters import convert
from zhiban.main import application
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.serving import served

PASSWORD = "correct horse battery"
FROM_AFAR = {"x-forwarded-for": "198.51.100.7"}


@asynccontextmanager
async def _served(urls: DatabaseUrls, folder: Path, **more: str) -> AsyncIterator[str]:
    app = App.build(settings_for(folder, "http://127.0.0.1:9", **more), urls)
    async with served(application(app)) as url:
        (workspace,) = await app.database.workspaces()
        async with app.database.transaction(workspace) as tx:
            hashed = quickly_hashed(PASSWORD)
            await add_agent(tx, email="lin@example.test", name="林晓", role=Role.OWNER, password_hash=hashed)
        yield url


async def _signs_in(url: str, **headers: str) -> str:
    """The headers of the answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{url}/login",
            data={"email": "lin@example.test", "password": PASSWORD},
            headers={"origin": url, **{name.replace("_", "-"): value for name, value in headers.items()}},
            allow_redirects=False,
        ) as answer,
    ):
        assert answer.status == 303
        return str(answer.headers)


async def test_cookies_and_browsers_stay_with_https(urls: DatabaseUrls, tmp_path: Path) -> None:
    """When a trusted proxy says that it was reached so, or our own address says it."""
    async with _served(urls, tmp_path) as url:
        plain = await _signs_in(url)
        assert "Secure" not in plain
        assert "Strict-Transport-Security".lower() not in plain.lower()
        encrypted = await _signs_in(url, sec_fetch_site="same-origin", x_forwarded_proto="https")
        assert encrypted.count("Secure") == 2
        assert "max-age=31536000" in encrypted


async def test_a_stranger_cannot_pretend_to_be_a_proxy(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with _served(urls, tmp_path, zhiban_trusted_proxies="192.0.2.1") as url:
        assert "Secure" not in await _signs_in(url, x_forwarded_proto="https")


async def test_our_own_address_makes_cookies_secure(urls: DatabaseUrls, tmp_path: Path) -> None:
    ours = {"zhiban_url": "https://desk.example.test", "zhiban_trusted_proxies": "192.0.2.1"}
    async with _served(urls, tmp_path, **ours) as url:
        assert (await _signs_in(url)).count("Secure") == 2


async def test_no_cache_keeps_what_is_ours(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with _served(urls, tmp_path) as url, aiohttp.ClientSession() as session:
        for path in ("/login", "/api/articles", "/api/openapi.json", "/", "/health", "/nowhere", "/setup/1.x", "/docs"):
            async with session.get(url + path, allow_redirects=False) as answer:
                assert "no-store" in answer.headers["cache-control"], path


async def test_strangers_read_neither_metrics_nor_the_documentation(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with (
        _served(urls, tmp_path, zhiban_metrics_token="a token for Prometheus") as url,
        aiohttp.ClientSession() as session,
    ):

        async def status(path: str, **headers: str) -> int:
            async with session.get(url + path, headers=headers, allow_redirects=False) as answer:
                return answer.status

        assert await status("/metrics") == 200
        assert await status("/metrics", **FROM_AFAR) == 401
        for wrong in ("", "Bearer", "Bearer ", "Bearer x", "Basic a token for Prometheus"):
            assert await status("/metrics", **FROM_AFAR, authorization=wrong) == 401
        assert await status("/metrics", **FROM_AFAR, authorization="Bearer a token for Prometheus") == 200
        assert await status("/docs") == 303
        assert await status("/api/openapi.json") == 401


async def test_without_a_token_no_token_opens_the_metrics(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with _served(urls, tmp_path) as url, aiohttp.ClientSession() as session:
        for authorization in ("Bearer ", "Bearer x", ""):
            headers = {**FROM_AFAR, "authorization": authorization}
            async with session.get(f"{url}/metrics", headers=headers) as answer:
                assert answer.status == 401


async def test_a_form_from_the_same_name_without_encryption_is_foreign(site: Site) -> None:
    """Whoever can write into plain http of our name must not send forms to our https."""
    agent = await site.signed_in()
    refused = await agent.post("/conversations/1/resolve", origin=site.url.replace("http://", "https://"))
    assert refused.status == 403


async def test_an_admin_gets_at_no_equal_and_at_nobody_above(site: Site) -> None:
    """A link for an account is as good as its password, so making one is the same as taking the account over."""
    seed = site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        for name in ("陈默", "苏禾"):
            await tx.run("update agent set role = 'admin' where id = %(id)s", id=seed.agents[name])
        newcomer = await add_agent(tx, email="x@qinghe.example", name="新人", role=Role.AGENT, password_hash=None)
    admin = await site.signed_in("chenmo")
    for name in ("林晓", "苏禾"):
        for act, form in (
            ("/link", {}),
            ("/disable", {}),
            ("", {"name": "某人", "role": "agent", "account.wecom": "x"}),
        ):
            refused = await admin.post(f"/settings/people/{seed.agents[name]}{act}", form)
            assert (refused.status, "/join/" in refused.text) == (422, False), (name, act)
    assert "/join/" in (await admin.post(f"/settings/people/{newcomer}/link")).text
    owner = await site.signed_in()
    assert "/join/" in (await owner.post(f"/settings/people/{seed.agents['苏禾']}/link")).text


@pytest.mark.parametrize("userid", ["@all", "a|b", "@", "全部", "a b", "x" * 65, "-x"])
async def test_a_wecom_id_names_one_person(site: Site, userid: str) -> None:
    owner = await site.signed_in()
    form = {"email": "x@qinghe.example", "name": "新人", "role": "agent", "account.wecom": userid}
    assert (await owner.post("/settings/people", form)).status == 422
    assert "x@qinghe.example ·" not in (await owner.get("/settings/people")).text


async def test_trying_again_is_for_those_who_answer_for_it(site: Site) -> None:
    agent = await site.signed_in("chenmo")
    for path in ("/settings/health/jobs/1/again", "/settings/health/deliveries/1/again"):
        assert (await agent.post(path)).status == 409
        assert (await (await site.signed_in()).post(path)).status == 404


async def test_five_thousand_digits_are_no_colleague(site: Site) -> None:
    agent = await site.signed_in()
    for to in ("9" * 5000, "9" * 18, "²", "-1", "1e3", ""):
        assert (await agent.post("/conversations/1/assign", {"to": to})).status in (404, 409, 422), to[:20]


async def test_a_token_in_an_address_is_not_logged(
    site: Site, urls: DatabaseUrls, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even when the program fails at that address."""
    async with await psycopg.AsyncConnection.connect(urls.owner) as connection:
        await connection.execute("alter table setup_link rename to elsewhere")
    with caplog.at_level(logging.INFO):
        for path in ("/join/1.secretword", "/setup/1.secretword"):
            assert (await site.client().get(path)).status == 500
    assert "/join/{token}" in caplog.text
    assert "secretword" not in caplog.text


def test_an_empty_range_of_a_workbook_costs_next_to_nothing() -> None:
    for row, column in ((199_000, 16_384), (199_000, 1)):
        book = openpyxl.Workbook()
        sheet = book.active
        assert sheet is not None
        for cells in (("问题", "答案"), ("怎么申请退款？", "在“我的订单”里点“申请售后”。")):
            sheet.append(cells)
        sheet.cell(row, column, "x")
        file = io.BytesIO()
        book.save(file)
        began = time.process_time()
        assert len(convert(file.getvalue(), "faq.xlsx").faqs) == 1
        assert time.process_time() - began < 10

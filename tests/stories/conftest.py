"""A whole installation in this process, with WeCom simulated on the wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from zhiban.channels import configuring
from zhiban.channels.connections import ensure_inbox
from zhiban.channels.policy import Policy
from zhiban.container import App
from zhiban.events import SYSTEM
from zhiban.kit.clock import Clock, SystemClock
from zhiban.kit.db import Transaction
from zhiban.kit.settings import Settings, load
from zhiban.knowledge import service as knowledge
from zhiban.main import application
from zhiban.people import agents
from zhiban.people import service as people
from zhiban.people.auth import COOKIE
from zhiban.people.models import Role
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.llm import KEY, LlmSimulator
from zhiban.testing.serving import served
from zhiban.testing.wecom import asgi
from zhiban.testing.wecom.simulator import (
    AES_KEY,
    AGENT_ID,
    CORP_ID,
    OPEN_KFID,
    SECRET,
    TOKEN,
    WeComSimulator,
)

SHOP = """# 青禾商店

## 怎么申请退款？

在“我的订单”里找到订单，点“申请售后”，7 天内都可以申请。

## 退款多久到账？

审核通过后 1 到 7 个工作日原路退回。

## 可以开发票吗？

可以，在订单详情里点“申请发票”，电子发票当天发到邮箱。

## 运费谁出？

质量问题运费我们出，其他退货运费由您承担。
"""


@dataclass
class DeskSession:
    """Somebody who is signed in at the desk."""

    url: str
    token: str

    async def post(self, path: str, form: dict[str, str] | aiohttp.FormData) -> int:
        """Send a form of the desk's own pages. Returns the status."""
        headers = {"origin": self.url, "cookie": f"{COOKIE}={self.token}"}
        async with (
            aiohttp.ClientSession() as client,
            client.post(self.url + path, data=form, headers=headers, allow_redirects=False) as answer,
        ):
            return answer.status


@dataclass
class Shop:
    """A running installation and the simulated WeCom beside it."""

    app: App
    wecom: WeComSimulator
    url: str
    workspace_id: int

    async def says(self, contact: str, text: str, *, answers: int = 1, within: float = 30) -> list[Any]:
        """The contact says something; returns what reached their phone because of it."""
        before = len(self.wecom.sent(contact))
        self.wecom.contact_says(contact, text)
        await until(lambda: len(self.wecom.sent(contact)) >= before + answers, within=within)
        return list(self.wecom.sent(contact)[before:])

    async def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        async with self.app.database.transaction(self.workspace_id) as tx:
            return await tx.rows(sql, **values)

    async def behaves(self, *, kind: str = "wecom_kf", account: str = OPEN_KFID, **policy: Any) -> int:
        """Give the inbox this policy, checked as an operator's file is. Returns the inbox."""
        checked = Policy.model_validate(policy).model_dump(mode="json")
        async with self.work() as tx:
            connection = await tx.value("select id from connection")
            inbox = await ensure_inbox(tx, connection, kind, account, "售后客服", now=SystemClock().now())
            await configuring.set_policy(tx, self.app.vault, inbox, checked, by=SYSTEM, now=SystemClock().now())
        return inbox

    async def agent(self, name: str = "陈默", *, member: str | None = None) -> int:
        """A colleague at the desk; `member` is their userid in WeCom."""
        async with self.work() as tx:
            id_ = await people.add_agent(
                tx, email=f"{member or 'chen'}@example.test", name=name, role=Role.AGENT, password_hash=None
            )
            await agents.change(tx, id_, accounts={"wecom": member or ""}, now=SystemClock().now())
        return id_

    async def session(self, name: str = "林晓") -> DeskSession:
        """The desk as an owner has it open."""
        async with self.work() as tx:
            id_ = await people.add_agent(tx, email="owner@example.test", name=name, role=Role.OWNER, password_hash=None)
            token = await people.open_session(tx, agent_id=id_, now=SystemClock().now())
        return DeskSession(self.url, token)

    async def conversation(self, thread: str = "wmLIXIAO") -> Any:
        """The conversation's row, by column name."""
        async with self.work() as tx:
            found = await tx.rows("select to_jsonb(c) from conversation c where external_id = %(id)s", id=thread)
        return SimpleNamespace(**found[0][0])

    async def becomes(self, status: str, thread: str = "wmLIXIAO", *, within: float = 30) -> Any:
        """Wait until the conversation has this status; returns its row."""
        return await self.eventually(
            "select to_jsonb(c) from conversation c where external_id = %(id)s and status = %(status)s",
            within=within,
            id=thread,
            status=status,
        )

    async def eventually(self, sql: str, *, within: float = 30, **values: Any) -> Any:
        """Wait until the query finds something; returns the first value found (an object, if it is one)."""
        deadline = time.monotonic() + within
        while not (rows := await self.rows(sql, **values)):
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not happen in time: {sql}")
            await asyncio.sleep(0.02)
        return SimpleNamespace(**rows[0][0]) if isinstance(rows[0][0], dict) else rows[0][0]

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Transaction]:
        async with self.app.database.transaction(self.workspace_id) as tx:
            yield tx

    async def idle(self, *, within: float = 30) -> None:
        """Wait until nothing waits any more."""

        async def quiet() -> bool:
            rows = await self.rows(
                "select 1 from message where state in ('pending', 'queued') union all "
                "select 1 from delivery where state = 'pending' union all "
                "select 1 from conversation_work where leased_by is not null union all "
                "select 1 from pull_state where leased_by is not null"
            )
            return not rows

        deadline = time.monotonic() + within
        while not await quiet():
            if time.monotonic() > deadline:
                raise AssertionError("something still waits")
            await asyncio.sleep(0.01)


async def until(condition: Callable[[], object], *, within: float = 30) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it did not happen in time")
        await asyncio.sleep(0.005)


def settings_for(folder: Path, wecom_url: str, **more: Any) -> Settings:
    usual: dict[str, Any] = {
        "zhiban_data": folder,
        "wecom_corp_id": CORP_ID,
        "wecom_agent_id": str(AGENT_ID),
        "wecom_agent_secret": SECRET,
        "wecom_token": TOKEN,
        "WECOM_ENCODING_AES_KEY": AES_KEY,
        "wecom_api_base": f"{wecom_url}/cgi-bin",
        "zhiban_secret_key": "a key for tests only",
    }
    return load(env_file=None, **{**usual, **more})


class AheadClock:
    """The real time, pushed forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return SystemClock().now() + self.ahead


@asynccontextmanager
async def running_shop(
    urls: DatabaseUrls,
    folder: Path,
    *,
    clock: Clock | None = None,
    before: Callable[[WeComSimulator], None] | None = None,
    **more: Any,
) -> AsyncIterator[Shop]:
    """A shop that is open. `before` acts on the simulated WeCom before we are connected to it."""
    wecom = WeComSimulator()
    async with wecom, served(asgi.application(wecom)) as wecom_url:
        if before is not None:
            before(wecom)
        async with opened_shop(urls, folder, wecom, wecom_url, clock=clock, **more) as found:
            yield found


@asynccontextmanager
async def opened_shop(
    urls: DatabaseUrls, folder: Path, wecom: WeComSimulator, wecom_url: str, *, clock: Clock | None = None, **more: Any
) -> AsyncIterator[Shop]:
    """A shop that is open at a WeCom that was there before and stays when the shop closes."""
    app = App.build(settings_for(folder, wecom_url, **more), urls, clock=clock)
    app.start_workers()
    async with served(application(app)) as url:
        workspace_id = (await app.database.workspaces())[0]
        shop = folder / "shop.md"
        shop.write_text(SHOP)
        async with app.database.page_transaction(workspace_id) as session:
            await knowledge.ensure_base(session, "default", "知识库")
        await knowledge.import_paths(app.database, workspace_id, "default", [shop], now=SystemClock().now())
        wecom.configure(f"{url}/wecom/callback")
        yield Shop(app, wecom, url, workspace_id)


@asynccontextmanager
async def thinking_shop(urls: DatabaseUrls, folder: Path, **more: Any) -> AsyncIterator[tuple[Shop, LlmSimulator]]:
    """A shop whose assistant has a language model."""
    model = LlmSimulator()
    async with (
        served(model.app) as address,
        running_shop(
            urls, folder, llm_api_key=KEY, llm_api_base=f"{address}/v1", llm_model="simulated", **more
        ) as shop,
    ):
        yield shop, model


@pytest.fixture(scope="session")
def shop_of_cups(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Where the first story with processes leaves a data folder with the knowledge of the cups, for all workers."""
    shared = tmp_path_factory.getbasetemp()
    return (shared if worker_id == "master" else shared.parent) / "shop-of-cups"


@pytest.fixture
async def thinking(urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[tuple[Shop, LlmSimulator]]:
    async with thinking_shop(urls, tmp_path) as found:
        yield found


@pytest.fixture
async def shop(urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Shop]:
    async with running_shop(urls, tmp_path) as found:
        yield found

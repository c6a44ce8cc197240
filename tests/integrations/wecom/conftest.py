"""A simulated platform on a real loopback socket, and the product's parts that talk to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from zhiban.integrations.wecom.api import WeComApi
from zhiban.integrations.wecom.config import WeComConfig
from zhiban.integrations.wecom.kf import KfChannel
from zhiban.kit.http import Http
from zhiban.testing.serving import served
from zhiban.testing.wecom import AES_KEY, AGENT_ID, CORP_ID, OPEN_KFID, SECRET, TOKEN, WeComSimulator, application

DELIVERIES = Path(__file__).resolve().parents[2] / "deliveries" / "wecom"


@pytest.fixture(scope="session")
def vectors() -> dict[str, Any]:
    return json.loads((DELIVERIES / "vectors.json").read_text(encoding="utf-8"))


@pytest.fixture
def deliveries() -> Path:
    return DELIVERIES


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 1, 1, 0, 0, tzinfo=UTC)


@pytest.fixture
async def sim() -> AsyncIterator[WeComSimulator]:
    async with WeComSimulator() as simulator:
        yield simulator


@pytest.fixture
async def base(sim: WeComSimulator) -> AsyncIterator[str]:
    async with served(application(sim)) as address:
        yield f"{address}/cgi-bin"


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http() as client:
        yield client


@pytest.fixture
def naps() -> list[float]:
    """How long the product wanted to sleep; it does not really."""
    return []


@pytest.fixture
def api(http: Http, base: str, naps: list[float]) -> WeComApi:
    async def nap(seconds: float) -> None:
        naps.append(seconds)

    return WeComApi(http, CORP_ID, SECRET, base, sleep=nap)


@pytest.fixture
def channel(api: WeComApi) -> KfChannel:
    return KfChannel(api, OPEN_KFID)


@pytest.fixture
def config() -> WeComConfig:
    return WeComConfig(corp_id=CORP_ID, agent_id=AGENT_ID, secret=SECRET, token=TOKEN, encoding_aes_key=AES_KEY)

"""A process is told to stop while a turn is under way: it ends soon, and the question is answered exactly once."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.stories.conftest import until
from tests.stories.cups import import_knowledge, look_into, questions

from zhiban.testing.llm import KEY, LlmSimulator, ModelFault
from zhiban.testing.process_harness import ProcessHarness, start_harness
from zhiban.testing.serving import served

LI = "wmLIXIAO"
SOON = 20.0  # seconds a stop may take: less than a service manager waits before it kills

pytestmark = pytest.mark.process


@asynccontextmanager
async def thinking_stage(shop_of_cups: Path) -> AsyncIterator[tuple[ProcessHarness, LlmSimulator]]:
    """Real processes, with a language model in ours."""
    model = LlmSimulator()
    async with (
        served(model.app) as address,
        start_harness(
            ZHIBAN_SECRET_KEY="a key for tests only",
            LLM_API_KEY=KEY,
            LLM_API_BASE=f"{address}/v1",
            LLM_MODEL="simulated",
            LLM_TIMEOUT="20",  # longer than a stop waits
        ) as found,
    ):
        await import_knowledge(found, shop_of_cups)
        await found.serve()
        yield found, model


async def stopped(found: ProcessHarness) -> float:
    """Tell the server to stop, and return the seconds that it took."""
    server = found.processes["server"]
    began = time.monotonic()
    async with asyncio.timeout(SOON * 2):
        await server.stop(signal.SIGTERM)
    assert server.child.returncode == 0, (found.folder / "server.log").read_text()[-3000:]
    return time.monotonic() - began


async def answers(found: ProcessHarness, *, within: float = 60) -> list[dict[str, Any]]:
    """Wait for an answer, then until nothing waits any more; returns everything that reached the contact."""
    deadline = time.monotonic() + within
    while not await found.control("sent", contact=LI):
        assert time.monotonic() < deadline, "the question was never answered"
        await asyncio.sleep(0.1)
    postgres, database, workspace_id = await look_into(found)
    try:
        while True:
            async with database.transaction(workspace_id) as tx:
                if not await tx.value("select count(*) from message where state in ('pending', 'queued')"):
                    break
            assert time.monotonic() < deadline, "something still waits"
            await asyncio.sleep(0.1)
    finally:
        await database.close()
        await postgres.stop()
    found_: list[dict[str, Any]] = await found.control("sent", contact=LI)
    return found_


async def test_hostile_81_a_turn_that_would_take_too_long_is_left_to_the_next_process(shop_of_cups: Path) -> None:
    async with thinking_stage(shop_of_cups) as (found, model):
        model.always = ModelFault.HANG
        await found.control("contact_says", contact=LI, text=questions()[0])
        await until(lambda: model.asked)
        assert await stopped(found) < SOON
        assert await found.control("sent", contact=LI) == []
        model.always = None
        await found.serve()
        (answer,) = await answers(found)
        assert "编号00" in answer["body"]["text"]["content"]


async def test_hostile_81_a_turn_that_ends_soon_is_waited_for(shop_of_cups: Path) -> None:
    async with thinking_stage(shop_of_cups) as (found, model):
        model.latency = 2.0
        await found.control("contact_says", contact=LI, text=questions()[0])
        await until(lambda: model.asked)
        assert await stopped(found) < SOON
        (answer,) = await found.control("sent", contact=LI)
        assert "编号00" in answer["body"]["text"]["content"]
        await found.serve()
        assert len(await answers(found)) == 1

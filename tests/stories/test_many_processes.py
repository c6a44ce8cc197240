"""One process receives, two others answer; one of them dies in the middle."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path

import pytest
from tests.stories.cups import drawn_seed, import_knowledge, look_into, questions

from zhiban.testing.process_harness import start_harness

MESSAGES = 160

pytestmark = pytest.mark.process


async def test_workers_share_the_work_and_inherit_from_the_dead(shop_of_cups: Path) -> None:
    async with start_harness(ZHIBAN_SECRET_KEY="a key for tests only") as found:
        await import_knowledge(found, shop_of_cups)
        await found.serve("server", "--no-work")
        for name in ("first", "second"):
            await found.start(name, sys.executable, "-m", "zhiban", "work")
        postgres, database, workspace_id = await look_into(found)
        try:
            await found.control("callbacks", times=3, shuffle=True, spread=0.5, delay=0.05, seed=drawn_seed())
            traffic = asyncio.create_task(
                found.control("traffic", rate=20, seconds=MESSAGES / 20, contacts=40, texts=questions(), prefix="wmTWO")
            )
            await asyncio.sleep(4)
            await found.processes["first"].stop(signal.SIGKILL)
            said = (await traffic)["said"]
            deadline = time.monotonic() + 60
            while True:
                async with database.transaction(workspace_id) as tx:
                    (incoming, waiting), *_ = await tx.rows(
                        "select count(*) filter (where direction = 'in'), "
                        "count(*) filter (where state in ('pending', 'queued')) from message"
                    )
                if incoming == len(said) and not waiting:
                    break
                assert time.monotonic() < deadline, f"{incoming} came in, {waiting} wait"
                await asyncio.sleep(0.3)
            async with database.transaction(workspace_id) as tx:
                unanswered = await tx.value("select count(*) from message where direction = 'in' and turn_id is null")
                spoken = await tx.rows("select external_id, turn_id from message where direction = 'out'")
        finally:
            await database.close()
            await postgres.stop()
        sent = [item["msgid"] for item in await found.control("sent")]
    assert unanswered == 0
    assert sorted(sent) == sorted(key for key, _ in spoken)
    assert len({turn for _, turn in spoken}) == len(spoken)

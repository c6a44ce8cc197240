"""A flow through SIGKILL: each question reaches the contact once, each answer is kept once, the end is done once.

Real processes, really killed, while contacts answer as soon as they are asked; every callback comes twice.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from typing import Any

import pytest
from tests.stories.cups import drawn_seed, look_into

from zhiban.automation import flows, service
from zhiban.automation.definition import load_definition
from zhiban.automation.flow_definition import load_flow
from zhiban.events import SYSTEM
from zhiban.kit.clock import SystemClock
from zhiban.testing.process_harness import ProcessHarness, start_harness

pytestmark = pytest.mark.process

CONTACTS = 12
KILLS = 4
ASKED = ("甲号多少？", "乙号多少？", "丙号多少？", "丁号多少？")
END = "记下了，请等同事联系。"
FLOW: dict[str, Any] = {
    "steps": [{"question": one, "name": one[0], "kind": "number"} for one in ASKED],
    "actions": [{"kind": "send_message", "text": END}, {"kind": "hand_off", "to": "people"}],
}


async def has_flow(found: ProcessHarness) -> None:
    postgres, database, workspace_id = await look_into(found)
    now = SystemClock().now()
    try:
        async with database.transaction(workspace_id) as tx:
            flow = await flows.add_flow(tx, name="登记", definition=load_flow(FLOW), enabled=True, by=SYSTEM, now=now)
            given = {"kind": "message_text", "operator": "equal", "values": ["登记"]}
            start = {"kind": "start_flow", "flow": flow}
            rule = {"on": ["message_created"], "conditions": {"conditions": [given]}, "actions": [start]}
            await service.add(tx, name="登记", definition=load_definition(rule), enabled=True, by=SYSTEM, now=now)
    finally:
        await database.close()
        await postgres.stop()


async def heard(found: ProcessHarness, contact: str) -> list[str]:
    """What stands on the contact's phone."""
    async with found.session.get(f"{found.wecom}/control/sent", params={"contact": contact}) as answer:
        sent = json.loads(await answer.read())["result"]
    return [item["body"]["text"]["content"] for item in sent]


async def answers(found: ProcessHarness, number: int) -> None:
    """The contact says what they want, and answers each question as soon as it is there."""
    contact = f"wmFLOW{number:04d}"
    await found.control("contact_says", contact=contact, text="登记")
    for place in range(len(ASKED) + 1):
        deadline = time.monotonic() + 90
        while len(await heard(found, contact)) <= place:
            assert time.monotonic() < deadline, f"{contact} was not asked {ASKED[place:][:1]}"
            await asyncio.sleep(0.05)
        if place < len(ASKED):
            await found.control("contact_says", contact=contact, text=f"{number}{place}号")


async def test_each_question_and_the_end_come_once_through_four_kills() -> None:
    chance = random.Random(drawn_seed())
    async with start_harness(ZHIBAN_SECRET_KEY="a key for tests only") as found:
        await found.serve()
        await found.processes["server"].stop()
        await has_flow(found)
        await found.serve()
        await found.control("callbacks", times=2, shuffle=True, spread=0.5, delay=0.1, seed=chance.randrange(10**6))
        await found.control("fail", path="kf/send_msg", latency=0.1, times=None)
        talking = [asyncio.create_task(answers(found, number)) for number in range(1, CONTACTS + 1)]
        for _ in range(KILLS):
            await asyncio.sleep(chance.uniform(0.3, 1.2))
            await found.processes["server"].stop(signal.SIGKILL)
            await found.serve()
        await asyncio.gather(*talking)
        await found.control("settle")
        for number in range(1, CONTACTS + 1):
            assert await heard(found, f"wmFLOW{number:04d}") == [*ASKED, END]
        await found.processes["server"].stop()
        postgres, database, workspace_id = await look_into(found)
        try:
            async with database.transaction(workspace_id) as tx:
                runs = await tx.rows("select outcome, jsonb_array_length(answers) from flow_run")
                notes = await tx.values("select text from message where kind = 'note' order by text")
                states = await tx.rows("select status, flow_run_id from conversation")
                handed = await tx.value("select count(*) from event where kind = 'conversation_handed_off'")
        finally:
            await database.close()
            await postgres.stop()
    assert runs == [("finished", len(ASKED))] * CONTACTS
    told = [
        "登记\n" + "\n".join(f"{one[0]}：{number}{place}" for place, one in enumerate(ASKED))
        for number in range(1, CONTACTS + 1)
    ]
    assert notes == sorted(told)
    assert states == [("open", None)] * CONTACTS
    assert handed == CONTACTS

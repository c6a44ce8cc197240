"""The promise: none lost, none answered twice, order kept, and never a word over a person's head.

Real processes, really killed. WeCom delivers every callback three times, each copy at a time of its own, and answers
badly. Chance is drawn anew in every run; its number is printed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from tests.stories.cups import drawn_seed, import_knowledge, look_into, questions
from tests.tickets.github_app import eventually

from zhiban.people import service as people
from zhiban.people.models import Role
from zhiban.testing.process_harness import ProcessHarness, start_harness

MESSAGES = 500
RATE = 20
CONTACTS = 100

pytestmark = pytest.mark.process


@pytest.fixture
async def open_stage(shop_of_cups: Path) -> AsyncIterator[ProcessHarness]:
    async with start_harness(ZHIBAN_SECRET_KEY="a key for tests only") as found:
        await import_knowledge(found, shop_of_cups)
        await found.serve()
        yield found


def postmaster(found: ProcessHarness) -> int:
    pid = (found.folder / "data" / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0]
    return int(pid)


async def bad_luck(found: ProcessHarness, seconds: float, chance: random.Random) -> None:
    """Kill the server three times and PostgreSQL once, spread over the traffic, and let WeCom misbehave."""
    await found.control("clear_faults", seed=chance.randrange(10**6))
    await found.control("fail", path="kf/send_msg", latency=0.08, times=None)
    await found.control("fail", path="kf/send_msg", errcode=-1, accept=True, probability=0.03, times=None)
    await found.control("fail", path="kf/send_msg", status=502, probability=0.03, times=None)
    for number in range(4):
        await asyncio.sleep(seconds / 5 + chance.uniform(-0.5, 0.5))
        await found.control("expire_tokens", forget=bool(number % 2))
        if number == 2:
            os.kill(postmaster(found), signal.SIGKILL)
        else:
            await found.processes["server"].stop(signal.SIGKILL)
            await found.serve()
    await found.control("fail", path="kf/send_msg", errcode=45009)


async def agent_cookie(found: ProcessHarness) -> dict[str, str]:
    postgres, database, workspace_id = await look_into(found)
    try:
        async with database.page_transaction(workspace_id) as tx:
            agent = await people.add_agent(
                tx, email="chen@example.test", name="陈默", role=Role.AGENT, password_hash=None
            )
            token = await people.open_session(tx, agent_id=agent, now=datetime.now(UTC))
    finally:
        await database.close()
        await postgres.stop()
    return {"zhiban_session": token}


async def take_over(found: ProcessHarness, cookie: dict[str, str], contacts: Sequence[str]) -> None:
    """An agent answers some contacts from the desk while the assistant is at work."""
    postgres, database, workspace_id = await look_into(found)
    try:
        ids: dict[str, int] = {}

        async def all_known() -> bool:  # a slow machine may be seconds behind
            async with database.transaction(workspace_id) as tx:
                rows = await tx.rows("select external_id, id from conversation")
            ids.update((str(external), int(id_)) for external, id_ in rows)
            return ids.keys() >= set(contacts)

        await eventually(all_known)
    finally:
        await database.close()
        await postgres.stop()
    async with aiohttp.ClientSession(cookies=cookie) as session:
        for contact in contacts:
            headers = {"Origin": found.server, "Sec-Fetch-Site": "same-origin"}
            form = {"text": f"我是陈默，{contact}，我来处理。", "key": f"k{contact}"}
            async with session.post(
                f"{found.server}/conversations/{ids[contact]}/replies", data=form, headers=headers
            ) as answer:
                assert answer.status == 204, await answer.text()


async def settle(found: ProcessHarness, *, within: float = 150) -> list[tuple[Any, ...]]:
    """Wait until no message waits, then return all messages."""
    postgres, database, workspace_id = await look_into(found)
    try:
        deadline = asyncio.get_running_loop().time() + within
        while True:
            async with database.transaction(workspace_id) as tx:
                waiting = await tx.value(
                    "select (select count(*) from message where state in ('pending', 'queued')) "
                    "+ (select count(*) from delivery where state = 'pending')"
                )
                count = await tx.value("select count(*) from message where direction = 'in'")
            if not waiting and count >= MESSAGES:
                break
            assert asyncio.get_running_loop().time() < deadline, f"{waiting} still wait, {count} came in"
            await asyncio.sleep(0.5)
        async with database.transaction(workspace_id) as tx:
            return await tx.rows(
                "select c.external_id, m.direction, m.author, m.state, m.text, m.external_id, m.turn_id "
                "from message m join conversation c on c.workspace_id = m.workspace_id and c.id = m.conversation_id "
                "order by m.id"
            )
    finally:
        await database.close()
        await postgres.stop()


async def test_five_hundred_messages_through_four_kills(open_stage: ProcessHarness) -> None:
    found, chance = open_stage, random.Random(drawn_seed())
    cookie = await agent_cookie(found)
    await found.control("callbacks", times=3, shuffle=True, spread=1.0, delay=0.2, seed=chance.randrange(10**6))
    asked = questions()
    seconds = MESSAGES / RATE
    traffic = asyncio.create_task(
        found.control("traffic", rate=RATE, seconds=seconds, contacts=CONTACTS, texts=asked, prefix="wmLOAD")
    )
    await asyncio.sleep(3)
    mine = [f"wmLOAD{number:06d}" for number in range(5)]
    await take_over(found, cookie, mine)
    await bad_luck(found, seconds, chance)
    said = (await traffic)["said"]
    assert len(said) == MESSAGES
    await found.control("settle")
    assert (await found.control("callbacks"))["disorder"] > MESSAGES / 2  # copies that overtook the one before
    rows = await settle(found)
    sent = await found.control("sent")

    # None lost: every message is stored exactly once and was looked at.
    incoming = [row for row in rows if row[1] == "in"]
    assert sorted(row[5] for row in incoming) == sorted(said)
    assert {row[3] for row in incoming} == {"handled"}
    per_contact = defaultdict(list)
    for contact, direction, *rest in rows:
        if direction == "in":
            per_contact[contact].append(rest)
    for contact, messages in per_contact.items():
        if contact not in mine:
            assert all(message[4] is not None for message in messages), "answered by nobody"

    # None twice: what reached a phone has its own key, and each turn spoke once.
    keys = [item["msgid"] for item in sent]
    assert len(keys) == len(set(keys))
    replies = [row for row in rows if row[1] == "out"]
    assert {row[3] for row in replies} <= {"sent", "dropped"}, [row for row in replies if row[3] != "sent"]
    assert sorted(row[5] for row in replies if row[3] == "sent") == sorted(keys)
    turns = [row[6] for row in replies if row[2] == "assistant"]
    assert len(turns) == len(set(turns))

    # In order: the answers of a contact follow their questions.
    for contact in per_contact:
        if contact in mine:
            continue
        order = [number for row in per_contact[contact] if (number := asked.index(row[2])) >= 0]
        numbers = [
            int(text.split("编号")[1][:2])
            for item in sent
            if item["contact"] == contact and "编号" in (text := json.dumps(item["body"], ensure_ascii=False))
        ]
        remaining = iter(order)
        assert all(number in remaining for number in numbers), (contact, order, numbers)

    # Never over a person's head.
    for contact in mine:
        words = [json.dumps(item["body"], ensure_ascii=False) for item in sent if item["contact"] == contact]
        person = next(number for number, text in enumerate(words) if "我是陈默" in text)
        assert len(words) == person + 1, words
    assert psutil.pid_exists(found.processes["server"].pid)

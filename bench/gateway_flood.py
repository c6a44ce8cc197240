"""A flood through a real Wechaty gateway: 200 messages a second over 50 groups for a minute, all stored in order; and
commands in the middle of it, each answered with a draft.

Needs the gateway that `make setup` fetches. Prints how long after a message was said it was stored, beside the floor:
how long the gateway alone takes to hand over as many, measured in the same run; and how long after a command its
group read the draft. Exits with 1 where a message was lost or out of order, or a command was answered late or never.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.integrations.wechaty import gateways

from zhiban import bootstrap
from zhiban.channels.service import connect
from zhiban.container import App, ensure_default
from zhiban.integrations.wechaty.config import WechatyConfig
from zhiban.integrations.wechaty.vendor import WechatyVendor
from zhiban.kit.background_tasks import cancelled
from zhiban.kit.clock import SystemClock
from zhiban.kit.http import Http
from zhiban.kit.settings import load
from zhiban.ports import IncomingMessage
from zhiban.postgres.provisioning import migrate, provision_bundled
from zhiban.postgres.supervisor import BundledPostgres

LI, WANG = "wxid_li", "wxid_wang"
COMMANDS = 2  # a second, in all groups together
FIRST_COMMAND = 2.0  # seconds after which something was said everywhere
P95_LIMIT = 1000.0  # milliseconds within which 95 of 100 commands are to be answered
STORED_WITHIN = 120.0  # seconds after the last message was said


def _late(text: str, at: float) -> float:
    """Milliseconds since the message was said: its text carries when."""
    return at * 1000 - float(text.split()[2])


async def _floor(gateway: gateways.Gateway, rooms: list[str], rate: int) -> list[float]:
    """What the gateway and reading it take, with nothing stored: for five seconds."""
    wanted: int = rate * 5
    late: list[float] = []
    complete = asyncio.Event()

    async def listen() -> None:
        async with Http() as http:
            vendor = WechatyVendor(http, WechatyConfig(**gateway.config()), SystemClock())
            async for batch in vendor.listen():
                now = time.time()
                late.extend(_late(one.item.text, now) for one in batch if isinstance(one.item, IncomingMessage))
                if len(late) >= wanted:
                    complete.set()

    listening = asyncio.create_task(listen())
    await asyncio.sleep(2)
    await gateway.play("flood", n=wanted, rooms=rooms, talker=LI, rate=rate)
    async with asyncio.timeout(60):
        await complete.wait()
    await cancelled([listening])
    return late


async def _commands(gateway: gateways.Gateway, rooms: list[str], seconds: float) -> list[float | None]:
    """Milliseconds until each command was answered, None for one that was not."""
    said: dict[str, list[float]] = {}
    await asyncio.sleep(FIRST_COMMAND)
    began = asyncio.get_running_loop().time()
    for number in range(int((seconds - FIRST_COMMAND) * COMMANDS)):
        await asyncio.sleep(max(0.0, began + number / COMMANDS - asyncio.get_running_loop().time()))
        room = rooms[number % len(rooms)]
        said.setdefault(room, []).append(time.time() * 1000)
        await gateway.says(WANG, "以上5条开工单", room=room)
    wanted, deadline = sum(map(len, said.values())), asyncio.get_running_loop().time() + 30
    sent = await gateway.sent()
    while len(sent) < wanted and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.2)
        sent = await gateway.sent()
    heard: dict[str, list[float]] = {}
    for one in sent:
        if "草稿" in one["text"]:
            heard.setdefault(one["to"], []).append(one["at"])
    return [
        answered - asked if answered is not None else None
        for room, times in said.items()
        for asked, answered in itertools.zip_longest(times, heard.get(room, [])[: len(times)])
    ]


def failures(numbers: Mapping[int, Sequence[int]], wanted: int, answered: Sequence[float | None]) -> list[str]:
    """What is wrong with a run: the numbers of the messages stored for each group, as they were stored; the
    milliseconds until each command was answered, None for one that was not."""
    found = []
    every = sorted(number for one in numbers.values() for number in one)
    if every != list(range(wanted)):
        found.append(f"{wanted - len(set(every))} of {wanted} messages lost, {len(every) - len(set(every))} doubled")
    if any(list(one) != sorted(one) for one in numbers.values()):
        found.append("messages out of order")
    times = sorted(math.inf if one is None else one for one in answered)
    if not times or times[int(len(times) * 0.95)] > P95_LIMIT:
        found.append(f"not 95 of 100 commands were answered within {P95_LIMIT:.0f} ms")
    return found


async def _flood(
    app: App, workspace_id: int, gateway: gateways.Gateway, rooms: list[str], rate: int, n: int
) -> list[str]:
    began = time.perf_counter()
    cpu = sum(os.times()[:2])
    talking = asyncio.create_task(gateway.play("flood", n=n, rooms=rooms, talker=LI, rate=rate))
    answered = await _commands(gateway, rooms, n / rate)
    await talking
    stored = 0
    with contextlib.suppress(TimeoutError):  # what is missing then is lost
        async with asyncio.timeout(STORED_WITHIN):
            while stored < n:
                async with app.database.transaction(workspace_id) as tx:
                    stored = int(
                        await tx.value("select count(*) from message where direction = 'in' and text like 'm %'")
                    )
                await asyncio.sleep(0.1)
    took = time.perf_counter() - began
    async with app.database.transaction(workspace_id) as tx:
        rows = await tx.rows(
            "select conversation_id, text, extract(epoch from created_at)::float from message "
            "where direction = 'in' and text like 'm %' order by id"
        )
    numbers: dict[int, list[int]] = {}
    for conversation_id, text, _ in rows:
        numbers.setdefault(conversation_id, []).append(int(text.split()[1]))
    late = sorted(_late(text, at) for _, text, at in rows)
    print(f"stored {stored} of {n} in {len(numbers)} groups within {took:.1f} s")
    print(f"in order in every group: {all(found == sorted(found) for found in numbers.values())}")
    print(
        f"late: p50 {statistics.median(late):.0f} ms, p99 {late[int(len(late) * 0.99)]:.0f} ms, most {late[-1]:.0f} ms"
    )
    times = sorted(math.inf if one is None else one for one in answered)
    print(f"commands: {sum(map(math.isfinite, times))} of {len(times)} answered", end="")
    print(
        f", p50 {statistics.median(times):.0f} ms, p95 {times[int(len(times) * 0.95)]:.0f} ms, most {times[-1]:.0f} ms"
    )
    print(f"processor: {(sum(os.times()[:2]) - cpu) / n * 1000:.2f} ms of ours for each message")
    return failures(numbers, n, answered)


async def main(rate: int, seconds: int, groups: int) -> list[str]:
    gateway = gateways.fresh()
    with tempfile.TemporaryDirectory(prefix="zhiban-bench-") as folder:
        postgres = BundledPostgres(Path(folder) / "postgres")
        server = await postgres.start()
        try:
            urls = await provision_bundled(server.superuser, "zhiban")
            await migrate(urls)
            rooms = [f"r{number}@chatroom" for number in range(groups)]
            await gateway.play("login")
            for room in rooms:
                await gateway.play("room", id=room, topic=room, memberIdList=[LI, WANG, gateways.BOT])
            floor = sorted(await _floor(gateway, rooms, rate))
            print(f"floor: p50 {statistics.median(floor):.0f} ms, p99 {floor[int(len(floor) * 0.99)]:.0f} ms")
            settings = load(env_file=None, zhiban_data=Path(folder), zhiban_secret_key="a key for benchmarks only")
            app = App.build(settings, urls)
            app.start_workers()
            async with app:
                workspace_id = await ensure_default(app)
                async with app.database.transaction(workspace_id) as tx:
                    integration = bootstrap.CHANNELS["wechaty"]
                    await connect(tx, app.vault, integration, gateway.config(), now=SystemClock().now())
                state = ""
                while state != "online":
                    await asyncio.sleep(0.1)
                    async with app.database.transaction(workspace_id) as tx:
                        state = str(await tx.value("select state from gateway_state"))
                return await _flood(app, workspace_id, gateway, rooms, rate, rate * seconds)
        finally:
            await postgres.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--groups", type=int, default=50)
    chosen = parser.parse_args()
    wrong = asyncio.run(main(chosen.rate, chosen.seconds, chosen.groups))
    print("\n".join(f"FAILED: {one}" for one in wrong) or "passed")
    sys.exit(1 if wrong else 0)

"""A flood through a real Wechaty gateway: 200 messages a second over 50 groups for a minute, all stored in order.

Needs the gateway that `make setup` fetches. Prints how long after a message was said it was stored, beside the floor:
how long the gateway alone takes to hand over as many, measured in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
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

LI = "wxid_li"


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


async def _flood(app: App, workspace_id: int, gateway: gateways.Gateway, rooms: list[str], rate: int, n: int) -> None:
    began = time.perf_counter()
    cpu = sum(os.times()[:2])
    await gateway.play("flood", n=n, rooms=rooms, talker=LI, rate=rate)
    stored = 0
    async with asyncio.timeout(120):
        while stored < n:
            async with app.database.transaction(workspace_id) as tx:
                stored = int(await tx.value("select count(*) from message where direction = 'in'"))
            await asyncio.sleep(0.1)
    took = time.perf_counter() - began
    async with app.database.transaction(workspace_id) as tx:
        rows = await tx.rows(
            "select conversation_id, text, extract(epoch from created_at)::float from message "
            "where direction = 'in' order by id"
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
    print(f"processor: {(sum(os.times()[:2]) - cpu) / n * 1000:.2f} ms of ours for each message")


async def main(rate: int, seconds: int, groups: int) -> None:
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
                await gateway.play("room", id=room, topic=room, memberIdList=[LI, gateways.BOT])
            floor = sorted(await _floor(gateway, rooms, rate))
            print(f"floor: p50 {statistics.median(floor):.0f} ms, p99 {floor[int(len(floor) * 0.99)]:.0f} ms")
            settings = load(_env_file=None, zhiban_data=Path(folder), zhiban_secret_key="a key for benchmarks only")
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
                await _flood(app, workspace_id, gateway, rooms, rate, rate * seconds)
        finally:
            await postgres.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--groups", type=int, default=50)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.rate, chosen.seconds, chosen.groups))

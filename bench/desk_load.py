"""Fifty agents at their desks while messages come in: lists, counts and how soon a message is on the others' screens.

    python bench/desk_load.py [--agents 50] [--rates 10,50] [--seconds 30] [--pending 200000] [--open 5000]

The product and the simulated WeCom are processes of their own. Each desk does what its page does: it follows the
stream, fetches its list at the pace of `live.js`, and the open conversation with each change. Two agents have each
watched conversation open; one message in ten is for those. The floor is the same desk alone, before anything comes in.
Everything shares the machine with the desks themselves, so their cost is in the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import sys
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp

from desk_lists import fill, tidy
from harness import percentile, shop_faq, shop_questions, show, summary
from material import Stand
from zhiban.conversations import lists, service
from zhiban.conversations.list_models import Queue, StatusTab
from zhiban.kit.background_tasks import cancelled
from zhiban.kit.db import Database
from zhiban.people.auth import COOKIE
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.people.service import add_agent, open_session
from zhiban.postgres.provisioning import provision_bundled
from zhiban.postgres.supervisor import BundledPostgres
from zhiban.testing.process_harness import ProcessHarness, start_harness

PACE, PACE_MINE, PACE_NUMBERS, PACE_SLOWEST = 1.0, 0.2, 3.0, 10.0  # as in live.js
ROW = re.compile(r'id="row-(\d+)"')
WORKSPACE = 1


@dataclass
class Desk:
    """One agent's open page."""

    agent_id: int
    session: aiohttp.ClientSession
    server: str
    open_id: int = 0
    lists: list[float] = field(default_factory=list)
    awaited: dict[str, float] = field(default_factory=dict)  # when each message was written
    seen: list[float] = field(default_factory=list)  # how long it took to be on this screen
    refreshed: asyncio.Event = field(default_factory=asyncio.Event)  # the open conversation was fetched
    _rows: frozenset[int] = frozenset()  # on the screen
    _list_at: float = -1e9
    _took: float = 0.0
    _due: float | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _thread_asked: bool = False
    # As in the page, where htmx keeps one request for each part under way and one more waiting.
    _list_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _thread_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        await cancelled(list(self._tasks))
        await self.session.close()

    def open(self) -> None:
        self._begin(self._follow())

    async def _follow(self) -> None:
        async with self.session.get(f"{self.server}/stream") as stream:
            async for raw in stream.content:
                if raw.startswith(b"data: "):
                    said = json.loads(raw[6:])
                    if said["everything"] or said["conversations"]:
                        numbers = not (said["everything"] or said["mine"] or said["unclaimed"]) and (
                            self._rows.isdisjoint(said["conversations"])
                        )
                        self.refresh_list(mine=said["mine"], numbers=numbers, spread=said["spread"] / 1000)
                        if self.open_id in said["conversations"] or said["everything"]:
                            self._begin(self.refresh_thread())

    def refresh_list(self, *, mine: bool, numbers: bool, spread: float) -> None:
        now = time.monotonic()
        usual = PACE_NUMBERS * (1 + random.random() / 3) if numbers else PACE
        spread *= 3 if numbers else 1
        pace = max(PACE_MINE, self._took * 4) if mine else max(usual, self._took * 20)
        due = max(now + 0.03 + (0 if mine else random.random() * spread), self._list_at + min(pace, PACE_SLOWEST))
        if self._due is None or due < self._due:
            self._due = due
            self._begin(self.fetch_list(due))

    async def fetch_list(self, due: float) -> None:
        await asyncio.sleep(due - time.monotonic())
        if self._due != due:
            return  # another one came before it
        async with self._list_lock:
            self._due = None
            await self.fetch_now()

    async def fetch_now(self) -> None:
        self._list_at = time.monotonic()
        async with self.session.get(f"{self.server}/desk/list?queue=mine&status=open&limit=50&live=true") as answer:
            self._rows = frozenset(map(int, ROW.findall(await answer.text())))
            if answer.status != 200:
                raise RuntimeError(f"a list answered {answer.status}")
        self._took = time.monotonic() - self._list_at
        self.lists.append(self._took * 1000)

    async def refresh_thread(self) -> None:
        if self._thread_asked:
            return
        self._thread_asked = True
        await asyncio.sleep(0.02)
        async with self._thread_lock:
            self._thread_asked = False
            address = f"{self.server}/conversations/{self.open_id}/live?queue=mine&status=open"
            async with self.session.get(address) as answer:
                page = await answer.text()
        now = time.monotonic()
        for text in [text for text in self.awaited if text in page]:
            self.seen.append((now - self.awaited.pop(text)) * 1000)
        self.refreshed.set()


async def seats(found: ProcessHarness, database: Database, count: int) -> list[Desk]:
    """Agents who are signed in, each with a watched conversation open that two share."""
    desks = []
    now = datetime.now(UTC)
    for number in range(count):
        async with database.transaction(WORKSPACE) as tx:
            agent_id = await add_agent(
                tx, email=f"load{number}@bench.example", name=f"值{number}", role=Role.AGENT, password_hash=None
            )
            token = await open_session(tx, agent_id=agent_id, now=now)
        session = aiohttp.ClientSession(cookies={COOKIE: token}, timeout=aiohttp.ClientTimeout(total=None))
        desks.append(Desk(agent_id, session, found.server))
    for number in range(0, count, 2):
        await found.control("contact_says", contact=f"wmWATCH{number}", text="转人工")
    for number, desk in enumerate(desks):
        watched = f"wmWATCH{number // 2 * 2}"
        while not desk.open_id:
            async with database.transaction(WORKSPACE) as tx:
                desk.open_id = (
                    await tx.value("select id from conversation where external_id = %(id)s", id=watched)
                ) or 0
                if desk.open_id and number % 2 == 0:
                    await service.take(tx, desk.open_id, by=desk.agent_id, now=datetime.now(UTC))
            await asyncio.sleep(0.05)
    return desks


async def load(found: ProcessHarness, desks: Sequence[Desk], rate: float, seconds: float, run: str) -> float:
    """Messages for `seconds`, one in ten for the watched conversations. Returns the seconds until all were seen."""
    for desk in desks:
        desk.lists, desk.seen = [], []
    began = time.monotonic()
    others = asyncio.create_task(
        found.control(
            "traffic", rate=rate * 0.9, seconds=seconds, contacts=10**6, texts=shop_questions(), prefix=f"wm{run}"
        )
    )
    count = int(rate * seconds / 10)
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number * seconds / count - time.monotonic()))
        pair = number % (len(desks) // 2) * 2
        text = f"{run}·{number}·"
        for desk in desks[pair : pair + 2]:
            desk.awaited[text] = time.monotonic()
        await found.control("contact_says", contact=f"wmWATCH{pair}", text=text)
    await others
    for desk in desks:
        while desk.awaited and time.monotonic() < began + seconds + 60:
            with suppress(TimeoutError):
                await asyncio.wait_for(desk.refreshed.wait(), 1)
            desk.refreshed.clear()
    return time.monotonic() - began - seconds


async def right(database: Database, desks: Sequence[Desk]) -> int:
    """How many desks show another number than there is."""
    wrong = 0
    for desk in desks:
        async with database.transaction(WORKSPACE) as tx:
            access = Access(desk.agent_id, Role.AGENT)
            listed = await lists.conversation_list(tx, access, queue=Queue.MINE, tab=StatusTab.OPEN)
        async with desk.session.get(f"{desk.server}/desk/list?queue=mine&status=open&live=true") as answer:
            page = await answer.text()
        wrong += page.count('class="conv"') != len(listed.waiting) + len(listed.rest)
    return wrong


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--rates", default="10,50")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--pending", type=int, default=200_000)
    parser.add_argument("--open", type=int, default=5_000)
    chosen = parser.parse_args()
    async with start_harness() as found:
        await found.serve()
        importing = await found.start(
            "import", sys.executable, "-m", "zhiban", "kb", "import", str(shop_faq(found.folder))
        )
        if await importing.child.wait():
            raise RuntimeError((found.folder / "import.log").read_text())
        postgres = BundledPostgres(found.folder / "data" / "postgres")
        urls = await provision_bundled((await postgres.start()).superuser)
        async with Database(urls.app) as database:
            bench = Stand(database, WORKSPACE, found.folder, urls.owner)
            await fill(bench, {"pending": chosen.pending, "open": chosen.open}, 1)
            async with database.transaction(WORKSPACE) as tx:
                # Nothing resolves itself meanwhile.
                await tx.run("update inbox set policy = policy || %(set)s::jsonb where kind = 'bench'", set=NEVER)
                await tx.run(INDEXED)
            await tidy(bench)
            server = found.processes["server"]
            before = server.memory()
            desks = await seats(found, database, chosen.agents)
            for desk in desks:
                desk.open()
            await asyncio.sleep(3)
            memory = (server.memory() - before) / len(desks)
            alone = desks[0]
            await load(found, desks, 10, 5, "warm")  # the first of everything: templates, plans, the encoder
            alone.lists = []
            for _ in range(20):
                await alone.fetch_now()
            floor = statistics.median(alone.lists)
            rows = [("a list, alone (floor)", f"{floor:.1f} ms"), ("memory", f"{memory:.2f} MB a desk")]
            for rate in map(float, chosen.rates.split(",")):
                own = server.cpu()
                late = await load(found, desks, rate, chosen.seconds, f"r{rate:.0f}")
                fetched = [one for desk in desks for one in desk.lists]
                seen = [one for desk in desks for one in desk.seen]
                missing = sum(len(desk.awaited) for desk in desks)
                rows.append(
                    (
                        f"{rate:.0f}/s",
                        f"lists {summary(fetched)} ms = {percentile(fetched, 0.95) / floor:.1f} × floor (p95), "
                        f"{len(fetched) / chosen.seconds:.0f} a second; messages on the screen {summary(seen)} ms, "
                        f"{missing} missing; server {(server.cpu() - own) / (chosen.seconds + late) * 100:.0f} % of a "
                        f"core; all seen {late:.1f} s after the last",
                    )
                )
            wrong = await right(database, desks)
            rows.append(("lists that are wrong afterwards", str(wrong)))
            show(f"{chosen.agents} desks, {chosen.pending:,} pending and {chosen.open:,} open", rows)
            for desk in desks:
                await desk.close()
        await postgres.stop()
    return int(bool(wrong))


# What was written all at once has no part in this: its search index would be built for minutes meanwhile.
INDEXED = """
update search_progress set indexed_to = newest, settled_to = newest, settling_to = newest, backfilled_to = 1,
  contacts_to = (select max(id) from contact)
from (select max(id) as newest from message) found"""
NEVER = json.dumps({"auto_resolve": {"answered_hours": None, "open_hours": None}})

if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

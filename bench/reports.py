"""How fast reports answer over a long history, and how fast that history is counted.

    python bench/reports.py [--events 1000000] [--days 90] [--times 12]

Conversations as they go (asked, answered by the assistant, or handed over, taken, answered, labelled, resolved, some
resumed) are written into the log of a fresh installation and counted by the product's own counter. Then whole reports
are read as the page reads them, through the application's role with row-level security forced. The floor is a plain
count of the events of one kind by day, over the same history and in turn with each report: the least that a report
without sums would have to read. Fails when the longest report takes more than half a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from harness import percentile, show
from material import Stand, stand
from zhiban.conversations import changes as c
from zhiban.conversations.decisions import decide
from zhiban.conversations.evolution import born
from zhiban.events import ASSISTANT, Actor, ConversationCreated, ConversationEvent
from zhiban.insights.models import ReportClock
from zhiban.insights.periods import period
from zhiban.insights.queries import Dimension, ReportFilter, ReportQuery
from zhiban.insights.report import report
from zhiban.kit import event_log
from zhiban.kit.clock import SetClock
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.workers.report_counter import ReportCounter

NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")
LIMIT = 500.0  # ms
AGENTS, INBOXES, TEAMS, LABELS = 50, 5, 6, 20
STORIES = 400  # different ones
BATCH = 20_000  # events
ALL = Access(1, Role.OWNER)
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_HOURS = (*range(9, 23), *range(9, 18), *range(10, 12), *range(14, 17))  # when people write
_INSERT = event_log._INSERT.format(condition="true")


def story(dice: random.Random) -> list[dict[str, Any]]:
    """The facts of one conversation, as rows of the log, beginning at EPOCH."""
    contact = Actor("contact", 1)
    created = ConversationCreated(
        actor=contact, at=EPOCH, conversation_id=1, inbox_id=1, contact_id=1, cycle=1, status="pending", thread="t"
    )
    state, events, at, serial = born(created), [created], EPOCH, 0
    team, label = dice.randrange(1, TEAMS + 1), dice.randrange(1, LABELS + 1)
    agent = Actor("agent", dice.randrange(1, AGENTS + 1))

    def happens(change: c.Change, by: Actor, after: float) -> None:
        nonlocal state, at
        at += timedelta(seconds=after)
        decided = decide(state, change, at, actor=by)
        state = decided.state
        events.extend(decided.events)  # type: ignore[arg-type]

    def writes(after: float) -> None:
        nonlocal serial
        serial += 1
        moment = at + timedelta(seconds=after)
        happens(c.MessagesArrived((c.Arrived(serial, moment, contact),)), contact, after)

    for cycle in range(dice.choice((1, 1, 1, 2))):
        writes(dice.uniform(0, 9) if cycle == 0 else dice.uniform(3_000, 90_000))
        for _ in range(dice.randrange(1, 4)):
            happens(c.QueueReply((serial + 1,), helped=True), ASSISTANT, dice.uniform(1, 5))
            writes(dice.uniform(20, 200))
        if dice.random() < 0.6:
            happens(c.HandOffToPeople("asked"), ASSISTANT, dice.uniform(1, 4))
            if dice.random() < 0.4:
                happens(c.AssignTeam(team), Actor("rule", 1), 0)
            happens(c.Assign(agent.id), agent, dice.lognormvariate(4, 1))
            for _ in range(dice.randrange(1, 5)):
                happens(c.QueueReply((serial + 1,), from_person=True), agent, dice.lognormvariate(4.5, 1))
                writes(dice.lognormvariate(4, 1))
            if dice.random() < 0.5:
                happens(c.ChangeLabels(add=frozenset({label})), agent, 3)
            happens(c.Resolve("agent"), agent, dice.lognormvariate(6, 1))
            happens(c.Assign(None, "rule"), Actor("rule", 1), 0)
        else:
            happens(c.Resolve("idle"), ASSISTANT, 3600)
    return [_row(event) for event in events]


def _row(event: ConversationEvent) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(event_log.facts([event]))[0]
    row["after"] = (event.at - EPOCH).total_seconds()
    return row


async def fill(found: Stand, events: int, days: int) -> int:
    """Writes conversations into the log in the order of time, until there are so many events. Returns how many."""
    dice = random.Random(7)
    stories = [story(dice) for _ in range(STORIES)]
    began = NOW - timedelta(days=days)
    plan: list[tuple[float, int, int, int]] = []  # when, which conversation, which story, which row of it
    made = 0
    conversation = 0
    while made < events:
        conversation += 1
        chosen = dice.randrange(STORIES)
        day = dice.randrange(days)
        start = day * 86_400 + dice.choice(_HOURS) * 3600 - 8 * 3600 + dice.uniform(0, 3600)
        plan += [(start + row["after"], conversation, chosen, number) for number, row in enumerate(stories[chosen])]
        made += len(stories[chosen])
    plan.sort()
    for first in range(0, len(plan), BATCH):
        rows = []
        for at, number, chosen, which in plan[first : first + BATCH]:
            row = dict(stories[chosen][which])
            del row["after"]
            row |= {"conversation_id": number, "contact_id": number, "inbox_id": 1 + number % INBOXES}
            row["at"] = (began + timedelta(seconds=at)).isoformat()
            rows.append(row)
        async with found.database.page_transaction(found.workspace) as tx:
            await tx.run("set local statement_timeout = 0")
            await tx.run(_INSERT.removesuffix(" returning id"), workspace=tx.workspace_id, facts=json.dumps(rows))
    async with found.database.page_transaction(found.workspace) as tx:
        connection = await tx.value(
            "insert into connection (workspace_id, public_id, vendor, name, secrets) "
            "values (%(w)s, 'bench', 'bench', 'Bench', '') returning id",
            w=found.workspace,
        )
        for number in range(INBOXES):
            await tx.run(
                "insert into inbox (workspace_id, public_id, connection_id, kind, external_id, name) "
                "values (%(w)s, %(n)s, %(connection)s, 'bench', %(n)s, 'Bench')",
                w=found.workspace,
                n=f"bench{number}",
                connection=connection,
            )
    return len(plan)


async def timed(times: int, ask: Callable[[], Awaitable[object]]) -> list[float]:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await ask()
        taken.append((time.perf_counter() - began) * 1000)
    return taken


async def bench(events: int, days: int, times: int) -> bool:
    async with stand() as found:
        began = time.perf_counter()
        written = await fill(found, events, days)
        print(f"{written:,} events written in {time.perf_counter() - began:.0f} s", flush=True)
        counter = ReportCounter(found.database, SetClock(NOW))
        began, server, here = time.perf_counter(), found.postgres_cpu(), time.process_time()
        for _ in range(2):
            await counter.run_once(pause=0, settling=timedelta(0))
        took = time.perf_counter() - began
        server, here = found.postgres_cpu() - server, time.process_time() - here
        async with await psycopg.AsyncConnection.connect(found.owner, autocommit=True) as owner:
            await owner.execute("vacuum (analyze) report_sum, report_conversation, event")
        async with found.database.page_transaction(found.workspace) as tx:
            counted = await tx.value("select counted_to from report_progress")
            sums, size = await tx.row(  # type: ignore[misc]
                "select count(*), pg_total_relation_size('report_sum') / 1e6 from report_sum"
            )
        assert counted >= written, (counted, written)
        used = f"processor for each: here {here / written * 1e6:.0f} us, server {server / written * 1e6:.0f} us"
        print(f"counted in {took:.0f} s, {written / took:,.0f}/s: {sums:,} sums, {size:.0f} MB; {used}", flush=True)

        async def plain() -> None:
            async with found.database.page_transaction(found.workspace) as tx:
                await tx.rows(
                    "select date_trunc('day', at, 'Asia/Shanghai'), count(*) from event "
                    "where kind = 'message_received' and at >= %(since)s group by 1",
                    since=NOW - timedelta(days=days),
                )

        rows = []
        today = NOW.astimezone(ZONE).date()
        longest = 0.0
        asked = {
            f"{days} days, all, by agent": (days, ReportFilter(), Dimension.AGENT, ReportClock.WALL),
            f"{days} days, all, by label": (days, ReportFilter(), Dimension.LABEL, ReportClock.WALL),
            f"{days} days, all, by inbox, business hours": (
                days,
                ReportFilter(),
                Dimension.INBOX,
                ReportClock.BUSINESS,
            ),
            f"{days} days, one inbox": (days, ReportFilter(inbox_id=2), Dimension.AGENT, ReportClock.WALL),
            f"{days} days, one agent": (days, ReportFilter(agent_id=7), Dimension.INBOX, ReportClock.WALL),
            f"{days} days, one label": (days, ReportFilter(label_id=3), Dimension.TEAM, ReportClock.WALL),
            f"{days // 2} days, all, and as many before": (
                days // 2,
                ReportFilter(),
                Dimension.AGENT,
                ReportClock.WALL,
            ),
            "14 days, all": (14, ReportFilter(), Dimension.AGENT, ReportClock.WALL),
            "today, all": (1, ReportFilter(), Dimension.AGENT, ReportClock.WALL),
            "ten years, all": (3650, ReportFilter(), Dimension.AGENT, ReportClock.WALL),
        }
        for name, (span, only, by, clock) in asked.items():
            query = ReportQuery(ALL, period(today - timedelta(days=span - 1), today, ZONE), only, clock)

            async def ask(query: ReportQuery = query, by: Dimension = by) -> None:
                async with found.database.page_transaction(found.workspace) as tx:
                    await report(tx, query, by=by, now=NOW)

            taken, floor, server, here = [], [], 0.0, 0.0
            for _ in range(times):
                floor += await timed(1, plain)
                began, own = found.postgres_cpu(), time.process_time()
                taken += await timed(1, ask)
                server, here = server + found.postgres_cpu() - began, here + time.process_time() - own
            longest = max(longest, percentile(taken, 0.95))
            used = f"processor: server {server / times * 1000:.0f} ms, here {here / times * 1000:.0f} ms"
            rows.append((name, f"{told(taken, statistics.median(floor))}   {used}"))
        show("Reports, whole as the page shows them", rows)
    return longest <= LIMIT


def told(taken: list[float], floor: float) -> str:
    middle, late = statistics.median(taken), percentile(taken, 0.95)
    return f"p50 {middle:6.0f} ms   p95 {late:6.0f} ms   {middle / floor:5.2f} x floor ({floor:.0f} ms)"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--times", type=int, default=12)
    chosen = parser.parse_args()
    return 0 if asyncio.run(bench(chosen.events, chosen.days, chosen.times)) else 1


if __name__ == "__main__":
    sys.exit(main())

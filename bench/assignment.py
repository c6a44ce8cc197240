"""What giving conversations away costs, however many lie behind them.

    python bench/assignment.py [--pending 200000] [--open 20000] [--times 40]

20 agents are online and have half of the open conversations; the other half waits. Timed are: a look when everybody
has all they may have, a batch that is given away, and one conversation for the best agent. The floor is one empty round
trip in the same minute.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from datetime import UTC, datetime

from desk_lists import fill, measure, tidy
from harness import summary
from material import Stand, stand
from zhiban.bootstrap import reactions
from zhiban.channels.policy import AssignmentPolicy
from zhiban.conversations import assignment
from zhiban.events import Actor
from zhiban.people import presence


async def _all_come(found: Stand) -> int:
    """Returns the inbox."""
    async with found.database.transaction(found.workspace) as tx:
        for agent in await tx.values("select id from agent order by id"):
            await presence.beat(tx, agent, now=datetime.now(UTC))
        return int(await tx.value("select min(id) from inbox"))


async def bench(of_status: dict[str, int], times: int) -> None:
    async with stand() as found:
        await fill(found, of_status)
        await tidy(found)
        found.database.reactions = reactions()
        inbox = await _all_come(found)
        print(", ".join(f"{count:,} {status}" for status, count in of_status.items()), flush=True)

        async def empty() -> None:
            async with found.database.transaction(found.workspace) as tx:
                await tx.value("select 1")

        floor = statistics.median(await measure(times, empty))
        print(f"floor: one empty round trip {floor:.2f} ms")

        def show(what: str, taken: list[float]) -> None:
            print(f"{what:>28}  {summary(taken)} ms   {statistics.median(taken) / floor:.1f} × floor", flush=True)

        async def look(policy: AssignmentPolicy) -> int:
            async with found.database.transaction(found.workspace) as tx:
                return await assignment.assign_waiting(tx, {inbox: policy}, now=datetime.now(UTC))

        full = AssignmentPolicy(by="balanced", most=1)
        await look(full)
        show("everybody has all they may", list(await measure(times, lambda: look(full))))
        for first in ("longest_waiting", "oldest"):
            policy = AssignmentPolicy.model_validate({"by": "balanced", "first": first, "fair_limit": 5000})
            taken = []
            for _ in range(times // 2):
                began = time.perf_counter()
                given = await look(policy)
                taken.append((time.perf_counter() - began) * 1000)
                assert given == assignment.AT_ONCE, given
            show(f"100 given away, {first}", taken)
        async with found.database.transaction(found.workspace) as tx:
            ids = await tx.values(
                "select id from conversation where status = 'open' and assignee_id is null limit %(n)s", n=times
            )

        async def best() -> None:
            async with found.database.transaction(found.workspace) as tx:
                await assignment.assign_best(tx, ids.pop(), by=Actor("rule", 1), now=datetime.now(UTC))

        show("the best agent for one", list(await measure(times, best)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pending", type=int, default=200_000)
    parser.add_argument("--open", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=40)
    chosen = parser.parse_args()
    asyncio.run(bench({"pending": chosen.pending, "open": chosen.open, "resolved": 50_000}, chosen.times))


if __name__ == "__main__":
    main()

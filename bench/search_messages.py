"""How fast the desk finds messages and contacts by words, however many there are.

    python bench/search_messages.py [--messages 1000000] [--times 20]

The messages are written, indexed (the last of them by the product's own indexer, whose rate is told; all others as it
would, but at once), and searched through the application's role with row-level security forced, one whole page at a
time: candidates, texts, conversations. The floor is one empty round trip in the same minute. Fails when the 95th
percentile of the mix takes longer than 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import psycopg

from harness import percentile, show
from material import Stand, Writer, stand
from zhiban.conversations import message_search, search_index
from zhiban.conversations.message_search import EVERYTHING, SearchFilter
from zhiban.conversations.search_index import IndexedMessage, narrowing_terms
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Transaction
from zhiban.kit.word_search import query, text_terms
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.workers.search_indexer import SearchIndexer

NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
LIMIT = 100.0  # ms
ALL = Access(1, Role.OWNER)
TEXTS = 60_000  # different ones
CONVERSATIONS = 50_000
AGENTS = 10
SIZES = (4, 8, 12, 20, 35, 60)
FREQUENT, EVERY, ORDERS = "您好", 5, 20  # every fifth message greets, every twentieth names an order
BATCH = 20_000
LAST = 20_000  # messages that are indexed as in production
_MESSAGES = """
insert into message (workspace_id, conversation_id, inbox_id, direction, author, agent_id, kind, text, state, sent_at,
  created_at)
select %(w)s, c.id, c.inbox_id, (array['in', 'out', 'out'])[1 + t.kind],
  (array['contact', 'assistant', 'agent'])[1 + t.kind],
  case when t.kind = 2 then (%(people)s::bigint[])[1 + t.agent] end, 'text', t.text, 'sent', t.at, t.at
from unnest(%(conversations)s::bigint[], %(kinds)s::int[], %(agents)s::int[], %(texts)s::text[],
  %(times)s::timestamptz[]) as t(conversation, kind, agent, text, at)
join conversation c on c.id = t.conversation order by t.at"""


def order(number: int) -> str:
    return f"SO{20250000000000 + number * 7919}"


def phone(number: int) -> str:
    return f"1{3_000_000_000 + number * 127_453 % 7_000_000_000}"


async def fill(found: Stand, messages: int) -> list[str]:
    """Writes people, conversations and messages; some of the texts, as people might look for parts of them."""
    writer, dice = Writer(7), random.Random(7)
    texts = [writer.text(dice.choice(SIZES)) for _ in range(TEXTS)]
    async with found.database.transaction(found.workspace) as tx:
        await tx.run("set local statement_timeout = 0")
        connection = await tx.value(
            "insert into connection (workspace_id, public_id, vendor, name, secrets) "
            "values (%(w)s, 'bench', 'bench', 'Bench', '') returning id",
            w=found.workspace,
        )
        inboxes = [
            await tx.value(
                "insert into inbox (workspace_id, public_id, connection_id, kind, external_id, name) "
                "values (%(w)s, %(n)s, %(connection)s, 'bench', %(n)s, 'Bench') returning id",
                w=found.workspace,
                n=f"bench{number}",
                connection=connection,
            )
            for number in range(3)
        ]
        agents = [
            await tx.value(
                "insert into agent (workspace_id, email, name, role) values (%(w)s, %(e)s, 'Bench', 'agent') "
                "returning id",
                w=found.workspace,
                e=f"{number}@bench.example",
            )
            for number in range(AGENTS)
        ]
        await tx.run(
            "insert into contact (workspace_id, name, attributes, created_at) select %(w)s, name, "
            "jsonb_build_object('phone', phone), %(at)s "
            "from unnest(%(names)s::text[], %(phones)s::text[]) t(name, phone)",
            w=found.workspace,
            at=NOW - timedelta(days=400),
            names=[writer.text(3) for _ in range(CONVERSATIONS)],
            phones=[phone(number) for number in range(CONVERSATIONS)],
        )
        conversations = await tx.values(
            "insert into conversation (workspace_id, inbox_id, contact_id, external_id, status) "
            "select %(w)s, (%(inboxes)s::bigint[])[1 + id %% 3], id, 'wm' || id, 'resolved' from contact returning id",
            w=found.workspace,
            inboxes=inboxes,
        )
        began = NOW - timedelta(days=365)
        step = timedelta(days=365) / messages
        for first in range(1, messages + 1, BATCH):
            rows = []
            for number in range(first, min(first + BATCH, messages + 1)):
                said = dice.choice(texts)
                said = f"{FREQUENT}，{said}" if number % EVERY == 0 else said
                said = f"{said} {order(number)}" if number % ORDERS == 0 else said
                rows.append((dice.choice(conversations), number % 3, number % AGENTS, said, began + step * number))
            columns = dict(
                zip(("conversations", "kinds", "agents", "texts", "times"), zip(*rows, strict=True), strict=True)
            )
            await tx.run(
                _MESSAGES, w=found.workspace, people=agents, **{name: list(column) for name, column in columns.items()}
            )
    async with await psycopg.AsyncConnection.connect(found.owner, autocommit=True) as owner:
        await owner.execute("vacuum (analyze) conversation, message, contact, agent")
    return texts


async def index_most(found: Stand, messages: int) -> None:
    """All but the last, with their index built at the end: an hour's work of a busy machine in minutes."""
    known = lru_cache(TEXTS)(text_terms)

    def terms(one: IndexedMessage) -> set[int]:
        said, _, number = one.text.partition(" ")
        greets = said.startswith(FREQUENT)
        words = known(said.removeprefix(f"{FREQUENT}，")) | (known(FREQUENT) if greets else set()) | known(number)
        return words | narrowing_terms(one)

    async with await psycopg.AsyncConnection.connect(found.owner, autocommit=True) as owner:
        made = await (await owner.execute("select pg_get_indexdef('ix_message_search_keys'::regclass)")).fetchone()
        await owner.execute("drop index ix_message_search_keys")
        for first in range(1, messages - LAST + 1, BATCH):
            async with found.database.page_transaction(found.workspace) as tx:
                rows = await tx.objects(
                    IndexedMessage,
                    f"select {search_index.COLUMNS} from message m where m.id >= %(first)s and m.id < %(end)s",
                    first=first,
                    end=min(first + BATCH, messages - LAST + 1),
                )
                await search_index.write(tx, [(row.id, terms(row)) for row in rows])
        await owner.execute("set maintenance_work_mem = '512MB'")
        assert made is not None
        await owner.execute(made[0])
    async with found.database.page_transaction(found.workspace) as tx:
        await search_index.index_some(tx, now=NOW)
        await tx.run(
            "update search_progress set indexed_to = %(to)s, settled_to = %(to)s, settling_to = %(to)s, "
            "backfilled_to = 1",
            to=max(messages - LAST, 0),
        )


def mix(texts: list[str], messages: int, times: int) -> dict[str, list[tuple[str, SearchFilter]]]:
    """What is asked for, by kind."""
    dice = random.Random(11)

    def part(length: int) -> str:
        said = dice.choice([text for text in dice.choices(texts, k=40) if len(text) > length])
        start = dice.randrange(len(said) - length)
        return said[start : start + length]

    recent = SearchFilter(since=NOW - timedelta(days=30), inbox_id=2, writer="people")
    old = SearchFilter(since=NOW - timedelta(days=330), until=NOW - timedelta(days=300))
    named = [order(dice.randrange(messages // ORDERS) * ORDERS or ORDERS) for _ in range(times)]
    return {
        "frequent (a fifth of all)": [(FREQUENT, EVERYTHING)] * times,
        "two characters": [(part(2), EVERYTHING) for _ in range(times)],
        "one character": [(part(1), EVERYTHING) for _ in range(times)],
        "a phrase of six": [(part(6), EVERYTHING) for _ in range(times)],
        "two words": [(f"{part(2)} {part(2)}", EVERYTHING) for _ in range(times)],
        "an order": [(one, EVERYTHING) for one in named],
        "the beginning of one": [(one[:13], EVERYTHING) for one in named],
        "no hit": [(dice.choice(("鑫淼犇", "龘", "zqxwv", "13900001111")), EVERYTHING) for _ in range(times)],
        "frequent words, no hit": [(f"{FREQUENT}的的", EVERYTHING) for _ in range(times)],
        "narrowed, recent": [(part(2), recent) for _ in range(times)],
        "frequent, a month long ago": [(FREQUENT, old)] * times,
    }


async def bench(messages: int, times: int) -> bool:
    async with stand() as found:

        @asynccontextmanager
        async def page() -> AsyncIterator[Transaction]:
            async with found.database.page_transaction(found.workspace) as tx:
                yield tx

        began = time.perf_counter()
        texts = await fill(found, messages)
        print(f"{messages:,} messages written in {time.perf_counter() - began:.0f} s", flush=True)
        await index_most(found, messages)
        began = time.perf_counter()
        await SearchIndexer(found.database, SetClock(NOW)).run_once(pause=0)
        took = time.perf_counter() - began
        async with await psycopg.AsyncConnection.connect(found.owner, autocommit=True) as owner:
            await owner.execute("vacuum (analyze) message_search, contact_search")
        async with page() as tx:
            sizes = await tx.row(
                "select pg_total_relation_size('message') / 1e6, pg_table_size('message_search') / 1e6, "
                "pg_indexes_size('message_search') / 1e6"
            )
        last = min(LAST, messages) + CONVERSATIONS
        print(f"the last {last:,} messages and contacts indexed in {took:.0f} s, {last / took:,.0f}/s", flush=True)
        print("MB: message {:.0f}, its keys {:.0f}, their indexes {:.0f}".format(*sizes or (0, 0, 0)), flush=True)

        floors = []
        for _ in range(100):
            began = time.perf_counter()
            async with page() as tx:
                await tx.value("select 1")
            floors.append((time.perf_counter() - began) * 1000)
        floor = statistics.median(floors)
        everything: list[float] = []
        rows = []
        for name, asked in mix(texts, messages, times).items():
            taken, hits, more = [], 0, 0
            for typed, narrowed in asked:
                began = time.perf_counter()
                async with page() as tx:
                    one = await message_search.search(tx, query(typed), access=ALL, now=NOW, narrowed=narrowed)
                taken.append((time.perf_counter() - began) * 1000)
                hits += sum(len(group.hits) + group.more for group in one.groups)
                more += one.before is not None
            everything += taken
            rows.append((name, told(taken, floor) + f"   {hits / times:.0f} hits, {more * 100 // times} % go on"))
        taken, before = [], None
        for _ in range(times):
            began = time.perf_counter()
            async with page() as tx:
                one = await message_search.search(tx, query(FREQUENT), access=ALL, now=NOW, before=before)
            taken.append((time.perf_counter() - began) * 1000)
            before = one.before
        everything += taken
        rows.append(("page after page", told(taken, floor)))
        show(f"Messages (floor: one empty round trip {floor:.2f} ms)", rows)
        late = percentile(everything, 0.95)
        show("The mix", [("all of them", told(everything, floor) + f"   longest {max(everything):.0f} ms")])
        show("Contacts", [await contacts(found, times, floor)])
    return late <= LIMIT


async def contacts(found: Stand, times: int, floor: float) -> tuple[str, str]:
    taken = []
    for number in range(times):
        typed = phone(number * 31)[: 11 if number % 2 else 7]
        began = time.perf_counter()
        async with found.database.page_transaction(found.workspace) as tx:
            assert await message_search.search_contacts(tx, query(typed), access=ALL, most=8)
        taken.append((time.perf_counter() - began) * 1000)
    return f"{CONVERSATIONS:,}, by phone", told(taken, floor)


def told(taken: list[float], floor: float) -> str:
    middle, late = statistics.median(taken), percentile(taken, 0.95)
    return f"p50 {middle:6.1f} ms   p95 {late:6.1f} ms   {middle / floor:5.1f} × floor"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=20)
    chosen = parser.parse_args()
    return 0 if asyncio.run(bench(chosen.messages, chosen.times)) else 1


if __name__ == "__main__":
    sys.exit(main())

"""How well and how fast the knowledge base is searched, without any key.

    python bench/retrieval.py [--cmrc FOLDER] [--sizes 10000,100000]
    python bench/retrieval.py --data FOLDER [--phrasings N] [--queries FILE] [--json]
    python bench/retrieval.py --meaningless [--sizes 500000]

Quality: the shop questions beside this file, and CMRC paragraphs from a folder (also from ZHIBAN_BENCH_CMRC); with
--data any folder of that form, see `quality`. Both by words only and with the local embedder. Exactness: every top ten
beside BM25 computed in memory. Speed: through the application's role with row-level security forced, the whole path
from the question to the passages; the floor is one empty round trip in the same minute. With --meaningless only speed,
over vectors that no model made, so that a base may be large.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from material import SHOP, MeaninglessEmbedder, Stand, Writer, read_lines, stand, write_table
from multiplying import multiply
from quality import Case, fill, measure, show
from zhiban.integrations.sentence_encoder import SentenceEncoder
from zhiban.knowledge import queries, service
from zhiban.knowledge.corpus_stats import term_priors
from zhiban.knowledge.followups import standalone
from zhiban.knowledge.retrieval import build_query, find, rank
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.knowledge.exact import Exact

LOCAL = Embedders(SentenceEncoder())
ROWS = 100_000  # of one table; a file with more than 200,000 is not taken
COPIED = 10_000  # entries of a large base that are imported; the others are copies
VAGUE = ("怎么办", "可以吗", "多久", "怎么弄", "能不能")


def spread(values: Sequence[float]) -> str:
    ordered = sorted(values)
    return f"p50 {statistics.median(ordered):5.1f} ms   p95 {ordered[int(len(ordered) * 0.95)]:5.1f} ms"


async def exactness(found: Stand, base_id: int, exact: Exact, questions: Sequence[str]) -> str:
    same = 0
    async with found.database.transaction(found.workspace) as tx:
        base = await queries.base(tx, base_id)
        entries = await queries.entries_after(tx, base_id, 0, 100_000)
        order = {entry.chunk_id: number for number, entry in enumerate(entries)}
        for question in questions:
            ours = await rank(tx, await build_query(tx, base, standalone(question)))
            theirs = exact.search(question)
            same += len(ours) == len(theirs) and all(
                math.isclose(one.score, score, rel_tol=1e-5) and (order[one.chunk_id] == number or _tied(theirs, score))
                for one, (number, score) in zip(ours, theirs, strict=True)
            )
    return f"{same} of {len(questions)} top tens identical to exact BM25"


def _tied(ranking: Sequence[tuple[int, float]], score: float) -> bool:
    """Whether the place is shared, so that any order is right (also with what came eleventh)."""
    return sum(math.isclose(score, other, rel_tol=1e-5) for _, other in (*ranking, ranking[-1])) > 1


async def both(found: Stand, slug: str, case: Case, *, title: str, as_json: bool) -> int:
    """Measure a case by words and with vectors. Returns its base."""
    base_id = await fill(found, slug, case.write(found.folder / slug), LOCAL)
    figures = {
        name: await measure(found, base_id, case, embedders)
        for name, embedders in (("words", NO_EMBEDDERS), ("local", LOCAL))
    }
    if as_json:
        print(json.dumps({"data": title, **figures}, ensure_ascii=False, indent=2))
    else:
        for each in figures.values():
            show(title, each)
    return base_id


async def shop(found: Stand) -> None:
    case = Case.of(SHOP)
    base_id = await both(found, "shop", case, title="faq_shop", as_json=False)
    typos = Case.of(SHOP, asked=SHOP / "queries_typo.jsonl")
    show("faq_shop, typos", await measure(found, base_id, typos, LOCAL))
    exact = Exact([([entry["text"], *entry["alts"]], entry["answer"]) for entry in case.entries], term_priors())
    for name in ("queries", "queries_trad", "queries_typo"):
        questions = [question["text"] for question in read_lines(SHOP / f"{name}.jsonl")]
        print(f"  {name}: {await exactness(found, base_id, exact, questions)}")


async def cmrc(found: Stand, folder: Path) -> None:
    case = Case.of(folder)
    base_id = await both(found, "cmrc", case, title="pass_cmrc", as_json=False)
    await service.rebuild(found.database, found.workspace, "cmrc")
    async with found.database.transaction(found.workspace) as tx:
        chunks = await queries.entries_after(tx, base_id, 0, 100_000)
    exact = Exact([((), chunk.text) for chunk in chunks], term_priors())
    print(f"  {await exactness(found, base_id, exact, [question['text'] for question in case.questions])}")


async def speed(found: Stand, size: int, embedders: Embedders = LOCAL, *, copies: int = 1) -> None:
    writer = Writer(size)
    entries = list(writer.faqs(size // copies))
    tables = [
        write_table(found.folder / f"speed{size}" / f"faq{start}.csv", entries[start : start + ROWS])
        for start in range(0, len(entries), ROWS)
    ]
    began = time.perf_counter()
    base_id = await fill(found, f"speed{size}", tables, NO_EMBEDDERS if copies > 1 else embedders)
    if copies > 1:
        assert embedders.wanted is not None
        await multiply(found, base_id, copies)
        print(f"{size:,} rows after {time.perf_counter() - began:.0f} s", flush=True)
        await service.embed_base(found.database, found.workspace, base_id, embedders.wanted)
    filled = time.perf_counter() - began
    print(f"\n{size:,} entries of about 100 characters, each with one similar question; filled in {filled:.0f} s")
    sample = writer.dice.sample(entries, 200)
    usual = []
    for entry in sample:
        start = writer.dice.randrange(50)
        usual.append(entry["answer"][start : start + 6] + writer.text(3) + "怎么办")
    await _time(found, base_id, "search by words", usual, NO_EMBEDDERS)
    await _time(found, base_id, "search with vectors", usual, embedders)
    await _time(found, base_id, "vague, by words", VAGUE * 20, NO_EMBEDDERS)
    await _time(found, base_id, "vague, with vectors", VAGUE * 20, embedders)
    same = firsts = looked_up = 0
    async with found.database.transaction(found.workspace) as tx:
        base = await queries.base(tx, base_id)
        compared = sample[: 50 if copies == 1 else 10]  # everything in half a million takes a second
        for entry in compared:
            query = await build_query(tx, base, standalone(entry["text"]))
            by_keys, everything = await rank(tx, query), await rank(tx, replace(query, keys=None))
            looked_up += query.keys is not None
            same += by_keys == everything
            firsts += by_keys[0] == everything[0]
    print(
        f"  {looked_up} of {len(compared)} looked up: "
        f"{same} top tens and {firsts} firsts identical to comparing everything"
    )


async def _time(found: Stand, base_id: int, title: str, questions: Sequence[str], embedders: Embedders) -> None:
    async def base(_: object) -> int:
        return base_id

    took: list[float] = []
    floor: list[float] = []
    own, postgres = time.process_time(), found.postgres_cpu()
    for question in questions:
        began = time.perf_counter()
        async with found.database.transaction(found.workspace) as tx:
            await tx.value("select 1")
        between = time.perf_counter()
        await find(lambda: found.database.transaction(found.workspace), base, question, embedders=embedders)
        took.append((time.perf_counter() - between) * 1000)
        floor.append((between - began) * 1000)
    own, postgres = (
        1000 * used / len(questions) for used in (time.process_time() - own, found.postgres_cpu() - postgres)
    )
    print(
        f"  {title:20} {spread(took)}   (empty round trip {spread(floor)}; processor: ours {own:.1f} ms, "
        f"PostgreSQL's {postgres:.1f} ms, that of the round trip included)"
    )


async def main() -> None:
    arguments: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--cmrc", default=os.environ.get("ZHIBAN_BENCH_CMRC"), type=Path)
    arguments.add_argument("--sizes", default="10000,100000")
    arguments.add_argument("--data", type=Path, help="measure this folder only")
    arguments.add_argument("--phrasings", type=int, help="at most so many similar questions an entry")
    arguments.add_argument("--queries", type=Path, help="ask these questions instead of the folder's")
    arguments.add_argument("--json", action="store_true", help="the figures of --data as JSON")
    arguments.add_argument("--meaningless", action="store_true", help="only speed, with vectors that no model made")
    chosen = arguments.parse_args()
    async with stand() as found:
        if chosen.meaningless:
            for size in filter(None, chosen.sizes.split(",")):
                embedders = Embedders(MeaninglessEmbedder())
                await speed(found, int(size), embedders, copies=max(1, int(size) // COPIED))
            return
        if chosen.data:
            case = Case.of(chosen.data, phrasings=chosen.phrasings, asked=chosen.queries)
            await both(found, "data", case, title=chosen.data.name, as_json=chosen.json)
            return
        await shop(found)
        if chosen.cmrc:
            await cmrc(found, Path(chosen.cmrc))
        for size in filter(None, chosen.sizes.split(",")):
            await speed(found, int(size))


if __name__ == "__main__":
    uvloop.run(main())  # as the product does

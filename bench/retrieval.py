"""How well and how fast the knowledge base is searched, without any model.

    python bench/retrieval.py [--cmrc FOLDER] [--sizes 10000,100000]

Quality: the shop questions beside this file, and CMRC paragraphs from a folder (corpus.jsonl, queries.jsonl, qrels.tsv,
oos.jsonl; also from ZHIBAN_BENCH_CMRC). Exactness: every top ten beside BM25 computed in memory. Speed: through the
application's role with row-level security forced; the floor is one empty round trip in the same minute.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from material import SHOP, Stand, Writer, read_lines, right_entries, stand, write_table
from zhiban.knowledge import queries, service
from zhiban.knowledge.corpus_stats import term_priors
from zhiban.knowledge.followups import standalone
from zhiban.knowledge.retrieval import ConfidenceBand, SearchResult, build_query, rank, search

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.knowledge.exact import Exact


def spread(values: Sequence[float]) -> str:
    ordered = sorted(values)
    return f"p50 {statistics.median(ordered):5.1f} ms   p95 {ordered[int(len(ordered) * 0.95)]:5.1f} ms"


async def fill(found: Stand, slug: str, paths: Sequence[Path]) -> int:
    await service.import_paths(found.database, found.workspace, slug, paths, now=datetime.now(UTC))
    async with found.database.transaction(found.workspace) as tx:
        return await service.ensure_base(tx, slug, slug)


def entry_of(found: SearchResult, at: int) -> str:
    """The entry's id: an FAQ's category, a document's file name."""
    passage = found.passages[at]
    return passage.category or Path(passage.source_name or "").stem


async def quality(found: Stand, folder: Path, base_id: int, title: str) -> None:
    right = right_entries(folder)
    zones: dict[ConfidenceBand, list[bool]] = {zone: [] for zone in ConfidenceBand}
    first = third = 0
    questions = read_lines(folder / "queries.jsonl")
    async with found.database.transaction(found.workspace) as tx:
        base = await queries.base(tx, base_id)
        for question in questions:
            answer = await search(tx, base_id, question["text"])
            names = [entry_of(answer, at) for at in range(len(answer.passages))]
            hit = names[:1] == [right[question["id"]]]
            first += hit
            third += right[question["id"]] in names
            zones[answer.zone].append(hit)
        strange = [(await search(tx, base_id, question["text"])).zone for question in read_lines(folder / "oos.jsonl")]
    count = len(questions)
    print(f"\n{title}: {count} questions, {len(strange)} without an answer, {base.bodies} chunks")
    print(f"  R@1 {100 * first / count:.1f} %   R@3 {100 * third / count:.1f} %")
    for zone, hits in zones.items():
        told = f"{100 * sum(hits) / len(hits):.0f} % of them right" if hits else "-"
        print(f"  {zone.value:9} {len(hits):5} questions, {told}; {strange.count(zone)} without an answer")


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


async def shop(found: Stand) -> None:
    entries = read_lines(SHOP / "corpus.jsonl")
    base_id = await fill(found, "shop", [write_table(found.folder / "shop" / "faq.csv", entries)])
    await quality(found, SHOP, base_id, "faq_shop")
    exact = Exact([([entry["text"], *entry["alts"]], entry["answer"]) for entry in entries], term_priors())
    for name in ("queries", "queries_trad", "queries_typo"):
        questions = [question["text"] for question in read_lines(SHOP / f"{name}.jsonl")]
        print(f"  {name}: {await exactness(found, base_id, exact, questions)}")


async def cmrc(found: Stand, folder: Path) -> None:
    texts = found.folder / "cmrc"
    texts.mkdir()
    for entry in read_lines(folder / "corpus.jsonl"):
        (texts / f"{entry['id']}.txt").write_text(entry["text"], encoding="utf-8")
    base_id = await fill(found, "cmrc", [texts])
    await service.rebuild(found.database, found.workspace, "cmrc")
    await quality(found, folder, base_id, "pass_cmrc")
    async with found.database.transaction(found.workspace) as tx:
        chunks = await queries.entries_after(tx, base_id, 0, 100_000)
    exact = Exact([((), chunk.text) for chunk in chunks], term_priors())
    questions = [question["text"] for question in read_lines(folder / "queries.jsonl")]
    print(f"  {await exactness(found, base_id, exact, questions)}")


async def speed(found: Stand, size: int) -> None:
    writer = Writer(size)
    entries = list(writer.faqs(size))
    base_id = await fill(found, f"speed{size}", [write_table(found.folder / f"speed{size}" / "faq.csv", entries)])
    took: list[float] = []
    floor: list[float] = []
    same = firsts = looked_up = 0
    sample = writer.dice.sample(entries, 200)
    for entry in sample:
        start = writer.dice.randrange(50)
        question = entry["answer"][start : start + 6] + writer.text(3) + "怎么办"
        began = time.perf_counter()
        async with found.database.transaction(found.workspace) as tx:
            await tx.value("select 1")
        between = time.perf_counter()
        async with found.database.transaction(found.workspace) as tx:
            await search(tx, base_id, question)
        took.append((time.perf_counter() - between) * 1000)
        floor.append((between - began) * 1000)
    async with found.database.transaction(found.workspace) as tx:
        base = await queries.base(tx, base_id)
        for entry in sample[:50]:
            query = await build_query(tx, base, standalone(entry["text"]))
            by_keys, everything = await rank(tx, query), await rank(tx, replace(query, keys=None))
            looked_up += query.keys is not None
            same += by_keys == everything
            firsts += by_keys[0] == everything[0]
    print(f"\n{size:,} chunks of about 100 characters")
    print(f"  search          {spread(took)}")
    print(f"  empty round trip {spread(floor)}")
    print(f"  {looked_up} of 50 looked up: {same} top tens and {firsts} firsts identical to comparing everything")


async def main() -> None:
    arguments: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--cmrc", default=os.environ.get("ZHIBAN_BENCH_CMRC"), type=Path)
    arguments.add_argument("--sizes", default="10000,100000")
    chosen = arguments.parse_args()
    async with stand() as found:
        await shop(found)
        if chosen.cmrc:
            await cmrc(found, Path(chosen.cmrc))
        for size in chosen.sizes.split(","):
            await speed(found, int(size))


if __name__ == "__main__":
    asyncio.run(main())

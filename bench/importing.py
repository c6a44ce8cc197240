"""How fast files go into the knowledge base, beside the floor of reading their words once.

    python bench/importing.py [--chunks 20000] [--words]

With the local embedder, as an installation imports by default, unless --words. An entry has two wordings, and each gets
a vector; the floor of that is what one thread of the model does alone.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

from material import Stand, Writer, stand, write_table
from zhiban.integrations.sentence_encoder import SentenceEncoder
from zhiban.knowledge import service
from zhiban.knowledge.bulk_indexing import prepare
from zhiban.knowledge.indexing import IndexEntry
from zhiban.knowledge.tokenizer import NO_SYNONYMS
from zhiban.knowledge.vectors import text_to_embed
from zhiban.ports import Embedder


async def one(found: Stand, slug: str, paths: list[Path], title: str, embedder: Embedder | None) -> None:
    began, own, postgres = time.perf_counter(), time.process_time(), found.postgres_cpu()
    stages: dict[str, float] = {}
    last = ["reading", began]

    def told(progress: service.Progress) -> None:
        now = time.perf_counter()
        stages[str(last[0])] = stages.get(str(last[0]), 0.0) + now - float(last[1])
        last[:] = [progress.stage, now]

    report = await service.import_paths(
        found.database, found.workspace, slug, paths, embedder=embedder, now=datetime.now(UTC), progress=told
    )
    took = time.perf_counter() - began
    stages[str(last[0])] = stages.get(str(last[0]), 0.0) + time.perf_counter() - float(last[1])
    storing = took - stages.get("calibrating", 0.0)
    chunks = report.changes.chunks_added
    print(f"\n{title}: {chunks:,} chunks in {len(report.new)} files")
    by = "by words and vectors" if embedder else "by words"
    print(
        f"  {chunks / storing:,.0f} chunks/s until they can be found {by}; {took:.1f} s in all"
        f" ({', '.join(f'{stage} {seconds:.1f} s' for stage, seconds in stages.items())}; rebuilt: {report.rebuilt})"
    )
    own, postgres = time.process_time() - own, found.postgres_cpu() - postgres
    print(f"  processor time: ours {own:.1f} s, PostgreSQL's {postgres:.1f} s, calibration included")
    began = time.perf_counter()
    again = await service.import_paths(
        found.database, found.workspace, slug, paths, embedder=embedder, now=datetime.now(UTC)
    )
    print(f"  again: {len(again.unchanged)} unchanged in {time.perf_counter() - began:.2f} s")


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--chunks", type=int, default=20_000)
    arguments.add_argument("--words", action="store_true", help="without vectors")
    chosen = arguments.parse_args()
    count, embedder = chosen.chunks, None if chosen.words else SentenceEncoder()
    writer = Writer()
    entries = list(writer.faqs(count))
    began = time.perf_counter()
    indexed = [IndexEntry(0, (entry["text"], *entry["alts"]), entry["answer"]) for entry in entries[:4000]]
    prepare(1, indexed, pivots=(240.0, 20.0), synonyms=NO_SYNONYMS)
    floor = 4000 / (time.perf_counter() - began)
    print(f"floor: {floor:,.0f} chunks/s to tokenise and weigh in one thread, no database")
    if embedder is not None:
        texts = [text_to_embed(entry["text"]) for entry in entries[:2048]]
        await embedder.embed(texts[:1])
        began = time.perf_counter()
        await embedder.embed(texts)
        print(f"floor: {len(texts) / (time.perf_counter() - began):,.0f} vectors/s in one thread, no database")
    async with stand() as found:
        table = write_table(found.folder / "table" / "faq.csv", entries)
        await one(found, "table", [table], "one FAQ table", embedder)
        folder = found.folder / "files"
        per_file = 20
        for start in range(0, count, per_file):
            write_table(folder / f"{start:06}.csv", entries[start : start + per_file])
        await one(found, "files", [folder], "many small tables", embedder)
        documents = found.folder / "documents"
        documents.mkdir()
        for number in range(max(1, count // 200)):
            text = "\n\n".join(f"## 第{at}节\n\n{writer.text(450)}。" for at in range(40))
            (documents / f"{number:05}.md").write_text(f"# 手册{number}\n\n{text}\n", encoding="utf-8")
        await one(found, "documents", [documents], "documents (chunks of about 450 characters)", embedder)


if __name__ == "__main__":
    asyncio.run(main())

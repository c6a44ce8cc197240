"""The index of vectors: how much of it a search looks through."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.knowledge.material import LetterEmbedder, write_table
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.knowledge import embedding, fusion, queries, service
from zhiban.knowledge.vectors import HalfVector


async def test_as_many_lists_of_the_index_are_looked_through_as_are_wanted(
    db: Database, workspace: int, clock: SetClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice, embedder = Random(1), LetterEmbedder()
    texts = ["".join(chr(dice.randrange(0x4E00, 0x9F00)) for _ in range(9)) for _ in range(900)]
    table = write_table(tmp_path / "faq.csv", [{"id": text, "text": text, "answer": f"办法{text}。"} for text in texts])
    await service.import_paths(db, workspace, "faq", [table], embedder=embedder, now=clock.now())
    asked = HalfVector([dice.gauss(0, 32**-0.5) for _ in range(32)])

    async def nearest() -> list[float]:
        async with db.transaction(workspace) as tx:
            row = await queries.base_by_slug(tx, "faq")
            assert row is not None
            await tx.run("set local enable_sort = off")  # so small a set would be compared whole
            found = await fusion.candidates(tx, row, fusion.Question(row.id, None, {}, {}, 1.0), (), asked)
        return sorted(one.near for one in found if one.near is not None)

    exact = await nearest()
    async with db.transaction(workspace) as tx:
        base = await queries.base_by_slug(tx, "faq")
    assert base is not None
    monkeypatch.setattr(embedding, "INDEX_FROM", 500)
    await embedding.embed_base(db, workspace, base.id, embedder)
    monkeypatch.setattr(fusion, "PROBES", 1)
    assert await nearest() != exact
    monkeypatch.setattr(fusion, "PROBES", 30)
    assert await nearest() == exact

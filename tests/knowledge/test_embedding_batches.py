"""What has no vector is gone through in steps: none waits for another, and the first costs no more than the last."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from tests.knowledge.material import LetterEmbedder, write_table
from tests.tickets.github_app import eventually
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.knowledge import embedding, service

ENTRIES = [{"id": f"e{at}", "text": f"第{at}件事怎么办", "answer": f"办法{at}。"} for at in range(6)]


class FirstWaitsEmbedder(LetterEmbedder):
    """The first text it is given takes longer than all others."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def embed(
        self, texts: Sequence[str], *, purpose: Literal["query", "passage"] = "passage"
    ) -> list[list[float]]:
        first = not self.embedded
        vectors = await super().embed(texts, purpose=purpose)
        if first:
            await self.go_on.wait()
        return vectors


async def imported(db: Database, workspace: int, clock: SetClock, folder: Path, count: int) -> int:
    """A base of so many entries without vectors."""
    table = write_table(folder / "faq.csv", ENTRIES[:count])
    await service.import_paths(db, workspace, "default", [table], now=clock.now())
    async with db.transaction(workspace) as tx:
        return int(await tx.value("select id from knowledge_base"))


async def test_a_step_looks_at_no_more_than_it_takes(
    db: Database, workspace: int, clock: SetClock, tmp_path: Path
) -> None:
    """While a file is stored the planner does not know how much there is, and would sort all that is left each time."""
    base_id = await imported(db, workspace, clock, tmp_path, 1)
    scans = "select idx_scan from pg_stat_xact_user_tables where relname = 'article'"  # of this connection
    async with db.transaction(workspace) as tx:
        await tx.run(
            "insert into phrasing (workspace_id, article_id, text, origin, created_at) "
            "select workspace_id, id, '问法' || at, 'similar', now() from article, generate_series(1, 20000) as at"
        )
        before = await tx.value(scans)
        found = await embedding.next_missing(tx, base_id, "letters", after=0, limit=10)
        looked_up = await tx.value(scans) - before
    assert [phrasing.text for phrasing in found][:2] == [ENTRIES[0]["text"], "问法1"]
    assert len(found) == 10
    assert 0 < looked_up < 20


async def test_a_batch_that_takes_long_holds_no_other_up(
    db: Database, workspace: int, clock: SetClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zhiban.knowledge.embedding_batches.AT_ONCE", 1)
    base_id = await imported(db, workspace, clock, tmp_path, 6)
    embedder = FirstWaitsEmbedder()
    working = asyncio.create_task(service.embed_base(db, workspace, base_id, embedder))

    async def kept() -> int:
        async with db.transaction(workspace) as tx:
            return int(await tx.value("select count(*) from phrasing_vector"))

    async def others_are_kept() -> bool:
        return await kept() == 5

    await eventually(others_are_kept)
    assert not working.done()
    embedder.go_on.set()
    assert await working == 6
    assert await kept() == 6

"""Work on a whole base takes as long as it takes, also where a statement may take half a minute otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.knowledge.material import LetterEmbedder, write_table
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.knowledge import embedding, maintenance, queries, service

LIMIT = 200  # milliseconds of a statement


@pytest.fixture
async def base_id(db: Database, workspace: int, clock: SetClock, tmp_path: Path) -> int:
    entries = [{"id": f"e{at}", "text": f"第{at}件事怎么办", "answer": f"办法{at}。"} for at in range(300)]
    table = write_table(tmp_path / "faq.csv", entries)
    await service.import_paths(db, workspace, "faq", [table], embedder=LetterEmbedder(), now=clock.now())
    async with db.transaction(workspace) as tx:
        base = await queries.base_by_slug(tx, "faq")
    assert base is not None
    return base.id


@pytest.fixture
async def strict(db: Database) -> AsyncIterator[Database]:
    """The same database, whose statements are cancelled sooner than usual."""
    options = conninfo_to_dict(db.dsn).get("options") or ""
    async with Database(make_conninfo(db.dsn, options=f"{options} -c statement_timeout={LIMIT}")) as database:
        yield database


async def _wait_beyond_the_limit(db: Database, workspace: int, statement: str) -> None:
    """Until a statement like this one has waited for a lock for longer than it may usually take."""
    while True:
        async with db.transaction(workspace) as tx:
            if await tx.value(
                "select count(*) from pg_stat_activity where datname = current_database() and query like %(like)s "
                "and wait_event_type = 'Lock' and clock_timestamp() - query_start > %(limit)s * interval '1 ms'",
                like=f"%{statement}%",
                limit=LIMIT * 2,
            ):
                return
        await asyncio.sleep(0.02)


async def test_a_rebuild_waits_for_an_import_of_any_length(
    db: Database, strict: Database, workspace: int, base_id: int
) -> None:
    async with db.transaction(workspace) as importing:
        await maintenance.locked(importing, base_id)
        rebuild = asyncio.create_task(service.rebuild(strict, workspace, "faq"))
        await asyncio.wait_for(_wait_beyond_the_limit(db, workspace, "for no key update"), 20)
    assert await rebuild == 300


async def test_the_index_of_many_vectors_takes_its_time(
    db: Database, strict: Database, workspace: int, base_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "INDEX_FROM", 100)
    async with db.transaction(workspace) as writing:
        await writing.run("lock table phrasing_vector in row exclusive mode")
        making = asyncio.create_task(embedding.embed_base(strict, workspace, base_id, LetterEmbedder()))
        await asyncio.wait_for(_wait_beyond_the_limit(db, workspace, "select index_vectors"), 20)
    assert await making == 0
    async with db.transaction(workspace) as tx:
        assert (await queries.base(tx, base_id)).vector_lists > 0

"""While a base is filled or rebuilt, contacts and people go on: nobody waits for it, and nothing is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.conftest import MORNING, WORKSPACE, Cluster
from tests.knowledge.material import write_table
from zhiban.container import ensure_workspace
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.knowledge import indexing, maintenance, queries, service
from zhiban.knowledge.jobs import KnowledgeJobs
from zhiban.knowledge.maintenance import BaseBusy
from zhiban.knowledge.retrieval import ConfidenceBand, search

ENTRIES = 3_000
WORDING = "包裹飞走啦"


@pytest.fixture
async def template(cluster: Cluster, tmp_path: Path) -> str:
    """Holds a base that takes a while to rebuild."""

    async def fill(database: Database) -> None:
        workspace = await ensure_workspace(database, *WORKSPACE)
        entries = [
            {"id": "x", "text": f"第{at}号商品怎么保养？", "alts": [f"{at}号怎么洗"], "answer": f"请看第{at}页。"}
            for at in range(ENTRIES)
        ]
        table = write_table(tmp_path / "large.csv", entries)
        await service.import_paths(database, workspace, "large", [table], now=MORNING)

    return await cluster.template("zhiban_large", fill)


@pytest.fixture
async def large(db: Database, workspace: int) -> int:
    """The base of the template."""
    async with db.transaction(workspace) as tx:
        base = await queries.base_by_slug(tx, "large")
    assert base is not None
    return base.id


async def _first_article(db: Database, workspace: int, base_id: int) -> int:
    async with db.transaction(workspace) as tx:
        return (await queries.articles(tx, base_id, limit=1))[0].id


async def _waiting_jobs(db: Database, workspace: int) -> int:
    async with db.transaction(workspace) as tx:
        return int(
            await tx.value(
                "select count(*) from jobs.procrastinate_jobs where task_name = %(name)s",
                name=service.INDEX_PHRASINGS.name,
            )
        )


async def _check_counts(db: Database, workspace: int, base_id: int) -> None:
    """What the base believes of itself is what counting everything anew would say."""
    async with db.transaction(workspace) as tx:
        base = await queries.base(tx, base_id)
        tally = indexing.count(await queries.entries_after(tx, base_id, 0, 100_000), base.synonyms)
        assert await tx.value("select count(*) from phrasing where not indexed") == 0
    assert (base.bodies, base.body_terms, base.phrasings, base.phrasing_terms) == (
        tally.bodies,
        tally.body_terms,
        tally.phrasings,
        tally.phrasing_terms,
    )


async def test_a_wording_is_learnt_while_a_large_base_is_rebuilt(
    db: Database, workspace: int, clock: SetClock, large: int
) -> None:
    article_id = await _first_article(db, workspace, large)
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    rebuild = asyncio.create_task(service.rebuild(db, workspace, "large", told=lambda _: loop.call_soon(begun.set)))
    await begun.wait()
    for at in range(8):  # more than there are connections
        async with db.transaction(workspace) as tx:
            wording = f"第{at}个{WORDING}"
            assert await service.add_phrasing(tx, article_id, wording, source="click", now=clock.now())
        assert at or not rebuild.done()  # the others may come later on a busy machine
    assert await _waiting_jobs(db, workspace) == 1
    assert await rebuild == ENTRIES
    async with db.transaction(workspace) as tx:
        found = await search(tx, large, f"第3个{WORDING}")
    assert (found.zone, found.passages[0].article_id) == (ConfidenceBand.ANSWER, article_id)
    await _check_counts(db, workspace, large)


async def test_a_wording_that_waits_is_indexed_by_a_job(
    db: Database, workspace: int, clock: SetClock, large: int
) -> None:
    article_id = await _first_article(db, workspace, large)
    jobs = KnowledgeJobs(db, clock)
    async with db.transaction(workspace) as importing:
        await maintenance.locked(importing, large)
        async with db.transaction(workspace) as tx:
            assert await service.add_phrasing(tx, article_id, WORDING, source="click", now=clock.now())
            assert not await service.add_phrasing(tx, article_id, WORDING, source="click", now=clock.now())
        with pytest.raises(BaseBusy):
            await jobs.index_phrasings(workspace, large)
    await jobs.index_phrasings(workspace, large)
    async with db.transaction(workspace) as tx:
        assert (await search(tx, large, WORDING)).passages[0].article_id == article_id
    await _check_counts(db, workspace, large)


async def test_articles_change_exactly_around_wordings_that_wait(
    db: Database, workspace: int, clock: SetClock, large: int
) -> None:
    article_id = await _first_article(db, workspace, large)
    async with db.transaction(workspace) as importing:
        await maintenance.locked(importing, large)
        async with db.transaction(workspace) as tx:
            await service.add_phrasing(tx, article_id, WORDING, source="click", now=clock.now())
    async with db.transaction(workspace) as tx:
        await service.remove(tx, large, article_id=article_id, now=clock.now())
    await _check_counts(db, workspace, large)


async def test_a_person_is_told_after_some_seconds(
    db: Database, workspace: int, clock: SetClock, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "LOCK_TIMEOUT", 0.05)
    async with db.transaction(workspace) as importing:
        await maintenance.locked(importing, large)
        with pytest.raises(BaseBusy):
            async with db.transaction(workspace) as tx:
                await service.put_faq(tx, large, question="几点开门？", answer="九点。", now=clock.now())
    async with db.transaction(workspace) as tx:
        assert await service.put_faq(tx, large, question="几点开门？", answer="九点。", now=clock.now())

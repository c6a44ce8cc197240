"""Bases and their index as wholes: make, lock, empty, rebuild."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from psycopg.errors import LockNotAvailable

from zhiban.events import SYSTEM, Actor, KnowledgeBaseAdded
from zhiban.kit import event_log
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict, NotFound, Unavailable
from zhiban.kit.text import clean
from zhiban.knowledge import articles, bulk_indexing, indexing, queries
from zhiban.knowledge.articles import BATCH, Changes
from zhiban.knowledge.indexing import IndexEntry, Tally
from zhiban.knowledge.queries import BaseRow
from zhiban.knowledge.tokenizer import Synonyms

LONGEST_NAME = 60
LOCK_TIMEOUT = 3.0  # seconds that a person waits for a base that is being filled or rebuilt
WAITING_AT_ONCE = 50  # articles that are indexed in one transaction


async def ensure_base(tx: Transaction, slug: str, name: str) -> int:
    """The id of the base with this slug, made if there is none."""
    base_id: int | None = await tx.value("select id from knowledge_base where slug = %(slug)s", slug=slug)
    if base_id is None:
        base_id = await tx.value(
            "insert into knowledge_base (workspace_id, slug, name, recipe) "
            "values (%(workspace)s, %(slug)s, %(name)s, %(recipe)s) "
            "on conflict (workspace_id, slug) do update set slug = excluded.slug returning id",
            workspace=tx.workspace_id,
            slug=slug,
            name=name,
            recipe=indexing.INDEX_VERSION,
        )
    assert base_id is not None
    return base_id


async def add_base(tx: Transaction, name: str, *, by: Actor = SYSTEM, now: datetime) -> int:
    """An empty base, called so on the terminal, too. Returns its id. Raises Conflict (no name, or a taken one)."""
    called = " ".join(clean(name).split())
    if not 0 < len(called) <= LONGEST_NAME or not called.isprintable():
        raise Conflict(f"A knowledge base needs a name of at most {LONGEST_NAME} characters.")
    if await queries.base_by_slug(tx, called) is not None:
        raise Conflict(f"There is a knowledge base named {called} already.")
    base_id = await ensure_base(tx, called, called)
    await event_log.append(tx, KnowledgeBaseAdded(actor=by, at=now, base_id=base_id, slug=called))
    return base_id


class BaseBusy(Unavailable):
    """The base is being filled or rebuilt by somebody else."""

    after = 5.0  # seconds until it is worth asking again


async def locked(tx: Transaction, base_id: int) -> BaseRow:
    """The base, ours alone to write until the transaction ends. Readers are not held up. Raises NotFound.

    Waits as long as it takes: for imports and rebuilds, which wait for each other. What is done then may take as long.
    """
    await tx.lift_time_limit()
    if not await tx.value("select id from knowledge_base where id = %(id)s for no key update", id=base_id):
        raise NotFound("There is no such knowledge base.")
    return await queries.base(tx, base_id)


async def locked_soon(tx: Transaction, base_id: int) -> BaseRow:
    """As `locked`, for a person who waits. Raises BaseBusy after some seconds, instead of keeping a connection."""
    await tx.run(f"set local lock_timeout = {round(LOCK_TIMEOUT * 1000)}")
    try:
        base = await locked(tx, base_id)
    except LockNotAvailable as error:
        raise BaseBusy("The knowledge base is being filled or rebuilt. Try again in a minute.") from error
    await tx.run("set local lock_timeout = 0")
    await tx.run("set local statement_timeout to default")
    return base


async def locked_now(tx: Transaction, base_id: int) -> BaseRow | None:
    """As `locked`, or None when somebody else has it."""
    if not await tx.value("select id from knowledge_base where id = %(id)s for no key update skip locked", id=base_id):
        return None
    return await queries.base(tx, base_id)


async def index_waiting(database: Database, workspace_id: int, base_id: int) -> bool:
    """Index the phrasings that came while the base was busy. False when it is busy now; whoever has it does this."""
    while True:
        async with database.transaction(workspace_id) as tx:
            waiting = await queries.waiting_articles(tx, base_id, WAITING_AT_ONCE)
            if not waiting:
                return True
            base = await locked_now(tx, base_id)
            if base is None:
                return False
            await articles.index_phrasings(tx, base, waiting)


async def remove_source(tx: Transaction, base_id: int, source_id: int) -> Changes:
    """Take a file and all that came from it out of the base."""
    base = await locked(tx, base_id)
    ids = [article.id for article in await queries.articles_of_source(tx, source_id)]
    removed = Changes(articles_removed=len(ids), chunks_removed=await articles.remove(tx, base, ids))
    await tx.run("delete from source where id = %(id)s and base_id = %(base)s", id=source_id, base=base_id)
    return removed


async def remove_base(tx: Transaction, base_id: int) -> None:
    await locked(tx, base_id)
    await indexing.clear(tx, base_id)
    await tx.run("delete from knowledge_base where id = %(id)s", id=base_id)


async def reindex_base(
    tx: Transaction, base: BaseRow, *, told: Callable[[int], None] | None = None, recount: bool = False
) -> int:
    """Index every chunk anew. Searches see the old index until the transaction commits. Returns how many chunks.

    `recount` does not believe the mean lengths that the base has (after synonyms or the recipe changed).
    """
    synonyms = base.synonyms
    await indexing.clear(tx, base.id)
    # What comes from now on is not in what we are about to read, and waits.
    await tx.run(
        "update phrasing set indexed = true where not indexed and article_id in "
        "(select id from article where base_id = %(base)s)",
        base=base.id,
    )
    pivots = await _true_means(tx, base.id, synonyms) if recount else base.means
    await indexing.set_pivots(tx, base.id, pivots)
    done = 0
    tally = Tally()
    async for entries in _batches(tx, base.id):
        rows, _ = await asyncio.get_running_loop().run_in_executor(
            articles.executor(),
            partial(bulk_indexing.prepare, base.id, entries, pivots=pivots, synonyms=synonyms),
        )
        await indexing.write(tx, base.id, rows)
        tally.join(rows.tally)
        if len(tally.in_bodies) > articles.MOST_COUNTED:
            await indexing.add(tx, base.id, tally)
            tally = Tally()
        done += len(entries)
        if told:
            told(done)
    await indexing.add(tx, base.id, tally)
    return done


class _Batches:
    def __init__(self, tx: Transaction, base_id: int) -> None:
        self._work, self._base_id, self._after = tx, base_id, 0

    def __aiter__(self) -> _Batches:
        return self

    async def __anext__(self) -> list[IndexEntry]:
        found = await queries.entries_after(self._work, self._base_id, self._after, BATCH)
        if not found:
            raise StopAsyncIteration
        self._after = found[-1].chunk_id
        return found


def _batches(tx: Transaction, base_id: int) -> _Batches:
    return _Batches(tx, base_id)


async def _true_means(tx: Transaction, base_id: int, synonyms: Synonyms) -> tuple[float, float]:
    total = Tally()
    async for entries in _batches(tx, base_id):
        part = await asyncio.get_running_loop().run_in_executor(articles.executor(), indexing.count, entries, synonyms)
        total.bodies += part.bodies
        total.body_terms += part.body_terms
        total.phrasings += part.phrasings
        total.phrasing_terms += part.phrasing_terms
    return total.pivots


async def tidy(tx: Transaction) -> None:
    """Let the planner know the tables as they are. Worth its tenths of a second after many rows changed."""
    await tx.value("select tidy_knowledge()")


async def rebuild(
    database: Database, workspace_id: int, slug: str, *, told: Callable[[int], None] | None = None
) -> int:
    """Index a base anew while it serves. Returns how many chunks. Raises NotFound."""
    async with database.transaction(workspace_id) as tx:
        found = await queries.base_by_slug(tx, slug)
        if found is None:
            raise NotFound(f"There is no knowledge base named {slug}.")
        base = await locked(tx, found.id)
        done = await reindex_base(tx, base, told=told, recount=True)
    await index_waiting(database, workspace_id, base.id)
    async with database.transaction(workspace_id) as tx:
        await tidy(tx)
    return done


async def set_synonyms(tx: Transaction, base_id: int, groups: Sequence[Sequence[str]]) -> None:
    """Replace the synonym groups of a base and index it anew, all in the caller's transaction."""
    await locked(tx, base_id)
    await tx.run("delete from synonym_group where base_id = %(base)s", base=base_id)
    for words in groups:
        usable = [word.strip() for word in words if word.strip()]
        if len(usable) > 1:
            await tx.run(
                "insert into synonym_group (workspace_id, base_id, words) values (%(workspace)s, %(base)s, %(words)s)",
                workspace=tx.workspace_id,
                base=base_id,
                words=usable,
            )
    await reindex_base(tx, await queries.base(tx, base_id), recount=True)

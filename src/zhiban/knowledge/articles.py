"""Articles into the database and its index, in bulk, and out again. Callers hold the lock of the base."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial
from hashlib import sha256

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import bulk_indexing, indexing, queries
from zhiban.knowledge.chunking import chunks
from zhiban.knowledge.document import Document, Faq
from zhiban.knowledge.indexing import IndexEntry
from zhiban.knowledge.models import ArticleKind, Origin, SavedFrom
from zhiban.knowledge.queries import ArticleRow, BaseRow
from zhiban.knowledge.tokenizer import fold
from zhiban.knowledge.versions import Saving, count_versions, keep_version

BATCH = 2_000  # chunks that are tokenised and written at once
MOST_COUNTED = 300_000  # different terms whose counts are kept in memory
_SEPARATOR = "\x1f"  # cannot stand in a text, see reading.clean


@cache
def executor() -> Executor:
    """The one place where converters and tokenisers block."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="knowledge")


@frozen_dataclass
class NewChunk:
    text: str
    heading_path: tuple[str, ...]
    unit: str
    number: int
    digest: bytes


@frozen_dataclass
class NewArticle:
    kind: ArticleKind
    key: str
    title: str
    answer: str | None
    category: str | None
    phrasings: tuple[str, ...]
    chunks: tuple[NewChunk, ...]
    digest: bytes


def digest_of(*parts: str) -> bytes:
    return sha256("\x1e".join(parts).encode()).digest()


def _chunk(text: str, heading_path: Sequence[str], unit: str, number: int) -> NewChunk:
    return NewChunk(text, tuple(heading_path), unit, number, digest_of(*heading_path, text))


def faq_article(faq: Faq, *, category: str | None, key: str | None = None) -> NewArticle:
    """The article of a question with its answer."""
    phrasings = tuple(dict.fromkeys((faq.question, *faq.similar)))
    return NewArticle(
        ArticleKind.FAQ,
        key or " ".join(fold(faq.question).split()) or faq.question,
        faq.question,
        faq.answer,
        category,
        phrasings,
        (_chunk(faq.answer, faq.heading_path, faq.place.unit, faq.place.number),),
        digest_of(*phrasings, faq.answer, category or ""),
    )


def articles_of(document: Document, *, category: str | None = None) -> list[NewArticle]:
    """A reading as articles: one for each question, one for the rest of the text."""
    found: dict[str, NewArticle] = {}
    for faq in document.faqs:
        article = faq_article(faq, category=category or document.category or faq.category)
        key, again = article.key, 1
        while key in found and found[key].digest != article.digest:
            again += 1
            key = f"{article.key} #{again}"
        found[key] = replace(article, key=key)
    pieces = [
        _chunk(piece.text, piece.heading_path, piece.place.unit, piece.place.number)
        for piece in chunks(document.blocks)
    ]
    if pieces:
        own_category = category or document.category
        said = (piece.digest.hex() for piece in pieces)
        found["§document"] = NewArticle(
            ArticleKind.DOCUMENT,
            "§document",
            document.title,
            None,
            own_category,
            (),
            tuple(pieces),
            digest_of(document.title, own_category or "", *said),
        )
    return list(found.values())


async def _numbers(tx: Transaction, table: str, how_many: int) -> list[int]:
    return await tx.values(
        "select nextval(pg_get_serial_sequence(%(table)s, 'id')) from generate_series(1, %(count)s)",
        table=table,
        count=how_many,
    )


async def insert(
    tx: Transaction, base_id: int, of_sources: Sequence[tuple[int | None, NewArticle]], *, saving: Saving
) -> list[IndexEntry]:
    """Write new articles, each of a source or of none. Returns what is to be indexed."""
    if not of_sources:
        return []
    new = [article for _, article in of_sources]
    ids = await _numbers(tx, "article", len(new))
    await tx.run(
        "insert into article (workspace_id, id, base_id, source_id, kind, key, title, answer, category, digest, "
        "created_at, updated_at, saved_from, actor_kind, actor_id, actor_ref) overriding system value "
        "select %(workspace)s, id, %(base)s, source, kind, key, title, answer, category, digest, %(now)s, %(now)s, "
        "%(saved_from)s, %(actor_kind)s, %(actor_id)s, %(actor_ref)s "
        "from unnest(%(ids)b::bigint[], %(sources)b::bigint[], %(kinds)b::text[], %(keys)b::text[], "
        "%(titles)b::text[], %(answers)b::text[], %(categories)b::text[], %(digests)b::bytea[]) "
        "as t (id, source, kind, key, title, answer, category, digest)",
        workspace=tx.workspace_id,
        base=base_id,
        **saving.columns,
        ids=ids,
        sources=[source_id for source_id, _ in of_sources],
        kinds=[str(article.kind) for article in new],
        keys=[article.key for article in new],
        titles=[article.title for article in new],
        answers=[article.answer for article in new],
        categories=[article.category for article in new],
        digests=[article.digest for article in new],
    )
    await insert_phrasings(tx, [(id_, article.phrasings) for id_, article in zip(ids, new, strict=True)], now=saving.at)
    entries: list[IndexEntry] = []
    pairs = list(zip(ids, new, strict=True))
    flat = [(id_, article, at, chunk) for id_, article in pairs for at, chunk in enumerate(article.chunks)]
    chunk_ids = await insert_chunks(tx, base_id, [(id_, at, chunk) for id_, _, at, chunk in flat])
    for chunk_id, (_, article, _, chunk) in zip(chunk_ids, flat, strict=True):
        text = queries.indexed_text(article.kind, chunk.heading_path, chunk.text)
        entries.append(IndexEntry(chunk_id, article.phrasings, text))
    return entries


async def insert_phrasings(tx: Transaction, of: Iterable[tuple[int, Sequence[str]]], *, now: datetime) -> None:
    """The first phrasing of each article is its question, the others are similar ones."""
    flat = [
        (article_id, text, str(Origin.SIMILAR if at else Origin.QUESTION))
        for article_id, texts in of
        for at, text in enumerate(texts)
    ]
    await tx.run(
        "insert into phrasing (workspace_id, article_id, text, origin, created_at) "
        "select %(workspace)s, *, %(now)s from unnest(%(articles)b::bigint[], %(texts)b::text[], %(origins)b::text[])",
        workspace=tx.workspace_id,
        now=now,
        articles=[article_id for article_id, _, _ in flat],
        texts=[text for _, text, _ in flat],
        origins=[origin for _, _, origin in flat],
    )


async def insert_chunks(tx: Transaction, base_id: int, flat: Sequence[tuple[int, int, NewChunk]]) -> list[int]:
    ids = await _numbers(tx, "chunk", len(flat))
    await tx.run(
        "insert into chunk (workspace_id, id, base_id, article_id, ordinal, text, heading_path, unit, number, digest) "
        "overriding system value select %(workspace)s, id, %(base)s, article_id, ordinal, text, "
        "string_to_array(path, %(separator)s), unit, number, digest "
        "from unnest(%(ids)b::bigint[], %(articles)b::bigint[], %(ordinals)b::integer[], %(texts)b::text[], "
        "%(paths)b::text[], %(units)b::text[], %(numbers)b::integer[], %(digests)b::bytea[]) "
        "as t (id, article_id, ordinal, text, path, unit, number, digest)",
        workspace=tx.workspace_id,
        base=base_id,
        separator=_SEPARATOR,
        ids=ids,
        articles=[article_id for article_id, _, _ in flat],
        ordinals=[ordinal for _, ordinal, _ in flat],
        texts=[chunk.text for _, _, chunk in flat],
        paths=[_SEPARATOR.join(chunk.heading_path) for _, _, chunk in flat],
        units=[chunk.unit for _, _, chunk in flat],
        numbers=[chunk.number for _, _, chunk in flat],
        digests=[chunk.digest for _, _, chunk in flat],
    )
    return ids


async def index(
    tx: Transaction,
    base: BaseRow,
    entries: Sequence[IndexEntry],
    *,
    written: Callable[[int], None] | None = None,
) -> None:
    """Index entries, tokenising the next batch while the last one is written."""
    loop = asyncio.get_running_loop()
    synonyms = base.synonyms
    pivots = base.pivots if base.body_pivot > 0 and base.bodies > 0 else None
    if pivots and not pivots[1] and any(entry.phrasings for entry in entries):
        pivots = (pivots[0], indexing.mean_lengths(entries[:: max(1, len(entries) // BATCH)], synonyms)[1])
        await indexing.set_pivots(tx, base.id, pivots)
    if pivots is None and entries:
        # A sample from all over, so that the mean is near the truth before all is counted.
        sample = entries[:: max(1, len(entries) // BATCH)]
        pivots = await loop.run_in_executor(executor(), indexing.mean_lengths, sample, synonyms)
        await indexing.set_pivots(tx, base.id, pivots)

    def ready(start: int) -> Awaitable[tuple[indexing.Rows, tuple[float, float]]]:
        batch = entries[start : start + BATCH]
        return loop.run_in_executor(
            executor(), partial(bulk_indexing.prepare, base.id, batch, pivots=pivots, synonyms=synonyms)
        )

    tally = indexing.Tally()
    upcoming = ready(0) if entries else None
    for start in range(0, len(entries), BATCH):
        assert upcoming is not None
        rows, _ = await upcoming
        upcoming = ready(start + BATCH) if start + BATCH < len(entries) else None
        await indexing.write(tx, base.id, rows)
        tally.join(rows.tally)
        if len(tally.in_bodies) > MOST_COUNTED:
            await indexing.add(tx, base.id, tally)
            tally = indexing.Tally()
        if written:
            written(len(rows.chunk_ids))
    await indexing.add(tx, base.id, tally)


async def remove(tx: Transaction, base: BaseRow, article_ids: Sequence[int]) -> int:
    """Take articles out of the base, with everything that hangs on them. Returns how many chunks went."""
    if not article_ids:
        return 0
    ids = await queries.chunk_ids(tx, article_ids)
    await indexing.forget(tx, base.id, await queries.entries(tx, ids), base.synonyms)
    await tx.run(
        "delete from article where workspace_id = %(workspace)s and id = any(%(ids)b::bigint[])",
        workspace=tx.workspace_id,
        ids=list(article_ids),
    )
    return len(ids)


@dataclass(slots=True)
class Changes:
    """What storing a changed file did."""

    articles_added: int = 0
    articles_changed: int = 0
    articles_removed: int = 0
    chunks_added: int = 0
    chunks_removed: int = 0
    versions_removed: int = 0  # of articles that people had changed, and that went

    def __iadd__(self, other: Changes) -> Changes:
        self.articles_added += other.articles_added
        self.articles_changed += other.articles_changed
        self.articles_removed += other.articles_removed
        self.chunks_added += other.chunks_added
        self.chunks_removed += other.chunks_removed
        self.versions_removed += other.versions_removed
        return self


async def revise(
    tx: Transaction, base: BaseRow, source_id: int, new: Sequence[NewArticle], *, saving: Saving
) -> tuple[list[IndexEntry], Changes]:
    """Make the articles of a source be `new`, touching only what differs. Returns what is to be indexed."""
    there = {article.key: article for article in await queries.articles_of_source(tx, source_id)}
    wanted = {article.key: article for article in new}
    gone = [article.id for key, article in there.items() if key not in wanted]
    fresh = [article for key, article in wanted.items() if key not in there]
    changed = [
        (there[key], article) for key, article in wanted.items() if key in there and there[key].digest != article.digest
    ]
    changes = Changes(articles_added=len(fresh), articles_changed=len(changed), articles_removed=len(gone))
    changes.versions_removed = await count_versions(tx, gone)
    changes.chunks_removed += await remove(tx, base, gone)
    entries = await insert(tx, base.id, [(source_id, article) for article in fresh], saving=saving)
    for old, article in changed:
        added, removed = await replace_article(tx, base, old, article, saving=saving)
        entries += added
        changes.chunks_removed += removed
    changes.chunks_added = len(entries)
    return entries, changes


async def replace_article(
    tx: Transaction, base: BaseRow, old: ArticleRow, new: NewArticle, *, saving: Saving
) -> tuple[list[IndexEntry], int]:
    """Update one article in place. What people and contacts taught it stays; chunks that say the same stay; what it
    said is kept as a version.

    Returns what is to be indexed, and how many chunks went.
    """
    there = await queries.chunks(tx, [old.id])
    asked = await queries.phrasings(tx, [old.id])
    asked_before = [row.text for row in asked if row.origin in _WRITTEN]
    # What was learnt stays learnt where an older version comes back, or the next one would take it away.
    restored = saving.origin is SavedFrom.RESTORED
    taught = {row.text for row in asked if restored and row.origin not in _WRITTEN}
    written = [text for at, text in enumerate(new.phrasings) if at == 0 or text not in taught]
    await keep_version(tx, old, asked_before)
    keep = Counter(chunk.digest for chunk in new.chunks) if asked_before == written else Counter[bytes]()
    stale: list[int] = []
    kept: dict[bytes, list[int]] = {}
    for chunk in there:
        if keep[chunk.digest] > 0:
            keep[chunk.digest] -= 1
            kept.setdefault(chunk.digest, []).append(chunk.id)
        else:
            stale.append(chunk.id)
    await indexing.forget(tx, base.id, await queries.entries(tx, stale), base.synonyms)
    await tx.run(
        "delete from chunk where workspace_id = %(workspace)s and id = any(%(ids)b::bigint[])",
        workspace=tx.workspace_id,
        ids=stale,
    )
    await tx.run(
        "update article set title = %(title)s, answer = %(answer)s, category = %(category)s, digest = %(digest)s, "
        "updated_at = %(now)s, saved_from = %(saved_from)s, actor_kind = %(actor_kind)s, actor_id = %(actor_id)s, "
        "actor_ref = %(actor_ref)s where id = %(id)s",
        title=new.title,
        answer=new.answer,
        category=new.category,
        digest=new.digest,
        **saving.columns,
        id=old.id,
    )
    if asked_before != written:
        await tx.run(
            "delete from phrasing where article_id = %(id)s and (origin = any(%(origins)b::text[]) "
            "or ((retired or not %(restored)s) and text = any(%(texts)b::text[])))",
            id=old.id,
            origins=list(_WRITTEN),
            restored=restored,
            texts=written,
        )
        await insert_phrasings(tx, [(old.id, written)], now=saving.at)
    missing: list[tuple[int, int, NewChunk]] = []
    for at, wanted in enumerate(new.chunks):
        ids = kept.get(wanted.digest)
        if ids:
            await tx.run(
                "update chunk set ordinal = %(at)s, unit = %(unit)s, number = %(number)s where id = %(id)s",
                at=at,
                unit=wanted.unit,
                number=wanted.number,
                id=ids.pop(0),
            )
        else:
            missing.append((old.id, at, wanted))
    return await queries.entries(tx, await insert_chunks(tx, base.id, missing)), len(stale)


_WRITTEN = (str(Origin.QUESTION), str(Origin.SIMILAR))


async def index_phrasings(tx: Transaction, base: BaseRow, article_ids: Sequence[int]) -> None:
    """Let phrasings that wait be found, and take those out that are retired."""
    ids = await queries.chunk_ids(tx, article_ids)
    await indexing.forget(tx, base.id, await queries.entries(tx, ids), base.synonyms)
    await tx.run(
        "delete from phrasing where workspace_id = %(workspace)s and article_id = any(%(ids)b::bigint[]) and retired",
        workspace=tx.workspace_id,
        ids=list(article_ids),
    )
    await tx.run(
        "update phrasing set indexed = true where workspace_id = %(workspace)s "
        "and article_id = any(%(ids)b::bigint[]) and not indexed",
        workspace=tx.workspace_id,
        ids=list(article_ids),
    )
    await index(tx, base, await queries.entries(tx, ids))

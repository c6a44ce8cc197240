"""Reads of knowledge, as small frozen dataclasses."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.indexing import IndexEntry
from zhiban.knowledge.models import ArticleKind
from zhiban.knowledge.tokenizer import NO_SYNONYMS, Synonyms

DEFAULT_BASE = "default"


@frozen_dataclass
class BaseRow:
    """A base with what a search needs.

    `looks_up`: row-level security lets this server use the index of keys. `vector_set` are the vectors that serve, in
    an index of so many lists (0: none).
    """

    id: int
    slug: str
    name: str
    bodies: int
    body_terms: int
    body_pivot: float
    phrasings: int
    phrasing_terms: int
    phrasing_pivot: float
    parts: int
    recipe: int
    vector_set: int | None
    embedder: str | None
    dimensions: int | None
    vector_lists: int
    answer_at: float | None
    answer_at_with_vectors: float | None
    calibration: dict[str, Any]
    calibrated_at: datetime | None
    looks_up: bool
    synonym_ids: list[int]
    synonym_words: list[str]

    @property
    def pivots(self) -> tuple[float, float]:
        return self.body_pivot, self.phrasing_pivot

    @property
    def means(self) -> tuple[float, float]:
        """The true mean lengths now, which the pivots follow at a rebuild."""
        return (
            self.body_terms / self.bodies if self.bodies else 0.0,
            self.phrasing_terms / self.phrasings if self.phrasings else 0.0,
        )

    @property
    def synonyms(self) -> Synonyms:
        if not self.synonym_ids:
            return NO_SYNONYMS
        return _synonyms(tuple(self.synonym_ids), tuple(self.synonym_words))


@lru_cache(maxsize=64)
def _synonyms(ids: tuple[int, ...], words: tuple[str, ...]) -> Synonyms:
    return Synonyms({group: each.split("\n") for group, each in zip(ids, words, strict=True)})


_BASE = """
select b.id, slug, name, bodies, body_terms, body_pivot, phrasings, phrasing_terms, phrasing_pivot, parts, recipe,
       v.id as vector_set, v.embedder, v.dimensions, coalesce(vector_lists(v.id), 0) as vector_lists, answer_at,
       answer_at_with_vectors, calibration, calibrated_at,
       (select proleakproof from pg_proc where oid = 'arrayoverlap(anyarray, anyarray)'::regprocedure) as looks_up,
       array(select g.id from synonym_group g where g.workspace_id = b.workspace_id and g.base_id = b.id order by g.id)
         as synonym_ids,
       array(select array_to_string(g.words, E'\\n') from synonym_group g
              where g.workspace_id = b.workspace_id and g.base_id = b.id order by g.id) as synonym_words
  from knowledge_base b left join vector_set v on v.workspace_id = b.workspace_id and v.base_id = b.id and v.serving
"""


async def base(tx: Transaction, base_id: int) -> BaseRow:
    """Raises NotFound."""
    found = await tx.object(BaseRow, _BASE + " where b.id = %(id)s", id=base_id)
    if found is None:
        raise NotFound("There is no such knowledge base.")
    return found


async def base_by_slug(tx: Transaction, slug: str) -> BaseRow | None:
    return await tx.object(BaseRow, _BASE + " where b.slug = %(slug)s", slug=slug)


async def bases(tx: Transaction) -> list[BaseRow]:
    return await tx.objects(BaseRow, _BASE + " order by b.id")


@frozen_dataclass
class SourceRow:
    """A file in a base. `folder` is the source it came from, with which its name begins."""

    id: int
    name: str
    folder: str
    kind: str
    category: str | None
    digest: bytes
    converter: int
    imported_at: datetime


async def sources(tx: Transaction, base_id: int) -> list[SourceRow]:
    return await tx.objects(
        SourceRow,
        "select id, name, folder, kind, category, digest, converter, imported_at from source "
        "where base_id = %(base)s order by name",
        base=base_id,
    )


@frozen_dataclass
class SourceName:
    """Which file it is, of which base."""

    id: int
    base_id: int
    name: str


async def source(tx: Transaction, source_id: int) -> SourceName:
    """Raises NotFound."""
    found = await tx.object(SourceName, "select id, base_id, name from source where id = %(id)s", id=source_id)
    if found is None:
        raise NotFound("There is no such file.")
    return found


@frozen_dataclass
class SourceFolderRow:
    """A source: a folder that was imported, and what came from it."""

    base: str
    name: str
    path: str
    files: int
    articles: int
    imported_at: datetime


async def source_folders(tx: Transaction, base_id: int | None = None) -> list[SourceFolderRow]:
    """The sources of one base, or of all."""
    return await tx.objects(
        SourceFolderRow,
        "select b.slug as base, s.folder as name, max(s.folder_path) as path, count(*) as files, "
        "sum((select count(*) from article a where a.workspace_id = s.workspace_id and a.source_id = s.id))::bigint "
        "as articles, max(s.imported_at) as imported_at from source s "
        "join knowledge_base b on b.workspace_id = s.workspace_id and b.id = s.base_id "
        "where %(base)s::bigint is null or s.base_id = %(base)s group by b.id, b.slug, s.folder "
        "order by b.id, s.folder",
        base=base_id,
    )


async def keys_of_sources(tx: Transaction, base_id: int) -> dict[int, frozenset[str]]:
    """The keys of the articles that came from each file of a base, by the file's id."""
    rows = await tx.rows(
        "select source_id, array_agg(key) from article where base_id = %(base)s and source_id is not null "
        "group by source_id",
        base=base_id,
    )
    return {source_id: frozenset(keys) for source_id, keys in rows}


@frozen_dataclass
class ArticleRow:
    id: int
    base_id: int
    source_id: int | None
    source_name: str | None
    kind: str
    key: str
    title: str
    answer: str | None
    category: str | None
    digest: bytes
    updated_at: datetime
    saved_from: str
    actor_kind: str | None
    actor_id: int | None
    actor_ref: str | None


_ARTICLE = """
select a.id, a.base_id, a.source_id, s.name as source_name, a.kind, a.key, a.title, a.answer, a.category, a.digest,
       a.updated_at, a.saved_from, a.actor_kind, a.actor_id, a.actor_ref
  from article a left join source s on s.workspace_id = a.workspace_id and s.id = a.source_id
"""


async def article(tx: Transaction, article_id: int) -> ArticleRow:
    """Raises NotFound."""
    found = await tx.object(ArticleRow, _ARTICLE + " where a.id = %(id)s", id=article_id)
    if found is None:
        raise NotFound("There is no such article.")
    return found


async def articles(
    tx: Transaction, base_id: int, *, text: str = "", category: str | None = None, after: int = 0, limit: int = 50
) -> list[ArticleRow]:
    """Articles of a base by id; `text` narrows to titles that hold it."""
    return await tx.objects(
        ArticleRow,
        _ARTICLE + " where a.base_id = %(base)s and a.id > %(after)s "
        "and (%(text)s::text = '' or strpos(lower(a.title), lower(%(text)s::text)) > 0) "
        "and (%(category)s::text is null or a.category = %(category)s::text) order by a.id limit %(limit)s",
        base=base_id,
        text=text,
        category=category,
        after=after,
        limit=limit,
    )


async def articles_of_source(tx: Transaction, source_id: int) -> list[ArticleRow]:
    return await tx.objects(ArticleRow, _ARTICLE + " where a.source_id = %(source)s order by a.id", source=source_id)


@frozen_dataclass
class PhrasingRow:
    id: int
    article_id: int
    text: str
    origin: str


async def phrasings(tx: Transaction, article_ids: Sequence[int]) -> list[PhrasingRow]:
    return await tx.objects(
        PhrasingRow,
        "select id, article_id, text, origin from phrasing where workspace_id = %(workspace)s "
        "and article_id = any(%(ids)b::bigint[]) and not retired order by article_id, id",
        workspace=tx.workspace_id,
        ids=list(article_ids),
    )


async def phrasing(tx: Transaction, phrasing_id: int) -> PhrasingRow:
    """Raises NotFound, also when it is retired."""
    found = await tx.object(
        PhrasingRow,
        "select id, article_id, text, origin from phrasing where id = %(id)s and not retired",
        id=phrasing_id,
    )
    if found is None:
        raise NotFound("There is no such phrasing.")
    return found


@frozen_dataclass
class ChunkRow:
    id: int
    article_id: int
    ordinal: int
    text: str
    heading_path: list[str]
    unit: str
    number: int
    digest: bytes


async def chunks(tx: Transaction, article_ids: Sequence[int]) -> list[ChunkRow]:
    return await tx.objects(
        ChunkRow,
        "select id, article_id, ordinal, text, heading_path, unit, number, digest from chunk "
        "where workspace_id = %(workspace)s and article_id = any(%(ids)b::bigint[]) order by article_id, ordinal",
        workspace=tx.workspace_id,
        ids=list(article_ids),
    )


def indexed_text(kind: str, heading_path: Sequence[str], text: str) -> str:
    """What of a chunk the index reads. An FAQ's headings say little; a document's say what its text leaves out."""
    return text if kind == ArticleKind.FAQ else " ".join((*heading_path, text))


_ENTRIES = """
select c.id as chunk_id, array(
         select p.text from phrasing p where p.workspace_id = c.workspace_id and p.article_id = c.article_id
         and p.indexed order by p.id) as phrasings, a.kind, c.heading_path, c.text
  from chunk c join article a on a.workspace_id = c.workspace_id and a.id = c.article_id
"""


@frozen_dataclass
class _StoredChunk:
    chunk_id: int
    phrasings: list[str]
    kind: str
    heading_path: list[str]
    text: str

    def entry(self) -> IndexEntry:
        return IndexEntry(self.chunk_id, tuple(self.phrasings), indexed_text(self.kind, self.heading_path, self.text))


async def entries(tx: Transaction, chunk_ids: Sequence[int]) -> list[IndexEntry]:
    """These chunks as the index has them."""
    rows = await tx.objects(
        _StoredChunk,
        _ENTRIES + " where c.workspace_id = %(workspace)s and c.id = any(%(ids)b::bigint[]) order by c.id",
        workspace=tx.workspace_id,
        ids=list(chunk_ids),
    )
    return [row.entry() for row in rows]


async def entries_after(tx: Transaction, base_id: int, after: int, limit: int) -> list[IndexEntry]:
    """The chunks of a base in order of their ids, a stretch at a time."""
    rows = await tx.objects(
        _StoredChunk,
        _ENTRIES + " where c.base_id = %(base)s and c.id > %(after)s order by c.id limit %(limit)s",
        base=base_id,
        after=after,
        limit=limit,
    )
    return [row.entry() for row in rows]


async def waiting_articles(tx: Transaction, base_id: int, limit: int) -> list[int]:
    """Articles with phrasings that are not indexed yet, or still are."""
    return await tx.values(
        "select distinct p.article_id from phrasing p join article a on a.workspace_id = p.workspace_id "
        "and a.id = p.article_id where (not p.indexed or p.retired) and a.base_id = %(base)s order by 1 "
        "limit %(limit)s",
        base=base_id,
        limit=limit,
    )


async def chunk_ids(tx: Transaction, article_ids: Sequence[int]) -> list[int]:
    return await tx.values(
        "select id from chunk where workspace_id = %(workspace)s and article_id = any(%(ids)b::bigint[])",
        workspace=tx.workspace_id,
        ids=list(article_ids),
    )


async def articles_of_chunks(tx: Transaction, chunk_ids: Sequence[int]) -> dict[int, int]:
    """Which article each of these chunks belongs to; those that are gone are left out."""
    rows = await tx.rows(
        "select id, article_id from chunk where workspace_id = %(workspace)s and id = any(%(ids)b::bigint[])",
        workspace=tx.workspace_id,
        ids=list(chunk_ids),
    )
    return dict(rows)


async def changed_at(tx: Transaction, article_ids: Sequence[int]) -> dict[int, datetime]:
    """When each of these articles was last changed; those that are gone are left out."""
    return dict(
        await tx.rows("select id, updated_at from article where id = any(%(ids)s::bigint[])", ids=list(article_ids))
    )


async def titles(tx: Transaction, article_ids: Sequence[int]) -> dict[int, str]:
    """The titles of these articles; those that are gone are left out."""
    rows = await tx.rows(
        "select id, title from article where workspace_id = %(workspace)s and id = any(%(ids)b::bigint[])",
        workspace=tx.workspace_id,
        ids=list(set(article_ids)),
    )
    return dict(rows)


async def titles_of_base(tx: Transaction, base_id: int) -> dict[str, int]:
    """Which article has which title; of several with the same one the first."""
    rows = await tx.rows("select title, id from article where base_id = %(base)s order by id desc", base=base_id)
    return dict(rows)


@frozen_dataclass
class Frequencies:
    """In how many bodies and phrasings of a base terms stand, of those that were `asked` for."""

    asked: frozenset[int]
    bodies: dict[int, int]
    phrasings: dict[int, int]

    def of(self, terms: Collection[int]) -> Frequencies:
        """Of these terms, which were all asked for."""
        return Frequencies(
            frozenset(terms),
            {term: self.bodies[term] for term in terms if term in self.bodies},
            {term: self.phrasings[term] for term in terms if term in self.phrasings},
        )

    def joined(self, others: Frequencies) -> Frequencies:
        return Frequencies(
            self.asked | others.asked, {**self.bodies, **others.bodies}, {**self.phrasings, **others.phrasings}
        )


NOT_ASKED = Frequencies(frozenset(), {}, {})

_FREQUENCIES = """
select term, sum(bodies) as bodies, sum(phrasings) as phrasings from term_df
where workspace_id = %(workspace)s and base_id = {base} and part = any({parts}) and term = any(%(terms)b::integer[])
group by term having sum(bodies) > 0"""


async def frequencies(tx: Transaction, base: BaseRow, of: Collection[int]) -> Frequencies:
    """In how many bodies and phrasings of the base these terms stand."""
    rows = await tx.rows(
        _FREQUENCIES.format(base="%(base)s", parts="%(parts)b::smallint[]"),
        workspace=tx.workspace_id,
        base=base.id,
        parts=list(range(base.parts + 1)),
        terms=list(of),
    )
    return Frequencies(
        frozenset(of),
        {term: bodies for term, bodies, _ in rows},
        {term: phrasings for term, _, phrasings in rows},
    )


_BASE_WITH_FREQUENCIES = f"""
select found.*, f.terms, f.in_bodies, f.in_phrasings from ({_BASE} where b.id = %(id)s) found cross join lateral (
  select array_agg(term) as terms, array_agg(bodies) as in_bodies, array_agg(phrasings) as in_phrasings
  from ({_FREQUENCIES.format(base="found.id", parts="array(select generate_series(0, found.parts)::smallint)")}) t) f"""


async def base_with_frequencies(tx: Transaction, base_id: int, of: Collection[int]) -> tuple[BaseRow, Frequencies]:
    """What `base` and `frequencies` give, in one round trip. Raises NotFound."""
    rows = await tx.records(_BASE_WITH_FREQUENCIES, workspace=tx.workspace_id, id=base_id, terms=list(of))
    if not rows:
        raise NotFound("There is no such knowledge base.")
    (row,) = rows
    terms, bodies, phrasings = (row.pop(name) or () for name in ("terms", "in_bodies", "in_phrasings"))
    known = Frequencies(frozenset(of), dict(zip(terms, bodies, strict=True)), dict(zip(terms, phrasings, strict=True)))
    return BaseRow(**row), known

"""Vectors for chunks, when the installation has an embedder. A chunk without one is simply found by its words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zhiban.kit.db import Database
from zhiban.ports import Embedder, ModelUnavailable

AT_ONCE = 64
INDEX_FROM = 20_000  # below, comparing all vectors is exact and quick enough

__all__ = ["ModelUnavailable", "embed_missing", "literal"]


def literal(vector: Sequence[float]) -> str:
    """pgvector's text form."""
    return "[" + ",".join(f"{value:.6g}" for value in vector) + "]"


async def embed_missing(
    database: Database,
    workspace_id: int,
    base_id: int,
    embedder: Embedder,
    *,
    told: Callable[[int, int], None] | None = None,
) -> int:
    """Embed the chunks of a base that have no vector of this embedder. Returns how many. Raises ModelUnavailable.

    What is embedded is kept at once, so a later run goes on where this one stopped.
    """
    async with database.transaction(workspace_id) as tx:
        # Vectors of another model cannot be compared with this one's.
        changed = await tx.run(
            "update knowledge_base set embedder = %(name)s, dimensions = %(dimensions)s where id = %(base)s "
            "and (embedder is distinct from %(name)s or dimensions is distinct from %(dimensions)s)",
            name=embedder.name,
            dimensions=embedder.dimensions,
            base=base_id,
        )
        if changed:
            await tx.run("delete from chunk_vector where base_id = %(base)s", base=base_id)
        ids = await tx.values(
            "select c.id from chunk c where c.base_id = %(base)s and not exists (select from chunk_vector v "
            "where v.workspace_id = c.workspace_id and v.chunk_id = c.id) order by c.id",
            base=base_id,
        )
    for start in range(0, len(ids), AT_ONCE):
        await _embed(database, workspace_id, base_id, embedder, ids[start : start + AT_ONCE])
        if told:
            told(min(start + AT_ONCE, len(ids)), len(ids))
    if len(ids) and await _vectors(database, workspace_id, base_id) >= INDEX_FROM:
        async with database.transaction(workspace_id) as tx:
            await tx.value("select index_vectors(%(dimensions)s)", dimensions=embedder.dimensions)
    return len(ids)


async def _vectors(database: Database, workspace_id: int, base_id: int) -> int:
    async with database.transaction(workspace_id) as tx:
        count: int = await tx.value("select count(*) from chunk_vector where base_id = %(base)s", base=base_id)
    return count


@dataclass(frozen=True, slots=True)
class _Chunk:
    id: int
    text: str  # what the embedder reads: with the title or the headings above it


async def _embed(database: Database, workspace_id: int, base_id: int, embedder: Embedder, ids: Sequence[int]) -> None:
    async with database.transaction(workspace_id) as tx:
        chunks = await tx.objects(
            _Chunk,
            "select c.id, case when a.kind = 'faq' then a.title || E'\\n' || c.text "
            "else array_to_string(c.heading_path, ' ') || E'\\n' || c.text end as text from chunk c join article a "
            "on a.workspace_id = c.workspace_id and a.id = c.article_id "
            "where c.workspace_id = %(workspace)s and c.id = any(%(ids)b::bigint[]) order by c.id",
            workspace=workspace_id,
            ids=list(ids),
        )
    vectors = await embedder.embed([chunk.text for chunk in chunks], purpose="passage")
    if len(vectors) != len(chunks) or any(len(vector) != embedder.dimensions for vector in vectors):
        raise ModelUnavailable("The embedder returned vectors that do not fit what it was asked.")
    async with database.transaction(workspace_id) as tx:
        # A chunk may have gone while its vector was made.
        await tx.run(
            "insert into chunk_vector (workspace_id, chunk_id, base_id, dimensions, vector) "
            "select %(workspace)s, c.id, %(base)s, %(dimensions)s, t.vector::halfvec "
            "from unnest(%(ids)b::bigint[], %(vectors)b::text[]) as t (id, vector) "
            "join chunk c on c.workspace_id = %(workspace)s and c.id = t.id on conflict do nothing",
            workspace=workspace_id,
            base=base_id,
            dimensions=embedder.dimensions,
            ids=[chunk.id for chunk in chunks],
            vectors=[literal(vector) for vector in vectors],
        )

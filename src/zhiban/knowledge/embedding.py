"""Give every way of asking a vector, and keep the vectors in step with the phrasings.

Vectors of one embedder for one base are a set. A new set grows beside the one that serves, and takes its place when it
is complete. Nobody but this module writes vectors: a phrasing without one is found by its words until it has one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from zhiban.kit.db import Database, Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.jobs import Job
from zhiban.knowledge.embedding_ahead import EmbeddedAhead
from zhiban.knowledge.embedding_batches import embed_in_batches
from zhiban.knowledge.vectors import HalfVectors, passage_vectors, text_to_embed
from zhiban.ports import Embedder, ModelUnavailable

log = logging.getLogger(__name__)

INDEX_FROM = 4_000  # vectors; comparing fewer takes 2 ms and is exact
GROWN = 4.0  # times as many vectors as the lists of the index were made for: they are made anew

EMBED = Job("embed", attempts=60, wait=2.0, longest=300.0)  # gives new phrasings of a base their vectors

EmbeddingProgress = Callable[[int, int], None]

__all__ = ["EMBED", "EmbeddingProgress", "ModelUnavailable", "embed_base", "embed_new", "forget_vectors", "missing"]

_MISSING = """
select count(*) from phrasing p
join article a on a.workspace_id = p.workspace_id and a.id = p.article_id
where a.base_id = %(base)s and a.kind = 'faq' and not p.retired and not exists (
  select from vector_set s join phrasing_vector v on v.workspace_id = s.workspace_id and v.set_id = s.id
  where s.workspace_id = p.workspace_id and s.base_id = %(base)s and s.embedder = %(embedder)s
    and v.article_id = p.article_id and v.phrasing_id = p.id)"""

# A step through them: each phrasing is looked up by its key, and no more of them than are wanted. Written as joins,
# every step of an import would read all vectors that there are by then: so plans whoever has not seen the tables grow.
# Nor may it sort: it would look at all that is left at each step and throw most away, instead of going on by the key.
_NEXT_MISSING = """
select p.id, p.text from phrasing p
where p.workspace_id = %(workspace)s and p.id > %(after)s and not p.retired
  and (select a.base_id from article a where a.workspace_id = p.workspace_id and a.id = p.article_id
        and a.kind = 'faq') = %(base)s
  and (select v.phrasing_id from phrasing_vector v where v.workspace_id = p.workspace_id and v.set_id = %(set)s
        and v.article_id = p.article_id and v.phrasing_id = p.id limit 1) is null
order by p.id limit %(limit)s"""

# Kept from being removed until the vectors are in; whoever embeds beside this one does not wait.
_FOUND_SET = """
select id, dimensions from vector_set where base_id = %(base)s and embedder = %(embedder)s for key share"""

_NEW_SET = """
insert into vector_set as s (workspace_id, base_id, embedder, dimensions)
values (%(workspace)s, %(base)s, %(embedder)s, %(dimensions)s)
on conflict (workspace_id, base_id, embedder) do update set embedder = excluded.embedder
returning s.id, s.dimensions"""

# A phrasing may have gone while its vector was made.
_KEEP = """
insert into phrasing_vector (workspace_id, set_id, article_id, phrasing_id, vector)
select %(workspace)s, %(set)s, p.article_id, p.id, t.vector
from unnest(%(ids)b::bigint[], %(vectors)b::halfvec[]) as t (id, vector)
join phrasing p on p.workspace_id = %(workspace)s and p.id = t.id on conflict do nothing"""

_LEFT_OVER = """
delete from phrasing_vector v where v.set_id = any(%(sets)b::bigint[]) and not exists (
  select from phrasing p where p.workspace_id = v.workspace_id and p.id = v.phrasing_id)"""


@frozen_dataclass
class UnembeddedPhrasing:
    """A way of asking that waits for its vector."""

    id: int
    text: str


@frozen_dataclass
class _Set:
    id: int
    dimensions: int


@frozen_dataclass
class _State:
    id: int
    embedder: str
    serving: bool
    vectors: int
    lists: int

    @property
    def wants_index(self) -> bool:
        return self.vectors >= INDEX_FROM and self.vectors > GROWN * self.lists**2


async def embed_base(
    database: Database,
    workspace_id: int,
    base_id: int,
    embedder: Embedder,
    *,
    tidied: bool = False,
    told: EmbeddingProgress | None = None,
) -> int:
    """Make the vectors that a base lacks, and let them serve. Returns how many were made. Raises ModelUnavailable.

    What is embedded is kept at once, so a later run goes on where this one stopped; the old vectors serve meanwhile.
    `tidied`: the planner knows the vectors that are there already.
    """
    async with database.transaction(workspace_id) as tx:
        total = await missing(tx, base_id, embedder.name)
    made = 0

    def count(new: int) -> None:
        nonlocal made
        made += new
        if told:
            told(min(made, total), total)

    if total:
        await embed_new(database, workspace_id, base_id, embedder, made=count)
    async with database.transaction(workspace_id) as tx:
        await tx.lift_time_limit()
        await _serve(tx, base_id, embedder.name)
    await _index(database, workspace_id, base_id, tidied=tidied and not made)
    return made


async def missing(tx: Transaction, base_id: int, embedder: str) -> int:
    """How many phrasings of the base have no vector of this embedder."""
    count: int = await tx.value(_MISSING, base=base_id, embedder=embedder)
    return count


async def embed_new(
    database: Database,
    workspace_id: int,
    base_id: int,
    embedder: Embedder,
    *,
    after: int = 0,
    ahead: EmbeddedAhead | None = None,
    made: Callable[[int], None],
) -> int:
    """Make vectors for the phrasings beyond this id, for a set that need not be complete. Returns the last one's id.

    What was made `ahead` is taken from there; `made` hears how many. Raises ModelUnavailable.
    """

    async def waiting(after: int, limit: int) -> list[UnembeddedPhrasing]:
        async with database.transaction(workspace_id) as tx:
            return await next_missing(tx, base_id, embedder.name, after=after, limit=limit)

    async def embed(batch: Sequence[UnembeddedPhrasing]) -> int:
        return await _embed(database, workspace_id, base_id, embedder, batch, ahead)

    return await embed_in_batches(waiting, embed, after=after, made=made)


async def next_missing(
    tx: Transaction, base_id: int, embedder: str, *, after: int, limit: int
) -> list[UnembeddedPhrasing]:
    """The first phrasings beyond this id that have no vector of this embedder. Nothing else is done with `tx`."""
    await tx.value("select set_config('enable_sort', 'off', true)")
    return await tx.objects(
        UnembeddedPhrasing,
        _NEXT_MISSING,
        workspace=tx.workspace_id,
        base=base_id,
        set=await _set_of(tx, base_id, embedder),
        after=after,
        limit=limit,
    )


async def _set_of(tx: Transaction, base_id: int, embedder: str) -> int:
    """0 before the first vector, when no set has this id."""
    found: int | None = await tx.value(
        "select id from vector_set where base_id = %(base)s and embedder = %(embedder)s",
        base=base_id,
        embedder=embedder,
    )
    return found or 0


async def _embed(
    database: Database,
    workspace_id: int,
    base_id: int,
    embedder: Embedder,
    batch: Sequence[UnembeddedPhrasing],
    ahead: EmbeddedAhead | None,
) -> int:
    texts = [text_to_embed(phrasing.text) for phrasing in batch]
    vectors = await (ahead.vectors(texts) if ahead else passage_vectors(embedder, texts))
    async with database.transaction(workspace_id) as tx:
        found = await tx.object(_Set, _FOUND_SET, base=base_id, embedder=embedder.name) or await tx.object(
            _Set,
            _NEW_SET,
            workspace=workspace_id,
            base=base_id,
            embedder=embedder.name,
            dimensions=vectors[0].dimensions,
        )
        if found is None or any(vector.dimensions != found.dimensions for vector in vectors):
            raise ModelUnavailable("The embedder returned vectors that do not fit what it was asked.")
        oid = await tx.value("select 'halfvec'::regtype::oid")
        return await tx.run(
            _KEEP,
            workspace=workspace_id,
            set=found.id,
            ids=[phrasing.id for phrasing in batch],
            vectors=HalfVectors(oid, vectors),
        )


async def _sets(tx: Transaction, base_id: int) -> list[_State]:
    return await tx.objects(
        _State,
        "select s.id, s.embedder, s.serving, vector_lists(s.id) as lists, (select count(*) from "
        " phrasing_vector v where v.workspace_id = s.workspace_id and v.set_id = s.id) as vectors "
        "from vector_set s where s.base_id = %(base)s",
        base=base_id,
    )


async def _serve(tx: Transaction, base_id: int, embedder: str) -> None:
    """The set of this embedder is complete: it serves, the others go, and so does what is left over in it."""
    sets = await _sets(tx, base_id)
    if not any(found.embedder == embedder for found in sets):
        return
    for found in sets:
        if found.embedder != embedder:
            await _remove(tx, found.id)
        elif not found.serving:
            await tx.run("update vector_set set serving = true where id = %(id)s", id=found.id)
            log.info("The vectors of %s serve base %s: %s phrasings.", embedder, base_id, found.vectors)
    await tx.run(_LEFT_OVER, sets=[found.id for found in sets if found.embedder == embedder])


async def _index(database: Database, workspace_id: int, base_id: int, *, tidied: bool) -> None:
    async with database.transaction(workspace_id) as tx:
        await tx.lift_time_limit()  # a million vectors take minutes
        for found in await _sets(tx, base_id):
            if found.serving and found.wants_index:
                await tx.value("select index_vectors(%(set)s)", set=found.id)
                if not tidied:
                    # Of a set not counted the planner expects so little that it would compare it one by one.
                    await tx.value("select tidy_knowledge()")


async def _remove(tx: Transaction, set_id: int) -> None:
    await tx.value("select forget_vector_index(%(set)s)", set=set_id)
    await tx.run("delete from phrasing_vector where set_id = %(set)s", set=set_id)
    await tx.run("delete from vector_set where id = %(set)s", set=set_id)


async def forget_vectors(tx: Transaction, base_id: int) -> None:
    """Remove all vectors of a base."""
    for found in await _sets(tx, base_id):
        await _remove(tx, found.id)

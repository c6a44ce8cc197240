"""Keep the vectors of issues in step with what the tracker says, in the background and after the commit.

The vectors of one embedder for one repository are a set. A new set grows beside the one that serves and takes its place
when it is complete; the first one serves while it grows. An issue without a vector is found by its words.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

from zhiban.events import IssueChanged
from zhiban.kit.db import Database, Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.jobs import Enqueued, Job, Task, enqueue
from zhiban.knowledge.embedding_batches import embed_in_batches
from zhiban.knowledge.vectors import Embedders, HalfVectors, passage_vectors
from zhiban.ports import Embedder, ModelUnavailable
from zhiban.tickets.issue_text import embedded_text, mostly_han

log = logging.getLogger(__name__)

EMBED_ISSUES = Job("embed_issues", attempts=60, wait=2.0, longest=300.0)  # gives new and edited ones their vectors
EMBED_ALL_ISSUES = Job("embed_all_issues", queue="slow", attempts=60, wait=5.0)
EMBEDDED_AT_ONCE = 500  # issues; what takes longer must not keep quick jobs waiting
TOLD_EVERY = 10.0  # seconds between two lines of progress in the log

# Of an issue that says something else by now the vector is an old one.
_MISSING = """
from issue_index x where x.repository_id = %(repository)s and not exists (
  select from issue_vector_set s join issue_vector v on v.workspace_id = s.workspace_id and v.set_id = s.id
  where s.workspace_id = x.workspace_id and s.repository_id = x.repository_id and s.embedder = %(embedder)s
    and v.issue_id = x.issue_id and v.digest = x.digest)"""

_FOUND_SET = """
select id, dimensions from issue_vector_set where repository_id = %(repository)s and embedder = %(embedder)s
for key share"""

_NEW_SET = """
insert into issue_vector_set as s (workspace_id, repository_id, embedder, dimensions)
values (%(workspace)s, %(repository)s, %(embedder)s, %(dimensions)s)
on conflict (workspace_id, repository_id, embedder) do update set embedder = excluded.embedder
returning s.id, s.dimensions"""

# An issue may have changed or gone while its vector was made.
_KEEP = """
insert into issue_vector (workspace_id, set_id, issue_id, digest, han, vector)
select %(workspace)s, %(set)s, x.issue_id, x.digest, t.han, t.vector
from unnest(%(ids)s::bigint[], %(digests)s::bytea[], %(han)s::boolean[], %(vectors)b::halfvec[])
  as t (id, digest, han, vector)
join issue_index x on x.workspace_id = %(workspace)s and x.issue_id = t.id and x.digest = t.digest
on conflict (workspace_id, set_id, issue_id) do update
set digest = excluded.digest, han = excluded.han, vector = excluded.vector"""

_LEFT_OVER = """
delete from issue_vector v where v.set_id = %(set)s and not exists (
  select from issue_index x where x.workspace_id = v.workspace_id and x.issue_id = v.issue_id)"""


@frozen_dataclass
class VectorProgress:
    """How many issues of a repository can be found by what they mean, of how many."""

    made: int
    total: int


@frozen_dataclass
class _UnembeddedIssue:
    id: int
    title: str
    body: str
    digest: bytes


@frozen_dataclass
class _IssueVectorSet:
    id: int
    dimensions: int


def for_changed(event: IssueChanged) -> Iterable[Enqueued]:
    """What is new or says something else gets a vector of its own."""
    if event.change in ("opened", "reopened", "edited") and not event.confidential:
        yield embedding_of(event.repository_id)


def embedding_of(repository_id: int) -> Enqueued:
    """Give this repository's issues the vectors that they lack."""
    return EMBED_ISSUES.of(key=str(repository_id), repository_id=repository_id)


class IssueVectorJobs:
    """What these jobs need, and the jobs."""

    def __init__(self, database: Database, embedders: Embedders) -> None:
        self._database = database
        self._embedders = embedders

    def tasks(self) -> list[Task]:
        return [Task(EMBED_ISSUES, self.embed), Task(EMBED_ALL_ISSUES, self.embed_all)]

    async def embed(self, workspace_id: int, repository_id: int) -> None:
        """Give what is new its vectors at once; leave more than that to `embed_all`. Raises ModelUnavailable."""
        embedder = self._embedders.wanted
        if embedder is None:
            return
        async with self._database.transaction(workspace_id) as tx:
            if await missing(tx, repository_id, embedder.name) > EMBEDDED_AT_ONCE:
                await enqueue(tx, EMBED_ALL_ISSUES.of(key=str(repository_id), repository_id=repository_id))
                return
        await embed_issues(self._database, workspace_id, repository_id, embedder)

    async def embed_all(self, workspace_id: int, repository_id: int) -> None:
        """Give many issues their vectors, or all of them those of another embedder. Raises ModelUnavailable."""
        embedder = self._embedders.wanted
        if embedder is not None:
            await embed_issues(self._database, workspace_id, repository_id, embedder)


async def embed_issues(database: Database, workspace_id: int, repository_id: int, embedder: Embedder) -> int:
    """Make the vectors that a repository lacks, and let them serve. Returns how many were made.

    What is embedded is kept at once, so a later run goes on where this one stopped. Raises ModelUnavailable.
    """
    async with database.transaction(workspace_id) as tx:
        total = await missing(tx, repository_id, embedder.name)
    made, told_at = 0, time.monotonic()

    def count(new: int) -> None:
        nonlocal made, told_at
        made += new
        if time.monotonic() - told_at > TOLD_EVERY:
            told_at = time.monotonic()
            done = min(made, total)
            log.info("Embedding repository %s with %s: %s of %s issues.", repository_id, embedder.name, done, total)

    async def waiting(after: int, limit: int) -> list[_UnembeddedIssue]:
        async with database.transaction(workspace_id) as tx:
            return await tx.objects(
                _UnembeddedIssue,
                "select i.id, i.title, i.body, w.digest from ("
                f"select x.issue_id, x.digest {_MISSING} and x.issue_id > %(after)s order by 1 limit %(limit)s) w "
                "join issue i on i.workspace_id = %(workspace)s and i.id = w.issue_id order by i.id",
                workspace=workspace_id,
                repository=repository_id,
                embedder=embedder.name,
                after=after,
                limit=limit,
            )

    async def embed(batch: Sequence[_UnembeddedIssue]) -> int:
        return await _embed(database, workspace_id, repository_id, embedder, batch)

    if total:
        await embed_in_batches(waiting, embed, made=count)
    async with database.transaction(workspace_id) as tx:
        await tx.lift_time_limit()
        await _serve(tx, repository_id, embedder.name)
    return made


async def missing(tx: Transaction, repository_id: int, embedder: str) -> int:
    """How many issues of the repository have no vector of this embedder that says what they say."""
    return int(await tx.value(f"select count(*) {_MISSING}", repository=repository_id, embedder=embedder))


async def progress(tx: Transaction, repository_id: int, embedder: str) -> VectorProgress:
    """How far the vectors of this embedder have come."""
    total = await tx.value(
        "select count(*) from issue_index where repository_id = %(id)s",
        id=repository_id,
    )
    return VectorProgress(total - await missing(tx, repository_id, embedder), total)


async def _embed(
    database: Database, workspace_id: int, repository_id: int, embedder: Embedder, batch: Sequence[_UnembeddedIssue]
) -> int:
    texts = [embedded_text(one.title, one.body) for one in batch]
    vectors = await passage_vectors(embedder, texts)
    async with database.transaction(workspace_id) as tx:
        found = await tx.object(
            _IssueVectorSet, _FOUND_SET, repository=repository_id, embedder=embedder.name
        ) or await tx.object(
            _IssueVectorSet,
            _NEW_SET,
            workspace=workspace_id,
            repository=repository_id,
            embedder=embedder.name,
            dimensions=vectors[0].dimensions,
        )
        if found is None or any(vector.dimensions != found.dimensions for vector in vectors):
            raise ModelUnavailable("The embedder returned vectors that do not fit what it was asked.")
        kept = await tx.run(
            _KEEP,
            workspace=workspace_id,
            set=found.id,
            ids=[one.id for one in batch],
            digests=[one.digest for one in batch],
            han=[mostly_han(text) for text in texts],
            vectors=HalfVectors(await tx.value("select 'halfvec'::regtype::oid"), vectors),
        )
        await tx.run(
            "update issue_vector_set s set serving = true where s.id = %(id)s and not s.serving and not exists ("
            "select from issue_vector_set o where o.repository_id = s.repository_id and o.serving)",
            id=found.id,
        )
        return kept


async def _serve(tx: Transaction, repository_id: int, embedder: str) -> None:
    """The set of this embedder is complete: it serves, the others go, and so does what is left over in it."""
    set_id = await tx.value(
        "select id from issue_vector_set where repository_id = %(repository)s and embedder = %(embedder)s",
        repository=repository_id,
        embedder=embedder,
    )
    if set_id is None:
        return
    others = "delete from issue_vector_set where repository_id = %(repository)s and id <> %(id)s"
    await tx.run(others, repository=repository_id, id=set_id)
    await tx.run("update issue_vector_set set serving = true where id = %(id)s and not serving", id=set_id)
    await tx.run(_LEFT_OVER, set=set_id)


async def enqueue_embedding(database: Database) -> None:
    """For the start of a process that works: vectors may be missing, or by another embedder."""
    for workspace_id in await database.workspaces():
        async with database.transaction(workspace_id) as tx:
            ids = await tx.values("select id from repository where removed_at is null")
            await enqueue(tx, *map(embedding_of, ids))

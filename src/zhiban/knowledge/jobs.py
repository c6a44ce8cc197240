"""Jobs of knowledge: what must not keep anybody waiting."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import NotFound
from zhiban.kit.jobs import Job, Task, enqueue
from zhiban.knowledge import maintenance, queries
from zhiban.knowledge.calibrating import CALIBRATE, CALIBRATE_CONFIRMED, is_outdated
from zhiban.knowledge.calibration import calibrate
from zhiban.knowledge.embedding import EMBED, embed_base, missing
from zhiban.knowledge.gap_grouping import group_new, waits
from zhiban.knowledge.gap_likeness import closeness
from zhiban.knowledge.gaps import GROUP_GAPS
from zhiban.knowledge.indexing import INDEX_VERSION
from zhiban.knowledge.service import INDEX_PHRASINGS
from zhiban.knowledge.synonyms import APPLY_SYNONYMS, apply_synonyms
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders

REBUILD_OUTDATED = Job("rebuild_outdated", queue="slow", attempts=5)
EMBED_ALL = Job("embed_all", queue="slow", attempts=60, wait=5.0)
EMBEDDED_AT_ONCE = 500  # phrasings; what takes longer must not keep quick jobs waiting
GROUPED_AT_ONCE = 128  # questions of gaps; what waits beyond is another job
TOLD_EVERY = 10.0  # seconds between two lines of progress in the log

log = logging.getLogger(__name__)


class KnowledgeJobs:
    """What these jobs need, and the jobs."""

    def __init__(self, database: Database, clock: Clock, embedders: Embedders = NO_EMBEDDERS) -> None:
        self._database = database
        self._clock = clock
        self._embedders = embedders
        self._closeness: dict[str, float] = {}  # by the embedder's name

    def tasks(self) -> list[Task]:
        return [
            Task(INDEX_PHRASINGS, self.index_phrasings),
            Task(EMBED, self.embed),
            Task(EMBED_ALL, self.embed_all),
            Task(CALIBRATE, self.calibrate),
            Task(CALIBRATE_CONFIRMED, self.calibrate_confirmed),
            Task(GROUP_GAPS, self.group_gaps),
            Task(REBUILD_OUTDATED, self.rebuild_outdated),
            Task(APPLY_SYNONYMS, self.apply_synonyms),
        ]

    async def index_phrasings(self, workspace_id: int, base_id: int) -> None:
        """Let the wordings be found that came while the base was busy. Raises BaseBusy."""
        if not await maintenance.index_waiting(self._database, workspace_id, base_id):
            raise maintenance.BaseBusy("The knowledge base is being filled or rebuilt. Try again in a minute.")

    async def embed(self, workspace_id: int, base_id: int) -> None:
        """Give what is new its vectors at once; leave more than that to `embed_all`. Raises ModelUnavailable."""
        embedder = self._embedders.wanted
        if embedder is None:
            return
        async with self._database.transaction(workspace_id) as tx:
            if await missing(tx, base_id, embedder.name) > EMBEDDED_AT_ONCE:
                await enqueue(tx, EMBED_ALL.of(key=str(base_id), base_id=base_id))
                return
        await embed_base(self._database, workspace_id, base_id, embedder)

    async def embed_all(self, workspace_id: int, base_id: int) -> None:
        """Give many phrasings their vectors, or all of them those of another embedder. Raises ModelUnavailable."""
        embedder = self._embedders.wanted
        if embedder is None:
            return
        told_at = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal told_at
            if time.monotonic() - told_at > TOLD_EVERY:
                told_at = time.monotonic()
                log.info("Embedding base %s with %s: %s of %s phrasings.", base_id, embedder.name, done, total)

        await embed_base(self._database, workspace_id, base_id, embedder, told=tell)
        await self.calibrate(workspace_id, base_id)

    async def calibrate(self, workspace_id: int, base_id: int) -> None:
        """Learn the thresholds of a base anew, if it is still there."""
        with suppress(NotFound):
            await calibrate(self._database, workspace_id, base_id, embedders=self._embedders, now=self._clock.now())

    async def calibrate_confirmed(self, workspace_id: int, base_id: int) -> None:
        """Learn the thresholds anew when enough people have said whether answers were right."""
        async with self._database.transaction(workspace_id) as tx:
            outdated = await is_outdated(tx, base_id)
        if outdated:
            await self.calibrate(workspace_id, base_id)

    async def group_gaps(self, workspace_id: int) -> None:
        """Put new questions that nothing answered where their meaning belongs. Raises ModelUnavailable."""
        embedder = self._embedders.wanted
        if embedder is None or not await self._gaps_wait(workspace_id, embedder.name):
            return  # and the model is not loaded for nothing
        if embedder.name not in self._closeness:
            self._closeness[embedder.name] = await closeness(embedder)
        await group_new(
            self._database,
            workspace_id,
            embedder,
            close=self._closeness[embedder.name],
            most=GROUPED_AT_ONCE,
            now=self._clock.now(),
        )
        if await self._gaps_wait(workspace_id, embedder.name):
            async with self._database.transaction(workspace_id) as tx:
                await enqueue(tx, GROUP_GAPS.of(key="all"))

    async def _gaps_wait(self, workspace_id: int, embedder: str) -> bool:
        async with self._database.transaction(workspace_id) as tx:
            return await waits(tx, embedder)

    async def apply_synonyms(self, workspace_id: int, base_id: int) -> None:
        """Index a base anew with the synonyms that somebody wants; it answers as before meanwhile."""
        async with self._database.transaction(workspace_id) as tx:
            applied = await apply_synonyms(tx, base_id)
        if applied:
            await self.calibrate(workspace_id, base_id)

    async def rebuild_outdated(self, workspace_id: int) -> None:
        """Rebuild and calibrate the bases that an earlier release indexed in another way."""
        async with self._database.transaction(workspace_id) as tx:
            outdated = [base for base in await queries.bases(tx) if base.recipe != INDEX_VERSION]
        for base in outdated:
            await maintenance.rebuild(self._database, workspace_id, base.slug)
            await self.calibrate(workspace_id, base.id)


async def enqueue_rebuilds(database: Database) -> None:
    """For the start of a process that works: have bases rebuilt and embedded that need it. They answer meanwhile."""
    for workspace_id in await database.workspaces():
        async with database.transaction(workspace_id) as tx:
            if await tx.value("select 1 from knowledge_base where recipe <> %(recipe)s limit 1", recipe=INDEX_VERSION):
                await enqueue(tx, REBUILD_OUTDATED.of(key="all"))
            # Vectors may be missing, by another embedder, or without their index since a restore.
            ids = await tx.values("select id from knowledge_base where phrasings > 0")
            await enqueue(tx, *(EMBED.of(key=str(base_id), base_id=base_id) for base_id in ids))
            if await tx.value("select 1 from gap_question limit 1"):
                await enqueue(tx, GROUP_GAPS.of(key="all"))

"""Jobs of knowledge: what must not keep anybody waiting."""

from __future__ import annotations

from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.jobs import Job, Task, enqueue
from zhiban.knowledge import maintenance as upkeep
from zhiban.knowledge import queries
from zhiban.knowledge.calibration import calibrate
from zhiban.knowledge.indexing import INDEX_VERSION
from zhiban.knowledge.service import INDEX_PHRASINGS

REBUILD_OUTDATED = Job("rebuild_outdated", queue="slow", attempts=5)


class KnowledgeJobs:
    """What these jobs need, and the jobs."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def tasks(self) -> list[Task]:
        return [
            Task(INDEX_PHRASINGS, self.index_phrasings),
            Task(REBUILD_OUTDATED, self.rebuild_outdated),
        ]

    async def index_phrasings(self, workspace_id: int, base_id: int) -> None:
        """Let the wordings be found that came while the base was busy. Raises BaseBusy."""
        if not await upkeep.index_waiting(self._database, workspace_id, base_id):
            raise upkeep.BaseBusy("The knowledge base is being filled or rebuilt. Try again in a minute.")

    async def rebuild_outdated(self, workspace_id: int) -> None:
        """Rebuild and calibrate the bases that an earlier release indexed in another way."""
        async with self._database.transaction(workspace_id) as tx:
            outdated = [base for base in await queries.bases(tx) if base.recipe != INDEX_VERSION]
        for base in outdated:
            await upkeep.rebuild(self._database, workspace_id, base.slug)
            await calibrate(self._database, workspace_id, base.id, now=self._clock.now())


async def enqueue_rebuilds(database: Database) -> None:
    """For the start of a process that works: have outdated bases rebuilt. They answer meanwhile."""
    for workspace_id in await database.workspaces():
        async with database.transaction(workspace_id) as tx:
            if await tx.value("select 1 from knowledge_base where recipe <> %(recipe)s limit 1", recipe=INDEX_VERSION):
                await enqueue(tx, REBUILD_OUTDATED.of(key="all"))

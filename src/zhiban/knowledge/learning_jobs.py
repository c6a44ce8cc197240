"""The job that weighs what people said about a wording, a moment after they said it."""

from __future__ import annotations

from collections.abc import Iterable

from zhiban.events import EvidenceRecorded
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.jobs import Enqueued, Job, Task
from zhiban.knowledge.learning import AnsweredBy, weigh

WEIGH_EVIDENCE = Job("weigh_evidence")


def for_evidence(event: EvidenceRecorded) -> Iterable[Enqueued]:
    yield WEIGH_EVIDENCE.of(key=str(event.candidate_id), candidate_id=event.candidate_id)


class LearningJobs:
    """What the job needs, and the job. It can run twice without harm."""

    def __init__(self, database: Database, clock: Clock, answered_by: AnsweredBy) -> None:
        self._database = database
        self._clock = clock
        self._answered_by = answered_by

    def tasks(self) -> list[Task]:
        return [Task(WEIGH_EVIDENCE, self.weigh_evidence)]

    async def weigh_evidence(self, workspace_id: int, candidate_id: int) -> None:
        await weigh(self._database, workspace_id, candidate_id, self._answered_by, now=self._clock.now())

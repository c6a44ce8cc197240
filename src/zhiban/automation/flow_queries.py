"""Reads about flows and their runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from zhiban.automation.flow_talk import FlowProgress, GivenAnswer
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass

_FLOWS = "select id, name, enabled, definition, revision, changed_at from flow where removed_at is null"

_RUNS = """
select r.id, r.flow_id, r.revision, r.conversation_id, r.depth, r.step, r.tries, r.answers,
  r.started_at, r.due_at, r.ended_at, r.outcome, r.actions, f.name, f.removed_at is not null as removed, v.definition
from flow_run r join flow f on f.workspace_id = r.workspace_id and f.id = r.flow_id
join flow_version v on v.workspace_id = r.workspace_id and v.flow_id = r.flow_id and v.revision = r.revision"""


@frozen_dataclass
class FlowRow:
    """A flow. `definition` is what `FlowDefinition.to_json` wrote, `revision` grows with every change."""

    id: int
    name: str
    enabled: bool
    definition: dict[str, Any]
    revision: int
    changed_at: datetime


@frozen_dataclass
class FlowRun:
    """One time that a flow talks with a contact. `definition` is the version with which it began.

    `depth` counts reactions to reactions up to here; `due_at` is when the contact has been silent for too long.
    """

    id: int
    flow_id: int
    revision: int
    conversation_id: int
    depth: int
    step: int
    tries: int
    answers: list[dict[str, Any]]
    started_at: datetime
    due_at: datetime
    ended_at: datetime | None
    outcome: str | None
    actions: list[dict[str, Any]]
    name: str
    removed: bool
    definition: dict[str, Any]

    @property
    def progress(self) -> FlowProgress:
        return FlowProgress(self.step, self.tries, tuple(GivenAnswer(**one) for one in self.answers))


async def flows(tx: Transaction) -> list[FlowRow]:
    """All, by name."""
    return await tx.objects(FlowRow, _FLOWS + " order by lower(name), id")


async def startable(tx: Transaction) -> list[FlowRow]:
    """Those that may be started, by name."""
    return await tx.objects(FlowRow, _FLOWS + " and enabled order by lower(name), id")


async def access_flow(tx: Transaction, flow_id: int) -> FlowRow:
    """One flow of the transaction's workspace. Raises NotFound."""
    found = await tx.object(FlowRow, _FLOWS + " and id = %(id)s", id=flow_id)
    if found is None:
        raise NotFound("There is no such flow.")
    return found


async def run_of(tx: Transaction, run_id: int) -> FlowRun:
    """One run. Raises NotFound."""
    found = await tx.object(FlowRun, _RUNS + " where r.id = %(id)s", id=run_id)
    if found is None:
        raise NotFound("There is no such run of a flow.")
    return found


async def flow_runs(tx: Transaction, flow_id: int, *, limit: int = 30) -> list[FlowRun]:
    """When it talked with contacts, newest first."""
    return await tx.objects(
        FlowRun, _RUNS + " where r.flow_id = %(flow)s order by r.id desc limit %(limit)s", flow=flow_id, limit=limit
    )


# Whether `silent_runs` finds any.
ANY_SILENT = "exists (select from flow_run where ended_at is null and due_at <= %(now)s)"


async def silent_runs(tx: Transaction, *, now: datetime, limit: int) -> list[FlowRun]:
    """Those in which the contact has been silent for too long, longest first."""
    return await tx.objects(
        FlowRun,
        _RUNS + " where r.ended_at is null and r.due_at <= %(now)s order by r.due_at, r.id limit %(limit)s",
        now=now,
        limit=limit,
    )

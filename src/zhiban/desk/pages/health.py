"""The health page: what is broken, what failed for good, and how to try it again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from zhiban.kit.db import Work
from zhiban.kit.errors import NotFound
from zhiban.kit.event_log import READ
from zhiban.kit.jobs import DeadLetter, dead_letters, try_again
from zhiban.people.auth import Signed, gate_of
from zhiban.web.security import same_origin

router = APIRouter(prefix="/settings/health", include_in_schema=False, dependencies=[Depends(same_origin)])


@dataclass(frozen=True, slots=True)
class Place:
    """A connection or an inbox, and what is wrong with it."""

    kind: str
    name: str
    broken: str | None
    broken_at: datetime | None


@dataclass(frozen=True, slots=True)
class FailedDelivery:
    """A callback that was stored and could not be read."""

    id: int
    connection: str
    attempts: int
    error: str | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Health:
    places: tuple[Place, ...]
    deliveries: tuple[FailedDelivery, ...]
    jobs: tuple[DeadLetter, ...]
    waiting: int  # deliveries and messages not handled yet
    unsent: int  # of the last day

    @property
    def troubles(self) -> int:
        return sum(place.broken is not None for place in self.places) + len(self.deliveries) + len(self.jobs)


async def read_health(work: Work) -> Health:
    places = await work.objects(
        Place,
        "select 'connection' as kind, name, broken, broken_at from connection union all "
        "select 'inbox', name, broken, broken_at from inbox where archived_at is null order by 1, 2",
    )
    deliveries = await work.objects(
        FailedDelivery,
        "select d.id, c.name as connection, d.attempts, d.error, d.received_at from delivery d "
        "join connection c on c.id = d.connection_id where d.state = 'failed' order by d.id desc limit 50",
    )
    waiting = await work.value(
        "select (select count(*) from delivery where state = 'pending') "
        "+ (select count(*) from message where state in ('pending', 'queued'))"
    )
    unsent = await work.value(
        "select count(*) from event where kind = 'message_failed' and at > now() - interval '1 day'"
    )
    jobs = await dead_letters(work, limit=50)
    return Health(tuple(places), tuple(deliveries), tuple(jobs), int(waiting), int(unsent))


async def read_again(work: Work, delivery_id: int) -> None:
    """Put a delivery that failed back among those that wait. Raises NotFound."""
    connection_id = await work.value(
        "update delivery set state = 'pending', attempts = 0, error = null where id = %(id)s and state = 'failed' "
        "returning connection_id",
        id=delivery_id,
    )
    if connection_id is None:
        raise NotFound("There is no such failed delivery.")
    work.touch(READ, connection_id)


@router.get("")
async def health(request: Request, member: Signed) -> Response:
    gate = gate_of(request)
    async with gate.database.session(member.workspace_id) as work:
        found = await read_health(work)
    return gate.renderer.answer(
        "health.html",
        gate.reader(request, member),
        frame=gate.frame(member, "health", troubles=found.troubles),
        health=found,
    )


@router.post("/jobs/{job_id}/again")
async def job_again(request: Request, member: Signed, job_id: int) -> Response:
    async with gate_of(request).database.session(member.workspace_id) as work:
        if not await try_again(work, job_id):
            raise NotFound("There is no such failed job.")
    return RedirectResponse("/settings/health", status_code=303)


@router.post("/deliveries/{delivery_id}/again")
async def delivery_again(request: Request, member: Signed, delivery_id: int) -> Response:
    async with gate_of(request).database.session(member.workspace_id) as work:
        await read_again(work, delivery_id)
    return RedirectResponse("/settings/health", status_code=303)

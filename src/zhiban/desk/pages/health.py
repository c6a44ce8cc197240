"""The health page: what the checks found, what failed for good, and how to try it again."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from zhiban.channels.delivery_store import read_again
from zhiban.desk.checks import Checks, Finding, checks_of, chrome_of
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.kit.jobs import DeadLetter, dead_letters, try_again
from zhiban.people.auth import CurrentAgent, auth_of
from zhiban.people.permissions import Permission
from zhiban.tickets import mirroring
from zhiban.tickets.mirroring import MirrorPause
from zhiban.web.security import same_origin

router = APIRouter(prefix="/settings/health", include_in_schema=False, dependencies=[Depends(same_origin)])


@frozen_dataclass
class BrokenPlace:
    """A connection or an inbox, and what is wrong with it. `note` is information and no trouble."""

    kind: str
    name: str
    broken: str | None
    broken_at: datetime | None
    note: str | None


@frozen_dataclass
class FailedDelivery:
    """A callback that was stored and could not be read."""

    id: int
    connection: str
    attempts: int
    error: str | None
    received_at: datetime


@frozen_dataclass
class Health:
    findings: tuple[Finding, ...]
    places: tuple[BrokenPlace, ...]
    deliveries: tuple[FailedDelivery, ...]
    jobs: tuple[DeadLetter, ...]
    paused: tuple[MirrorPause, ...]  # issues
    waiting: int  # deliveries and messages not handled yet
    unsent: int  # of the last day

    def at(self, level: str) -> list[Finding]:
        """The findings of a level."""
        return [finding for finding in self.findings if finding.level == level]


async def read_health(tx: Transaction, checks: Checks, texts: Texts) -> Health:
    places = await tx.objects(
        BrokenPlace,
        "select 'connection' as kind, name, broken, broken_at, contacts_off as note from connection union all "
        "select 'inbox', name, broken, broken_at, null from inbox where archived_at is null order by 1, 2",
    )
    deliveries = await tx.objects(
        FailedDelivery,
        "select d.id, c.name as connection, d.attempts, d.error, d.received_at from delivery d "
        "join connection c on c.id = d.connection_id where d.state = 'failed' order by d.id desc limit 50",
    )
    waiting = await tx.value(
        "select (select count(*) from delivery where state = 'pending') "
        "+ (select count(*) from message where state in ('pending', 'queued'))"
    )
    unsent = await tx.value(
        "select count(*) from event where kind = 'message_failed' and at > now() - interval '1 day'"
    )
    jobs = await dead_letters(tx, limit=50)
    paused = await mirroring.pauses(tx)
    return Health(
        await checks.run(tx, texts),
        tuple(places),
        tuple(deliveries),
        tuple(jobs),
        tuple(paused),
        int(waiting),
        int(unsent),
    )


@router.get("")
async def health(request: Request, agent: CurrentAgent) -> Response:
    auth = auth_of(request)
    viewer = auth.viewer(request, agent)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        found = await read_health(tx, checks_of(request), viewer.texts)
    return auth.renderer.answer(
        "health.html",
        viewer,
        chrome=await chrome_of(request, agent, "health"),
        health=found,
        manages=agent.access.may(Permission.MANAGE_INBOXES),
    )


@router.post("/jobs/{job_id}/again")
async def job_again(request: Request, agent: CurrentAgent, job_id: int) -> Response:
    agent.access.check(Permission.MANAGE_INBOXES)
    async with auth_of(request).database.page_transaction(agent.workspace_id) as tx:
        if not await try_again(tx, job_id):
            raise NotFound("There is no such failed job.")
    return RedirectResponse("/settings/health", status_code=303)


@router.post("/deliveries/{delivery_id}/again")
async def delivery_again(request: Request, agent: CurrentAgent, delivery_id: int) -> Response:
    agent.access.check(Permission.MANAGE_INBOXES)
    async with auth_of(request).database.page_transaction(agent.workspace_id) as tx:
        await read_again(tx, delivery_id)
    return RedirectResponse("/settings/health", status_code=303)


@router.post("/issues/{issue_id}/resume")
async def issue_resume(request: Request, agent: CurrentAgent, issue_id: int) -> Response:
    """Groups and the issue hear of each other again at once."""
    agent.access.check(Permission.MANAGE_INBOXES)
    auth = auth_of(request)
    async with auth.database.transaction(agent.workspace_id) as tx:
        if not await mirroring.resume(tx, issue_id, by=Actor("agent", agent.id), now=auth.clock.now()):
            raise NotFound("This issue is not paused.")
    return RedirectResponse("/settings/health", status_code=303)

"""Who is woken once a second: everybody who has something to do, and nobody else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.kernel_desk import Desk, open_desk
from tests.workers.working_process import KEY
from zhiban.bootstrap import POLLED_KINDS
from zhiban.container import App, Workers
from zhiban.kit.clock import SetClock
from zhiban.kit.db import NO_WORKSPACE, Database
from zhiban.kit.settings import load
from zhiban.people import presence
from zhiban.people.presence import SILENT_AFTER
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.workers.account_poller import SAFETY_POLL
from zhiban.workers.recovery import QUIET
from zhiban.workers.scheduler import DueWork, Scheduler

SECOND = timedelta(seconds=1)
STRANGER = 2**40  # the id of a process that is not there


class Worker:
    """Remembers where it was woken, and stops there while it is held."""

    def __init__(self, name: str, condition: str) -> None:
        self.name = name
        self.condition = condition
        self.woken: list[int] = []
        self.ended = 0
        self.held = asyncio.Event()
        self.held.set()
        self.breaks = False

    def due_work(self) -> DueWork:
        return DueWork(self.name, self.condition, self.run)

    async def run(self, workspace_id: int) -> None:
        self.woken.append(workspace_id)
        await self.held.wait()
        self.ended += 1
        if self.breaks:
            raise ValueError("it breaks")


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _round(scheduler: Scheduler) -> None:
    await scheduler.run_once()
    await _turns()


async def test_only_who_has_something_to_do_is_woken_and_where(db: Database, workspace: int, clock: SetClock) -> None:
    idle, busy, outside = Worker("idle", "false"), Worker("busy", "%(now)s is not null"), Worker("outside", "true")
    scheduler = Scheduler(
        db, clock, of_workspaces=[idle.due_work(), busy.due_work()], of_installation=[outside.due_work()]
    )
    await _round(scheduler)
    await _round(scheduler)
    assert (idle.woken, busy.woken, outside.woken) == ([], [workspace] * 2, [NO_WORKSPACE] * 2)


async def test_who_is_at_work_or_breaks_holds_up_nobody(
    db: Database, workspace: int, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    slow, broken, other = (Worker(name, "true") for name in ("slow", "broken", "other"))
    slow.held.clear()
    broken.breaks = True
    scheduler = Scheduler(db, clock, of_workspaces=[each.due_work() for each in (slow, broken, other)])
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            await _round(scheduler)
    assert (slow.woken, len(broken.woken), len(other.woken)) == ([workspace], 3, 3)
    assert "Broken failed." in caplog.text
    slow.held.set()
    await _turns()
    slow.held.clear()
    await _round(scheduler)
    assert len(slow.woken) == 2
    closing = asyncio.create_task(scheduler.close())
    await asyncio.sleep(0)
    slow.held.set()
    await closing
    assert slow.ended == len(slow.woken)


async def test_a_question_that_cannot_be_answered_lets_everybody_look(
    db: Database, workspace: int, clock: SetClock
) -> None:
    fine, other = Worker("fine", "false"), Worker("other", "1 / (select 0) = 1")
    scheduler = Scheduler(db, clock, of_workspaces=[fine.due_work(), other.due_work()])
    await _round(scheduler)
    assert fine.woken == other.woken == [workspace]


@pytest.fixture
def workers(urls: DatabaseUrls, tmp_path: Path, clock: SetClock) -> Workers:
    """The workers of a process that has not begun to work."""
    settings = load(env_file=None, zhiban_data=tmp_path, zhiban_secret_key=KEY, notification_enabled=False)
    return Workers.of(App.build(settings, urls, clock=clock))


class Place:
    """A desk whose process has its database open and does nothing by itself."""

    def __init__(self, desk: Desk, workers: Workers, clock: SetClock) -> None:
        self.desk = desk
        self.workers = workers
        self.clock = clock

    async def due(self, workspace_id: int | None = None) -> list[str]:
        where = self.desk.workspace_id if workspace_id is None else workspace_id
        return [work.name for work in await self.workers.scheduler.due(where)]

    async def changes(self, sql: str, **params: object) -> None:
        async with self.desk.database.transaction(self.desk.workspace_id) as tx:
            assert await tx.run(sql, **params) > 0


@pytest.fixture
async def place(db: Database, workspace: int, workers: Workers, clock: SetClock) -> AsyncIterator[Place]:
    desk = await open_desk(db, workspace)
    async with db.transaction(workspace) as tx:
        await desk.writes(tx, "wm1", at=clock.now())
        await tx.run("update message set state = 'handled'")
        await tx.run("update conversation_work set leased_by = null, lease_expires_at = null")
    async with workers.database:
        yield Place(desk, workers, clock)


async def test_at_rest_nobody_is_woken(place: Place) -> None:
    assert await place.due() == []
    assert await place.due(NO_WORKSPACE) == []


@pytest.mark.parametrize(
    "change",
    [
        "update conversation_work set leased_by = %(stranger)s, lease_expires_at = %(now)s + interval '1 minute'",
        "update message set state = 'pending', created_at = %(long_ago)s",
        "update message set state = 'queued', created_at = %(long_ago)s",
        "insert into pull_state (workspace_id, inbox_id, leased_by, lease_expires_at) "
        "select workspace_id, id, %(stranger)s, %(now)s from inbox",
        "update inbox set kind = %(polled)s",
        "insert into delivery (workspace_id, connection_id, digest, account, pulls, body, state, received_at) "
        "select workspace_id, id, '\\x00', 'a', true, '{}', 'pending', %(long_ago)s from connection",
    ],
)
async def test_what_nobody_works_on_wakes_recovery(place: Place, change: str) -> None:
    now = place.clock.now()
    named = {"stranger": STRANGER, "now": now, "long_ago": now - QUIET - SECOND, "polled": POLLED_KINDS[0]}
    await place.changes(change, **{name: value for name, value in named.items() if f"%({name})s" in change})
    assert await place.due() == ["recovery"]


async def test_what_was_asked_a_moment_ago_wakes_nobody(place: Place) -> None:
    now = place.clock.now()
    await place.changes("update inbox set kind = %(polled)s", polled=POLLED_KINDS[0])
    await place.changes(
        "insert into pull_state (workspace_id, inbox_id, pulled_at) select workspace_id, id, %(now)s from inbox",
        now=now,
    )
    await place.changes("update message set state = 'pending', created_at = %(now)s", now=now)
    assert await place.due() == []
    place.clock.advance(SAFETY_POLL)
    await place.changes("update message set state = 'handled'")
    assert await place.due() == []
    place.clock.advance(SECOND)
    assert await place.due() == ["recovery"]


async def test_an_abandoned_job_wakes_its_recovery(place: Place) -> None:
    async with place.desk.database.transaction(NO_WORKSPACE) as tx:
        await tx.run(
            "insert into jobs.procrastinate_jobs (queue_name, task_name, args, status) "
            "values ('quick', 'nothing', '{}', 'doing')"
        )
    assert await place.due(NO_WORKSPACE) == ["recovery of jobs"]


async def test_time_that_has_passed_wakes_maintenance(place: Place) -> None:
    desk, now = place.desk, place.clock.now()
    until = now + 5 * SECOND
    await place.changes("update conversation set status = 'snoozed', snoozed_until = %(until)s", until=until)
    assert await place.due() == []
    place.clock.advance(5 * SECOND)
    assert await place.due() == ["maintenance"]
    await place.changes("update conversation set status = 'open', snoozed_until = null")
    async with desk.database.transaction(desk.workspace_id) as tx:
        await presence.beat(tx, desk.lin, now=place.clock.now())
    place.clock.advance(SILENT_AFTER)
    assert await place.due() == []
    place.clock.advance(SECOND)
    assert await place.due() == ["maintenance"]

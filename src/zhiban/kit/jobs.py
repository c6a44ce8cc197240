"""Work to do once, later: Procrastinate, enqueued inside our own transaction.

Jobs carry ids only. A task must be repeatable: it runs at least once. What a person waits for does not go through here
but is handed over in process; jobs are for files, notices, profiles, timers and maintenance.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import procrastinate
import psycopg
from procrastinate import PsycopgConnector
from procrastinate.exceptions import UniqueViolation
from procrastinate.jobs import Job as QueuedJob
from procrastinate.jobs import Status
from procrastinate.manager import JobManager
from psycopg_pool import AsyncConnectionPool

from zhiban.kit.background_tasks import cancelled
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.json_safe import json_safe

log = logging.getLogger(__name__)

Function = Callable[..., Awaitable[None]]
PlannedRun = Callable[[int], Awaitable[None]]

HEARTBEAT_SECONDS = 5.0
STALLED_SECONDS = 20.0
GRACE_SECONDS = 5.0  # for jobs that run when the process stops
# How many jobs of each queue run at once. "calls" wait for programs of strangers, which may take their time.
QUEUES = {"quick": 10, "slow": 2, "calls": 3}
SCHEDULING = "quick"  # the queue whose worker enqueues what is due by its `cron`

_ENQUEUE = """
insert into jobs.procrastinate_jobs (queue_name, task_name, queueing_lock, args, scheduled_at)
select queue, task, key, args, at
from rows from (json_to_recordset(%(jobs)s::json) as (queue text, task text, key text, args jsonb, at timestamptz))
  with ordinality as t(queue, task, key, args, at, n)
order by n on conflict do nothing"""

# A worker that was killed leaves its jobs "doing". Where a twin already waits under the same key, ours is dropped.
_REVIVE = """
with stalled as (
  select j.id, j.queueing_lock from jobs.procrastinate_jobs j
  left join jobs.procrastinate_workers w on w.id = j.worker_id
  where j.status = 'doing' and (w.id is null or w.last_heartbeat < now() - make_interval(secs => %(seconds)s))
  for update of j skip locked),
dropped as (
  delete from jobs.procrastinate_jobs where id in (
    select s.id from stalled s
    join jobs.procrastinate_jobs o on o.queueing_lock = s.queueing_lock and o.status = 'todo')
  returning id)
update jobs.procrastinate_jobs j
set status = 'todo', attempts = attempts + 1, worker_id = null, scheduled_at = now()
from stalled s where j.id = s.id and s.id not in (select id from dropped) and (
  s.queueing_lock is null or s.id = (select min(t.id) from stalled t where t.queueing_lock = s.queueing_lock))
returning j.id"""

# False only where `revive` has nothing to do.
ANY_AT_WORK = "exists (select from jobs.procrastinate_jobs where status = 'doing')"

_DEAD = """
select j.id, j.task_name, j.args, j.attempts, (
  select max(e.at) from jobs.procrastinate_events e where e.job_id = j.id) as at
from jobs.procrastinate_jobs j
where j.status = 'failed' and (j.args ->> 'workspace_id')::bigint = %(workspace)s order by j.id desc limit %(limit)s"""


_TRY_AGAIN = """
with dead as (
  select id, queueing_lock from jobs.procrastinate_jobs
  where id = %(id)s and status = 'failed' and (args ->> 'workspace_id')::bigint = %(workspace)s for update),
dropped as (
  delete from jobs.procrastinate_jobs where id in (
    select d.id from dead d
    join jobs.procrastinate_jobs o on o.queueing_lock = d.queueing_lock and o.status = 'todo')
  returning id),
revived as (
  update jobs.procrastinate_jobs set status = 'todo', attempts = 0, scheduled_at = null
  where id in (select id from dead except select id from dropped) returning id)
"""


@frozen_dataclass
class Job:
    """A kind of work to do later, in one of `QUEUES`.

    `attempts` counts all tries; waits between them double from `wait` to `longest` s.
    """

    name: str
    queue: str = "quick"
    attempts: int = 8
    wait: float = 2.0
    longest: float = 600.0
    cron: str | None = None  # run on this schedule, once for the installation, with no arguments
    final: tuple[type[Exception], ...] = ()  # errors that no repetition mends: a dead letter at once

    def of(self, *, key: str | None = None, at: datetime | None = None, **args: int | str) -> Enqueued:
        """This work for these arguments. With `key`, one that waits under the same key already is kept instead."""
        return Enqueued(self, args, key, at)


@frozen_dataclass
class Enqueued:
    """One piece of work, not before `at`."""

    job: Job
    args: Mapping[str, int | str]
    key: str | None = None
    at: datetime | None = None


@frozen_dataclass
class Task:
    """A job and the function that does it."""

    job: Job
    function: Function


@frozen_dataclass
class DeadLetter:
    """A job that failed for good and waits for a person."""

    id: int
    task_name: str
    args: dict[str, Any]
    attempts: int
    at: datetime | None


async def enqueue(tx: Transaction, *pieces: Enqueued) -> None:
    """Enqueue in the caller's transaction. Keys are told apart by job and workspace."""
    await enqueue_many(tx, pieces)


async def enqueue_many(tx: Transaction, pieces: Sequence[Enqueued]) -> None:
    """`enqueue` for a list; one statement however many there are."""
    if not pieces:
        return
    await tx.run(
        _ENQUEUE,
        jobs=json_safe(
            [
                {
                    "queue": one.job.queue,
                    "task": one.job.name,
                    "key": None if one.key is None else f"{one.job.name}:{tx.workspace_id}:{one.key}",
                    "args": {"workspace_id": tx.workspace_id, **one.args},
                    "at": one.at,
                }
                for one in pieces
            ]
        ),
    )


async def dead_letters(tx: Transaction, *, limit: int = 100) -> list[DeadLetter]:
    """Jobs of this workspace that failed for good, newest first."""
    return await tx.objects(DeadLetter, _DEAD, workspace=tx.workspace_id, limit=limit)


async def try_again(tx: Transaction, job_id: int) -> bool:
    """Put a dead letter back into its queue. False when there is none with this id.

    Where a job already waits under its key, that one does the work, and the dead letter is thrown away.
    """
    return bool(
        await tx.row(
            _TRY_AGAIN + "select id from dropped union all select id from revived",
            id=job_id,
            workspace=tx.workspace_id,
        )
    )


class _Backoff(procrastinate.BaseRetryStrategy):
    """Doubling waits. An error may ask for a longer one (`after`, in seconds)."""

    def __init__(self, task: Task) -> None:
        self._job = task.job

    def get_retry_decision(self, *, exception: BaseException, job: QueuedJob) -> procrastinate.RetryDecision | None:
        if job.attempts + 1 >= self._job.attempts or isinstance(exception, self._job.final):
            return None
        wait = min(self._job.wait * 2**job.attempts, self._job.longest)
        asked = getattr(exception, "after", 0.0) if isinstance(exception, Unavailable) else 0.0
        return procrastinate.RetryDecision(retry_in={"seconds": max(1, round(max(wait, asked)))})


class _Manager(JobManager):
    """Procrastinate's, which fails when a job wants to be tried again while its twin waits under the same key.

    The job would stay "doing" for ever. The twin does the same work, so ours is done.
    """

    async def retry_job(self, job: QueuedJob, *args: Any, **kwargs: Any) -> None:
        try:
            await super().retry_job(job, *args, **kwargs)
        except UniqueViolation:
            await self.finish_job(job, Status.FAILED, delete_job=True)


async def _autocommit(connection: psycopg.AsyncConnection[Any]) -> None:
    await connection.set_autocommit(True)


class Jobs:
    """The workers of one process."""

    def __init__(self, dsn: str, tasks: Sequence[Task]) -> None:
        # Not `kwargs={"autocommit": True}`: that silently ends Procrastinate's listener. Looking for a job takes one
        # millisecond, and planning that ten for each connection: two are enough.
        self._pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            dsn, min_size=1, max_size=2, open=False, configure=_autocommit, name="jobs", max_idle=300
        )
        self._app = procrastinate.App(connector=PsycopgConnector())
        self._app.job_manager = _Manager(self._app.connector)
        # Each worker enqueues what the schedule of its app holds: one does it for all queues.
        self._without_schedule = procrastinate.App(connector=self._app.connector)
        self._without_schedule.job_manager = self._app.job_manager
        self._without_schedule.tasks = self._app.tasks
        self._workers: list[asyncio.Task[None]] = []
        for task in tasks:
            self._register(task)

    def _register(self, task: Task) -> None:
        declare = self._app.task(name=task.job.name, queue=task.job.queue, retry=_Backoff(task))
        if task.job.cron:
            self._app.periodic(cron=task.job.cron, periodic_id=task.job.name)(
                declare(_with_timestamp_dropped(task.function))
            )
        else:
            declare(task.function)

    async def open(self) -> None:
        await self._pool.open(wait=True)
        await self._app.open_async(self._pool)

    async def start(self) -> None:
        """Begin to work: each queue has workers of its own, so that none waits for another."""
        for queue, concurrency in QUEUES.items():
            self._workers.append(asyncio.create_task(self._supervise(queue, concurrency), name=f"jobs {queue}"))

    async def close(self) -> None:
        await cancelled(self._workers, again=GRACE_SECONDS + 3)  # they finish what they do first
        await self._app.close_async()
        await self._pool.close()

    async def _supervise(self, queue: str, concurrency: int) -> None:
        # A failing side task ends Procrastinate's worker quietly, for instance when PostgreSQL restarts.
        app = self._app if queue == SCHEDULING else self._without_schedule
        while True:
            try:
                await app.run_worker_async(
                    queues=[queue],
                    name=queue,
                    concurrency=concurrency,
                    install_signal_handlers=False,
                    delete_jobs="successful",
                    fetch_job_polling_interval=1.0,
                    update_heartbeat_interval=HEARTBEAT_SECONDS,
                    stalled_worker_timeout=STALLED_SECONDS,
                    shutdown_graceful_timeout=GRACE_SECONDS,
                )
            except (procrastinate.exceptions.ProcrastinateException, psycopg.Error, OSError) as error:
                log.warning("The %s job worker stopped and starts again: %s", queue, error)
            await asyncio.sleep(0.5)


async def revive(tx: Transaction) -> int:
    """Queue again what dead workers left behind. Returns how many."""
    return len(await tx.rows(_REVIVE, seconds=STALLED_SECONDS))


async def count_dead(tx: Transaction) -> int:
    """How many jobs of all workspaces failed for good."""
    return int(await tx.value("select count(*) from jobs.procrastinate_jobs where status = 'failed'"))


def _with_timestamp_dropped(function: Function) -> PlannedRun:
    async def run(timestamp: int) -> None:  # noqa: ARG001 - Procrastinate passes the planned time; ours read the clock
        await function()

    return run

"""Work for later: enqueued with its cause, done at least once, tried again, and never silently given up."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from zhiban.container import ensure_workspace
from zhiban.kit.db import Database
from zhiban.kit.errors import Unavailable
from zhiban.kit.jobs import Job, Jobs, Task, dead_letters, enqueue, revive, try_again
from zhiban.postgres.provisioning import DatabaseUrls

WAITING = "select task_name, args, status::text, attempts, queueing_lock from jobs.procrastinate_jobs order by id"

NOTE = Job("note")


class Busy(Unavailable):
    """The other side wants to be left alone for a while."""

    def __init__(self, after: float) -> None:
        super().__init__("They are busy.")
        self.after = after


class Log:
    """A task that remembers what it was asked."""

    def __init__(self) -> None:
        self.done: list[dict[str, int | str]] = []
        self.fails: list[Exception] = []

    async def __call__(self, **args: int | str) -> None:
        self.done.append(args)
        if self.fails:
            raise self.fails.pop(0)


@pytest.fixture
def log() -> Log:
    return Log()


@asynccontextmanager
async def working(urls: DatabaseUrls, *tasks: Task) -> AsyncIterator[Jobs]:
    jobs = Jobs(urls.app, tasks)
    await jobs.open()
    await jobs.start()
    yield jobs
    await jobs.close()


async def until(found: Callable[[], Awaitable[object]], *, within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not await found():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def rows(db: Database, workspace: int, sql: str = WAITING) -> list[tuple[object, ...]]:
    async with db.transaction(workspace) as tx:
        return await tx.rows(sql)


def times(log: Log, count: int) -> Callable[[], Awaitable[bool]]:
    async def enough() -> bool:
        return len(log.done) >= count

    return enough


async def test_a_job_is_there_when_its_cause_is(db: Database, workspace: int) -> None:
    with pytest.raises(psycopg.errors.SyntaxError):  # noqa: PT012 - the whole transaction is meant
        async with db.transaction(workspace) as tx:
            await enqueue(tx, NOTE.of(message_id=1))
            await tx.run("no sql")
    assert await rows(db, workspace) == []
    for way in (db.transaction, db.page_transaction):
        async with way(workspace) as tx:
            await enqueue(tx, NOTE.of(message_id=2))
    assert await rows(db, workspace) == [("note", {"workspace_id": workspace, "message_id": 2}, "todo", 0, None)] * 2


async def test_a_job_is_done_and_forgotten(urls: DatabaseUrls, db: Database, workspace: int, log: Log) -> None:
    async with working(urls, Task(Job("note"), log)):
        async with db.transaction(workspace) as tx:
            await enqueue(tx, NOTE.of(message_id=1, name="小明"))
        await until(times(log, 1))

        async def gone() -> bool:
            return not await rows(db, workspace)

        await until(gone)
    assert log.done == [{"workspace_id": workspace, "message_id": 1, "name": "小明"}]


async def test_jobs_of_one_key_are_one_job(db: Database, workspace: int) -> None:
    async with db.transaction(workspace) as tx:
        await enqueue(tx, NOTE.of(key="inbox 1", message_id=1))
        await enqueue(tx, NOTE.of(key="inbox 1", message_id=2))
        await enqueue(tx, NOTE.of(key="inbox 2", message_id=3))
    async with db.transaction(workspace) as tx:  # a second transaction is not poisoned by it
        await enqueue(tx, NOTE.of(key="inbox 1", message_id=4))
        await tx.run("insert into contact (workspace_id, name) values (%(w)s, '小明')", w=workspace)
    assert [row[1]["message_id"] for row in await rows(db, workspace)] == [1, 3]  # type: ignore[index]


async def test_a_timer_waits(urls: DatabaseUrls, db: Database, workspace: int, log: Log) -> None:
    async with working(urls, Task(Job("note"), log)):
        async with db.transaction(workspace) as tx:
            await enqueue(tx, NOTE.of(at=datetime.now(UTC) + timedelta(hours=1), message_id=1))
            await enqueue(tx, NOTE.of(at=datetime.now(UTC) - timedelta(seconds=1), message_id=2))
        await until(times(log, 1))
    assert [args["message_id"] for args in log.done] == [2]
    assert len(await rows(db, workspace)) == 1


async def test_a_failed_job_is_tried_again_with_growing_waits(
    urls: DatabaseUrls, db: Database, workspace: int, log: Log
) -> None:
    log.fails = [ValueError("no"), Busy(after=900), ValueError("no"), ValueError("no")]
    waits: list[float] = []
    async with working(urls, Task(Job("note", attempts=4, wait=2, longest=3), log)):
        async with db.transaction(workspace) as tx:
            await enqueue(tx, NOTE.of(message_id=1))
        for attempt in (1, 2, 3):
            await until(times(log, attempt))

            async def again(attempt: int = attempt) -> bool:
                found = await rows(
                    db,
                    workspace,
                    "select extract(epoch from scheduled_at - now())::float from jobs.procrastinate_jobs "
                    f"where status = 'todo' and attempts = {attempt}",
                )
                waits.extend(float(str(row[0])) for row in found)
                return bool(found)

            await until(again)
            async with db.transaction(workspace) as tx:
                await tx.run("update jobs.procrastinate_jobs set scheduled_at = now() where status = 'todo'")
        await until(times(log, 4))

        async def dead() -> bool:
            async with db.transaction(workspace) as tx:
                return bool(await dead_letters(tx))

        await until(dead)
    first, asked, third = waits
    assert 0 < first <= 2
    assert 800 < asked <= 900  # the other side's wish counts more than our longest wait
    assert 1 < third <= 3


async def test_a_dead_letter_waits_for_a_person(urls: DatabaseUrls, db: Database, workspace: int, log: Log) -> None:
    other = await ensure_workspace(db, "banshan", "半山茶社", "zh")
    log.fails = [ValueError("no")]
    async with working(urls, Task(Job("note", attempts=1), log)):
        async with db.transaction(workspace) as tx:
            await enqueue(tx, NOTE.of(key="inbox 1", message_id=1))
        await until(times(log, 1))

        async def dead() -> bool:
            async with db.transaction(workspace) as tx:
                return bool(await dead_letters(tx))

        await until(dead)
        async with db.transaction(workspace) as tx:
            (letter,) = await dead_letters(tx)
        async with db.transaction(other) as tx:
            assert await dead_letters(tx) == []
            assert not await try_again(tx, letter.id)
        async with db.transaction(workspace) as tx:
            assert (letter.task_name, letter.args["message_id"], letter.attempts) == ("note", 1, 1)
            assert letter.at is not None
            assert not await try_again(tx, letter.id + 1)
            assert await try_again(tx, letter.id)
            assert not await try_again(tx, letter.id)
        await until(times(log, 2))


async def test_a_dead_letter_whose_twin_waits_is_thrown_away(db: Database, workspace: int) -> None:
    async with db.transaction(workspace) as tx:
        await enqueue(tx, NOTE.of(key="inbox 1", message_id=1))
        await tx.run("update jobs.procrastinate_jobs set status = 'failed'")
        await enqueue(tx, NOTE.of(key="inbox 1", message_id=2))
        (letter,) = await dead_letters(tx)
        assert await try_again(tx, letter.id)
        assert await dead_letters(tx) == []
    assert [row[1]["message_id"] for row in await rows(db, workspace)] == [2]  # type: ignore[index]


async def test_a_failing_job_gives_way_to_its_waiting_twin(
    urls: DatabaseUrls, db: Database, workspace: int, log: Log
) -> None:
    """Its key was free while it ran; both may not wait under it, and neither may hang."""
    running, go = asyncio.Event(), asyncio.Event()

    async def slow(**args: int | str) -> None:
        await log(**args)
        running.set()
        await go.wait()
        if args["message_id"] == 1:
            raise ValueError("no")

    async with working(urls, Task(Job("note", wait=60), slow)):
        async with db.transaction(workspace) as tx:
            await enqueue(tx, NOTE.of(key="inbox 1", message_id=1))
        await asyncio.wait_for(running.wait(), 30)
        async with db.transaction(workspace) as tx:
            await enqueue(tx, NOTE.of(key="inbox 1", at=datetime.now(UTC) + timedelta(hours=1), message_id=2))
        go.set()

        async def one_left() -> bool:
            return [(row[1]["message_id"], row[2]) for row in await rows(db, workspace)] == [(2, "todo")]  # type: ignore[index]

        await until(one_left)


@pytest.mark.parametrize("queue", ["slow", "calls"])
async def test_quick_work_does_not_wait_for_slow_work(
    urls: DatabaseUrls, db: Database, workspace: int, log: Log, queue: str
) -> None:
    import_ = Job("import", queue=queue)
    stop = asyncio.Event()

    async def slow(**args: int | str) -> None:
        await stop.wait()

    async with working(urls, Task(Job("note"), log), Task(import_, slow)):
        async with db.transaction(workspace) as tx:
            for number in range(12):
                await enqueue(tx, import_.of(number=number))
            await enqueue(tx, NOTE.of(message_id=1))
        await until(times(log, 1))
        stop.set()


async def test_a_plan_runs_by_itself(urls: DatabaseUrls, db: Database, workspace: int) -> None:
    ran = asyncio.Event()

    async def tidy() -> None:
        ran.set()

    async with working(urls, Task(Job("tidy", cron="* * * * * *"), tidy)):  # every second
        await asyncio.wait_for(ran.wait(), 30)


async def test_what_is_planned_is_enqueued_by_one_worker_of_a_process(
    urls: DatabaseUrls, caplog: pytest.LogCaptureFixture
) -> None:
    ran = asyncio.Queue[str]()

    async def tidy() -> None:
        ran.put_nowait("tidy")

    async def count() -> None:
        ran.put_nowait("count")

    caplog.set_level("DEBUG", "procrastinate.periodic")
    every_second = "* * * * * *"
    plan = [Task(Job("tidy", cron=every_second), tidy), Task(Job("count", "slow", cron=every_second), count)]
    async with working(urls, *plan):
        done = [await asyncio.wait_for(ran.get(), 30) for _ in range(6)]
    assert set(done) == {"tidy", "count"}
    assert not [one.message for one in caplog.records if "already deferred" in one.message]


async def test_workers_survive_the_loss_of_their_connections(
    urls: DatabaseUrls, db: Database, workspace: int, log: Log
) -> None:
    async with working(urls, Task(Job("note"), log)):
        async with db.transaction(workspace) as tx:
            await enqueue(tx, NOTE.of(message_id=1))
        await until(times(log, 1))
        async with await psycopg.AsyncConnection.connect(urls.owner, autocommit=True) as connection:
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid() and application_name = ''"
            )
        async with db.transaction(workspace) as tx:
            await enqueue(tx, NOTE.of(message_id=2))
        await until(times(log, 2))


# ------------------------------------------------------------------------------------------------- dead workers

WORKER = """
import asyncio, sys
from zhiban.kit.jobs import Job, Jobs, Task

async def hang(**args):
    print("doing", args["message_id"], flush=True)
    await asyncio.Event().wait()

async def main():
    jobs = Jobs(sys.argv[1], [Task(Job("note"), hang)])
    await jobs.open()
    await jobs.start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def _kill_a_worker_at_work(urls: DatabaseUrls, jobs: int = 1) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, urls.app, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    for _ in range(jobs):
        assert (await asyncio.wait_for(process.stdout.readline(), 60)).startswith(b"doing")
    process.send_signal(signal.SIGKILL)
    await process.wait()


async def _age_workers(db: Database, workspace: int) -> None:
    """Let a minute pass for the workers' heartbeats."""
    async with db.transaction(workspace) as tx:
        await tx.run("update jobs.procrastinate_workers set last_heartbeat = last_heartbeat - interval '1 minute'")


@pytest.mark.process
async def test_what_a_killed_worker_held_is_done_by_another(
    urls: DatabaseUrls, db: Database, workspace: int, log: Log
) -> None:
    async with db.transaction(workspace) as tx:
        await enqueue(tx, NOTE.of(key="inbox 1", message_id=1))
    await _kill_a_worker_at_work(urls)
    async with db.transaction(workspace) as tx:
        assert await revive(tx) == 0  # it may still be alive
    await _age_workers(db, workspace)

    async def sweep() -> int:
        async with db.transaction(workspace) as tx:
            return await revive(tx)

    assert sorted(await asyncio.gather(*(sweep() for _ in range(4)))) == [0, 0, 0, 1]
    async with working(urls, Task(Job("note"), log)):
        await until(times(log, 1))
    assert log.done == [{"workspace_id": workspace, "message_id": 1}]


@pytest.mark.process
async def test_a_killed_job_gives_way_to_its_waiting_twin(db: Database, urls: DatabaseUrls, workspace: int) -> None:
    async with db.transaction(workspace) as tx:
        await enqueue(tx, NOTE.of(key="inbox 1", message_id=1))
        await enqueue(tx, NOTE.of(message_id=9))
    await _kill_a_worker_at_work(urls, jobs=2)
    async with db.transaction(workspace) as tx:
        await enqueue(tx, NOTE.of(key="inbox 1", message_id=2))
    await _age_workers(db, workspace)
    async with db.transaction(workspace) as tx:
        assert await revive(tx) == 1
        assert await revive(tx) == 0
    found = [(row[1]["message_id"], row[2]) for row in await rows(db, workspace)]  # type: ignore[index]
    assert found == [(9, "todo"), (2, "todo")]


async def test_two_killed_twins_become_one(db: Database, workspace: int) -> None:
    async with db.transaction(workspace) as tx:
        for number in (1, 2):
            await enqueue(tx, NOTE.of(key="inbox 1", message_id=number))
            await tx.run("update jobs.procrastinate_jobs set status = 'doing'")
        assert await revive(tx) == 1
        await tx.run("update jobs.procrastinate_jobs set status = 'doing' where status = 'todo'")
        await revive(tx)
    assert len([row for row in await rows(db, workspace) if row[2] == "todo"]) == 1

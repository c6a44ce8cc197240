"""Tasks that go on after the call that began them, and how they end."""

from __future__ import annotations

import asyncio
import logging

import psycopg
import pytest

from zhiban.kit.background_tasks import BackgroundTasks, RepeatedTask, attempt, cancelled, raise_if_cancelled
from zhiban.kit.errors import Unavailable


async def _deaf(times: int) -> None:
    """Goes on although it is cancelled, so many times, as `asyncio.wait_for` of Python 3.11 may make a task do."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            times -= 1
            if times < 0:
                raise


async def test_a_cancellation_that_was_swallowed_is_repeated() -> None:
    task = asyncio.create_task(_deaf(2))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await cancelled([task], again=0.01)
    assert task.cancelled()


async def test_whoever_was_told_to_stop_while_somebody_did_not_listen_stops_later() -> None:
    went_on = asyncio.Event()

    async def opening() -> None:
        raise_if_cancelled()  # nobody has told us
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            went_on.set()
        raise_if_cancelled()
        raise AssertionError("it went on")

    task = asyncio.create_task(opening())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert went_on.is_set()


async def test_what_has_ended_or_failed_is_no_trouble() -> None:
    async def fails() -> None:
        raise ValueError("as it may")

    done, failed = asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(fails())
    await asyncio.wait([done, failed])
    await cancelled([done, failed])
    await cancelled([])


async def test_late_tasks_are_ended_even_if_they_do_not_listen() -> None:
    tasks = BackgroundTasks()
    tasks.start(_deaf(1))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await tasks.close(within=0.01)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (None, ""),
        (psycopg.OperationalError("gone\n"), "The round could not finish: gone"),
        (Unavailable("Nobody is there."), "The round could not finish: Nobody is there."),
        (KeyError("x"), "The round failed."),
    ],
)
async def test_a_round_that_goes_wrong_is_said_and_ends_nothing(
    caplog: pytest.LogCaptureFixture, error: Exception | None, said: str
) -> None:
    async def work() -> None:
        if error is not None:
            raise error

    await attempt(work(), what="The round", log=logging.getLogger("zhiban.test"))
    assert [record.getMessage() for record in caplog.records] == ([said] if said else [])


async def test_a_round_that_is_cancelled_is_cancelled() -> None:
    task = asyncio.create_task(attempt(asyncio.Event().wait(), what="The round", log=logging.getLogger("zhiban.test")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_rounds_follow_each_other_whatever_becomes_of_one_until_they_are_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rounds, third = 0, asyncio.Event()

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise ValueError("the first goes wrong")
        if rounds == 3:
            third.set()
            await asyncio.Event().wait()

    task = RepeatedTask(work, every=0.001, name="test", what="The round", log=logging.getLogger("zhiban.test"))
    await task.close()  # never begun
    task.start()
    async with asyncio.timeout(30):
        await third.wait()
        await task.close()
    assert rounds == 3
    assert "The round failed." in caplog.text

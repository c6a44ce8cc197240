"""Circuits that several processes share: what one finds out the others know, and exactly one of them probes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

import pytest

from zhiban.kit.breaker import Paused, Pauses
from zhiban.kit.breaker_store import BreakerStore, PausedCall, SharedBreakers, paused_calls
from zhiban.kit.clock import SetClock
from zhiban.kit.db import NO_WORKSPACE, Database
from zhiban.kit.pubsub import PubSub
from zhiban.postgres.provisioning import DatabaseUrls

KEY = "kf/send_msg:wk1"
PAUSES = Pauses(first=10, longest=600, threshold=3, probe=30)


async def until(condition: Callable[[], Awaitable[bool]], *, within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


@dataclass
class Process:
    database: Database
    store: BreakerStore

    async def paused(self, workspace: int, key: str = KEY) -> bool:
        try:
            await self.store.of(workspace).admit(key, PAUSES)
        except Paused:
            return True
        return False


@pytest.fixture
async def processes(urls: DatabaseUrls, clock: SetClock) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(2):
            database = await stack.enter_async_context(Database(urls.app, work_size=2))
            pubsub = PubSub(urls.app)
            store = BreakerStore(database, pubsub, clock, chance=lambda: 0.0)
            await pubsub.open()
            stack.push_async_callback(pubsub.close)
            stack.push_async_callback(store.close)
            found.append(Process(database, store))
        deadline = time.monotonic() + 30
        while not all(process.store._pubsub.peers for process in found):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        yield found


async def test_what_one_process_finds_out_the_other_knows(
    processes: list[Process], workspace: int, clock: SetClock
) -> None:
    one, two = processes
    assert not await one.paused(workspace)
    assert not await two.paused(workspace)
    assert await one.store.of(workspace).failed(KEY, PAUSES, asked=60, reason="limited") == 60
    await until(lambda: two.paused(workspace))
    async with two.database.transaction(workspace) as tx:
        assert await paused_calls(tx) == [PausedCall(KEY, clock.now() + timedelta(seconds=60), "limited")]
    assert not await two.paused(workspace, "kf/send_msg:wk2")
    assert not await two.paused(workspace + 1)
    clock.advance(timedelta(seconds=61))
    admitted = await asyncio.gather(*(process.paused(workspace) for process in processes * 5))
    assert admitted.count(False) == 1
    await one.store.of(workspace).succeeded(KEY)
    await two.store.of(workspace).succeeded(KEY)

    async def free() -> bool:
        return not await one.paused(workspace) and not await two.paused(workspace)

    await until(free)


async def test_twenty_refused_together_are_one_opening(processes: list[Process], workspace: int) -> None:
    await asyncio.gather(
        *(process.store.of(workspace).failed(KEY, PAUSES, asked=60) for process in processes for _ in range(10))
    )
    async with processes[0].database.transaction(workspace) as tx:
        assert await tx.rows("select key, state, openings, pause from circuit") == [(KEY, "open", 1, 60.0)]


async def test_a_probe_whose_process_died_does_not_hold_up_the_others(
    processes: list[Process], workspace: int, clock: SetClock
) -> None:
    one, two = processes
    await one.store.of(workspace).failed(KEY, PAUSES, asked=60)
    clock.advance(timedelta(seconds=61))
    assert not await one.paused(workspace)  # it probes, and is never heard of again
    await until(lambda: two.paused(workspace))
    clock.advance(timedelta(seconds=29))
    assert await two.paused(workspace)
    clock.advance(timedelta(seconds=2))
    assert not await two.paused(workspace)


async def test_failures_below_the_threshold_are_not_stored(processes: list[Process], workspace: int) -> None:
    breakers = processes[0].store.of(workspace)
    assert await breakers.failed(KEY, PAUSES, reason="no answer") == 0
    assert await breakers.failed(KEY, PAUSES, reason="no answer") == 0
    await breakers.succeeded(KEY)
    assert await breakers.failed(KEY, PAUSES, reason="no answer") == 0
    async with processes[0].database.transaction(workspace) as tx:
        assert not await tx.rows("select 1 from circuit")
    await breakers.failed(KEY, PAUSES, reason="no answer")
    assert await breakers.failed(KEY, PAUSES, reason="no answer") == 10


async def test_a_new_process_knows_what_is_paused(
    processes: list[Process], urls: DatabaseUrls, workspace: int, clock: SetClock
) -> None:
    await processes[0].store.of(workspace).failed(KEY, PAUSES, asked=60)
    async with Database(urls.app, work_size=2) as database:
        late = Process(database, BreakerStore(database, PubSub(urls.app), clock))
        await until(lambda: late.paused(workspace))
        await late.store.close()


async def test_what_belongs_to_no_workspace_is_kept_too(processes: list[Process]) -> None:
    one, two = processes
    await one.store.of(NO_WORKSPACE, "chat/").failed("kimi", PAUSES, asked=60)
    shared = SharedBreakers(two.store, NO_WORKSPACE, "chat/")

    async def paused() -> bool:
        try:
            await shared.admit("kimi", PAUSES)
        except Paused:
            return True
        return False

    await until(paused)


async def test_without_a_database_a_process_still_pauses(urls: DatabaseUrls, workspace: int, clock: SetClock) -> None:
    database = Database(urls.app, work_size=1)
    store = BreakerStore(database, PubSub(urls.app), clock, chance=lambda: 0.0)
    assert await store.of(workspace).failed(KEY, PAUSES, asked=60) == 60
    with pytest.raises(Paused):
        await store.of(workspace).admit(KEY, PAUSES)
    await store.close()


async def test_a_budget_is_one_for_all_processes(processes: list[Process], workspace: int, clock: SetClock) -> None:
    async def spend(process: Process) -> float:
        return await process.store.of(workspace, "7/").spend("pull", every=60)

    got = await asyncio.gather(*(spend(process) for process in processes * 3))
    assert got.count(0.0) == 1
    assert max(got) == 60
    clock.advance(timedelta(seconds=60))
    assert await spend(processes[1]) == 0


async def test_a_budget_of_several_calls_is_theirs_in_any_span_of_its_time(
    processes: list[Process], workspace: int, clock: SetClock
) -> None:
    async def spend(process: Process) -> bool:
        return await process.store.of(workspace, "7/").spend("write", every=60, times=3) == 0

    assert await spend(processes[0])
    clock.advance(timedelta(seconds=50))
    got = await asyncio.gather(*(spend(process) for process in processes * 3))
    # Of two that reach for one call at once, one may have to come again.
    assert sum(got) + sum([await spend(processes[0]) for _ in range(3)]) == 2
    clock.advance(timedelta(seconds=10))
    assert [await spend(processes[1]) for _ in range(2)] == [True, False]
    assert await processes[0].store.of(workspace, "7/").spend("write", every=60, times=3) == 50

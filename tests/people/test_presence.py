"""Who is there: the heartbeat of open desks, what agents choose, and that each change is one fact."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from zhiban.bootstrap import limits_of
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.people import agents, presence, service, sessions
from zhiban.people.models import Role
from zhiban.people.presence import SILENT_AFTER, Availability
from zhiban.workers.maintenance import Maintenance

KINDS = ("agent_became_available", "agent_became_busy", "agent_went_offline", "availability_chosen")


async def add(db: Database, workspace: int, name: str) -> int:
    async with db.transaction(workspace) as tx:
        return await service.add_agent(tx, email=f"{name}@b.example", name=name, role=Role.AGENT, password_hash=None)


async def beat(db: Database, workspace: int, agent: int, clock: SetClock) -> Availability:
    async with db.transaction(workspace) as tx:
        return await presence.beat(tx, agent, now=clock.now())


async def choose(db: Database, workspace: int, agent: int, availability: Availability, clock: SetClock) -> None:
    async with db.transaction(workspace) as tx:
        await presence.choose(tx, agent, availability, now=clock.now())


async def told(db: Database, workspace: int) -> list[tuple[str, Any]]:
    """What the log says of presence: the kind, and the reason or what was chosen."""
    async with db.transaction(workspace) as tx:
        return [
            (kind, data.get("reason") or data.get("chosen") or data["previous"])
            for kind, data in await tx.rows(
                "select kind, data from event where kind = any(%(kinds)s) order by id", kinds=list(KINDS)
            )
        ]


async def assignable(db: Database, workspace: int, clock: SetClock) -> list[int]:
    async with db.transaction(workspace) as tx:
        return [one.id for one in await presence.assignable(tx, now=clock.now())]


async def test_an_open_desk_makes_an_agent_available_and_a_closed_laptop_offline(
    db: Database, workspace: int, clock: SetClock
) -> None:
    lin = await add(db, workspace, "lin")
    maintenance = Maintenance(db, limits_of, clock)
    assert await assignable(db, workspace, clock) == []
    for _ in range(4):
        assert await beat(db, workspace, lin, clock) is Availability.ONLINE
        assert await assignable(db, workspace, clock) == [lin]
        clock.advance(timedelta(seconds=20))
        await maintenance.run_once()
    clock.advance(SILENT_AFTER - timedelta(seconds=20))
    await maintenance.run_once()
    assert await told(db, workspace) == [("agent_became_available", "offline")]
    clock.advance(timedelta(seconds=1))
    assert await assignable(db, workspace, clock) == []  # whether or not a timer has looked
    await maintenance.run_once()
    await maintenance.run_once()
    await beat(db, workspace, lin, clock)
    assert await told(db, workspace) == [
        ("agent_became_available", "offline"),
        ("agent_went_offline", "silent"),
        ("agent_became_available", "offline"),
    ]


async def test_many_tabs_at_many_processes_are_one_agent(db: Database, workspace: int, clock: SetClock) -> None:
    lin = await add(db, workspace, "lin")
    await asyncio.gather(*(beat(db, workspace, lin, clock) for _ in range(12)))
    clock.advance(SILENT_AFTER + timedelta(seconds=1))
    await asyncio.gather(*(Maintenance(db, limits_of, clock).run_once() for _ in range(4)))
    await asyncio.gather(*(beat(db, workspace, lin, clock) for _ in range(12)))
    assert await told(db, workspace) == [
        ("agent_became_available", "offline"),
        ("agent_went_offline", "silent"),
        ("agent_became_available", "offline"),
    ]


async def test_what_was_chosen_holds_while_and_whenever_a_desk_is_open(
    db: Database, workspace: int, clock: SetClock
) -> None:
    lin = await add(db, workspace, "lin")
    await beat(db, workspace, lin, clock)
    await choose(db, workspace, lin, Availability.BUSY, clock)
    await choose(db, workspace, lin, Availability.BUSY, clock)
    assert await assignable(db, workspace, clock) == []
    clock.advance(SILENT_AFTER + timedelta(seconds=1))
    await Maintenance(db, limits_of, clock).run_once()
    assert await beat(db, workspace, lin, clock) is Availability.BUSY
    await choose(db, workspace, lin, Availability.OFFLINE, clock)
    clock.advance(timedelta(seconds=20))
    assert await beat(db, workspace, lin, clock) is Availability.OFFLINE
    await choose(db, workspace, lin, Availability.ONLINE, clock)
    assert await assignable(db, workspace, clock) == [lin]
    assert await told(db, workspace) == [
        ("agent_became_available", "offline"),
        ("availability_chosen", "busy"),
        ("agent_became_busy", "online"),
        ("agent_went_offline", "silent"),
        ("agent_became_busy", "offline"),
        ("availability_chosen", "offline"),
        ("agent_went_offline", "chosen"),
        ("availability_chosen", "online"),
        ("agent_became_available", "offline"),
    ]


@pytest.mark.parametrize("way", ["sign out", "end session", "disable"])
async def test_whoever_has_no_session_left_is_offline_at_once(
    db: Database, workspace: int, clock: SetClock, way: str
) -> None:
    lin, now = await add(db, workspace, "lin"), clock.now()
    async with db.transaction(workspace) as tx:
        first = await service.open_session(tx, agent_id=lin, now=now)
        second = await service.open_session(tx, agent_id=lin, now=now)
    assert await service.beat(db, first, now=now)
    assert await service.beat(db, second, now=now)
    async with db.transaction(workspace) as tx:
        await service.sign_out(tx, first, now=now)
    assert not await service.beat(db, first, now=now)
    assert await assignable(db, workspace, clock) == [lin]  # the other browser is still there
    async with db.transaction(workspace) as tx:
        match way:
            case "sign out":
                await service.sign_out(tx, second, now=now)
            case "end session":
                await sessions.end_session(tx, lin, service.digest(second).hex(), now=now)
            case _:
                await agents.disable(tx, lin, now=now)
    assert await assignable(db, workspace, clock) == []
    reason = "disabled" if way == "disable" else "signed_out"
    assert await told(db, workspace) == [("agent_became_available", "offline"), ("agent_went_offline", reason)]
    assert not await service.beat(db, "nonsense", now=now)


async def test_one_workspace_knows_nothing_of_the_other(db: Database, workspace: int, clock: SetClock) -> None:
    lin = await add(db, workspace, "lin")
    await beat(db, workspace, lin, clock)
    async with db.transaction(workspace + 1) as tx:
        assert await presence.assignable(tx, now=clock.now()) == []
        assert await presence.availabilities(tx) == {}
        await presence.sweep(tx, now=clock.now() + SILENT_AFTER * 2)
    assert await assignable(db, workspace, clock) == [lin]

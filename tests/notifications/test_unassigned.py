"""Contacts who wait and whom nobody has: those who are there hear of it, once, until somebody takes them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.kernel_desk import NOON, Desk, open_desk

from zhiban.bootstrap import limits_of
from zhiban.conversations import service, transitions
from zhiban.conversations.changes import ChangeNativeSession
from zhiban.events import SYSTEM, Actor
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.notifications import preferences, queries
from zhiban.notifications import service as notifications
from zhiban.notifications.models import DEFAULT_WAYS, NotificationKind, Way
from zhiban.people import presence, teams
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.people.presence import Availability
from zhiban.workers.maintenance import Maintenance

MINUTE = timedelta(minutes=1)
LATE = NOON + 11 * MINUTE


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def waits(desk: Desk, tx: Transaction, who: str = "wm1") -> int:
    """Handed over to people, of whom nobody takes it."""
    state = await desk.writes(tx, who)
    await service.hand_off(tx, state.id, reason="asked", actor=Actor("assistant"), now=NOON)
    return state.id


async def are_there(desk: Desk, tx: Transaction, *agents: int) -> None:
    for agent in agents or (desk.lin, desk.chen):
        await presence.beat(tx, agent, now=LATE)


async def unread(tx: Transaction, agent_id: int) -> list[int | None]:
    rows = await queries.notifications(tx, Access(agent_id, Role.AGENT), unread=True)
    assert {one.kind for one in rows} <= {"unassigned"}
    return [one.conversation_id for one in reversed(rows)]


async def test_everybody_who_is_there_hears_of_it_once_by_the_timer(desk: Desk) -> None:
    clock = SetClock(LATE)
    async with desk.database.transaction(desk.workspace_id) as tx:
        first = await waits(desk, tx)
        await are_there(desk, tx, desk.lin)
    for _ in range(2):
        await Maintenance(desk.database, limits_of, clock).run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert (await unread(tx, desk.lin), await unread(tx, desk.chen)) == ([first], [])
        (row,) = await queries.notifications(tx, Access(desk.lin, Role.AGENT))
        assert row.ways == ["page", "browser"]
        await notifications.read_all(tx, desk.lin, until=row.id, now=LATE)
        await are_there(desk, tx, desk.chen)  # comes later, and it still waits
        assert await notifications.notify_unassigned(tx, now=LATE) == 1
        assert (await unread(tx, desk.lin), await unread(tx, desk.chen)) == ([], [first])


async def test_whoever_takes_it_ends_it_for_the_others(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        taken, over = await waits(desk, tx), await waits(desk, tx, "wm2")
        await are_there(desk, tx)
        assert await notifications.notify_unassigned(tx, now=LATE) == 4
        await service.take(tx, taken, by=desk.lin, now=LATE)
        assert await unread(tx, desk.chen) == [over]
        await service.resolve(tx, over, by=Actor("agent", desk.lin), now=LATE)
        assert (await unread(tx, desk.chen), await unread(tx, desk.lin)) == ([], [])
        assert await notifications.notify_unassigned(tx, now=LATE) == 0


@pytest.mark.parametrize("why", ["not_yet", "days_ago", "busy", "gone", "elsewhere", "reads", "team", "native", "off"])
async def test_who_is_not_told(desk: Desk, why: str) -> None:
    """林晓 is the only one who is there."""
    now = LATE
    async with desk.database.transaction(desk.workspace_id) as tx:
        id_ = await waits(desk, tx)
        await are_there(desk, tx, desk.lin)
        assert len(await presence.assignable(tx, now=LATE)) == 1
        match why:
            case "not_yet":
                now = NOON + 9 * MINUTE
            case "days_ago":
                now = NOON + timedelta(days=3)
                await presence.beat(tx, desk.lin, now=now)
            case "busy":
                await presence.choose(tx, desk.lin, Availability.BUSY, now=LATE)
            case "gone":
                now = LATE + 5 * MINUTE  # the desk beats no more
            case "elsewhere":
                await tx.run("update agent set inbox_ids = '{}' where id = %(id)s", id=desk.lin)
            case "reads":
                await tx.run("update agent set role = 'read_only' where id = %(id)s", id=desk.lin)
            case "team":
                team = await teams.create(tx, name="售后", members=[desk.chen], now=NOON)
                await service.assign_team(tx, id_, to=team, by=SYSTEM, now=NOON)
            case "native":
                await transitions.apply(tx, id_, ChangeNativeSession("pool", None), actor=SYSTEM, now=NOON)
            case "off":
                ways = {**DEFAULT_WAYS, NotificationKind.UNASSIGNED: ()}
                await preferences.choose(tx, desk.lin, ways=ways, address="", waiting_minutes=1, now=LATE)
        assert await notifications.notify_unassigned(tx, now=now) == 0
        if why == "team":
            await are_there(desk, tx, desk.chen)
            assert await notifications.notify_unassigned(tx, now=now) == 1
            assert (await unread(tx, desk.lin), await unread(tx, desk.chen)) == ([], [id_])


async def test_a_long_queue_rings_a_few_times_the_longest_wait_first(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        ids = [await waits(desk, tx, f"wm{n}") for n in range(8)]
        await are_there(desk, tx, desk.lin)
        assert await notifications.notify_unassigned(tx, now=LATE) == notifications.MOST_UNASSIGNED
        assert await notifications.notify_unassigned(tx, now=LATE) == 0
        assert await unread(tx, desk.lin) == ids[:5]
        await service.take(tx, ids[0], by=desk.lin, now=LATE)
        assert await notifications.notify_unassigned(tx, now=LATE) == 1
        assert await unread(tx, desk.lin) == ids[1:6]


async def test_it_reaches_a_telegram_where_it_can_be_taken(desk: Desk) -> None:
    ways = {**DEFAULT_WAYS, NotificationKind.UNASSIGNED: (Way.PERSONAL, Way.SOUND)}
    async with desk.database.transaction(desk.workspace_id) as tx:
        await preferences.choose(tx, desk.lin, ways=ways, address="telegram:42", waiting_minutes=3, now=LATE)
        await waits(desk, tx)
        await are_there(desk, tx, desk.lin)
        assert await notifications.notify_unassigned(tx, now=LATE) == 1
        (planned,) = await tx.values("select scheduled_at from jobs.procrastinate_jobs where task_name = 'tell_agent'")
        assert planned == LATE + notifications.PERSONAL_WAITS
        (row,) = (await queries.news(tx, Access(desk.lin, Role.AGENT), after=0, since=NOON)).rows
        assert row.ways == ["personal", "sound"]

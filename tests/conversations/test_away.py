"""Telling who writes to people that nobody is there: in which conversations, how often, and what the channel allows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.kernel_desk import NOON, Desk, open_desk
from tests.twin import WindowedChannel

from zhiban.channels.policy import Policy, parse_policy
from zhiban.conversations import replies, service, transitions
from zhiban.conversations.away import say_away
from zhiban.conversations.changes import ChangeNativeSession
from zhiban.conversations.ingest import ingest
from zhiban.events import SYSTEM, Actor
from zhiban.kit.db import Database, Transaction
from zhiban.ports import IncomingMessage, Kind, SenderRole

LIMITS = WindowedChannel.limits
LIN = "wm1"
AWAY = "下班了"
HOUR = timedelta(hours=1)


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    desk = await open_desk(db, workspace)
    return behaves(desk, assistant=False)


def behaves(desk: Desk, **policy: Any) -> Desk:
    settings = parse_policy({"away": AWAY, "hours": {"weekly": {}}, **policy})
    desk.inbox = replace(desk.inbox, settings=settings)
    return desk


def policy_of(desk: Desk) -> Policy:
    return desk.inbox.settings


async def planned(tx: Transaction) -> list[int]:
    return await tx.values(
        "select (args ->> 'conversation_id')::bigint from jobs.procrastinate_jobs where task_name = 'say_away'"
    )


async def said(tx: Transaction) -> list[str]:
    return await tx.values("select text from message where direction = 'out' and author = 'system' order by id")


async def test_once_a_day_and_not_twice_around_midnight(desk: Desk) -> None:
    """The day is that of the hours: midnight in Shanghai is 16:00 UTC."""
    late = NOON + 11 * HOUR + timedelta(minutes=50)  # 23:50
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.writes(tx, LIN, at=late)
        for after, told in (
            (timedelta(), True),
            (timedelta(minutes=5), False),
            (timedelta(minutes=15), False),  # another day, and the words are fresh
            (8 * HOUR, True),
            (12 * HOUR, False),
        ):
            now = late + after
            await desk.writes(tx, LIN, at=now)
            assert await say_away(tx, state.id, policy_of(desk), limits=LIMITS, now=now) is told, after
        assert await said(tx) == [AWAY, AWAY]


async def test_two_processes_say_it_once(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.writes(tx, LIN)

    async def process() -> bool:
        async with desk.database.transaction(desk.workspace_id) as tx:
            return await say_away(tx, state.id, policy_of(desk), limits=LIMITS, now=NOON)

    assert sorted(await asyncio.gather(process(), process())) == [False, True]
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await said(tx) == [AWAY]


@pytest.mark.parametrize(
    "why", ["muted", "resolved", "snoozed", "native", "last_message", "answered", "hours_ago", "there", "unset"]
)
async def test_where_it_is_not_said(desk: Desk, why: str) -> None:
    """By the time the job runs, this is so."""
    async with desk.database.transaction(desk.workspace_id) as tx:
        state, now = await desk.writes(tx, LIN), NOON
        by = Actor("agent", desk.lin)
        match why:
            case "muted":
                await service.block(tx, state.id, by=by, now=NOON)
            case "resolved":
                await service.resolve(tx, state.id, by=by, now=NOON)
            case "snoozed":
                await service.snooze(tx, state.id, until=NOON + HOUR, by=by, now=NOON)
            case "native":
                await transitions.apply(tx, state.id, ChangeNativeSession("human", "li"), actor=SYSTEM, now=NOON)
            case "last_message":
                await tx.run("update conversation set replies_used = 4 where id = %(id)s", id=state.id)
            case "answered":  # ten minutes ago
                await replies.reply(tx, state.id, text="好", by=desk.lin, limits=LIMITS, now=NOON)
                now = NOON + HOUR / 6
            case "hours_ago":
                now = NOON + 2 * HOUR
            case "there":
                behaves(desk, assistant=False, hours={})
            case "unset":
                behaves(desk, assistant=False, away="")
        assert not await say_away(tx, state.id, policy_of(desk), limits=LIMITS, now=now)
        assert await said(tx) == []


async def test_it_is_planned_only_for_what_people_have_and_nobody_is_there_for(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.writes(tx, LIN)
        await desk.writes(tx, LIN, "在吗")
        assert await planned(tx) == [state.id]  # one that waits is enough
    async with desk.database.transaction(desk.workspace_id) as tx:
        await tx.run("delete from jobs.procrastinate_jobs")
        behaves(desk)
        await desk.writes(tx, "wm2")  # the assistant's
        blocked = await desk.writes(tx, "wm3")
        await service.block(tx, blocked.id, by=Actor("agent", desk.lin), now=NOON)
        behaves(desk, assistant=False)
        await desk.writes(tx, "wm3")
        await ingest(tx, desk.inbox, [message("old", at=NOON - HOUR)], now=NOON, process_id=1)
        await ingest(tx, desk.inbox, [message("before", at=NOON - HOUR)], now=NOON, process_id=1, history=True)
        await ingest(tx, desk.inbox, [replace(message("g"), group=True)], now=NOON, process_id=1)
        behaves(desk, assistant=False, hours={})
        await desk.writes(tx, "wm4")  # somebody is there
        assert await planned(tx) == []


def message(who: str, *, at: Any = NOON) -> IncomingMessage:
    return IncomingMessage(f"m-{who}", who, who, SenderRole.CONTACT, Kind.TEXT, "在吗", at)


async def test_what_the_contact_waits_for_goes_on(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        before = await desk.writes(tx, LIN)
        assert await say_away(tx, before.id, policy_of(desk), limits=LIMITS, now=NOON)
        after = await desk.state(tx, LIN)
    assert (after.waiting_since, after.first_reply_at) == (before.waiting_since, None)
    assert after.replies_used == 1

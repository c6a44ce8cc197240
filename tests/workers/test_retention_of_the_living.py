"""Who keeps writing in one thread, and a group that is never still: what is done and old goes all the same."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.kernel_desk import Desk, open_desk
from tests.workers.retention_desk import LONG_AGO, NOW, YEAR, chosen, deleter, over, rows
from zhiban.conversations import service
from zhiban.events import Actor
from zhiban.kit.clock import SystemClock
from zhiban.kit.db import Database
from zhiban.people.retention import last_run
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.models import NewTicket
from zhiban.tickets.service import open_ticket
from zhiban.workers.retention import preview

SAID = "select text from message where author = 'contact' order by id"
DAY = timedelta(days=1)


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def wrote(desk: Desk, text: str, *, days_ago: int, who: str = "马骁", resolved: bool = False) -> int:
    at = NOW - days_ago * DAY
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.writes(tx, who, text, at=at)
        if resolved:
            await service.resolve(tx, state.id, by=Actor("agent", desk.lin), now=at + timedelta(hours=1))
        await tx.run("update message set state = 'handled' where state in ('pending', 'queued')")
        return state.id


async def cleaned(desk: Desk) -> None:
    """As the preview said before. No two runs begin at one moment."""
    now = SystemClock().now()
    async with desk.database.transaction(desk.workspace_id) as tx:
        would = await preview(tx, YEAR, now=now)
    done = await deleter(desk, now=now).run_once(desk.workspace_id, due_only=False, pause=0)
    assert done is not None
    assert (done.counts.get("messages", 0), done.counts.get("conversations", 0)) == (
        would.counts["messages"],
        would.conversations,
    )


async def test_of_who_keeps_writing_the_cycles_that_are_done_go_by_their_age(desk: Desk) -> None:
    await chosen(desk, YEAR)
    await wrote(desk, "第一轮", days_ago=300, resolved=True)
    await wrote(desk, "第二轮", days_ago=200, resolved=True)
    await wrote(desk, "第三轮的开头", days_ago=150)
    await wrote(desk, "第三轮的后来", days_ago=20)
    await cleaned(desk)  # the third is in hand: all of it stays
    assert await rows(desk, SAID) == [("第三轮的开头",), ("第三轮的后来",)]
    assert await rows(desk, "select count(*) > 2 from forgotten") == [(False,)]
    await wrote(desk, "解决了", days_ago=10, resolved=True)
    await cleaned(desk)  # it counts from its end
    assert len(await rows(desk, SAID)) == 3
    await wrote(desk, "第四轮", days_ago=1)
    await cleaned(desk)
    assert await rows(desk, SAID) == [("第三轮的后来",), ("解决了",), ("第四轮",)]
    await cleaned(desk)
    assert len(await rows(desk, SAID)) == 3


async def test_what_was_taken_back_ended_nothing(desk: Desk) -> None:
    await chosen(desk, YEAR)
    at = LONG_AGO
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "马骁", at=at)
        await service.resolve(tx, state.id, by=Actor("agent", desk.lin), now=at)
        await service.undo_resolve(tx, state.id, by=desk.lin, now=at + timedelta(seconds=2))
        await tx.run("update message set state = 'handled' where state in ('pending', 'queued')")
    await cleaned(desk)
    assert await rows(desk, SAID) == [("在吗",)]


async def test_a_lively_group_keeps_what_is_young_and_all_of_it_while_somebody_is_asked(desk: Desk) -> None:
    await chosen(desk, YEAR)
    group = await wrote(desk, "很久以前", days_ago=300)
    await wrote(desk, "上个月", days_ago=30)
    async with desk.database.transaction(desk.workspace_id) as tx:
        await tx.run("update conversation set kind = 'group', status = 'resolved', resolved_at = null")
    async with desk.database.transaction(desk.workspace_id) as tx:
        await service.hand_off(tx, group, reason="asked", actor=Actor("assistant"), now=NOW - DAY)
    await cleaned(desk)
    assert await rows(desk, SAID) == [("很久以前",), ("上个月",)]
    async with desk.database.transaction(desk.workspace_id) as tx:
        await service.resolve(tx, group, by=Actor("agent", desk.lin), now=NOW)
    await cleaned(desk)
    assert await rows(desk, SAID) == [("上个月",)]


async def test_what_is_frozen_for_a_ticket_is_not_lost_with_its_message(desk: Desk) -> None:
    await chosen(desk, YEAR)
    conversation = await wrote(desk, "登录不了", days_ago=300, resolved=True)
    await wrote(desk, "又来了", days_ago=1)
    async with desk.database.transaction(desk.workspace_id) as tx:
        message = await tx.value("select id from message where text = '登录不了'")
        said = FrozenLine(message, "contact-1", "马骁", "马骁", NOW - 300 * DAY, "登录不了")
        new = NewTicket(title="登录", conversation_id=conversation, lines=(said,))
        ticket = (await open_ticket(tx, new, key="1", by=Actor("agent", desk.lin), now=NOW)).id
    await cleaned(desk)
    assert await rows(desk, SAID) == [("又来了",)]
    assert await rows(desk, f"select text from ticket_message where ticket_id = {ticket}") == [("登录不了",)]


# ----------------------------------------------------------------------------------------------------------- clocks


async def run_at(desk: Desk, now: datetime) -> bool:
    return await deleter(desk, now=now).run_once(desk.workspace_id, pause=0) is not None


async def test_a_clock_beyond_the_database_s_deletes_nothing_more(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await over(desk, tx, "马骁", at=NOW - 50 * DAY)
    await chosen(desk, YEAR)
    await deleter(desk, now=NOW + 5000 * DAY).run_once(desk.workspace_id, due_only=False, pause=0)
    assert await rows(desk, SAID) == [("在吗",)]
    async with desk.database.transaction(desk.workspace_id) as tx:
        done = await last_run(tx)
    assert done is not None
    assert done.finished_at is not None
    assert done.finished_at < NOW + DAY  # and the next run is not years ahead


async def test_a_clock_that_leaps_is_doubted_for_a_day_and_then_believed(desk: Desk) -> None:
    await chosen(desk, YEAR)
    assert await run_at(desk, NOW - 100 * DAY)  # before the first run, facts tell the time
    assert await run_at(desk, NOW - 98 * DAY)  # off for two days
    async with desk.database.transaction(desk.workspace_id) as tx:
        await over(desk, tx, "马骁", at=NOW - 160 * DAY)
        await desk.writes(tx, "周予安", at=NOW - 40 * DAY)  # the clock that is wrong tells facts, too
    assert not await run_at(desk, NOW - 40 * DAY)
    assert not await run_at(desk, NOW - 40 * DAY + timedelta(hours=23))
    assert len(await rows(desk, SAID)) == 2
    told = "select actor_kind, (data ->> 'newest')::timestamptz from event where kind = 'clock_doubted'"
    assert await rows(desk, told) == [("timer", NOW - 98 * DAY)]
    # Somebody sets it right, and later it is truly that late.
    assert await run_at(desk, NOW - 97 * DAY)
    assert not await run_at(desk, NOW - 40 * DAY)
    assert not await run_at(desk, NOW - 39 * DAY - timedelta(hours=1))
    assert await run_at(desk, NOW - 39 * DAY)
    assert await rows(desk, SAID) == [("在吗",)]
    assert len(await rows(desk, told)) == 2

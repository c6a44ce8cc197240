"""The counter and what is read from its sums: each event once, whoever counts and whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.kernel_desk import NOON, Desk, open_desk
from tests.twin import open_inbox
from zhiban.channels.configuring import set_policy
from zhiban.conversations import replies, service
from zhiban.conversations.labels import add_label, change_label
from zhiban.events import SYSTEM, Actor
from zhiban.insights.models import Measure, ReportClock
from zhiban.insights.periods import period
from zhiban.insights.queries import Dimension, ReportFilter, ReportQuery, counter_state
from zhiban.insights.report import TWICE, Report, report
from zhiban.insights.service import count_some, rebuild
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.vault import Vault, new_key
from zhiban.people import agents, presence, teams
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.ports import Limits
from zhiban.workers.report_counter import ReportCounter

SHANGHAI = ZoneInfo("Asia/Shanghai")
ALL = Access(1, Role.OWNER)
TODAY = date(2026, 11, 20)
AT_ONCE = timedelta(0)


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def counted(db: Database, workspace: int) -> None:
    """Count everything there is; transactions of other databases of the server hold it up."""
    done = False
    async with asyncio.timeout(60):
        while not done:
            await round_(db)
            async with db.transaction(workspace) as tx:
                done = await tx.value("select counted_to = (select max(id) from event) from report_progress")


async def round_(db: Database) -> None:
    await ReportCounter(db, SetClock(NOON)).run_once(pause=0, settling=AT_ONCE)


async def stored(db: Database, workspace: int) -> list[tuple[Any, ...]]:
    """Every sum, with its labels instead of the number of their set."""
    async with db.transaction(workspace) as tx:
        return await tx.rows(
            "select s.measure, s.quarter, s.inbox_id, s.team_id, s.agent_id, l.labels, s.who, s.clock, s.bucket, s.n, "
            "s.total from report_sum s left join report_label_set l on l.id = s.label_set "
            "where s.n <> 0 or s.total <> 0 order by 1, 2, 3, 4, 5, 6, 7, 8, 9"
        )


async def read(
    tx: Transaction,
    *,
    by: Dimension = Dimension.AGENT,
    access: Access = ALL,
    days: tuple[date, date] = (TODAY, TODAY),
    now: datetime = NOON,
    clock: ReportClock = ReportClock.WALL,
    **only: int,
) -> Report:
    asked = ReportQuery(access, period(*days, SHANGHAI), ReportFilter(**only), clock)
    return await report(tx, asked, by=by, now=now)


async def answered(desk: Desk, tx: Transaction, who: str, *, by: int, at: datetime = NOON) -> int:
    """Written, handed over, taken by 林晓, answered by somebody after a minute, resolved by them after two."""
    state = await desk.handed_over(tx, who, at=at)
    await replies.reply(tx, state.id, text="在", by=by, limits=Limits(2000), now=at + timedelta(minutes=1))
    await service.resolve(tx, state.id, by=Actor("agent", by), now=at + timedelta(minutes=2))
    return state.id


async def test_the_seed_story_keeps_its_numbers(db: Database, desk: Desk) -> None:
    """Resolved by 林晓, un-assigned, back with 陈默, relabelled, renamed, disabled: what was counted stays."""
    async with db.transaction(desk.workspace_id) as tx:
        one = await answered(desk, tx, "马骁", by=desk.lin)
        refund = await add_label(tx, name="退款", color=1, by=SYSTEM, now=NOON)
        urgent = await add_label(tx, name="急", color=2, by=SYSTEM, now=NOON)
        two = (await desk.handed_over(tx, "周予安")).id
        by = Actor("agent", desk.lin)
        await service.change_labels(tx, two, add=frozenset({refund, urgent}), by=by, now=NOON)
        await service.resolve(tx, two, by=by, now=NOON + timedelta(minutes=4))
    await counted(db, desk.workspace_id)
    async with db.transaction(desk.workspace_id) as tx:
        before = await read(tx, by=Dimension.LABEL)
        numbers = {part.key: part.numbers.resolved for part in before.parts}
        assert numbers == {str(refund): 1, str(urgent): 1, "0": 1, TWICE: -1}
        await service.assign(tx, one, to=None, by=SYSTEM, now=NOON + timedelta(minutes=5))
        await change_label(tx, refund, name="退货", color=1, by=SYSTEM, now=NOON)
        await service.change_labels(tx, two, remove=frozenset({refund}), by=by, now=NOON + timedelta(minutes=5))
        await desk.writes(tx, "马骁", at=NOON + timedelta(hours=1))
        await service.take(tx, one, by=desk.chen, now=NOON + timedelta(hours=1, minutes=1))
        await service.resolve(tx, one, by=Actor("agent", desk.chen), now=NOON + timedelta(hours=1, minutes=9))
        await agents.disable(tx, desk.lin, now=NOON + timedelta(hours=2))
    await counted(db, desk.workspace_id)
    async with db.transaction(desk.workspace_id) as tx:
        after = await read(tx, now=NOON + timedelta(hours=3))
        assert {part.key: n for part in after.parts if (n := part.numbers.resolved)} == {
            str(desk.lin): 2,
            str(desk.chen): 1,
        }
        assert (after.total[Measure.BEGUN], after.total[Measure.RESUMED], after.total.resolved) == (2, 1, 3)
        assert after.total.median(Measure.FIRST_REPLY) == 60
        assert after.resolvers == {"agent": 3}
        labelled = await read(tx, label_id=refund)
        assert labelled.total.resolved == 1
        for by in Dimension:
            found = await read(tx, by=by)
            for measure in (Measure.RESOLVED, Measure.RECEIVED, Measure.WRITTEN, Measure.FIRST_REPLY, Measure.BEGUN):
                parts = sum(part.numbers[measure] for part in found.parts)
                assert parts == found.total[measure] == sum(step[measure] for step in found.steps), (by, measure)
        assert sum(map(sum, after.week)) == after.total[Measure.RECEIVED] == 3
        assert after.week[4][12] == 2  # Friday noon in China


async def test_a_rebuild_makes_the_same_numbers(db: Database, desk: Desk) -> None:
    async with db.transaction(desk.workspace_id) as tx:
        for number, who in enumerate(("甲", "乙", "丙")):
            await answered(desk, tx, who, by=desk.lin if number else desk.chen, at=NOON + timedelta(hours=number))
        team = await teams.create(tx, name="售后", members=[desk.lin], now=NOON)
        four = (await desk.handed_over(tx, "丁")).id
        await service.assign_team(tx, four, to=team, by=SYSTEM, now=NOON)
        await service.snooze(tx, four, until=NOON + timedelta(days=1), by=Actor("agent", desk.lin), now=NOON)
    await counted(db, desk.workspace_id)
    first = await stored(db, desk.workspace_id)
    async with db.transaction(desk.workspace_id) as tx:
        await rebuild(tx)
        assert (await counter_state(tx)).behind > 0
    assert await stored(db, desk.workspace_id) == []
    await counted(db, desk.workspace_id)
    assert await stored(db, desk.workspace_id) == first
    await counted(db, desk.workspace_id)
    assert await stored(db, desk.workspace_id) == first
    async with db.transaction(desk.workspace_id) as tx:
        await tx.run("update report_progress set recipe = 0")  # of another version
    await counted(db, desk.workspace_id)
    assert await stored(db, desk.workspace_id) == first


async def test_two_counters_and_one_that_is_killed_count_each_event_once(db: Database, desk: Desk) -> None:
    async with db.transaction(desk.workspace_id) as tx:
        for who in ("甲", "乙", "丙", "丁"):
            await answered(desk, tx, who, by=desk.lin)
    now = {"now": NOON, "settling": AT_ONCE}
    for _ in range(2):  # begins, and looks how far the log is settled
        async with db.transaction(desk.workspace_id) as tx:
            await count_some(tx, **now)
    async with db.transaction(desk.workspace_id) as tx:
        await tx.run("update report_progress set settling_xid = null")  # whatever else the server is at
    with suppress(ConnectionAbortedError):
        async with db.transaction(desk.workspace_id) as tx:
            await count_some(tx, **now)
            assert await tx.value("select count(*) from report_sum") > 0
            raise ConnectionAbortedError
    async with db.transaction(desk.workspace_id) as tx:
        await count_some(tx, **now)
        async with db.transaction(desk.workspace_id) as other:  # finds somebody at it
            assert not await count_some(other, **now)
    await asyncio.gather(*[counted(db, desk.workspace_id) for _ in range(3)])
    async with db.transaction(desk.workspace_id) as tx:
        found = await read(tx)
        assert (found.total.resolved, found.total[Measure.RECEIVED], found.total[Measure.BEGUN]) == (4, 4, 4)
        assert found.counter.behind == 0


async def test_what_is_committed_late_is_counted_too(db: Database, desk: Desk) -> None:
    """An id was given out long before; later ones are committed and would be counted past it."""
    async with db.transaction(desk.workspace_id) as tx:
        state = await desk.writes(tx, "慢")
    async with db.transaction(desk.workspace_id) as slow:
        await desk.writes(slow, "慢")
        assert state.id
        async with db.transaction(desk.workspace_id) as tx:
            await answered(desk, tx, "快", by=desk.lin)
        for _ in range(3):
            await round_(db)
        async with db.transaction(desk.workspace_id) as tx:
            assert (await read(tx)).total[Measure.RECEIVED] <= 1
    await counted(db, desk.workspace_id)
    async with db.transaction(desk.workspace_id) as tx:
        assert (await read(tx)).total[Measure.RECEIVED] == 3


async def test_levels_are_what_was_open_when_a_step_ended(db: Database, desk: Desk) -> None:
    yesterday = NOON - timedelta(days=1)
    async with db.transaction(desk.workspace_id) as tx:
        await desk.handed_over(tx, "甲", at=yesterday)
        await desk.handed_over(tx, "乙", at=yesterday)
        three = await desk.handed_over(tx, "丙", at=yesterday)
        await service.resolve(tx, three.id, by=Actor("agent", desk.lin), now=NOON)
        four = await desk.handed_over(tx, "丁", at=NOON)
        by = Actor("agent", desk.lin)
        await service.snooze(tx, four.id, until=NOON + timedelta(days=2), by=by, now=NOON)
    await counted(db, desk.workspace_id)
    async with db.transaction(desk.workspace_id) as tx:
        days = (TODAY - timedelta(days=3), TODAY + timedelta(days=1))
        found = await read(tx, days=days)
        assert found.levels == {"open": [0, 0, 3, 2, None], "snoozed": [0, 0, 0, 1, None]}
        past = await read(tx, days=(TODAY - timedelta(days=1), TODAY - timedelta(days=1)), agent_id=desk.lin)
        assert past.levels["open"][-1] == 3
        assert (await read(tx, agent_id=desk.chen)).levels["open"][0] == 0


async def test_business_hours_are_those_that_the_log_tells_of(db: Database, desk: Desk) -> None:
    vault = Vault([new_key()])
    async with db.transaction(desk.workspace_id) as tx:
        await answered(desk, tx, "全天", by=desk.lin)
        hours = {"weekly": {"daily": "09:00-12:00"}}  # closed at NOON, which is twelve in China
        await set_policy(tx, vault, desk.inbox.inbox_id, {"hours": hours}, by=SYSTEM, now=NOON)
        await answered(desk, tx, "打烊", by=desk.lin)
        for policy in ({"hours": {"weekly": "?"}}, {}):  # one that no version of ours would write, and none
            await set_policy(tx, vault, desk.inbox.inbox_id, policy, by=SYSTEM, now=NOON)
        await answered(desk, tx, "又全天", by=desk.lin)
    await counted(db, desk.workspace_id)
    async with db.transaction(desk.workspace_id) as tx:
        wall, business = await read(tx), await read(tx, clock=ReportClock.BUSINESS)
    assert wall.total.classes[Measure.FIRST_REPLY] == {60: 3}
    assert business.total.classes[Measure.FIRST_REPLY] == {60: 2, 0: 1}
    assert wall.total.resolved == business.total.resolved == 3


async def test_hours_are_those_of_the_clock_also_when_it_is_set(db: Database, desk: Desk) -> None:
    """Fridays at noon in Berlin, before and after the night in which the clock is set forward."""
    berlin = ZoneInfo("Europe/Berlin")
    winter, summer = (datetime(2026, month, day, 12, 0, tzinfo=berlin) for month, day in ((3, 27), (4, 3)))
    async with db.transaction(desk.workspace_id) as tx:
        await desk.writes(tx, "甲", at=winter)
        await desk.writes(tx, "乙", at=summer)
    await counted(db, desk.workspace_id)
    async with db.transaction(desk.workspace_id) as tx:
        asked = ReportQuery(ALL, period(date(2026, 3, 20), date(2026, 4, 9), berlin))
        found = await report(tx, asked, by=Dimension.AGENT, now=summer)
    assert (winter.hour, found.week[4][12], sum(map(sum, found.week))) == (12, 2, 2)
    assert [step[Measure.RECEIVED] for step in found.steps] == [0] * 7 + [1] + [0] * 6 + [1] + [0] * 6


async def test_presence_is_told_of_whoever_is_still_there_too(db: Database, desk: Desk) -> None:
    async with db.transaction(desk.workspace_id) as tx:
        await presence.beat(tx, desk.lin, now=NOON)
        await presence.choose(tx, desk.lin, presence.Availability.BUSY, now=NOON + timedelta(minutes=40))
        await presence.leave(tx, desk.lin, by=SYSTEM, reason="signed_out", now=NOON + timedelta(minutes=50))
        await presence.beat(tx, desk.chen, now=NOON + timedelta(minutes=30))
    await counted(db, desk.workspace_id)
    async with db.transaction(desk.workspace_id) as tx:
        found = await read(tx, now=NOON + timedelta(hours=1))
        told = {one.agent_id: (one.online, one.busy) for one in found.presence or ()}
        assert told == {desk.lin: (2400, 600), desk.chen: (1800, 0)}
        assert (await read(tx, inbox_id=desk.inbox.inbox_id)).presence is None


async def test_nobody_reads_of_other_inboxes_and_nothing_is_nothing(db: Database, desk: Desk) -> None:
    other = await open_inbox(db, desk.workspace_id, public_id="other", name="别处")
    async with db.transaction(desk.workspace_id) as tx:
        await answered(desk, tx, "马骁", by=desk.lin)
        await desk.handed_over(tx, "周予安")
    await counted(db, desk.workspace_id)
    limited = Access(desk.chen, Role.SUPERVISOR, (other.inbox_id,))
    async with db.transaction(desk.workspace_id) as tx:
        found = await read(tx, access=limited, by=Dimension.INBOX)
        assert (found.parts, found.resolvers, found.presence) == ([], {}, None)
        assert found.levels["open"] == [0] * 13 + [None] * 11  # noon is the thirteenth hour of the day
        assert (found.total.resolved, found.total.median(Measure.REPLY), found.total.handoff_share) == (0, None, None)
        with pytest.raises(NotFound):
            await read(tx, access=limited, inbox_id=desk.inbox.inbox_id)
        seen = await read(tx, access=Access(desk.chen, Role.SUPERVISOR, (desk.inbox.inbox_id,)))
        assert seen.total.resolved == 1
        years = await read(tx, days=(date(2018, 1, 1), TODAY))
        assert (years.total.resolved, years.before.resolved, len(years.steps)) == (1, 0, 107)
        assert (await read(tx, days=(date(2024, 1, 1), date(2024, 1, 2)))).total.counts == {}


async def test_a_team_with_hours_of_its_own_is_measured_by_them(db: Database, desk: Desk) -> None:
    vault = Vault([new_key()])
    closed = {"weekly": {"daily": "09:00-12:00"}}  # at NOON, which is twelve in China
    async with db.transaction(desk.workspace_id) as tx:
        await set_policy(tx, vault, desk.inbox.inbox_id, {"hours": closed}, by=SYSTEM, now=NOON)
        night = await teams.create(tx, name="夜班", now=NOON)
        for who, hours in (("随收件箱", None), ("夜班", {"weekly": {"daily": "10:00-20:00"}}), ("又随收件箱", None)):
            await teams.set_hours(tx, night, hours, by=SYSTEM, now=NOON)
            state = await desk.handed_over(tx, who)
            await service.assign_team(tx, state.id, to=night, by=SYSTEM, now=NOON)
            later = NOON + timedelta(minutes=1)
            await replies.reply(tx, state.id, text="在", by=desk.lin, limits=Limits(2000), now=later)
    await counted(db, desk.workspace_id)
    async with db.transaction(desk.workspace_id) as tx:
        business = await read(tx, clock=ReportClock.BUSINESS)
        assert business.total.classes[Measure.FIRST_REPLY] == {60: 1, 0: 2}
    before = await stored(db, desk.workspace_id)
    async with db.transaction(desk.workspace_id) as tx:
        await rebuild(tx)
    await counted(db, desk.workspace_id)
    assert await stored(db, desk.workspace_id) == before

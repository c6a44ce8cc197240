"""Rules that wait for an agent who is gone, or for one who comes: once for each time, and not where it was in vain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.kernel_desk import NOON, Desk, open_desk
from zhiban.automation import queries, service
from zhiban.automation.definition import BadDefinition, load_definition
from zhiban.automation.engine import RuleEngine
from zhiban.automation.jobs import NOTE_AGENT
from zhiban.automation.models import RuleRun
from zhiban.automation.rehearsal import Rehearsal, rehearse, remarks
from zhiban.automation.waiting import note_agent
from zhiban.bootstrap import reactions, rule_engine
from zhiban.conversations import replies
from zhiban.conversations import service as conversations
from zhiban.events import SYSTEM, Actor
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.i18n import Texts
from zhiban.people import presence
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.people.presence import Availability
from zhiban.workers.rule_timer import RuleTimer

MINUTE = timedelta(minutes=1)
URGENT = {"kind": "set_priority", "priority": 4}


@dataclass
class Hall:
    """A desk, its clock, the timer, and the jobs that follow presence."""

    desk: Desk
    clock: SetClock
    engine: RuleEngine
    timer: RuleTimer

    @asynccontextmanager
    async def tx(self) -> AsyncIterator[Transaction]:
        async with self.desk.database.transaction(self.desk.workspace_id) as tx:
            yield tx

    async def is_now(self, agent_id: int, availability: Availability, *, jobs: bool = True) -> None:
        async with self.tx() as tx:
            await presence.choose(tx, agent_id, availability, now=self.clock.now())
        if jobs:
            await self.jobs()

    async def jobs(self) -> None:
        """What a worker does of them."""
        async with self.tx() as tx:
            waiting = (await self.engine.book.rules(tx)).waiting
            for (args,) in await tx.rows(
                "delete from jobs.procrastinate_jobs where task_name = %(name)s returning args", name=NOTE_AGENT.name
            ):
                await note_agent(tx, args["agent_id"], waiting)

    async def rule(self, after: dict[str, Any], *actions: dict[str, Any]) -> int:
        definition = load_definition({"on": [], "after": after, "actions": list(actions) or [URGENT]})
        async with self.tx() as tx:
            return await service.add(
                tx, name="人不在", definition=definition, enabled=True, by=SYSTEM, now=self.clock.now()
            )

    async def shipped(self, key: str) -> int:
        async with self.tx() as tx:
            (rule,) = [one.id for one in await queries.rules(tx) if one.shipped == key]
            await service.switch(tx, rule, on=True, by=SYSTEM, now=self.clock.now())
            return rule

    async def taken(self, who: str = "wm1") -> int:
        """Written, handed over and taken by 林晓; the contact waits."""
        async with self.tx() as tx:
            return (await self.desk.handed_over(tx, who, at=self.clock.now())).id

    async def assignee(self, who: str = "wm1") -> int | None:
        async with self.tx() as tx:
            return (await self.desk.state(tx, who)).assignee_id

    async def runs(self, rule: int) -> list[RuleRun]:
        async with self.tx() as tx:
            return await queries.runs_of(tx, rule)

    async def answered(self, conversation: int) -> None:
        limits = self.desk.inbox.channel.limits
        async with self.tx() as tx:
            await replies.reply(tx, conversation, text="在的", by=self.desk.lin, limits=limits, now=self.clock.now())

    async def writes(self, who: str = "wm1") -> None:
        async with self.tx() as tx:
            await self.desk.writes(tx, who, "还在等", at=self.clock.now())

    async def waits_for_nobody(self, who: str) -> int:
        """Written and handed over; nobody has it."""
        async with self.tx() as tx:
            state = await self.desk.writes(tx, who, at=self.clock.now())
            await conversations.hand_off(tx, state.id, reason="asked", actor=Actor("assistant"), now=self.clock.now())
            return state.id

    async def rehearsed(self, after: dict[str, Any], *, rule: int | None = None, **how: Any) -> Rehearsal:
        definition = load_definition({"on": [], "after": after, "actions": [URGENT]})
        async with self.tx() as tx:
            return await rehearse(tx, definition, now=self.clock.now(), rule_id=rule, **how)

    async def after(self, minutes: float) -> int:
        self.clock.advance(minutes * MINUTE)
        return await self.timer.run_once()


@pytest.fixture
async def hall(db: Database, workspace: int) -> Hall:
    desk = await open_desk(db, workspace)
    clock, engine = SetClock(NOON), rule_engine()
    db.reactions = reactions(engine)
    hall = Hall(desk, clock, engine, RuleTimer(db, engine, clock))
    await hall.is_now(desk.lin, Availability.ONLINE)
    return hall


@pytest.mark.parametrize("somebody", [True, False])
async def test_who_waits_for_an_agent_who_is_gone_for_two_minutes_goes_to_another(hall: Hall, somebody: bool) -> None:
    rule = await hall.shipped("agent_offline")
    await hall.taken()
    if somebody:
        await hall.is_now(hall.desk.chen, Availability.ONLINE)
    await hall.is_now(hall.desk.lin, Availability.OFFLINE)
    assert await hall.after(1.9) == 0
    assert await hall.assignee() == hall.desk.lin
    if somebody:
        await hall.is_now(hall.desk.chen, Availability.ONLINE)
    assert await hall.after(0.1) == 1
    assert await hall.assignee() == (hall.desk.chen if somebody else None)
    (run,) = await hall.runs(rule)
    assert (run.outcome, [one["outcome"] for one in run.actions]) == (
        "acted",
        ["done", "done" if somebody else "nobody"],
    )
    assert await hall.after(60) == 0


async def test_who_comes_back_in_time_keeps_what_they_had(hall: Hall) -> None:
    rule = await hall.shipped("agent_offline")
    await hall.taken()
    await hall.is_now(hall.desk.lin, Availability.OFFLINE)
    await hall.after(1)
    await hall.is_now(hall.desk.lin, Availability.BUSY)
    assert await hall.after(10) == 0
    # Where the job about it is late, whoever is due looks themselves.
    await hall.is_now(hall.desk.lin, Availability.OFFLINE)
    await hall.after(1)
    await hall.is_now(hall.desk.lin, Availability.ONLINE, jobs=False)
    assert await hall.after(10) == 0
    assert (await hall.assignee(), await hall.runs(rule)) == (hall.desk.lin, [])


async def test_a_contact_who_begins_to_wait_later_waits_from_then(hall: Hall) -> None:
    """The agent went with everything answered: the rule is not done with the conversation because of that."""
    rule = await hall.rule({"what": "assignee_offline", "minutes": 2})
    conversation = await hall.taken()
    limits = hall.desk.inbox.channel.limits
    async with hall.tx() as tx:
        await replies.reply(tx, conversation, text="在的", by=hall.desk.lin, limits=limits, now=hall.clock.now())
    await hall.is_now(hall.desk.lin, Availability.OFFLINE)
    assert await hall.after(30) == 0
    async with hall.tx() as tx:
        await hall.desk.writes(tx, "wm1", "还有问题", at=hall.clock.now())
    assert await hall.after(1) == 0
    async with hall.tx() as tx:  # an impatient contact does not begin anew
        await hall.desk.writes(tx, "wm1", "在吗", at=hall.clock.now())
    assert await hall.after(1) == 1
    assert len(await hall.runs(rule)) == 1
    async with hall.tx() as tx:
        await hall.desk.writes(tx, "wm1", "人呢", at=hall.clock.now())
    assert await hall.after(30) == 0  # once for each wait


async def test_what_is_given_to_an_absent_agent_counts_from_then(hall: Hall) -> None:
    rule = await hall.rule({"what": "assignee_offline", "minutes": 2})
    conversation = await hall.taken()
    await hall.after(30)
    await hall.is_now(hall.desk.lin, Availability.ONLINE)
    async with hall.tx() as tx:  # 陈默 never opened a desk
        by = Actor("agent", hall.desk.lin)
        await conversations.assign(tx, conversation, to=hall.desk.chen, by=by, now=hall.clock.now())
    assert await hall.after(1) == 0
    async with hall.tx() as tx:
        await conversations.resolve(tx, conversation, by=Actor("agent", hall.desk.lin), now=hall.clock.now())
    assert await hall.after(30) == 0
    assert await hall.runs(rule) == []


async def test_a_rule_that_is_switched_on_looks_at_who_waits_already(hall: Hall) -> None:
    await hall.taken()
    await hall.is_now(hall.desk.lin, Availability.OFFLINE)
    await hall.after(30)
    rule = await hall.shipped("agent_offline")
    assert await hall.after(0) == 1
    assert await hall.assignee() is None
    assert len(await hall.runs(rule)) == 1


async def test_an_agent_comes_and_what_nobody_has_is_looked_at(hall: Hall) -> None:
    rule = await hall.rule({"what": "agent_available", "minutes": 0}, {"kind": "assign_best"})
    async with hall.tx() as tx:
        state = await hall.desk.writes(tx, "wm1", at=hall.clock.now())
        await conversations.hand_off(tx, state.id, reason="asked", actor=Actor("assistant"), now=hall.clock.now())
        await tx.run("update agent set role = 'read_only' where id = %(id)s", id=hall.desk.lin)
    await hall.is_now(hall.desk.lin, Availability.BUSY)
    await hall.is_now(hall.desk.lin, Availability.ONLINE)
    assert await hall.after(0) == 0  # who may not answer is nobody who comes
    await hall.is_now(hall.desk.chen, Availability.ONLINE)
    assert await hall.after(0) == 1
    assert await hall.assignee("wm1") == hall.desk.chen
    assert len(await hall.runs(rule)) == 1
    await hall.jobs()
    assert await hall.after(5) == 0


async def test_presence_costs_nothing_where_no_rule_waits_for_it(hall: Hall) -> None:
    await hall.is_now(hall.desk.lin, Availability.OFFLINE, jobs=False)
    async with hall.tx() as tx:
        assert not await tx.rows("select 1 from jobs.procrastinate_jobs where task_name = %(n)s", n=NOTE_AGENT.name)


def test_only_a_coming_needs_no_time() -> None:
    with pytest.raises(BadDefinition, match="for how long"):
        load_definition({"on": [], "after": {"what": "assignee_offline", "minutes": 0}, "actions": [URGENT]})


ON, BUSY, OFF = Availability.ONLINE, Availability.BUSY, Availability.OFFLINE


def told(found: Rehearsal) -> list[tuple[int | None, Any]]:
    return sorted((run.conversation_id, run.at) for run in found.runs if run.checked.held)


async def acted(hall: Hall, rule: int) -> list[tuple[int | None, Any]]:
    return sorted((run.conversation_id, run.at) for run in await hall.runs(rule) if run.outcome == "acted")


async def test_a_rehearsal_tells_when_a_rule_waited_for_who_was_gone(hall: Hall) -> None:
    """The same conversations and moments as the rule itself, which acted while it happened."""
    after = {"what": "assignee_offline", "minutes": 2}
    rule = await hall.rule(after, {"kind": "add_note", "text": "人不在"})
    first = await hall.taken("wm1")
    done = await hall.taken("wm2")
    await hall.answered(done)
    await hall.is_now(hall.desk.lin, OFF)
    await hall.after(1)
    await hall.is_now(hall.desk.lin, BUSY)  # back in time
    await hall.after(5)
    await hall.is_now(hall.desk.lin, OFF)
    await hall.after(2)  # the first: two minutes gone
    await hall.writes("wm2")
    await hall.after(1)
    await hall.writes("wm2")
    await hall.after(1)  # the other: waits since it wrote
    await hall.is_now(hall.desk.lin, ON)
    await hall.answered(first)
    async with hall.tx() as tx:  # 陈默 never opened a desk
        by = Actor("agent", hall.desk.lin)
        await conversations.assign(tx, done, to=hall.desk.chen, by=by, now=hall.clock.now())
    await hall.after(1)
    await hall.after(1)
    await hall.is_now(hall.desk.lin, OFF)
    await hall.after(2)  # nothing of 林晓's waits
    kept = await acted(hall, rule)
    assert [conversation for conversation, _ in kept] == [first, done, done]
    found = await hall.rehearsed(after, rule=rule)
    assert told(found) == kept
    assert (found.waits_for, found.agent_facts, found.untold) == ("assignee_offline", 3, 0)
    assert {run.trigger for run in found.runs} == {"time_passed"}
    # The last two times only: the first time nothing came of it, and of who was never there nothing is known.
    assert told(await hall.rehearsed(after, rule=rule, limit=2)) == kept[:2]
    assert told(await hall.rehearsed(after, rule=rule, limit=1)) == []
    nobody = Access(hall.desk.lin, Role.SUPERVISOR, ())
    assert (await hall.rehearsed(after, access=nobody)).conversations == ()


async def test_a_rehearsal_tells_when_a_rule_waited_for_who_came(hall: Hall) -> None:
    after = {"what": "agent_available", "minutes": 3}
    rule = await hall.rule(after, {"kind": "add_note", "text": "人来了"})
    theirs = await hall.taken("wm1")
    nobodys = await hall.waits_for_nobody("wm2")
    await hall.is_now(hall.desk.lin, BUSY)
    await hall.after(1)
    await hall.is_now(hall.desk.lin, ON)
    await hall.after(2)
    await hall.is_now(hall.desk.chen, ON)  # begins anew for what nobody has
    await hall.after(1)
    await hall.after(2)
    assert len(await acted(hall, rule)) == 2
    await hall.is_now(hall.desk.lin, OFF)
    await hall.after(1)
    await hall.is_now(hall.desk.lin, ON)
    await hall.after(1)
    await hall.answered(theirs)  # no more waiting: only the other one is asked about
    await hall.after(2)
    await hall.is_now(hall.desk.lin, BUSY)
    await hall.is_now(hall.desk.lin, ON)
    await hall.is_now(hall.desk.chen, OFF)
    await hall.is_now(hall.desk.lin, OFF)
    await hall.after(4)  # nobody is there when it would be due
    kept = await acted(hall, rule)
    assert [conversation for conversation, _ in kept] == [theirs, nobodys, nobodys]
    found = await hall.rehearsed(after, rule=rule)
    assert told(found) == kept
    assert (found.waits_for, found.agent_facts) == ("agent_available", 5)
    at_once = {"what": "agent_available", "minutes": 0}
    assert [one for one, _ in told(await hall.rehearsed(at_once))] == [theirs, theirs] + [nobodys] * 4
    async with hall.tx() as tx:  # who may answer is asked as it is today
        await tx.run("update agent set inbox_ids = '{}'")
    assert told(await hall.rehearsed(after, rule=rule)) == []


async def test_a_rehearsal_says_what_it_looked_at_and_what_nobody_knows(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = {"what": "assignee_offline", "minutes": 2}
    zh, en = Texts("zh"), Texts("en")
    nothing = await hall.rehearsed(after)
    assert remarks(nothing, zh) == ["日志里还没有人这样上线或离线过。"]
    await hall.taken("wm1")
    await hall.taken("wm2")
    await hall.is_now(hall.desk.lin, OFF)
    await hall.after(3)
    found = await hall.rehearsed(after)
    assert remarks(found, zh) == ["看了最近1次同事离线，和当时归他们、对方在等的会话。"]
    assert remarks(found, en) == [
        "Looked at the last time that a colleague went offline, and at what was theirs while the contact waited."
    ]
    assert remarks(await hall.rehearsed({"what": "no_reply_from_us", "minutes": 2}), zh) == []
    monkeypatch.setattr("zhiban.automation.rehearsal.EVENTS", 2)
    cut = await hall.rehearsed(after)
    assert (cut.fired, cut.untold) == (0, 2)
    assert remarks(cut, zh)[1:] == ["有2个会话的开头不在日志里，当时怎样无从得知。"]

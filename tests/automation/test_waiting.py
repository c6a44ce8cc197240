"""Rules that act because time has passed: once for each wait, by one process, wholly or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.kernel_desk import NOON, Desk, open_desk
from zhiban.automation import queries, service
from zhiban.automation.action_context import ActionContext
from zhiban.automation.definition import load_definition
from zhiban.automation.models import RuleRun
from zhiban.automation.rehearsal import rehearse
from zhiban.automation.telling_actions import AddNoteAction
from zhiban.bootstrap import reactions, rule_engine
from zhiban.conversations import replies
from zhiban.conversations import service as conversations
from zhiban.conversations.models import Priority
from zhiban.events import SYSTEM, Actor
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.people.contact_fields import add_contact_field
from zhiban.workers.rule_timer import RuleTimer
from zhiban.workers.scheduler import Scheduler

MINUTE = timedelta(minutes=1)
URGENT = {"kind": "set_priority", "priority": 4}


@dataclass
class Waiting:
    """A desk, its clock, and timers as several processes have them."""

    desk: Desk
    clock: SetClock
    timers: list[RuleTimer]

    @asynccontextmanager
    async def tx(self) -> AsyncIterator[Transaction]:
        async with self.desk.database.transaction(self.desk.workspace_id) as tx:
            yield tx

    async def rule(self, after: dict[str, Any], *actions: dict[str, Any], given: Any = ()) -> int:
        definition = load_definition(
            {"on": [], "after": after, "conditions": {"conditions": list(given)}, "actions": list(actions) or [URGENT]}
        )
        async with self.tx() as tx:
            return await service.add(
                tx, name="等久了", definition=definition, enabled=True, by=SYSTEM, now=self.clock.now()
            )

    async def writes(self, who: str = "wm1") -> int:
        async with self.tx() as tx:
            return (await self.desk.writes(tx, who, at=self.clock.now())).id

    async def opened(self, who: str = "wm1") -> int:
        async with self.tx() as tx:
            return (await self.desk.handed_over(tx, who, at=self.clock.now())).id

    async def replies(self, conversation_id: int) -> None:
        limits = self.desk.inbox.channel.limits
        async with self.tx() as tx:
            await replies.reply(tx, conversation_id, text="在的", by=self.desk.lin, limits=limits, now=self.clock.now())

    async def runs(self, rule: int) -> list[RuleRun]:
        async with self.tx() as tx:
            return await queries.runs_of(tx, rule)

    async def after(self, minutes: float) -> int:
        """Let time pass, and the timers of all processes look at the same moment."""
        self.clock.advance(minutes * MINUTE)
        return sum(await asyncio.gather(*(self.woken(timer) for timer in self.timers)))

    async def woken(self, timer: RuleTimer) -> int:
        """What a timer takes up that works only when the scheduler wakes it."""
        desk = self.desk
        due = await Scheduler(desk.database, self.clock, of_workspaces=[timer.due_work()]).due(desk.workspace_id)
        return await timer.run_workspace(desk.workspace_id) if due else 0


@pytest.fixture
async def waiting(db: Database, workspace: int) -> Waiting:
    desk = await open_desk(db, workspace)
    clock = SetClock(NOON)
    engine = rule_engine()
    db.reactions = reactions(engine)
    timers = [RuleTimer(db, engine, clock), RuleTimer(db, rule_engine(), clock)]
    return Waiting(desk, clock, timers)


async def test_nobody_answers_for_ten_minutes(waiting: Waiting) -> None:
    rule = await waiting.rule({"what": "no_reply_from_us", "minutes": 10})
    conversation = await waiting.opened()
    assert await waiting.after(9) == 0
    await waiting.writes()  # who writes again has waited since the first words
    assert await waiting.after(1) == 1
    (run,) = await waiting.runs(rule)
    assert (run.outcome, run.trigger, run.event_id, run.at) == ("acted", "time_passed", None, waiting.clock.now())
    assert await waiting.after(60) == 0  # once for each wait
    await waiting.writes()
    assert await waiting.after(60) == 0
    await waiting.replies(conversation)
    await waiting.writes()
    assert await waiting.after(10) == 1
    assert len(await waiting.runs(rule)) == 2


async def test_who_is_answered_in_time_leaves_nothing_behind(waiting: Waiting) -> None:
    rule = await waiting.rule({"what": "no_reply_from_us", "minutes": 10})
    conversation = await waiting.opened()
    await waiting.after(5)
    await waiting.replies(conversation)
    assert await waiting.after(60) == 0
    assert await waiting.runs(rule) == []
    async with waiting.tx() as tx:
        assert await tx.value("select count(*) from rule_delay") == 0


async def test_the_contact_falls_silent_and_is_reminded_once(waiting: Waiting) -> None:
    remind = {"kind": "send_message", "text": "还需要帮忙吗？"}
    rule = await waiting.rule({"what": "no_reply_from_contact", "minutes": 30}, remind)
    conversation = await waiting.opened()
    await waiting.replies(conversation)
    assert await waiting.after(20) == 0
    await waiting.replies(conversation)  # our second words count
    assert await waiting.after(20) == 0
    assert await waiting.after(10) == 1
    assert await waiting.after(300) == 0  # our own reminder is no reason for another
    await waiting.writes()
    assert await waiting.after(60) == 0  # now they wait for us
    await waiting.replies(conversation)
    assert await waiting.after(30) == 1
    assert [run.outcome for run in await waiting.runs(rule)] == ["acted", "acted"]
    async with waiting.tx() as tx:
        assert await tx.value("select count(*) from message where author = 'rule'") == 2


async def test_a_status_lasts(waiting: Waiting) -> None:
    note = {"kind": "add_note", "text": "归档"}
    rule = await waiting.rule({"what": "status", "status": "resolved", "minutes": 60}, note)
    conversation = await waiting.opened()
    lin = Actor("agent", waiting.desk.lin)
    async with waiting.tx() as tx:
        await conversations.resolve(tx, conversation, by=lin, now=waiting.clock.now())
    await waiting.after(40)
    await waiting.writes()  # goes on: the hour was not full
    assert await waiting.after(40) == 0
    async with waiting.tx() as tx:
        await conversations.resolve(tx, conversation, by=lin, now=waiting.clock.now())
    assert await waiting.after(60) == 1
    assert [run.outcome for run in await waiting.runs(rule)] == ["acted"]


async def test_why_a_rule_that_waited_does_not_act_is_stored(waiting: Waiting) -> None:
    urgent = [{"kind": "priority", "priority": 4}]
    rule = await waiting.rule({"what": "no_reply_from_us", "minutes": 10}, {"kind": "unassign"}, given=urgent)
    await waiting.opened("wm1")
    assert await waiting.after(10) == 1
    await waiting.opened("wm2")
    async with waiting.tx() as tx:  # switched off by somebody who knows nothing of what waits
        await tx.run("update rule set enabled = false where id = %(id)s", id=rule)
    for timer in waiting.timers:
        timer._rules.book.forget(waiting.desk.workspace_id)
    assert await waiting.after(10) == 1
    async with waiting.tx() as tx:
        await tx.run("update rule set enabled = true where id = %(id)s", id=rule)
    for timer in waiting.timers:
        timer._rules.book.forget(waiting.desk.workspace_id)
    await waiting.opened("wm3")
    assert await waiting.after(60 * 25) == 1  # nobody was running
    runs = await waiting.runs(rule)
    assert [(run.outcome, run.reason) for run in reversed(runs)] == [
        ("skipped", "conditions"),
        ("skipped", "off"),
        ("skipped", "expired"),
    ]
    assert runs[-1].conditions["parts"][0]["held"] is False
    assert await waiting.after(60) == 0


async def test_what_cannot_be_told_when_it_is_due_is_a_failed_run(waiting: Waiting) -> None:
    slow = [{"kind": "contact_attribute", "name": "level", "operator": "greater", "values": ["1"]}]
    async with waiting.tx() as tx:
        await add_contact_field(tx, name="level", kind="text", choices=(), by=SYSTEM, now=NOON)
    rule = await waiting.rule({"what": "no_reply_from_us", "minutes": 10}, given=slow)
    await waiting.opened()
    async with waiting.tx() as tx:
        await tx.run('update contact set attributes = \'{"level": "gold"}\'')
    assert await waiting.after(10) == 1
    assert [(run.outcome, run.actions) for run in await waiting.runs(rule)] == [("failed", [])]


async def test_a_rule_that_is_switched_on_finds_those_who_wait_already(waiting: Waiting) -> None:
    first, second = await waiting.opened("wm1"), await waiting.opened("wm2")
    waiting.clock.advance(8 * MINUTE)
    await waiting.opened("wm3")
    rule = await waiting.rule({"what": "no_reply_from_us", "minutes": 5})
    assert await waiting.after(0) == 2
    assert {run.conversation_id for run in await waiting.runs(rule)} == {first, second}
    async with waiting.tx() as tx:  # switched off and on again: nobody is asked twice for one wait
        await service.switch(tx, rule, on=False, by=SYSTEM, now=waiting.clock.now())
        await service.switch(tx, rule, on=True, by=SYSTEM, now=waiting.clock.now())
    assert await waiting.after(5) == 1
    lasting = await waiting.rule({"what": "status", "status": "open", "minutes": 60})
    assert await waiting.after(59) == 0  # nobody noted when it began: it counts from now
    assert await waiting.after(1) == 3
    assert len(await waiting.runs(lasting)) == 3


async def test_a_process_that_dies_in_between_leaves_nothing_half_done(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its turn, the message and the run are one transaction: whoever comes next does all of it, once."""
    say = {"kind": "send_message", "text": "马上来"}
    rule = await waiting.rule({"what": "no_reply_from_us", "minutes": 10}, say, {"kind": "add_note", "text": "记"})
    await waiting.opened()

    async def dies(self: AddNoteAction, do: ActionContext) -> str:
        assert await do.tx.value("select count(*) from message where author = 'rule'") == 1
        raise asyncio.CancelledError

    with monkeypatch.context() as killed:
        killed.setattr(AddNoteAction, "run", dies)
        waiting.clock.advance(10 * MINUTE)
        with pytest.raises(asyncio.CancelledError):
            await waiting.timers[0].run_once()
    async with waiting.tx() as tx:
        assert await tx.value("select count(*) from message where author = 'rule'") == 0
    assert await waiting.runs(rule) == []
    assert await waiting.after(0) == 1
    assert await waiting.after(60) == 0
    async with waiting.tx() as tx:
        assert await tx.value("select count(*) from message where author = 'rule'") == 2
        assert (await waiting.desk.state(tx, "wm1")).priority == Priority.NONE


async def test_a_removed_rule_waits_for_nothing(waiting: Waiting) -> None:
    rule = await waiting.rule({"what": "no_reply_from_us", "minutes": 10})
    await waiting.opened()
    async with waiting.tx() as tx:
        await service.remove(tx, rule, by=SYSTEM, now=waiting.clock.now())
    assert await waiting.after(10) == 0


@pytest.mark.parametrize(
    "after",
    [
        {"what": "no_reply_from_us", "minutes": 10},
        {"what": "no_reply_from_contact", "minutes": 30},
        {"what": "status", "status": "open", "minutes": 20},
    ],
)
async def test_a_rehearsal_finds_what_was_waited_through(waiting: Waiting, after: dict[str, Any]) -> None:
    """The same moments at which the rule acted while it happened, give or take how often the timers look."""
    rule = await waiting.rule(after, {"kind": "add_labels", "labels": [await _label(waiting)]})
    for who, minutes in (("wm1", 12), ("wm2", 35), ("wm3", 2)):
        conversation = await waiting.opened(who)
        await waiting.after(minutes)
        await waiting.replies(conversation)
        await waiting.after(minutes)
        await waiting.writes(who)
        await waiting.after(minutes)
    acted = await waiting.runs(rule)
    definition = load_definition({"on": [], "after": after, "actions": [URGENT]})
    async with waiting.tx() as tx:
        found = await rehearse(tx, definition, now=waiting.clock.now(), rule_id=rule)
    assert sorted(run.conversation_id for run in found.runs) == sorted(run.conversation_id or 0 for run in acted)
    assert acted
    assert {run.trigger for run in found.runs} == {"time_passed"}


async def _label(waiting: Waiting) -> int:
    async with waiting.tx() as tx:
        return int(
            await tx.value(
                "insert into label (workspace_id, name) values (%(w)s, '久等') returning id", w=tx.workspace_id
            )
        )

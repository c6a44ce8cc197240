"""The story for which rules exist: a resolved conversation is nobody's, whoever or whatever resolved it.

The assignee is empty, the credit stays, the contact who returns is free for whoever is there, the rule acts once for
each resolution, and a stored run says why. The rule is the one that comes with the program and is on from the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.kernel_desk import NOON, Desk, open_desk
from tests.waiting import LOCK_AWAITED
from zhiban.automation import macros
from zhiban.automation import queries as rule_queries
from zhiban.automation import service as rules
from zhiban.automation.definition import load_definition
from zhiban.automation.macro_definition import load_macro
from zhiban.automation.shipped import SHIPPED, UNASSIGN_ON_RESOLVE
from zhiban.bootstrap import limits_of
from zhiban.channels.configuring import set_policy
from zhiban.conversations import bulk, queries, replies, service, surveys, transitions
from zhiban.conversations import changes as c
from zhiban.conversations.ingest import ingest
from zhiban.conversations.models import ConversationState, Status
from zhiban.conversations.seen import SeenMessage, WroteMeanwhile
from zhiban.conversations.survey_links import SurveyLinks
from zhiban.events import SYSTEM, Actor, ConversationAssigned, ConversationResolved, SurveyRated
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.i18n import Texts
from zhiban.kit.vault import Vault
from zhiban.people import presence
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.people.presence import Availability
from zhiban.ports import IncomingMessage, Kind, SenderRole
from zhiban.workers.maintenance import Maintenance

HOUR = timedelta(hours=1)


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def shipped_rule(tx: Transaction) -> int:
    (found,) = [rule for rule in await rule_queries.rules(tx) if rule.shipped == UNASSIGN_ON_RESOLVE]
    assert found.enabled
    return found.id


async def credit_of(tx: Transaction, conversation_id: int) -> list[tuple[str, int | None]]:
    """Who resolved it, each time, as reports count it."""
    history = await queries.history(tx, conversation_id)
    return [(one.actor.kind, one.actor.id) for one in history if isinstance(one, ConversationResolved)]


async def by_hand(desk: Desk, conversation_id: int) -> tuple[str, int | None]:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await service.resolve(tx, conversation_id, by=Actor("agent", desk.lin), now=NOON, reason="agent")
    return "agent", desk.lin


async def by_another_rule(desk: Desk, conversation_id: int) -> tuple[str, int | None]:
    async with desk.database.transaction(desk.workspace_id) as tx:
        definition = load_definition(
            {
                "on": ["message_created"],
                "conditions": {"conditions": [{"kind": "message_direction", "direction": "note"}]},
                "actions": [{"kind": "set_status", "status": "resolved"}],
            }
        )
        rule = await rules.add(tx, name="有备注就解决", definition=definition, enabled=True, by=SYSTEM, now=NOON)
        await replies.add_note(tx, conversation_id, text="好了", by=Actor("agent", desk.chen), now=NOON)
    return "rule", rule


async def by_the_timer(desk: Desk, conversation_id: int) -> tuple[str, int | None]:
    async with desk.database.transaction(desk.workspace_id) as tx:
        policy = {"auto_resolve": {"open_hours": 1}}
        await set_policy(tx, Vault(["a key for tests only"]), desk.inbox.inbox_id, policy, by=SYSTEM, now=NOON)
        await replies.reply(tx, conversation_id, text="在的", by=desk.lin, limits=desk.inbox.channel.limits, now=NOON)
    await Maintenance(desk.database, limits_of, SetClock(NOON + 2 * HOUR)).run_once()
    return "timer", None


async def by_the_assistant(desk: Desk, conversation_id: int) -> tuple[str, int | None]:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await service.resolve(tx, conversation_id, by=Actor("assistant"), now=NOON, reason="idle")
    return "assistant", None


async def by_blocking(desk: Desk, conversation_id: int) -> tuple[str, int | None]:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await service.block(tx, conversation_id, by=Actor("agent", desk.chen), now=NOON)
        await service.unblock(tx, conversation_id, by=Actor("agent", desk.chen), now=NOON)
    return "agent", desk.chen


async def by_a_macro(desk: Desk, conversation_id: int) -> tuple[str, int | None]:
    async with desk.database.transaction(desk.workspace_id) as tx:
        definition = load_macro(
            [{"kind": "send_message", "text": "再见"}, {"kind": "set_status", "status": "resolved"}]
        )
        lin = Actor("agent", desk.lin)
        id_ = await macros.add_macro(tx, name="道别", definition=definition, owner_id=None, by=lin, now=NOON)
        macro = await macros.access_macro(tx, id_, agent_id=desk.chen)
        done = await macros.run_macro(
            tx,
            macro,
            conversation_id,
            agent_id=desk.chen,
            limits_of=lambda _: desk.inbox.channel.limits,
            key="1",
            now=NOON,
        )
        assert done == ("queued", "done")
    return "agent", desk.chen


async def by_bulk(desk: Desk, conversation_id: int) -> tuple[str, int | None]:
    async with desk.database.transaction(desk.workspace_id) as tx:
        others = [(await desk.handed_over(tx, f"wm{number}")).id for number in (2, 3)]
        ids, access = [others[0], conversation_id, others[1]], Access(desk.chen, Role.AGENT)
        done = await bulk.change_many(tx, access, ids, c.Resolve("agent"), now=NOON)
        assert (sorted(done.changed), done.refused) == (sorted(ids), {})
        for other in others:  # each has its credit, its freedom and its run, once
            assert await credit_of(tx, other) == [("agent", desk.chen)]
            assert (await transitions.lock(tx, other)).assignee_id is None
            (run,) = await rule_queries.runs_about(tx, other)
            assert (run.facts["cause"], run.outcome) == ("bulk", "acted")
    return "agent", desk.chen


Resolve = Callable[[Desk, int], Awaitable[tuple[str, int | None]]]


@pytest.mark.parametrize(
    "resolve", [by_hand, by_another_rule, by_the_timer, by_the_assistant, by_blocking, by_a_macro, by_bulk]
)
async def test_whoever_resolves_it_it_is_nobodys_and_the_credit_stays(desk: Desk, resolve: Resolve) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        rule = await shipped_rule(tx)
        state = await desk.handed_over(tx, "wm1")
        assert state.assignee_id == desk.lin
    credit = await resolve(desk, state.id)
    async with desk.database.transaction(desk.workspace_id) as tx:
        resolved = await desk.state(tx, "wm1")
        assert (resolved.status, resolved.assignee_id) == (Status.RESOLVED, None)
        assert await credit_of(tx, state.id) == [credit]
        freed = [one for one in await queries.history(tx, state.id) if isinstance(one, ConversationAssigned)][-1]
        assert (freed.to_agent_id, freed.assignee_id, freed.actor.id, freed.cause.id) == (None, desk.lin, rule, rule)
        (run,) = [one for one in await rule_queries.runs_about(tx, state.id) if one.rule_id == rule]
        assert (run.outcome, run.trigger, run.facts["status"]) == ("acted", "conversation_resolved", "resolved")
        assert run.conditions["parts"] == [
            {"held": True, "seen": desk.lin, "condition": {"kind": "assignee", "operator": "present", "agents": []}}
        ]
        assert [(one["action"]["kind"], one["outcome"]) for one in run.actions] == [("unassign", "done")]
    await _returns(desk, state, credit)


async def _returns(desk: Desk, state: ConversationState, credit: tuple[str, int | None]) -> None:
    """The contact comes back, is nobody's, and whoever resolves it then has a credit of their own."""
    later = NOON + timedelta(days=1)
    async with desk.database.transaction(desk.workspace_id) as tx:
        back = await desk.writes(tx, "wm1", "还有个问题", at=later)
        assert (back.status, back.assignee_id, back.cycle) == (Status.PENDING, None, 2)
        await service.hand_off(tx, state.id, reason="asked", actor=Actor("assistant"), now=later)
        waiting = await desk.state(tx, "wm1")
        assert (waiting.status, waiting.assignee_id, waiting.waiting_since) == (Status.OPEN, None, later)
        await service.take(tx, state.id, by=desk.chen, now=later)
        await service.resolve(tx, state.id, by=Actor("agent", desk.chen), now=later)
        assert (await desk.state(tx, "wm1")).assignee_id is None
        assert await credit_of(tx, state.id) == [credit, ("agent", desk.chen)]


@pytest.mark.parametrize("resolve", [by_hand, by_another_rule, by_the_timer, by_the_assistant, by_a_macro, by_bulk])
async def test_a_rating_that_comes_later_is_that_of_whoever_resolved(desk: Desk, resolve: Resolve) -> None:
    """It was un-assigned, went on, and was resolved by somebody else, before the contact says how it was."""
    limits = replace(desk.inbox.channel.limits, menus=True)
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        await replies.reply(tx, state.id, text="好了", by=desk.lin, limits=limits, now=NOON)
    credit = await resolve(desk, state.id)
    async with desk.database.transaction(desk.workspace_id) as tx:
        done = await queries.last_resolution(tx, state.id)
        assert done is not None
        how = {"limits": limits, "texts": Texts("zh"), "links": SurveyLinks("", b"k"), "now": NOON}
        await surveys.ask(tx, await desk.state(tx, "wm1"), done, text="满意吗？", **how)
        survey = await tx.value("select id from survey")
    await _returns(desk, state, credit)
    later = NOON + timedelta(days=1, hours=1)
    async with desk.database.transaction(desk.workspace_id) as tx:
        before, runs = await desk.state(tx, "wm1"), len(await rule_queries.runs_about(tx, state.id))
        contact = SenderRole.CONTACT
        tap = IncomingMessage("tap", "wm1", "wm1", contact, Kind.TEXT, "满意", later, choice=f"csat_{survey}_4")
        await ingest(tx, desk.inbox, [tap], now=later, process_id=1)
        after = await desk.state(tx, "wm1")
        assert (after.status, after.assignee_id, after.cycle) == (Status.RESOLVED, None, before.cycle)
        assert len(await rule_queries.runs_about(tx, state.id)) == runs
        (fact,) = [one for one in await queries.history(tx, state.id) if isinstance(one, SurveyRated)]
        assert (fact.rating, fact.resolved_cycle) == (4, 1)
        assert fact.agent_id == (credit[1] if credit[0] == "agent" else None)


async def _somebody_waits(desk: Desk) -> None:
    """Return when another transaction waits for a lock of ours."""
    async with asyncio.timeout(30), desk.database.transaction(desk.workspace_id) as watch:
        while not await watch.value(LOCK_AWAITED):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_words_that_come_after_the_resolution_began_wait_for_whoever_is_there(desk: Desk) -> None:
    """The resolution commits first: the contact's words are kept, and never left with the old assignee."""
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")

    async def writes() -> None:
        async with desk.database.transaction(desk.workspace_id) as tx:
            await desk.writes(tx, "wm1", "等一下", at=NOON + timedelta(seconds=1))

    async with desk.database.transaction(desk.workspace_id) as tx:
        await service.resolve(tx, state.id, by=Actor("agent", desk.lin), now=NOON + timedelta(seconds=1))
        racing = asyncio.create_task(writes())
        await _somebody_waits(desk)
    await racing
    async with desk.database.transaction(desk.workspace_id) as tx:
        back = await desk.state(tx, "wm1")
        assert (back.status, back.assignee_id, back.cycle) == (Status.PENDING, None, 2)
        assert back.waiting_since is not None
        assert await credit_of(tx, state.id) == [("agent", desk.lin)]
        assert len(await rule_queries.runs_about(tx, state.id)) == 1


async def test_words_that_came_before_the_resolution_and_were_not_seen_are_not_resolved_away(desk: Desk) -> None:
    """The contact's words commit first: whoever resolves is told of them, and resolves once they have read them."""
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        last = await tx.value("select max(id) from message where conversation_id = %(id)s", id=state.id)
    by, later = Actor("agent", desk.lin), NOON + timedelta(seconds=1)

    async def resolves(seen: int) -> bool:
        async with desk.database.transaction(desk.workspace_id) as tx:
            return await service.resolve(tx, state.id, by=by, now=later, seen=SeenMessage(seen))

    async with desk.database.transaction(desk.workspace_id) as tx:
        await desk.writes(tx, "wm1", "等一下", at=later)
        racing = asyncio.create_task(resolves(last))
        await _somebody_waits(desk)
    with pytest.raises(WroteMeanwhile):
        await racing
    async with desk.database.transaction(desk.workspace_id) as tx:
        there = await desk.state(tx, "wm1")
        assert (there.status, there.assignee_id) == (Status.OPEN, desk.lin)
        assert await credit_of(tx, state.id) == []
        newest = await tx.value("select max(id) from message where conversation_id = %(id)s", id=state.id)
    assert await resolves(newest)


async def test_two_who_resolve_at_once_make_one_credit_and_one_run(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")

    async def resolves(agent: int) -> bool:
        async with desk.database.transaction(desk.workspace_id) as tx:
            return await service.resolve(tx, state.id, by=Actor("agent", agent), now=NOON)

    done = await asyncio.gather(resolves(desk.lin), resolves(desk.chen))
    assert sorted(done) == [False, True]
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert len(await credit_of(tx, state.id)) == 1
        assert len(await rule_queries.runs_about(tx, state.id)) == 1


async def test_an_undone_resolution_gives_it_back_and_the_next_one_frees_it_again(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        before = await desk.handed_over(tx, "wm1")
        await service.resolve(tx, before.id, by=Actor("agent", desk.lin), now=NOON)
        await service.undo_resolve(tx, before.id, by=desk.lin, now=NOON + timedelta(seconds=3))
        assert await desk.state(tx, "wm1") == before
        await service.resolve(tx, before.id, by=Actor("agent", desk.lin), now=NOON + timedelta(minutes=1))
        assert (await desk.state(tx, "wm1")).assignee_id is None
        assert len(await rule_queries.runs_about(tx, before.id)) == 2


async def test_an_inbox_may_be_left_out_and_the_rule_be_switched_off(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        rule = await shipped_rule(tx)
        elsewhere = {"kind": "inbox", "operator": "none_of", "inboxes": [desk.inbox.inbox_id]}
        plain = load_definition(next(one for one in SHIPPED if one.key == UNASSIGN_ON_RESOLVE).definition).plain()
        plain["conditions"]["conditions"].append(elsewhere)
        await rules.change(tx, rule, definition=load_definition(plain), by=SYSTEM, now=NOON)
        state = await desk.handed_over(tx, "wm1")
        await service.resolve(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
        assert (await desk.state(tx, "wm1")).assignee_id == desk.lin
        await rules.switch(tx, rule, on=False, by=SYSTEM, now=NOON)
        other = await desk.handed_over(tx, "wm2")
        await service.resolve(tx, other.id, by=Actor("agent", desk.lin), now=NOON)
        assert (await desk.state(tx, "wm2")).assignee_id == desk.lin
        assert await rule_queries.runs_about(tx, other.id) == []


async def test_the_other_shipped_rules_wait_to_be_switched_on_and_work(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        for rule in await rule_queries.rules(tx):
            if rule.shipped != UNASSIGN_ON_RESOLVE:
                assert not rule.enabled
                await rules.switch(tx, rule.id, on=True, by=SYSTEM, now=NOON)
        hurried = await desk.writes(tx, "wm1", "急急急，在线等")
        assert hurried.priority == 4
        angry = await desk.writes(tx, "wm2", "你们就是骗子！")
        assert (angry.status, angry.handoff_reason) == (Status.OPEN, "rule")


async def test_the_contact_who_returns_reaches_the_least_loaded_agent_who_is_there(desk: Desk) -> None:
    """林晓 resolved it and has gone home; 陈默 is there. Nobody there: it waits, and says so."""
    later = NOON + timedelta(days=1)
    async with desk.database.transaction(desk.workspace_id) as tx:
        (rule,) = [one.id for one in await rule_queries.rules(tx) if one.shipped == "returning_contact"]
        await rules.switch(tx, rule, on=True, by=SYSTEM, now=NOON)
        for who, there in (("wm1", True), ("wm2", False)):
            state = await desk.handed_over(tx, who)
            await service.resolve(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
            await presence.choose(tx, desk.chen, Availability.ONLINE if there else Availability.BUSY, now=later)
            await desk.writes(tx, who, "还有个问题", at=later)
            await service.hand_off(tx, state.id, reason="asked", actor=Actor("assistant"), now=later)
            back = await desk.state(tx, who)
            assert (back.status, back.assignee_id) == (Status.OPEN, desk.chen if there else None)
            (run,) = [one for one in await rule_queries.runs_about(tx, state.id) if one.rule_id == rule]
            assert (run.outcome, run.actions[0]["outcome"]) == ("acted", "done" if there else "nobody")
            assert await credit_of(tx, state.id) == [("agent", desk.lin)]
        # 陈默 comes: their new contact of the first time is no return, and is nobody's until somebody takes it.
        await presence.choose(tx, desk.chen, Availability.ONLINE, now=later)
        fresh = await desk.writes(tx, "wm3", "你好", at=later)
        await service.hand_off(tx, fresh.id, reason="asked", actor=Actor("assistant"), now=later)
        assert (await desk.state(tx, "wm3")).assignee_id is None


async def test_a_rule_may_ask_who_is_there(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        definition = load_definition(
            {
                "on": ["message_created"],
                "conditions": {
                    "conditions": [
                        {"kind": "assignee_availability", "availabilities": ["offline"]},
                        {"kind": "assignee_open_count", "count": 1, "operator": "equal"},
                        {"kind": "agents_online", "count": 1, "operator": "equal"},
                    ]
                },
                "actions": [{"kind": "assign_best"}],
            }
        )
        await rules.add(tx, name="离线改派", definition=definition, enabled=True, by=SYSTEM, now=NOON)
        await presence.choose(tx, desk.chen, Availability.ONLINE, now=NOON)
        state = await desk.handed_over(tx, "wm1")
        await desk.writes(tx, "wm1", "还在吗", at=NOON + timedelta(seconds=5))
        assert (await desk.state(tx, "wm1")).assignee_id == desk.chen
        (run,) = await rule_queries.runs_about(tx, state.id)
        assert [part["seen"] for part in run.conditions["parts"]] == ["offline", 1, 1]

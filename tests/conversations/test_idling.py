"""What nobody continues ends by itself: the contact is told once, it is given a label, and nothing is left unsaid."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.kernel_desk import NOON, Desk, open_desk
from tests.twin import WindowedChannel

from zhiban.channels import configuring, withdrawing
from zhiban.channels.policy import parse_policy
from zhiban.conversations import labels, queries, replies, service
from zhiban.conversations.changes import ChangeNativeSession
from zhiban.conversations.jobs import ConversationJobs
from zhiban.conversations.models import Status
from zhiban.conversations.transitions import apply
from zhiban.events import SYSTEM, Actor, ConversationLabelsChanged, ConversationResolved, ReplyQueued
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.vault import Vault
from zhiban.workers.maintenance import Maintenance

HOUR = timedelta(hours=1)
LIN = "wm1"


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def behaves(desk: Desk, tx: Transaction, **policy: Any) -> None:
    plain = parse_policy(policy).model_dump(mode="json")
    await configuring.set_policy(tx, Vault(["a key for tests only"]), desk.inbox.inbox_id, plain, by=SYSTEM, now=NOON)


async def answered(desk: Desk, tx: Transaction, who: str = LIN) -> int:
    state = await desk.handed_over(tx, who)
    await replies.reply(tx, state.id, text="在的", by=desk.lin, limits=WindowedChannel.limits, now=NOON)
    return state.id


def timer(desk: Desk, after: timedelta) -> Maintenance:
    return Maintenance(desk.database, lambda _: WindowedChannel.limits, SetClock(NOON + after))


async def goodbyes(tx: Transaction) -> list[tuple[str, str]]:
    return await tx.rows("select text, state from message where direction = 'out' and author = 'system' order by id")


async def lines(tx: Transaction, conversation_id: int) -> list[dict[str, Any]]:
    """The last lines that the product wrote into the thread."""
    return await tx.values(
        "select content from message where conversation_id = %(id)s and kind = 'activity' "
        "and content ->> 'what' in ('resolved', 'labels_changed') order by id",
        id=conversation_id,
    )


async def closing_jobs(tx: Transaction) -> list[tuple[str, int]]:
    return await tx.rows(
        "select args ->> 'text', (args ->> 'survey')::int from jobs.procrastinate_jobs "
        "where task_name = 'close_session' order by id"
    )


async def test_two_timers_say_it_once_with_its_label_before_it_is_resolved(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        label = await labels.add_label(tx, name="没有下文", color=1, by=SYSTEM, now=NOON)
        idle = {"open_hours": 1, "text": "先到这里，有事再说。", "label": label}
        await behaves(desk, tx, auto_resolve=idle, closing="再见", survey={"ask": True})
        many = [await answered(desk, tx, f"wm{n}") for n in range(3)]
    await asyncio.gather(*(timer(desk, 2 * HOUR).run_once() for _ in range(3)))
    await timer(desk, 3 * HOUR).run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await goodbyes(tx) == [("先到这里，有事再说。", "queued")] * 3
        # The closing words would be a second goodbye; the survey comes after the first.
        assert await closing_jobs(tx) == [("", desk.inbox.inbox_id)] * 3
        for conversation_id in many:
            facts = (await queries.history(tx, conversation_id))[-4:]
            said, labelled, resolved, _ = facts
            assert isinstance(said, ReplyQueued)
            assert isinstance(labelled, ConversationLabelsChanged)
            assert isinstance(resolved, ConversationResolved)
            assert (labelled.added, resolved.reason, resolved.unsaid) == ((label,), "idle", "")
            assert {(one.actor.kind, one.cause.kind) for one in facts[:3]} == {("timer", "timer")}
            shown = await lines(tx, conversation_id)
            assert [one["what"] for one in shown] == ["labels_changed", "resolved"]
        back = await desk.writes(tx, "wm0", at=NOON + 4 * HOUR)
        assert (back.status, back.cycle, back.labels, back.assignee_id) == (Status.PENDING, 2, (label,), None)


async def test_each_cycle_has_its_own_word(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await behaves(desk, tx, auto_resolve={"open_hours": 1, "text": "先到这里"})
        id_ = await answered(desk, tx)
    await timer(desk, 2 * HOUR).run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        await desk.writes(tx, LIN, at=NOON + 3 * HOUR)
        await service.take(tx, id_, by=desk.lin, now=NOON + 3 * HOUR)
        await replies.reply(tx, id_, text="还在", by=desk.lin, limits=WindowedChannel.limits, now=NOON + 3 * HOUR)
    await timer(desk, 5 * HOUR).run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert len(await goodbyes(tx)) == 2
        assert (await desk.state(tx, LIN)).status is Status.RESOLVED


async def test_what_comes_back_from_a_snooze_is_not_idle_at_once(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await behaves(desk, tx, auto_resolve={"open_hours": 1, "text": "先到这里"})
        id_ = await answered(desk, tx)
        await service.snooze(tx, id_, until=NOON + 5 * HOUR, by=Actor("agent", desk.lin), now=NOON)
    for after in (5 * HOUR, 5.5 * HOUR):
        await timer(desk, after).run_once()
        async with desk.database.transaction(desk.workspace_id) as tx:
            assert (await desk.state(tx, LIN)).status is Status.OPEN
            assert await goodbyes(tx) == []
    await timer(desk, 6.5 * HOUR).run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert (await desk.state(tx, LIN)).status is Status.RESOLVED
        assert len(await goodbyes(tx)) == 1


async def test_whoever_takes_it_up_again_does_not_have_it_resolved_under_their_hands(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await behaves(desk, tx, auto_resolve={"open_hours": 1, "text": "先到这里"})
        id_ = await answered(desk, tx)
    await timer(desk, 2 * HOUR).run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        await service.take(tx, id_, by=desk.lin, now=NOON + 9 * HOUR)
    await timer(desk, 9.5 * HOUR).run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert (await desk.state(tx, LIN)).status is Status.OPEN
        assert len(await goodbyes(tx)) == 1  # the one of the first time


async def test_what_the_channel_does_not_let_us_say_is_dropped_with_its_reason(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await behaves(desk, tx, auto_resolve={"open_hours": 48, "text": "先到这里"}, closing="再见")
        late = await answered(desk, tx)
        full = await answered(desk, tx, "wm2")
        await tx.run("update conversation set replies_used = 5 where id = %(id)s", id=full)
        await tx.run(
            "update conversation set last_incoming_at = %(at)s where id = %(id)s", at=NOON + 40 * HOUR, id=full
        )
    await timer(desk, 50 * HOUR).run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await goodbyes(tx) == []
        assert await closing_jobs(tx) == []  # what could not be said now is not said by another way either
        for id_, why in ((late, "window_closed"), (full, "allowance_used")):
            resolved = await queries.last_resolution(tx, id_)
            assert resolved is not None
            assert (resolved.reason, resolved.unsaid) == ("idle", why)
            (line,) = await lines(tx, id_)
            assert line == {"what": "resolved", "by": "timer", "reason": "idle", "unsaid": why}


async def test_a_label_that_was_removed_meanwhile_is_left_out(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        label = await labels.add_label(tx, name="没有下文", color=1, by=SYSTEM, now=NOON)
        await behaves(desk, tx, auto_resolve={"open_hours": 1, "label": label})
        gone = await answered(desk, tx)
        await labels.remove_label(tx, label, by=SYSTEM, now=NOON)
    await timer(desk, 2 * HOUR).run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        await behaves(desk, tx, auto_resolve={"open_hours": 1, "label": 4711})  # never was one
        never = await answered(desk, tx, "wm2")
    await timer(desk, 2 * HOUR).run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        for id_ in (gone, never):
            resolved = await queries.last_resolution(tx, id_)
            assert resolved is not None
            assert [one["what"] for one in await lines(tx, id_)] == ["resolved"]


async def test_without_words_of_its_own_the_closing_ones_are_said(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await behaves(desk, tx, auto_resolve={"open_hours": 1}, closing="再见")
        await answered(desk, tx)
    await timer(desk, 2 * HOUR).run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await goodbyes(tx) == []
        assert await closing_jobs(tx) == [("再见", 0)]


async def test_a_session_that_people_hold_at_the_vendor_is_told_as_it_ends(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await behaves(desk, tx, auto_resolve={"open_hours": 1, "text": "先到这里"}, closing="再见")
        id_ = await answered(desk, tx)
        await apply(tx, id_, ChangeNativeSession("human", "lihua"), actor=SYSTEM, now=NOON)
    await timer(desk, 2 * HOUR).run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await goodbyes(tx) == []
        assert await closing_jobs(tx) == [("先到这里", 0)]
        resolved = await queries.last_resolution(tx, id_)
    assert resolved is not None
    assert resolved.unsaid == ""


async def test_what_an_agent_resolves_is_told_the_closing_words_only(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await behaves(desk, tx, auto_resolve={"open_hours": 1, "text": "先到这里"}, closing="再见")
        id_ = await answered(desk, tx)
        await service.resolve(tx, id_, by=Actor("agent", desk.lin), now=NOON, reason="agent")
        assert await goodbyes(tx) == []
        assert await closing_jobs(tx) == [("再见", 0)]


@pytest.mark.parametrize("silent", ["paused", "read_only"])
async def test_an_inbox_that_is_to_be_silent_ends_what_is_idle_without_a_word(desk: Desk, silent: str) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        idle = {"open_hours": 1, "text": "先到这里"}
        await behaves(desk, tx, auto_resolve=idle, closing="再见", survey={"ask": True})
        told, closed = await answered(desk, tx), await answered(desk, tx, "wm2")
        if silent == "paused":
            await tx.run("update inbox set paused_at = %(now)s", now=NOON)
        else:
            await tx.run("update connection set config = config || '{\"read_only\": true}'")
        await service.resolve(tx, closed, by=Actor("agent", desk.lin), now=NOON, reason="agent")
    await timer(desk, 2 * HOUR).run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await goodbyes(tx) == []
        assert await closing_jobs(tx) == []  # nor is what an agent resolves told the closing words
        resolved = await queries.last_resolution(tx, told)
        assert resolved is not None
        assert (resolved.reason, resolved.unsaid) == ("idle", silent)


async def test_what_is_given_back_after_a_long_silence_is_the_assistants_for_a_while(desk: Desk) -> None:
    """It was silent for days with people; whoever gives it back expects the assistant to have it, not the archive."""
    async with desk.database.transaction(desk.workspace_id) as tx:
        await behaves(desk, tx, auto_resolve={"answered_hours": 1})
        back = await answered(desk, tx)
        await service.return_to_assistant(tx, back, by=Actor("agent", desk.lin), now=NOON + 48 * HOUR)
    for after, status in ((48.5, Status.PENDING), (49.5, Status.RESOLVED)):
        await timer(desk, after * HOUR).run_once()
        async with desk.database.transaction(desk.workspace_id) as tx:
            assert (await desk.state(tx, LIN)).status is status


async def test_an_inbox_that_was_paused_before_the_goodbye_says_none(desk: Desk) -> None:
    clock = SetClock(NOON)
    jobs = ConversationJobs(desk.database, None, clock, None)  # type: ignore[arg-type]
    async with desk.database.transaction(desk.workspace_id) as tx:
        await behaves(desk, tx, closing="再见")
        for who in ("wm1", "wm2"):
            await service.resolve(tx, await answered(desk, tx, who), by=Actor("agent", desk.lin), now=NOON)
        first, second = [await desk.state(tx, who) for who in ("wm1", "wm2")]
    await jobs.close_session(desk.workspace_id, first.id, first.cycle, "再见")
    async with desk.database.transaction(desk.workspace_id) as tx:
        await withdrawing.pause(tx, desk.inbox.inbox_id, by=SYSTEM, now=NOON)
    await jobs.close_session(desk.workspace_id, second.id, second.cycle, "再见")
    async with desk.database.transaction(desk.workspace_id) as tx:
        said = await tx.values("select conversation_id from message where kind = 'move'")
    assert said == [first.id]

"""What a change brings about: assignment, credit, undo, timers, reactions. Everything goes in by the public verbs."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from tests.kernel_desk import NOON, Desk, open_desk

from zhiban.bootstrap import limits_of
from zhiban.channels import configuring
from zhiban.channels.policy import Policy
from zhiban.conversations import lists, queries, service
from zhiban.conversations.ingest import ingest
from zhiban.conversations.list_models import COUNTED
from zhiban.conversations.models import Priority, Status
from zhiban.events import (
    COLUMNS,
    SYSTEM,
    Actor,
    ConversationAssigned,
    ConversationHandedOff,
    ConversationPriorityChanged,
    ConversationResolved,
    decode,
)
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.event_log import DEEPEST, Reactions
from zhiban.kit.vault import Vault
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.ports import IncomingMessage, Kind, SenderRole
from zhiban.workers.maintenance import Maintenance

VAULT = Vault(["a key for tests only"])


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def test_a_resolved_conversation_is_nobodys_and_its_credit_stays(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        await service.resolve(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
        resolved = await desk.state(tx, "wm1")
        assert (resolved.status, resolved.assignee_id, resolved.resolver_id) == (Status.RESOLVED, None, desk.lin)
        event = await queries.last_resolution(tx, state.id)
        assert event is not None
        assert (event.actor.id, event.assignee_id, event.cycle) == (desk.lin, desk.lin, 1)
        freed = [one for one in await queries.history(tx, state.id) if isinstance(one, ConversationAssigned)][-1]
        assert (freed.to_agent_id, freed.actor.kind, freed.cause.kind, freed.cause.depth) == (None, "rule", "rule", 1)
        # The contact returns: a new cycle that anybody may be given.
        returned = await desk.writes(tx, "wm1", at=NOON + timedelta(days=1))
        assert (returned.status, returned.assignee_id, returned.cycle) == (Status.PENDING, None, 2)


async def test_an_undone_resolution_restores_everything(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        before = await desk.handed_over(tx, "wm1")
        await service.resolve(tx, before.id, by=Actor("agent", desk.lin), now=NOON)
        await service.undo_resolve(tx, before.id, by=desk.lin, now=NOON + timedelta(seconds=3))
        assert await desk.state(tx, "wm1") == before


async def test_only_who_resolved_may_undo_and_only_at_once(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        await service.resolve(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
        with pytest.raises(Conflict, match="Only who resolved"):
            await service.undo_resolve(tx, state.id, by=desk.chen, now=NOON)
        with pytest.raises(Conflict, match="too late"):
            await service.undo_resolve(tx, state.id, by=desk.lin, now=NOON + service.UNDO_TIME * 2)
        await desk.writes(tx, "wm1", at=NOON + timedelta(seconds=2))
        with pytest.raises(Conflict, match="taken it up again"):
            await service.undo_resolve(tx, state.id, by=desk.lin, now=NOON + timedelta(seconds=3))


async def test_the_closing_words_wait_until_nobody_can_undo(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await configuring.set_policy(
            tx, VAULT, desk.inbox.inbox_id, Policy(closing="再见！").model_dump(mode="json"), by=SYSTEM, now=NOON
        )
        state = await desk.handed_over(tx, "wm1")
        await service.resolve(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
        other = await desk.handed_over(tx, "wm2")
        await service.resolve(tx, other.id, by=Actor("timer"), now=NOON)
        rows = await tx.rows(
            "select (args ->> 'conversation_id')::bigint, args ->> 'text', scheduled_at "
            "from jobs.procrastinate_jobs where task_name = 'close_session' order by id"
        )
    assert rows == [(state.id, "再见！", NOON + service.CLOSING_WAITS), (other.id, "再见！", None)]
    assert service.CLOSING_WAITS > service.UNDO_TIME


async def test_what_nobody_continues_is_the_assistants_success(desk: Desk) -> None:
    later = NOON + timedelta(hours=25)
    async with desk.database.transaction(desk.workspace_id) as tx:
        answered = await desk.writes(tx, "wm1")
        await tx.run("update conversation set waiting_since = null where id = %(id)s", id=answered.id)
        unanswered = await desk.writes(tx, "wm2")
        fresh = await desk.writes(tx, "wm3", at=later)
        before = later - timedelta(hours=24)
        assert await service.resolve_idle(tx, desk.inbox.inbox_id, status=Status.PENDING, before=before, now=later) == 1
        assert (await desk.state(tx, "wm1")).status is Status.RESOLVED
        assert (await desk.state(tx, "wm2")).status is unanswered.status  # who waits is never resolved away
        assert (await desk.state(tx, "wm3")).status is fresh.status
        event = await queries.last_resolution(tx, answered.id)
    assert event is not None
    assert (event.actor.kind, event.cause.kind, event.reason) == ("assistant", "timer", "idle")


async def test_blocking_a_contact_mutes_all_they_write(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        await service.block(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
        silent = await desk.writes(tx, "wm1", at=NOON + timedelta(minutes=1))
        assert (silent.status, silent.muted, silent.waiting_since) == (Status.RESOLVED, True, None)
        await service.unblock(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
        heard = await desk.writes(tx, "wm1", at=NOON + timedelta(minutes=2))
        assert (heard.status, heard.muted) == (Status.PENDING, False)


async def test_an_open_question_goes_back_to_the_assistant(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        assert await tx.values("select state from message where direction = 'in'") == ["handled"]
        await service.return_to_assistant(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
        assert await tx.values("select state from message where direction = 'in'") == ["pending"]


async def test_every_handoff_tells_people_anew(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        await service.return_to_assistant(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
        await service.hand_off(tx, state.id, reason="asked", question="能换货吗", actor=Actor("assistant"), now=NOON)
        told = await tx.values(
            "select (args ->> 'event_id')::bigint from jobs.procrastinate_jobs where task_name = 'notify_handoff'"
        )
        handed = [one for one in await queries.history(tx, state.id) if isinstance(one, ConversationHandedOff)]
    assert sorted(told) == [one.id for one in handed]
    assert len(handed) == 2
    assert handed[1].question == "能换货吗"


async def test_reactions_that_answer_each_other_come_to_an_end(desk: Desk) -> None:
    async def flip(tx: Transaction, event: ConversationPriorityChanged) -> None:
        """As two rules might that undo what the other does."""
        other = Priority.LOW if event.priority == Priority.HIGH else Priority.HIGH
        await service.set_priority(
            tx, event.conversation_id, priority=other, by=Actor("rule", 1), now=event.at, cause=event.consequence()
        )

    desk.database.reactions = Reactions({ConversationPriorityChanged: (flip,)}, {})
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.writes(tx, "wm1")
        await service.set_priority(tx, state.id, priority=Priority.HIGH, by=Actor("agent", desk.lin), now=NOON)
        depths = [
            event.cause.depth
            for event in await queries.history(tx, state.id)
            if isinstance(event, ConversationPriorityChanged)
        ]
    assert depths == list(range(DEEPEST + 1))


async def test_what_a_rollback_undoes_leads_to_nothing(desk: Desk) -> None:
    done: list[str] = []

    async def accident() -> None:
        async with desk.database.transaction(desk.workspace_id) as tx:
            tx.after_commit(lambda: done.append("committed"))
            state = await desk.writes(tx, "wm1")
            await service.hand_off(tx, state.id, reason="asked", actor=Actor("assistant"), now=NOON)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await accident()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert not await tx.rows("select 1 from event where kind like 'conversation%%'")
        assert not await tx.rows("select 1 from jobs.procrastinate_jobs where task_name = 'notify_handoff'")
    assert done == []


async def test_counts_stop_where_nobody_reads_on(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        for number in range(3):
            await desk.handed_over(tx, f"wm{number}")
        await desk.writes(tx, "wm9")
        counts = await lists.counts(tx, Access(desk.lin, Role.AGENT))
        assert (counts.mine, counts.unassigned, counts.assistant, counts.all) == (3, 0, 1, 4)
        await tx.run(
            "insert into conversation (workspace_id, inbox_id, external_id, status) "
            "select %(w)s, %(inbox)s, 'many' || n, 'pending' from generate_series(1, 1200) n",
            w=desk.workspace_id,
            inbox=desk.inbox.inbox_id,
        )
        counts = await lists.counts(tx, Access(desk.lin, Role.AGENT))
        assert (counts.assistant, counts.all) == (COUNTED, COUNTED)


async def test_dropped_words_of_the_assistant_are_facts_too(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.writes(tx, "wm1")
        turn = await tx.value(
            "insert into turn (workspace_id, conversation_id, question, decision, started_at, finished_at) "
            "values (%(w)s, %(c)s, '在吗', 'Answer', %(now)s, %(now)s) returning id",
            w=desk.workspace_id,
            c=state.id,
            now=NOON,
        )
        await tx.run(
            "insert into message (workspace_id, conversation_id, inbox_id, direction, author, kind, text, state, "
            "turn_id, sent_at) "
            "values (%(w)s, %(c)s, %(i)s, 'out', 'assistant', 'text', '在的', 'queued', %(t)s, %(n)s)",
            w=desk.workspace_id,
            c=state.id,
            i=state.inbox_id,
            t=turn,
            n=NOON,
        )
        await service.take(tx, state.id, by=desk.lin, now=NOON)
        kinds = [event.kind() for event in await queries.history(tx, state.id)]
    assert "message_dropped" in kinds


def test_a_fact_is_read_back_as_it_was_written() -> None:
    event = ConversationResolved(
        actor=Actor("agent", 7), at=NOON, conversation_id=1, cycle=2, status="resolved", previous="open",
        reason="agent", opened_at=NOON, was_failures=1,
    )  # fmt: skip
    common = {"actor": event.actor, "at": event.at, "cause": event.cause, "id": 9}
    common |= {name: event.column(name) for name in COLUMNS}
    data = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in event.data().items()}
    found = decode(event.kind(), common, data)
    assert isinstance(found, ConversationResolved)
    assert (found.opened_at, found.was_failures, found.id) == (NOON, 1, 9)


async def test_two_first_messages_of_one_contact_at_once_are_one_conversation(desk: Desk) -> None:
    """Two processes, neither of which sees yet what the other writes."""
    both = asyncio.Barrier(2)

    async def process(id_: str, text: str) -> None:
        message = IncomingMessage(id_, "wm1", "wm1", SenderRole.CONTACT, Kind.TEXT, text, NOON)
        async with desk.database.transaction(desk.workspace_id) as tx:
            await both.wait()
            await ingest(tx, desk.inbox, [message], now=NOON, process_id=1)

    await asyncio.gather(process("a", "在吗"), process("b", "有人吗"))
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await tx.value("select count(*) from conversation where external_id = 'wm1'") == 1
        assert await tx.value("select count(*) from contact") == 1
        said = await tx.values("select text from message where direction = 'in' order by text")
        assert said == ["在吗", "有人吗"]
        begun = "select count(*) from event where kind = 'conversation_created'"
        assert await tx.value(begun) == 1
    await asyncio.gather(process("a", "在吗"), process("a", "在吗"))  # seen already
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await tx.value("select count(*) from message where direction = 'in'") == 2


async def test_a_snooze_is_over_however_long_nobody_was_there_to_see(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        until = NOON + timedelta(hours=1)
        await service.snooze(tx, state.id, until=until, by=Actor("agent", desk.lin), now=NOON)
    years = NOON + timedelta(days=3 * 365)
    await Maintenance(desk.database, limits_of, SetClock(years)).run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        back = await desk.state(tx, "wm1")
        assert (back.status, back.snoozed_until, back.assignee_id) == (Status.OPEN, None, desk.lin)

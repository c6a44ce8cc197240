"""Facts whose time is over are gone: what was decided from them is decided right without them."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from tests.kernel_desk import Desk, open_desk
from tests.workers.retention_desk import LONG_AGO, NOW, chosen, counted, deleter, over, rows
from zhiban.assistant.decide import HandOffReason
from zhiban.assistant.gap_answers import gap_detail
from zhiban.assistant.gap_evidence import record_behind
from zhiban.conversations import replies, service
from zhiban.conversations.facts import previous_assignee
from zhiban.events import Actor
from zhiban.kit.db import Database, Transaction
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.models import GapOrigin
from zhiban.people.retention import RetentionTimes
from zhiban.ports import Limits
from zhiban.tickets.models import NewTicket, TicketState
from zhiban.tickets.queries import history_of
from zhiban.tickets.service import open_ticket, set_state


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def facts_go(desk: Desk) -> None:
    await chosen(desk, RetentionTimes(events=90))
    await counted(desk)
    done = await deleter(desk).run_once(desk.workspace_id, due_only=False, pause=0)
    assert done is not None
    assert done.counts["events"] > 0


async def turn(tx: Transaction, message_id: int, question: str, decision: str) -> None:
    await tx.run(
        "with t as (insert into turn (workspace_id, conversation_id, question, decision, started_at, finished_at) "
        "select workspace_id, conversation_id, %(question)s, %(decision)s, sent_at, sent_at from message "
        "where id = %(id)s returning id) update message set turn_id = (select id from t) where id = %(id)s",
        question=question,
        decision=decision,
        id=message_id,
    )


async def newest(tx: Transaction, conversation_id: int) -> int:
    return int(
        await tx.value(
            "select max(id) from message where conversation_id = %(id)s and direction = 'in'", id=conversation_id
        )
    )


async def test_where_a_cycle_ended_is_known_without_its_facts(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        old = await over(desk, tx, "马骁", said="好的")
        asked = await newest(tx, old)
        await turn(tx, asked, "怎么申请退款", "Answer")
        gap_id = await knowledge.record_gap(
            tx,
            "你们老板的车是什么颜色",
            origin=GapOrigin.NO_ANSWER,
            conversation_id=old,
            contact_id=None,
            message_id=asked,
            now=LONG_AGO,
        )
    await facts_go(desk)
    async with desk.database.transaction(desk.workspace_id) as tx:
        await desk.writes(tx, "马骁", "转人工", at=NOW)
        now_asked = await newest(tx, old)
        await turn(tx, now_asked, "转人工", "HandOff")
        await record_behind(tx, old, HandOffReason.ASKED, message_id=now_asked, now=NOW)
        await desk.handed_over(tx, "马骁", at=NOW)
        await replies.reply(
            tx, old, text="发票明天给您寄出。", by=desk.lin, limits=Limits(2000), now=NOW + timedelta(minutes=1)
        )
    assert await rows(desk, "select question from gap") == [("你们老板的车是什么颜色",)]
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert (await gap_detail(tx, gap_id)).answers == []
        # Without the question, its cycle is not known either.
        await tx.run("delete from message where id <= %(id)s or kind = 'activity'", id=asked)
        assert (await gap_detail(tx, gap_id)).answers == []


async def test_the_history_of_a_ticket_stays_until_it_is_finished(desk: Desk) -> None:
    tickets = {}
    async with desk.database.transaction(desk.workspace_id) as tx:
        for title in ("登录不了", "已经好了"):
            ticket = await open_ticket(tx, NewTicket(title=title), key=title, by=Actor("agent", desk.lin), now=LONG_AGO)
            tickets[title] = ticket.id
            await set_state(tx, ticket.id, TicketState.WAITING, by=Actor("agent", desk.lin), now=LONG_AGO)
        await set_state(tx, tickets["已经好了"], TicketState.DONE, by=Actor("agent", desk.lin), now=LONG_AGO)
        await over(desk, tx, "马骁")
        before = await history_of(tx, tickets["登录不了"])
    await facts_go(desk)
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await history_of(tx, tickets["登录不了"]) == before
        assert len(before) > 1
        assert await history_of(tx, tickets["已经好了"]) == []


async def test_whoever_comes_back_can_go_to_who_had_them_last(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        old = await over(desk, tx, "马骁")
        for agent, hours in ((desk.chen, 1), (desk.lin, 2)):
            at = LONG_AGO + timedelta(hours=hours)
            await desk.writes(tx, "马骁", at=at)
            await service.hand_off(tx, old, reason="asked", actor=Actor("assistant"), now=at)
            await service.take(tx, old, by=agent, now=at)
            await service.resolve(tx, old, by=Actor("agent", agent), now=at)
        expected = {other: await previous_assignee(tx, old, other_than=other) for other in (None, desk.lin, desk.chen)}
    assert expected == {None: desk.lin, desk.lin: desk.chen, desk.chen: desk.lin}
    await facts_go(desk)
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert {other: await previous_assignee(tx, old, other_than=other) for other in expected} == expected
        assert await tx.value("select count(*) from event where conversation_id = %(id)s", id=old) == 2


async def test_words_go_from_facts_with_their_messages(desk: Desk, workspace: int) -> None:
    async with desk.database.transaction(workspace) as tx:
        for who, at in (("马骁", LONG_AGO), ("周予安", NOW - timedelta(days=50))):
            state = await desk.writes(tx, who, f"我是{who}", at=at)
            await service.hand_off(
                tx, state.id, reason="asked", question=f"我是{who}", actor=Actor("assistant"), now=at
            )
            await service.resolve(tx, state.id, by=Actor("agent", desk.lin), now=at)
            await tx.run("update message set state = 'handled' where state in ('pending', 'queued')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await rows(desk, "update event set data = '{}' returning id")
    words = "select data ->> 'question' from event where kind = 'conversation_handed_off' order by id"
    every = "select forget_words(array(select id from conversation), array(select now() from conversation))"
    assert await rows(desk, every) == [(0,)]  # nobody has chosen
    assert await rows(desk, words) == [("我是马骁",), ("我是周予安",)]
    await chosen(desk, RetentionTimes(messages=100))
    await deleter(desk).run_once(workspace, pause=0)
    assert await rows(desk, words) == [(None,), ("我是周予安",)]
    assert await rows(desk, every) == [(0,)]  # not before its time, whatever is asked
    async with desk.database.transaction(workspace + 1) as tx:
        assert await tx.value(every) == 0

"""Facts whose time is over are gone: what was decided from them is decided right without them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.kernel_desk import Desk, open_desk
from tests.workers.retention_desk import LONG_AGO, NOW, chosen, counted, deleter, over, rows
from zhiban.assistant.decide import HandOffReason
from zhiban.assistant.gap_answers import gap_detail
from zhiban.assistant.gap_evidence import record_behind
from zhiban.conversations import replies
from zhiban.kit.db import Database, Transaction
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.models import GapOrigin
from zhiban.people.retention import RetentionTimes
from zhiban.ports import Limits


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

"""The slots of a connection as rows: who comes at one moment, and what stays of them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tests.twin import open_inbox
from tests.waiting import LOCK_AWAITED
from zhiban.channels import reply_slots
from zhiban.channels.reply_slots import SharedReplySlots
from zhiban.kit.clock import SetClock, SystemClock
from zhiban.kit.db import Database
from zhiban.kit.file_store import PostgresFileStore
from zhiban.ports import IncomingMessage, Kind, ReplySlot, SenderRole
from zhiban.workers.retention import Retention


async def opened(db: Database, workspace: int, clock: SetClock) -> tuple[SharedReplySlots, int]:
    """One message, of which an answer is fetched and another posted."""
    inbox, now = await open_inbox(db, workspace), clock.now()
    slots = (
        ReplySlot("f1", "fetched", now + timedelta(seconds=40), otherwise="稍后"),
        ReplySlot("p1", "posted", now + timedelta(minutes=58), "code"),
    )
    said = IncomingMessage("m1", "lihua", "lihua", SenderRole.CONTACT, Kind.TEXT, "在吗", now, slots=slots)
    connection = inbox.connection.id
    async with db.transaction(workspace) as tx:
        await reply_slots.open_slots(tx, connection, inbox.inbox_id, [said], now=now)
    return SharedReplySlots(db, clock, workspace_id=workspace, connection_id=connection), connection


async def test_who_asks_at_the_moment_of_an_answer_takes_no_slot_away(db: Database, workspace: int) -> None:
    clock = SetClock(SystemClock().now())
    slots, connection = await opened(db, workspace, clock)
    async with db.transaction(workspace) as asking:
        assert await reply_slots.fetch(asking, connection, "f1", now=clock.now()) is None
        taking = asyncio.create_task(slots.take("lihua", "z1", "在的"))
        while not taking.done() and not await asking.value(LOCK_AWAITED):  # noqa: ASYNC110 - it happens in PostgreSQL
            await asyncio.sleep(0.01)
    taken = await taking
    assert taken is not None
    assert (taken.key, taken.how) == ("f1", "fetched")


async def test_what_was_said_in_a_slot_goes_when_the_slot_is_long_over(db: Database, workspace: int) -> None:
    clock = SetClock(SystemClock().now() - timedelta(days=2))
    slots, _ = await opened(db, workspace, clock)
    await slots.take("lihua", "z1", "您的密码是hunter2")
    now = SystemClock()
    await Retention(db, PostgresFileStore(db, now), now).run_once(workspace, due_only=False)
    async with db.transaction(workspace) as tx:
        assert await tx.values("select key from reply_slot") == []

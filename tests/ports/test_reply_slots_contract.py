"""What every keeper of the slots for answers promises: the twin in one process, and the rows of all processes."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta

import pytest

from tests.twin import open_inbox
from zhiban.channels import reply_slots
from zhiban.channels.reply_slots import SharedReplySlots
from zhiban.integrations.wecom.memory_slots import MemorySlots
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.ports import IncomingMessage, Kind, ReplySlot, ReplySlots, SenderRole

NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)


def message(key: str, *slots: ReplySlot, thread: str = "lihua") -> IncomingMessage:
    return IncomingMessage(key, thread, thread, SenderRole.CONTACT, Kind.TEXT, "在吗", NOON, slots=slots)


def fetched(key: str) -> ReplySlot:
    return ReplySlot(key, "fetched", NOON + timedelta(seconds=40), otherwise="稍后")


def posted(key: str) -> ReplySlot:
    return ReplySlot(key, "posted", NOON + timedelta(minutes=58), f"https://vendor.example.test/{key}")


class Board(ABC):
    """Slots, the messages that open them, and the vendor that fetches."""

    slots: ReplySlots

    def __init__(self) -> None:
        self.clock = SetClock(NOON)

    @abstractmethod
    async def opens(self, *messages: IncomingMessage) -> None:
        """Let these messages be answered."""

    @abstractmethod
    async def asks(self, key: str) -> str | None:
        """What the vendor is given that asks for this slot."""


class MemoryBoard(Board):
    def __init__(self) -> None:
        super().__init__()
        self.slots: MemorySlots = MemorySlots(self.clock)

    async def opens(self, *messages: IncomingMessage) -> None:
        self.slots.open(messages)

    async def asks(self, key: str) -> str | None:
        return await self.slots.fetch(key)


class SharedBoard(Board):
    def __init__(self, db: Database, workspace: int, connection: int, inbox: int) -> None:
        super().__init__()
        self.slots = SharedReplySlots(db, self.clock, workspace_id=workspace, connection_id=connection)
        self._at = (db, workspace, connection, inbox)

    async def opens(self, *messages: IncomingMessage) -> None:
        db, workspace, connection, inbox = self._at
        async with db.transaction(workspace) as tx:
            for one in messages:  # each opened after the one before
                await reply_slots.open_slots(tx, connection, inbox, [one], now=self.clock.now())
                self.clock.advance(timedelta(milliseconds=1))

    async def asks(self, key: str) -> str | None:
        db, workspace, connection, _ = self._at
        async with db.transaction(workspace) as tx:
            return await reply_slots.fetch(tx, connection, key, now=self.clock.now())


class Promises:
    """The promises, for whichever there is."""

    async def test_nothing_can_be_said_where_nobody_asked(self, board: Board) -> None:
        assert await board.slots.take("lihua", "z1", "在的") is None

    async def test_a_message_has_one_slot_and_a_slot_one_message(self, board: Board) -> None:
        await board.opens(message("m1", posted("p1")))
        first = await board.slots.take("lihua", "z1", "在的")
        assert first is not None
        assert (first.key, first.how, first.address) == ("p1", "posted", "https://vendor.example.test/p1")
        assert await board.slots.take("lihua", "z1", "在的") == first
        assert await board.slots.take("lihua", "z2", "还有") is None

    async def test_a_slot_serves_its_own_thread_until_its_time_is_over(self, board: Board) -> None:
        await board.opens(message("m1", posted("p1")))
        assert await board.slots.take("other", "z1", "在的") is None
        board.clock.advance(timedelta(hours=1))
        assert await board.slots.take("lihua", "z1", "在的") is None

    async def test_what_is_answered_comes_first_then_what_is_fetched_then_the_newest(self, board: Board) -> None:
        await board.opens(
            message("m1", posted("p1")), message("m2", posted("p2"), fetched("f2")), message("m3", posted("p3"))
        )
        keys = []
        for number, answers in enumerate(["m1", None, None, None]):
            found = await board.slots.take("lihua", f"z{number}", "在的", answers=answers)
            keys.append(found.key if found else None)
        assert keys == ["p1", "f2", "p3", "p2"]

    async def test_what_is_fetched_is_given_once_it_is_asked_for_and_the_same_again(self, board: Board) -> None:
        await board.opens(message("m1", fetched("f1")))
        assert await board.asks("f1") is None
        slot = await board.slots.take("lihua", "z1", "在的")
        assert slot is not None
        assert not await board.slots.given(slot)
        assert [await board.asks("f1") for _ in range(2)] == ["在的", "在的"]
        assert await board.slots.given(slot)
        assert not await board.slots.close(slot)

    async def test_what_was_not_given_can_be_said_elsewhere(self, board: Board) -> None:
        await board.opens(message("m1", fetched("f1"), posted("p1")))
        slot = await board.slots.take("lihua", "z1", "在的")
        assert slot is not None
        assert await board.slots.close(slot)
        assert await board.asks("f1") == "稍后"  # nobody had an answer there
        other = await board.slots.take("lihua", "z1", "在的")
        assert other is not None
        assert other.key == "p1"

    async def test_what_was_posted_is_known_to_whoever_comes_after(self, board: Board) -> None:
        await board.opens(message("m1", posted("p1")))
        slot = await board.slots.take("lihua", "z1", "在的")
        assert slot is not None
        seen = []
        for step in (board.slots.trying, board.slots.untried, board.slots.trying, board.slots.done):
            await step(slot)
            again = await board.slots.take("lihua", "z1", "在的")
            assert again is not None
            seen.append((again.tried, again.given))
        assert [tried for tried, _ in seen[:3]] == [True, False, True]
        assert seen[-1][1]

    async def test_two_at_one_moment_do_not_get_one_slot(self, board: Board) -> None:
        await board.opens(message("m1", posted("p1")), message("m2", posted("p2")))
        found = await asyncio.gather(*(board.slots.take("lihua", f"z{number}", "在的") for number in range(3)))
        assert sorted(one.key for one in found if one) == ["p1", "p2"]


class TestMemory(Promises):
    """Of one process."""

    @pytest.fixture
    def board(self) -> Board:
        return MemoryBoard()


class TestShared(Promises):
    """Of all processes."""

    @pytest.fixture
    async def board(self, db: Database, workspace: int) -> Board:
        inbox = await open_inbox(db, workspace)
        return SharedBoard(db, workspace, inbox.connection.id, inbox.inbox_id)

"""What a worker does about a command and the word that confirms it, as a process that dies where it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from tests.tickets.chat import ASSISTANT, FINDER, GROUP, NAMES, START, Chat
from tests.twin import opened
from zhiban.assistant.group_turn import GroupAssistant
from zhiban.bootstrap import reactions
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.ports import IncomingMessage, Kind, SenderRole
from zhiban.testing.channel import MemoryChannel
from zhiban.tickets.responder import TicketCommands


class DyingDatabase(Database):
    """Dies `when` ("before" or "after") it commits the transaction of this number; 0 never."""

    number = 0
    when = "before"
    seen = 0

    @asynccontextmanager
    async def transaction(self, *args: Any, **how: Any) -> AsyncIterator[Transaction]:
        self.seen += 1
        mine = self.seen == self.number
        async with super().transaction(*args, **how) as tx:
            yield tx
            if mine and self.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)


async def work(dsn: str, ids: list[int], number: int, when: str) -> None:
    workspace_id, conversation_id, connection_id, inbox_id = ids
    async with DyingDatabase(dsn, work_size=2, page_size=1) as database:
        database.reactions = reactions()
        clock = SetClock(START + timedelta(minutes=5))
        inbox = opened(
            workspace_id, connection_id, inbox_id, channel=MemoryChannel.kind, public_id="memory", name="内存"
        )
        commands = TicketCommands(GroupAssistant(database, clock, ASSISTANT), database, clock, None, FINDER)
        chat = Chat(database, workspace_id, inbox, clock, commands, conversation_id)
        database.seen, database.number, database.when = 0, number, when
        for id_, text in (("command", "以上5条开工单"), ("word", "确认")):
            clock.advance(timedelta(seconds=10))
            told = IncomingMessage(
                id_, GROUP, "liang", SenderRole.CONTACT, Kind.TEXT, text, clock.now(),
                group=True, sender_name=NAMES["liang"],
            )  # fmt: skip
            await chat.told(told)  # as often as somebody takes it up again
            await chat.turn()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], [int(one) for one in sys.argv[2:6]], int(sys.argv[6]), sys.argv[7]))

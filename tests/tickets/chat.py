"""A group in which people open tickets: messages go in as a channel tells them, turns are taken as by a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.twin import open_inbox
from zhiban.assistant.group_turn import GroupAssistant
from zhiban.assistant.turn_context import AssistantDeps
from zhiban.bootstrap import reactions
from zhiban.channels.connections import OpenInbox, OpenTracker
from zhiban.conversations import groups, work_state
from zhiban.conversations.group_policy import GroupPolicy
from zhiban.conversations.ingest import ingest
from zhiban.conversations.responder import ConversationSnapshot
from zhiban.events import SYSTEM
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.knowledge.vectors import NO_EMBEDDERS
from zhiban.ports import GroupChanged, GroupMember, Incoming, IncomingMessage, Kind, Recalled, SenderRole
from zhiban.tickets.issue_search import IssueFinder
from zhiban.tickets.responder import TicketCommands
from zhiban.workers.conversation_worker import _LOAD, _loaded

# Without a model and without vectors.


async def no_tracker(_workspace_id: int, _connection_id: int) -> OpenTracker:
    """What issues are there, only the local index knows."""
    raise NotFound("There is no such connection.")


FINDER = IssueFinder(no_tracker, NO_EMBEDDERS)
ASSISTANT = AssistantDeps(
    model=None, embedders=NO_EMBEDDERS, top_k=3, threshold=None, model_seconds=0, price_input=0, price_output=0
)
GROUP = "g-1"
START = datetime(2026, 11, 27, 5, 48, tzinfo=UTC)
NAMES = {"yang": "老杨", "lu": "陆知行", "liang": "梁小满", "bei": "贝壳"}


@dataclass
class Chat:
    """One group of four, of whom 梁小满 is an admin."""

    database: Database
    workspace_id: int
    inbox: OpenInbox
    clock: SetClock
    commands: TicketCommands
    conversation_id: int = 0
    serial: int = 0
    ids: dict[str, str] = field(default_factory=dict)  # of messages, by their text

    async def told(self, *items: Incoming) -> None:
        async with self.database.transaction(self.workspace_id) as tx:
            await ingest(tx, self.inbox, items, now=self.clock.now(), process_id=1)

    async def says(self, who: str, text: str, **more: Any) -> str:
        """A member writes, ten seconds after what was before. Returns the vendor's id of the message."""
        self.clock.advance(timedelta(seconds=10))
        self.serial += 1
        id_ = f"g{self.serial}"
        await self.told(
            IncomingMessage(
                id_, GROUP, who, SenderRole.CONTACT, more.pop("kind", Kind.TEXT), text, self.clock.now(),
                group=True, sender_name=NAMES[who], **more,
            )
        )  # fmt: skip
        self.ids[text] = id_
        return id_

    async def recalls(self, id_: str) -> None:
        await self.told(Recalled(id_, GROUP, SenderRole.CONTACT, self.clock.now()))

    async def snapshot(self, tx: Transaction) -> ConversationSnapshot:
        """The conversation as its worker loads it."""
        await work_state.take(tx, self.conversation_id, process=1, now=self.clock.now())
        loaded = _loaded(await tx.records(_LOAD, id=self.conversation_id, process=1))
        assert loaded is not None
        return ConversationSnapshot(
            workspace_id=self.workspace_id,
            inbox=self.inbox,
            state=loaded.state,
            contact_name=loaded.contact_name,
            pending=list(loaded.pending),
            queued=list(loaded.queued),
            revision=loaded.revision,
            process_id=1,
            strict=False,
            group=await groups.chat_of(tx, self.conversation_id),
        )

    async def turn(self) -> list[str]:
        """Take turns until nothing waits; returns what was answered."""
        answered: list[str] = []
        while True:
            async with self.database.transaction(self.workspace_id) as tx:
                snapshot = await self.snapshot(tx)
                if not snapshot.pending:
                    return answered
                prepared = await self.commands.prepare(tx, snapshot)
            await self.commands.respond(snapshot, prepared)
            answered += [message.text for message in snapshot.queued]
            await self.rows("update message set state = 'sent' where state = 'queued' returning 1")

    async def asks(self, who: str, text: str, **more: Any) -> str:
        """A member says something to us; returns the answer, empty where there is none."""
        await self.says(who, text, **more)
        return "\n".join(await self.turn())

    async def behaves(self, **policy: Any) -> None:
        async with self.database.transaction(self.workspace_id) as tx:
            await groups.configure(tx, self.conversation_id, GroupPolicy(**policy), by=SYSTEM, now=self.clock.now())

    async def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        async with self.database.transaction(self.workspace_id) as tx:
            return await tx.rows(sql, **values)


@asynccontextmanager
async def group_chat(database: Database, workspace_id: int, *, clock: SetClock | None = None) -> AsyncIterator[Chat]:
    """A group that has just talked about lost data."""
    database.reactions = reactions()
    clock = clock or SetClock(START)
    inbox = await open_inbox(database, workspace_id)
    chat = Chat(
        database,
        workspace_id,
        inbox,
        clock,
        TicketCommands(GroupAssistant(database, clock, ASSISTANT), database, clock, None, FINDER),
    )
    members = tuple(
        GroupMember(id_, name, name, "admin" if id_ == "liang" else "member") for id_, name in NAMES.items()
    )
    await chat.told(GroupChanged(GROUP, clock.now(), "青禾交流 1 群", members))
    ((chat.conversation_id,),) = await chat.rows("select id from conversation where external_id = %(g)s", g=GROUP)
    await chat.says("yang", "昨晚主库切了一次，增量同步丢了两三秒的数据")
    await chat.says("lu", "我这边也是，切换后位点会跳", reply_to="g1")
    await chat.says("yang", "日志里有 binlog position skipped，打我电话 13800006021")
    await chat.says("lu", "回退到 2.3.6 就没事")
    await chat.says("yang", "+1，等修")
    yield chat

"""A small desk over real rows: everything goes in by the public verbs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tests.twin import open_inbox
from zhiban.bootstrap import reactions
from zhiban.channels.connections import OpenInbox
from zhiban.conversations import service, transitions
from zhiban.conversations.ingest import ingest
from zhiban.conversations.models import ConversationState
from zhiban.events import Actor
from zhiban.kit.db import Database, Transaction
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.ports import IncomingMessage, Kind, SenderRole

NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)


@dataclass
class Desk:
    """One inbox, two agents, and contacts who write."""

    database: Database
    inbox: OpenInbox
    workspace_id: int
    lin: int
    chen: int
    serial: int = 0

    async def writes(self, tx: Transaction, who: str, text: str = "在吗", *, at: datetime = NOON) -> ConversationState:
        self.serial += 1
        message = IncomingMessage(f"m{self.serial}", who, who, SenderRole.CONTACT, Kind.TEXT, text, at)
        await ingest(tx, self.inbox, [message], now=at, process_id=1)
        return await self.state(tx, who)

    async def state(self, tx: Transaction, who: str) -> ConversationState:
        return await transitions.lock(
            tx, await tx.value("select id from conversation where external_id = %(who)s", who=who)
        )

    async def handed_over(self, tx: Transaction, who: str, *, at: datetime = NOON) -> ConversationState:
        """Written, handed over, and taken by 林晓."""
        state = await self.writes(tx, who, at=at)
        await service.hand_off(tx, state.id, reason="asked", actor=Actor("assistant"), now=at)
        await service.take(tx, state.id, by=self.lin, now=at)
        return await self.state(tx, who)


async def open_desk(db: Database, workspace: int) -> Desk:
    """With 林晓 and 陈默, and everything that follows from facts."""
    db.reactions = reactions()
    inbox = await open_inbox(db, workspace)
    async with db.transaction(workspace) as tx:
        lin, chen = [
            await add_agent(tx, email=f"{name}@qinghe.example", name=name, role=Role.AGENT, password_hash=None)
            for name in ("林晓", "陈默")
        ]
    return Desk(db, inbox, workspace, lin, chen)

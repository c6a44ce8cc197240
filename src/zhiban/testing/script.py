"""Conversations as a script tells them: contacts write, the assistant answers, agents reply, at moments of the past.

Everything goes through the verbs that the product itself uses, so the log of events holds what it would hold. Only the
vendor is left out: what is said counts as delivered.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from zhiban.channels.connections import OpenInbox
from zhiban.conversations import replies, service, transitions
from zhiban.conversations.ingest import ingest
from zhiban.conversations.models import Author
from zhiban.conversations.outbox import QueuedMessage, enqueue
from zhiban.conversations.sending import SendOutcome, SendSucceeded, record_outcome
from zhiban.events import ASSISTANT, Actor
from zhiban.kit.db import Transaction
from zhiban.people.contacts import learn_profiles
from zhiban.ports import Choice, IncomingMessage, Kind, Limits, Profile, Recalled, SenderRole

SENT = SendSucceeded()

_TURN = """
insert into turn (workspace_id, conversation_id, question, decision, zone, confidence, citations, started_at,
  finished_at)
values (%(workspace)s, %(conversation)s, '', 'answer', 'answer', %(sure)s, %(citations)s::jsonb, %(at)s, %(at)s)
returning id"""

_QUEUED = """
select id, author, kind, text, content, external_id, attempts, sent_at, agent_id from message
where id = any(%(ids)s) and state = 'queued' order by id"""


@dataclass(kw_only=True)
class Script:
    """People by name, in one inbox. `prefix` begins the ids of its messages and threads."""

    workspace_id: int
    limits: Limits
    prefix: str = "wmQinghe"
    inbox: OpenInbox = field(init=False)
    agents: dict[str, int] = field(default_factory=dict)
    conversations: dict[str, int] = field(default_factory=dict)
    threads: dict[str, str] = field(default_factory=dict)
    serial: int = 0

    async def says(
        self,
        tx: Transaction,
        who: str,
        text: str,
        *,
        at: datetime,
        kind: str = "text",
        content: dict[str, Any] | None = None,
        choice: str | None = None,
    ) -> int:
        """A contact writes, as it reaches every inbox. Returns the message."""
        self.serial += 1
        thread = self.threads.setdefault(who, f"{self.prefix}{len(self.threads) + 1:06d}")
        message = IncomingMessage(
            external_id=f"{self.prefix}-in{self.serial}",
            thread=thread,
            sender=thread,
            role=SenderRole.CONTACT,
            kind=Kind(kind),
            text=text,
            sent_at=at,
            choice=choice,
            content=content or {},
        )
        await ingest(tx, self.inbox, [message], now=at, process_id=1)
        if who not in self.conversations:
            namespace, account = self.inbox.connection.vendor.namespace(self.inbox.kind)
            await learn_profiles(tx, namespace, account, [Profile(thread, who)], now=at)
        ((id_, conversation_id),) = await tx.rows(
            "select id, conversation_id from message where external_id = %(id)s", id=message.external_id
        )
        self.conversations[who] = int(conversation_id)
        return int(id_)

    async def answers(
        self,
        tx: Transaction,
        who: str,
        text: str,
        *,
        at: datetime,
        confidence: float,
        citations: Sequence[dict[str, str]] = (),
        choices: tuple[str, ...] = (),
    ) -> None:
        """The assistant's turn and its message, sent."""
        conversation = self.conversations[who]
        turn = await tx.value(
            _TURN,
            workspace=self.workspace_id,
            conversation=conversation,
            sure=confidence,
            citations=json.dumps(list(citations)),
            at=at,
        )
        self.serial += 1
        # As a turn does: what it answers is handled.
        await tx.run(
            "update message set state = 'handled', turn_id = %(turn)s "
            "where conversation_id = %(conversation)s and state = 'pending'",
            conversation=conversation,
            turn=turn,
        )
        result = await enqueue(
            tx,
            await transitions.lock(tx, conversation),
            author=Author.ASSISTANT,
            actor=ASSISTANT,
            text=text,
            key=f"{self.prefix}-out{self.serial}",
            limits=self.limits,
            now=at,
            turn_id=turn,
            kind=Kind.MENU if choices else Kind.TEXT,
            choices=[Choice(str(number), label) for number, label in enumerate(choices, 1)],
            helped=not choices,
        )
        await self._delivered(tx, conversation, [one.id for one in result.messages], at=at)

    async def takes_back(self, tx: Transaction, who: str, message_id: int, *, at: datetime) -> None:
        """A contact recalls what they wrote."""
        external_id = await tx.value("select external_id from message where id = %(id)s", id=message_id)
        recalled = Recalled(external_id, self.threads[who], SenderRole.CONTACT, at)
        await ingest(tx, self.inbox, [recalled], now=at, process_id=1)

    async def replies(
        self, tx: Transaction, who: str, text: str, *, by: str, at: datetime, outcome: SendOutcome = SENT
    ) -> list[int]:
        """An agent replies, having read everything; `outcome`: what the vendor makes of it. Returns the messages."""
        conversation, agent_id = self.conversations[who], self.agents[by]
        ids = await replies.reply(tx, conversation, text=text, by=agent_id, limits=self.limits, now=at)
        await self._delivered(tx, conversation, ids, at=at, outcome=outcome)
        await replies.mark_read(tx, conversation, agent_id=agent_id, message_id=ids[-1])
        return ids

    def by(self, who: str) -> Actor:
        return Actor("agent", self.agents[who])

    async def hands_off(self, tx: Transaction, who: str, *, at: datetime, reason: str = "asked") -> None:
        await service.hand_off(tx, self.conversations[who], reason=reason, actor=ASSISTANT, now=at)

    async def _delivered(
        self, tx: Transaction, conversation_id: int, ids: list[int], *, at: datetime, outcome: SendOutcome = SENT
    ) -> None:
        state = await transitions.lock(tx, conversation_id)
        for message in await tx.objects(QueuedMessage, _QUEUED, ids=ids):
            await record_outcome(tx, self.inbox, state, message, outcome, now=at)

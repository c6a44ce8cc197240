"""Looks first whether what waits in a conversation is said about tickets; everything else is the inner responder's.

A command makes a draft, shown in the chat; its requester says yes, no or what is to be different. All that one turn
does is one transaction, and its keys are made of the vendor's ids: a turn that is repeated makes one draft, one ticket
and one answer.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from zhiban.assistant import group_queries
from zhiban.assistant.group_decisions import GroupBudget
from zhiban.conversations.group_policy import GroupPolicy
from zhiban.conversations.models import Author, ConversationState
from zhiban.conversations.outbox import QueuedMessage, allowance_of, enqueue, key_for
from zhiban.conversations.responder import ConversationSnapshot, PendingMessage, Responder
from zhiban.conversations.service import mark_handled
from zhiban.events import ASSISTANT
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.ports import ChatModel
from zhiban.tickets import drafts
from zhiban.tickets.chat_acts import ChatActs, Reply
from zhiban.tickets.chat_commands import AskedTicket, TicketTalk, sender_of, texts_for, ticket_talk
from zhiban.tickets.issue_search import FoundIssue, IssueFinder
from zhiban.tickets.titling import Naming, extracted, proposed

MODEL_SECONDS = 8.0  # that one turn waits for names, whatever the number of commands


@dataclass(slots=True)
class _TicketTurn:
    """What this turn is about: ours alone; whatever else waits is looked at in the next."""

    talk: list[TicketTalk]
    unheard: list[PendingMessage] = field(default_factory=list)  # commands beyond what the group may hear of us
    names: dict[int, Naming] = field(default_factory=dict)  # by message
    likely: dict[int, list[FoundIssue]] = field(default_factory=dict)  # likewise


class TicketCommands:
    """Stands in front of the assistant. One object serves all conversations of a process.

    `public`: we have an address under which everybody can read what is published.
    """

    def __init__(
        self,
        inner: Responder,
        database: Database,
        clock: Clock,
        model: ChatModel | None,
        finder: IssueFinder,
        *,
        public: bool = False,
    ) -> None:
        self._inner = inner
        self._database = database
        self._clock = clock
        self._model = model
        self._finder = finder
        self._public = public

    async def prepare(self, tx: Transaction, snapshot: ConversationSnapshot) -> object:
        """Freeze what commands mean; or what the inner responder prepares, where nothing is for us."""
        if snapshot.group is None or snapshot.group.closed is None:
            talk = await ticket_talk(tx, snapshot, now=self._clock.now())
            if talk:
                return await self._within_budget(tx, snapshot, talk)
        return await self._inner.prepare(tx, snapshot)

    async def respond(self, snapshot: ConversationSnapshot, prepared: object) -> None:
        """Carry out what was said about tickets and answer it."""
        if not isinstance(prepared, _TicketTurn):
            await self._inner.respond(snapshot, prepared)
            return
        until = asyncio.get_running_loop().time() + MODEL_SECONDS
        for one in prepared.talk:
            if isinstance(one, AskedTicket) and one.lines and not one.command.options.title:
                prepared.names[one.message.id] = await self._name(one, until)
        await self._look_for_likely(snapshot, prepared)
        await self._store(snapshot, prepared)

    async def _look_for_likely(self, snapshot: ConversationSnapshot, turn: _TicketTurn) -> None:
        """Before the conversation is locked, and in no transaction of this turn: it takes its time."""
        async with self._database.transaction(snapshot.workspace_id) as tx:
            acts = ChatActs(tx, snapshot, now=self._clock.now(), public=self._public)
            asked = [(one, await acts.looked_for(one, turn.names.get(one.message.id))) for one in turn.talk]
        for one, looked_for in asked:
            if looked_for is None:
                continue
            repository_id, about = looked_for
            with suppress(NotFound):  # not reached any more, since a moment ago
                turn.likely[one.message.id] = await self._finder.likely(
                    lambda: self._database.transaction(snapshot.workspace_id), repository_id, about
                )

    async def _within_budget(
        self, tx: Transaction, snapshot: ConversationSnapshot, talk: list[TicketTalk]
    ) -> _TicketTurn:
        """Of many commands in a minute only so many are heard as a group may hear answers, of one member and of all."""
        if not snapshot.state.is_group:
            return _TicketTurn(talk)
        now = self._clock.now()
        since = now - timedelta(minutes=1)
        budget = GroupBudget.of(await group_queries.lately(tx, snapshot.id, since=since), now=now)
        for contact_id in await drafts.begun_since(tx, snapshot.id, since=since):
            budget.spend(contact_id)
        turn = _TicketTurn([])
        for one in talk:
            if isinstance(one, AskedTicket) and not budget.spend(sender_of(snapshot, one.message)):
                turn.unheard.append(one.message)
            else:
                turn.talk.append(one)
        return turn

    async def _name(self, asked: AskedTicket, until: float) -> Naming:
        """By the model as long as this turn may wait for it."""
        texts = texts_for(asked.message.text)
        try:
            async with asyncio.timeout_at(until):
                return await proposed(asked.lines, texts, self._model)
        except TimeoutError:
            return extracted(asked.lines, texts)

    def fallback_text(self, snapshot: ConversationSnapshot) -> str:
        return self._inner.fallback_text(snapshot)

    async def _store(self, snapshot: ConversationSnapshot, turn: _TicketTurn) -> None:
        now = self._clock.now()
        async with self._database.transaction(snapshot.workspace_id) as tx:
            state = await snapshot.lock_if_ours(tx)
            if state is None:
                return
            snapshot.stored = True
            acts = ChatActs(tx, snapshot, now=now, public=self._public)
            queued: list[QueuedMessage] = []
            for one in turn.talk:
                reply = await acts.act(one, turn.names.get(one.message.id), turn.likely.get(one.message.id, ()))
                state, sent = await self._say(tx, snapshot, state, one.message, reply, now=now)
                if sent and reply.draft_id is not None:
                    await acts.shown(reply.draft_id, sent[-1].id)
                queued += sent
            await mark_handled(tx, [one.id for one in (*(each.message for each in turn.talk), *turn.unheard)])
        # The revision stays the one that was read, so that the worker looks again for what else waits.
        snapshot.queued = queued

    async def _say(
        self,
        tx: Transaction,
        snapshot: ConversationSnapshot,
        state: ConversationState,
        message: PendingMessage,
        reply: Reply,
        *,
        now: datetime,
    ) -> tuple[ConversationState, list[QueuedMessage]]:
        limits = snapshot.inbox.channel.limits
        left = allowance_of(state, limits.reply_window).left
        if not reply.text or left == 0:
            return state, []
        result = await enqueue(
            tx,
            state,
            author=Author.ASSISTANT,
            actor=ASSISTANT,
            text=reply.text,
            key=key_for("ticket", snapshot.inbox.external_id, message.external_id),
            limits=limits,
            now=now,
            mentions=(message.sender,) if snapshot.state.is_group and message.sender_ref else (),
            most=left,
        )
        return result.state, list(result.messages)


def help_line(group: ConversationSnapshot, english: bool) -> str:
    """What one can say about tickets in this group; empty where nobody may open any."""
    policy = group.group.policy if group.group is not None else GroupPolicy()
    lines = [] if policy.files == "nobody" else [_TICKETS[english]]
    if policy.replies != "nobody":
        lines.append(_CARDS[english])
    if policy.replies != "nobody" or policy.files == "bound":
        lines.append(_LOGINS[english])
    if policy.files != "nobody":
        lines.append(_REPOSITORIES[english])
    return "\n· ".join(lines)


_TICKETS = (
    "说“以上五条开工单”：我先给出草稿，您确认了才开。",
    "Say “以上五条开工单” (a ticket from the five messages above): I show a draft, you confirm it.",
)
_CARDS = (
    "引用说议题的消息：说一句话就是评论，回👍等表情，或者说“关闭”“重开”“标签 x”“指派 @x”。",
    "Quote a message about an issue: your words become a comment; 👍 and such, “close”, “reopen”, “label x”, "
    "“assign @x” work too.",
)
_LOGINS = (
    "@我说“绑定账号”：以后以您自己的账号写过去；“解绑账号”取消。",
    "Tell me “bind account” to write there under your own account; “unbind account” ends it.",
)
_REPOSITORIES = (
    "群管理@我说“绑定 owner/repo”或“解绑 owner/repo”：决定工单建到哪里、听谁的动静。",
    "An admin tells me “bind owner/repo” or “unbind owner/repo”: where tickets go and whose news are told.",
)

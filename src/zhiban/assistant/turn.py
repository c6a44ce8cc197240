"""One turn of the assistant, as a list of named steps: remember, look, search, decide, compose, store.

Nothing is sent from here. The turn ends with one transaction that checks that the conversation is still the assistant's
and stores the reply; the conversation worker sends it. A person who takes over, or a new message, makes an unstored
turn void.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from zhiban.assistant import learning
from zhiban.assistant.answer_steps import AnswerSteps
from zhiban.assistant.decide import (
    Answer,
    AskAgain,
    AskForText,
    Facts,
    HandOff,
    NoReply,
    NoReplyReason,
    Pending,
    SmallTalk,
    Suggest,
    question_of,
)
from zhiban.assistant.gap_evidence import record_left, record_untapped
from zhiban.assistant.handing_over import hand_over
from zhiban.assistant.queries import remember
from zhiban.assistant.reading import bare_questions
from zhiban.assistant.service import record_turn
from zhiban.assistant.suggesting import is_question
from zhiban.assistant.turn_context import AssistantDeps, TurnContext, TurnStep
from zhiban.assistant.wording import sources, words_for
from zhiban.channels.business_hours import is_open
from zhiban.conversations import service as conversations
from zhiban.conversations.models import Author, ConversationState
from zhiban.conversations.outbox import allowance, enqueue, key_for
from zhiban.conversations.responder import ConversationSnapshot
from zhiban.events import ASSISTANT
from zhiban.kit import metrics
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.retrieval import ConfidenceBand
from zhiban.ports import Kind


def facts_of(conversation: ConversationSnapshot, *, now: datetime) -> Facts:
    """What is known of a conversation before anything is read or searched."""
    policy = conversation.inbox.settings
    may = allowance(
        conversation.inbox.channel.limits.reply_window,
        last_incoming_at=conversation.state.last_incoming_at,
        replies_used=conversation.state.replies_used,
    )
    return Facts(
        pending=tuple(Pending(Kind(item.kind), item.text, item.choice) for item in conversation.pending),
        policy=policy,
        failures=conversation.state.failures,
        allowance=may.left,
        window_open=may.closed(now) != "window_closed",
        people_there=is_open(policy.hours, now),
    )


class Assistant:
    """Takes turns. One object serves all conversations of a process."""

    def __init__(self, database: Database, clock: Clock, deps: AssistantDeps) -> None:
        self._database = database
        self._clock = clock
        self._deps = deps
        steps = AnswerSteps(database, deps)
        self._bases: dict[tuple[int, int], int] = {}
        # The first steps read, in the worker's own transaction; the others may wait for a model, outside of any.
        self._preparation: tuple[TurnStep, ...] = (
            TurnStep("remember", self._remember),
            TurnStep("look", steps.look),
            TurnStep("read", steps.read),
            TurnStep("search", steps.search),
        )
        self._response: tuple[TurnStep, ...] = (
            TurnStep("search", steps.search_outside),
            TurnStep("decide", steps.decide),
            TurnStep("compose", steps.compose),
            TurnStep("store", self._store),
        )

    async def prepare(self, tx: Transaction, conversation: ConversationSnapshot) -> object:
        """Remember the conversation and search, as far as that needs no model."""
        turn = self._begin(conversation)
        turn.tx = tx
        await self._take(self._preparation, turn)
        turn.tx = None
        return turn

    async def respond(self, conversation: ConversationSnapshot, prepared: object) -> None:
        """Take one turn for everything that waits in the conversation."""
        if not isinstance(prepared, TurnContext) or prepared.conversation is not conversation:
            raise TypeError("A turn begins with what was read of this conversation.")
        await self._take(self._response, prepared)

    def fallback_text(self, conversation: ConversationSnapshot) -> str:
        """What the contact is told when turns fail again and again."""
        return conversation.inbox.settings.handoff.text

    async def _take(self, steps: tuple[TurnStep, ...], turn: TurnContext) -> None:
        for step in steps:
            began = time.perf_counter()
            try:
                await step.run(turn)
            except NotFound:
                # The base was removed; the next turn finds the one that took its place.
                self._bases.pop((turn.workspace_id, turn.conversation.inbox.inbox_id), None)
                raise
            took = round((time.perf_counter() - began) * 1000, 1)
            if not any(done["name"] == step.name for done in turn.steps):
                turn.steps.append({"name": step.name, "ms": took})
            elif took > 0.1:
                turn.steps[-1]["ms"] = round(turn.steps[-1]["ms"] + took, 1)

    def _begin(self, conversation: ConversationSnapshot) -> TurnContext:
        now = self._clock.now()
        facts = facts_of(conversation, now=now)
        return TurnContext(
            workspace_id=conversation.workspace_id,
            contact_name=conversation.contact_name,
            policy=facts.policy,
            pending=facts.pending,
            question=question_of(facts.pending),
            started_at=now,
            facts=facts,
            conversation=conversation,
        )

    # ------------------------------------------------------------------------------------------------- the steps

    async def _remember(self, turn: TurnContext) -> None:
        """What was said before, and which base knows the answers."""
        conversation, tx = turn.conversation, turn.tx_for_reading
        turn.memory = await remember(tx, conversation.id, before=conversation.pending[0].id)
        turn.base_id = await self._base_of(tx, conversation)
        turn.facts = replace(turn.facts, person_offered=turn.memory.person_offered)
        there = await conversations.people_are_there(
            tx, conversation.state.team_id, turn.policy.hours, now=turn.started_at
        )
        turn.facts = replace(turn.facts, people_there=there)

    async def _base_of(self, tx: Transaction, conversation: ConversationSnapshot) -> int:
        """The base that answers now. What an opened inbox says of one of its own may be from before its removal."""
        if conversation.inbox.base_id is not None:
            return await knowledge.base_for(tx, conversation.inbox.inbox_id)
        key = (conversation.workspace_id, conversation.inbox.inbox_id)
        if key not in self._bases:
            self._bases[key] = await knowledge.base_for(tx, conversation.inbox.inbox_id)
        return self._bases[key]

    async def _store(self, turn: TurnContext) -> None:
        """The one transaction that makes the turn true, or nothing when the conversation is not ours any more."""
        now = self._clock.now()
        async with self._database.transaction(turn.conversation.workspace_id) as tx:
            state = await turn.conversation.lock_if_ours(tx)
            if state is None:
                return
            turn.conversation.stored = True
            turn_id = await record_turn(
                tx,
                turn.conversation.id,
                [message.id for message in turn.conversation.pending],
                question=turn.question,
                decision=type(turn.decision).__name__,
                reason=getattr(getattr(turn.decision, "reason", None), "value", turn.detail),
                zone=turn.found.zone.value if turn.found else None,
                confidence=turn.found.confidence if turn.found else None,
                completions=turn.completions,
                cost=sum(map(self._deps.cost, turn.completions)),
                citations=turn.citations,
                steps=turn.steps,
                started_at=turn.started_at,
                finished_at=now,
            )
            await self._act(tx, turn, state, turn_id, now=now)
            await learning.record_evidence(tx, turn, now=now)
        self._count(turn)

    async def _act(
        self, tx: Transaction, turn: TurnContext, state: ConversationState, turn_id: int, *, now: datetime
    ) -> None:
        conversation = turn.conversation
        match turn.decision:
            case HandOff() as decision:
                await hand_over(
                    tx, conversation, turn.facts, decision, question=self._asked(turn), by=ASSISTANT, now=now
                )
            case Answer() | Suggest() | SmallTalk() | AskForText() | AskAgain():
                left, limits = turn.facts.allowance, conversation.inbox.channel.limits
                below = sources(turn.citations, turn.question)
                result = await enqueue(
                    tx,
                    state,
                    author=Author.ASSISTANT,
                    actor=ASSISTANT,
                    text=turn.reply + below,
                    # Named after the vendor's own id: a database that lost its last second knows the answer again.
                    key=key_for("turn", conversation.inbox.external_id, conversation.pending[-1].external_id),
                    limits=limits,
                    now=now,
                    kind=Kind.MENU if turn.is_menu else Kind.TEXT,
                    choices=turn.choices,
                    footer=words_for(turn.question).menu_foot if turn.is_menu else "",
                    content={"citations": turn.citations, "below": below} if below else {},
                    turn_id=turn_id,
                    most=None if left is None else max(left - limits.reserved, 1),
                    helped=not isinstance(turn.decision, Suggest | AskForText | AskAgain),
                )
                conversation.queued = result.messages
                conversation.revision = result.revision or conversation.revision
                await self._record_missing(tx, turn, now=now)
            case NoReply(reason=NoReplyReason.ASSISTANT_OFF):
                await conversations.open_for_people(
                    tx, conversation.id, actor=ASSISTANT, now=now, reason="assistant_off"
                )
            case NoReply() | None:
                pass
            case never:
                assert_never(never)

    @staticmethod
    def _asked(turn: TurnContext) -> str:
        """What the contact wants to know: what they say now, or, if that is only the wish for a person, said last."""
        if is_question(turn.question):
            return turn.question
        if asked := bare_questions(turn.question):
            return "\n".join(asked)
        said = turn.memory.said if turn.memory else ()
        return next((line.text for line in reversed(said) if line.who == "contact" and is_question(line.text)), "")

    async def _record_missing(self, tx: Transaction, turn: TurnContext, *, now: datetime) -> None:
        """What nothing was found for; and a menu of which nothing was taken tells that none of it fitted."""
        await self._record_left(tx, turn, now=now)
        if turn.memory is not None and turn.memory.offered_question and turn.chosen is None:
            await record_untapped(tx, turn.conversation.id, now=now)

    async def _record_left(self, tx: Transaction, turn: TurnContext, *, now: datetime) -> None:
        """Of several questions those that nothing was found for are missing, although the others were answered."""
        if not isinstance(turn.decision, Answer):
            return
        left = [found.question for found in turn.each if found.zone is ConfidenceBand.HANDOFF]
        await record_left(tx, turn.conversation.id, left, message_id=turn.conversation.pending[0].id, now=now)

    def _count(self, turn: TurnContext) -> None:
        match turn.decision:
            case HandOff(reason=reason):
                metrics.handoff(reason.value)
                metrics.answer("handoff")
            case Suggest() | AskForText() | AskAgain():
                metrics.answer("suggest")
            case Answer() | SmallTalk():
                metrics.answer("answer")
            case _:
                metrics.answer("silent")

"""Answers a question that somebody asks beside what is going on: from knowledge, and only what is certain."""

from __future__ import annotations

from datetime import datetime

from zhiban.assistant.answer_steps import AnswerSteps
from zhiban.assistant.decide import Answer, Facts, question_of
from zhiban.assistant.service import record_turn
from zhiban.assistant.suggesting import is_question
from zhiban.assistant.turn_context import AnswerContext, AssistantDeps
from zhiban.assistant.wording import sources
from zhiban.conversations.responder import ConversationSnapshot
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.retrieval import ConfidenceBand


@frozen_dataclass
class Aside:
    """What is answered, and what is known of how it came about. `below`: where it comes from."""

    turn: AnswerContext
    below: str
    cost: float

    @property
    def text(self) -> str:
        return self.turn.reply + self.below

    async def record(self, tx: Transaction, snapshot: ConversationSnapshot, *, now: datetime) -> int:
        """Store it as a turn of the assistant, which it is. Returns the turn's id."""
        turn = self.turn
        return await record_turn(
            tx,
            snapshot.id,
            [message.id for message in snapshot.pending],
            question=turn.question,
            decision=Answer.__name__,
            reason=turn.detail,
            zone=turn.found.zone.value if turn.found else None,
            confidence=turn.found.confidence if turn.found else None,
            completions=turn.completions,
            cost=self.cost,
            citations=turn.citations,
            steps=turn.steps,
            started_at=turn.started_at,
            finished_at=now,
        )


class Asides:
    """Answers such questions with what the assistant of this installation works with."""

    def __init__(self, database: Database, deps: AssistantDeps) -> None:
        self._database = database
        self._steps = AnswerSteps(database, deps)
        self._cost = deps.cost

    async def answer(self, snapshot: ConversationSnapshot, facts: Facts, *, now: datetime) -> Aside | None:
        """The certain answer to what waits in the conversation; None where it asks nothing, or nothing is certain.

        Stores nothing and sends nothing. May wait for a model, outside of any transaction.
        """
        question = question_of(facts.pending)
        if not facts.policy.assistant or not is_question(question):
            return None
        turn = AnswerContext(
            workspace_id=snapshot.workspace_id,
            contact_name=snapshot.contact_name,
            policy=facts.policy,
            pending=facts.pending,
            question=question,
            started_at=now,
            facts=facts,
        )
        try:
            return await self._answered(turn, snapshot)
        except NotFound:  # the base was removed just now
            return None

    async def _answered(self, turn: AnswerContext, snapshot: ConversationSnapshot) -> Aside | None:
        steps = self._steps
        async with self._database.transaction(turn.workspace_id) as tx:
            turn.base_id = snapshot.inbox.base_id or await knowledge.base_for(tx, snapshot.inbox.inbox_id)
            turn.tx = tx
            for step in (steps.look, steps.read, steps.search):
                await step(turn)
            turn.tx = None
        await steps.search_outside(turn)
        if turn.facts.zone is not ConfidenceBand.ANSWER:
            return None
        await steps.decide(turn)
        await steps.compose(turn)
        if not isinstance(turn.decision, Answer) or turn.choices:
            return None
        return Aside(turn, sources(turn.citations, turn.question), sum(map(self._cost, turn.completions)))

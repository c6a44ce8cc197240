"""Ask as a contact would, and see what they would be told and why. Leaves no trace: nothing is stored, sent, learnt or
counted as a question."""

from __future__ import annotations

from zhiban.assistant.answer_steps import AnswerSteps
from zhiban.assistant.decide import Facts, HandOff, NoReply, NoReplyReason, Pending, TurnDecision, question_of
from zhiban.assistant.turn_context import AnswerContext, AssistantDeps
from zhiban.assistant.wording import sources
from zhiban.channels import inboxes
from zhiban.channels.business_hours import is_open
from zhiban.channels.policy import Policy
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import queries
from zhiban.knowledge.queries import DEFAULT_BASE
from zhiban.knowledge.retrieval import ConfidenceBand, SearchResult
from zhiban.ports import Kind

LONGEST = 2000  # characters of a question


@frozen_dataclass
class TriedQuestion:
    """What a contact would be told who asks this as their first message.

    `said` is what they would read, with what stands below it; `choices` the entries of a menu. `zone` is what the
    assistant makes of the search, which may be less than the search alone says. `search` is None when none was made.
    `inbox` is the name of the inbox whose policy counted, None when no inbox answers from the base.
    """

    question: str
    decision: TurnDecision
    said: str
    choices: tuple[str, ...]
    zone: ConfidenceBand | None
    search: SearchResult | None
    inbox: str | None
    detail: str = ""  # why the model's own words are not what is said, see `answering.Why`


class Trials:
    """Tries questions with what the assistant of this installation works with."""

    def __init__(self, database: Database, clock: Clock, deps: AssistantDeps) -> None:
        self._database = database
        self._clock = clock
        self._steps = AnswerSteps(database, deps)

    async def ask(self, workspace_id: int, question: str, *, base: str = DEFAULT_BASE) -> TriedQuestion:
        """Answer it from this base, by the policy of the first inbox that answers from it. Raises NotFound.

        A model that is configured is asked, and costs what an answer costs.
        """
        steps, asked = self._steps, (Pending(Kind.TEXT, question.strip()[:LONGEST]),)
        async with self._database.transaction(workspace_id) as tx:
            turn, inbox = await self._begin(tx, asked, base)
            turn.tx = tx
            for step in (steps.look, steps.read, steps.search):
                await step(turn)
            turn.tx = None
        for step in (steps.search_outside, steps.decide, steps.compose):
            await step(turn)
        return TriedQuestion(
            question=turn.question,
            decision=turn.decision or NoReply(NoReplyReason.NOTHING_SAID),
            said=_said(turn),
            choices=tuple(choice.label for choice in turn.choices),
            zone=turn.facts.zone,
            search=turn.found,
            inbox=inbox,
            detail=turn.detail,
        )

    async def _begin(self, tx: Transaction, asked: tuple[Pending, ...], slug: str) -> tuple[AnswerContext, str | None]:
        base = await queries.base_by_slug(tx, slug)
        if base is None:
            raise NotFound("There is no such knowledge base.")
        now = self._clock.now()
        served = [
            inbox
            for inbox in await inboxes.inboxes(tx)
            if inbox.archived_at is None and (inbox.base or DEFAULT_BASE) == slug
        ]
        policy = Policy.model_validate(served[0].policy) if served else Policy()
        context = AnswerContext(
            workspace_id=tx.workspace_id,
            policy=policy,
            pending=asked,
            question=question_of(asked),
            started_at=now,
            facts=Facts(pending=asked, policy=policy, people_there=is_open(policy.hours, now)),
            base_id=base.id,
        )
        return context, served[0].name if served else None


def _said(turn: AnswerContext) -> str:
    if isinstance(turn.decision, HandOff):
        return turn.decision.notice
    return turn.reply + sources(turn.citations, turn.question)

"""One turn of the assistant, as a list of named steps: remember, look, search, decide, compose, store.

Nothing is sent from here. The turn ends with one transaction that checks that the conversation is still the assistant's
and stores the reply; the conversation worker sends it. A person who takes over, or a new message, makes an unstored
turn void.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, assert_never

from zhiban.assistant import answering, multi_question
from zhiban.assistant.answering import Answered, CannotAnswer, FellBack
from zhiban.assistant.decide import (
    Answer,
    AskAgain,
    AskForText,
    Decision,
    Facts,
    HandOff,
    HandOffReason,
    NoReply,
    NoReplyReason,
    Pending,
    SmallTalk,
    Suggest,
    decide,
    decide_without_search,
    hand_off,
    question_of,
)
from zhiban.assistant.queries import Memory, entry, remember
from zhiban.assistant.rewrite import looks_elliptic, rewritten
from zhiban.assistant.service import record_turn
from zhiban.assistant.suggesting import is_question
from zhiban.assistant.wording import menu, sources, words_for
from zhiban.channels.business_hours import is_open
from zhiban.channels.policy import Policy
from zhiban.conversations import service as conversations
from zhiban.conversations.models import Author, ConversationState, Priority
from zhiban.conversations.outbox import allowance, enqueue, key_for
from zhiban.conversations.responder import ConversationSnapshot
from zhiban.events import ASSISTANT
from zhiban.kit import metrics
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.knowledge import retrieval
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.retrieval import ConfidenceBand, Lookup, Passage, SearchResult
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders, QueryVectors
from zhiban.ports import ChatModel, Choice, Completion, Kind

log = logging.getLogger(__name__)

SUGGESTED = 3


@dataclass(frozen=True, slots=True)
class AssistantDeps:
    """What the assistant works with on this installation."""

    model: ChatModel | None
    embedders: Embedders
    top_k: int
    threshold: float | None
    model_seconds: float
    price_input: float  # of a million tokens
    price_output: float

    def cost(self, completion: Completion) -> float:
        return (completion.input_tokens * self.price_input + completion.output_tokens * self.price_output) / 1_000_000


@dataclass(slots=True)
class TurnContext:
    """What the steps of one turn know and decide."""

    conversation: ConversationSnapshot
    policy: Policy
    pending: tuple[Pending, ...]
    question: str
    started_at: datetime
    facts: Facts
    memory: Memory | None = None
    base_id: int = 0
    lookup: Lookup | None = None  # what the words found, while vectors are being made
    found: SearchResult | None = None
    each: tuple[SearchResult, ...] = ()  # for each of several questions
    chosen: int | None = None  # the article behind a tapped menu entry
    decision: Decision | None = None
    reply: str = ""
    choices: tuple[Choice, ...] = ()
    citations: list[dict[str, Any]] = field(default_factory=list)
    detail: str = ""
    tx: Transaction | None = None  # the worker's transaction, during `prepare`
    completions: list[Completion] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def tx_for_reading(self) -> Transaction:
        if self.tx is None:
            raise RuntimeError("This step reads, and its transaction is over.")
        return self.tx


@dataclass(frozen=True, slots=True)
class TurnStep:
    """A named step of a turn."""

    name: str
    run: Callable[[TurnContext], Awaitable[None]]


class Assistant:
    """Takes turns. One object serves all conversations of a process."""

    def __init__(self, database: Database, clock: Clock, deps: AssistantDeps) -> None:
        self._database = database
        self._clock = clock
        self._deps = deps
        self._bases: dict[tuple[int, int], int] = {}
        # The first steps read, in the worker's own transaction; the others may wait for a model, outside of any.
        self._preparation: tuple[TurnStep, ...] = (
            TurnStep("remember", self._remember),
            TurnStep("look", self._look),
            TurnStep("search", self._search),
        )
        self._response: tuple[TurnStep, ...] = (
            TurnStep("search", self._search_with_model),
            TurnStep("decide", self._decide),
            TurnStep("compose", self._compose),
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
            await step.run(turn)
            took = round((time.perf_counter() - began) * 1000, 1)
            if not any(done["name"] == step.name for done in turn.steps):
                turn.steps.append({"name": step.name, "ms": took})
            elif took > 0.1:
                turn.steps[-1]["ms"] = round(turn.steps[-1]["ms"] + took, 1)

    def _begin(self, conversation: ConversationSnapshot) -> TurnContext:
        now = self._clock.now()
        policy = conversation.inbox.settings
        pending = tuple(Pending(Kind(item.kind), item.text, item.choice) for item in conversation.pending)
        may = allowance(
            conversation.inbox.channel.limits.reply_window,
            last_incoming_at=conversation.state.last_incoming_at,
            replies_used=conversation.state.replies_used,
        )
        facts = Facts(
            pending=pending,
            policy=policy,
            failures=conversation.state.failures,
            allowance=may.left,
            window_open=may.closed(now) != "window_closed",
            people_there=is_open(policy.hours, now),
        )
        return TurnContext(conversation, policy, pending, question_of(pending), now, facts)

    # ------------------------------------------------------------------------------------------------- the steps

    async def _remember(self, turn: TurnContext) -> None:
        """What was said before, and which base knows the answers."""
        conversation, tx = turn.conversation, turn.tx_for_reading
        turn.memory = await remember(tx, conversation.id, before=conversation.pending[0].id)
        turn.base_id = conversation.inbox.base_id or await self._base_of(tx, conversation)
        turn.facts = replace(turn.facts, person_offered=turn.memory.person_offered)

    async def _base_of(self, tx: Transaction, conversation: ConversationSnapshot) -> int:
        key = (conversation.workspace_id, conversation.inbox.inbox_id)
        if key not in self._bases:
            self._bases[key] = await knowledge.base_for(tx, conversation.inbox.inbox_id)
        return self._bases[key]

    async def _look(self, turn: TurnContext) -> None:
        """What needs no search: a person asked for, politeness, a picture, a tapped menu entry."""
        for pending in reversed(turn.pending):
            number = (pending.choice or "").removeprefix("a:")
            if number != pending.choice and number.isdecimal() and len(number) < 19:
                turn.chosen = int(number)
                break
        turn.decision = decide_without_search(self._facts_without_tap(turn))

    def _facts_without_tap(self, turn: TurnContext) -> Facts:
        """Without a tapped entry: its label is ours, and what its words sound like means nothing."""
        if turn.chosen is None:
            return turn.facts
        tapped = f"a:{turn.chosen}"
        words = tuple(replace(p, text="") if p.choice == tapped else p for p in turn.pending)
        return replace(turn.facts, pending=words)

    async def _search(self, turn: TurnContext) -> None:
        if turn.decision is None and turn.chosen is None and turn.question and not self._rewrites(turn):
            tx = turn.tx_for_reading
            turn.lookup = await self._look_up(tx, turn, turn.question)
            if turn.lookup.pending is None:
                await self._find(tx, turn, turn.lookup, None)

    async def _search_with_model(self, turn: TurnContext) -> None:
        """Go on outside the reading, when a model has to rewrite or to embed the question first."""
        if turn.decision is not None or turn.chosen is not None or not turn.question or turn.found is not None:
            return
        lookup = turn.lookup
        if lookup is None:
            question = await self._on_its_own(turn)
            async with self._database.transaction(turn.conversation.workspace_id) as tx:
                lookup = await self._look_up(tx, turn, question)
        vectors = await lookup.vectors()
        async with self._database.transaction(turn.conversation.workspace_id) as tx:
            await self._find(tx, turn, lookup, vectors)

    def _rewrites(self, turn: TurnContext) -> bool:
        said = bool(turn.memory and turn.memory.said)
        return self._deps.model is not None and said and looks_elliptic(turn.question)

    async def _look_up(self, tx: Transaction, turn: TurnContext, question: str, *, alone: bool = False) -> Lookup:
        """By words; `alone` if their vectors are there already."""
        try:
            return await retrieval.look_up(
                tx,
                turn.base_id,
                question,
                context=turn.memory.questions if turn.memory else (),
                embedders=NO_EMBEDDERS if alone else self._deps.embedders,
                also=multi_question.questions_in(question),
            )
        except NotFound:
            # The base was removed; the next turn finds the one that took its place.
            self._bases.pop((turn.conversation.workspace_id, turn.conversation.inbox.inbox_id), None)
            raise

    async def _find(self, tx: Transaction, turn: TurnContext, lookup: Lookup, vectors: QueryVectors | None) -> None:
        found = await self._judge(tx, turn, lookup, vectors)
        zone = self._zone(turn, found)
        if zone is not ConfidenceBand.ANSWER and (each := await self._find_each(tx, turn, lookup.asked, vectors)):
            turn.each, found, zone = each, multi_question.together(each), ConfidenceBand.ANSWER
        turn.found = found
        turn.facts = replace(turn.facts, zone=zone, suggestions=len(found.passages))

    async def _find_each(
        self, tx: Transaction, turn: TurnContext, question: str, vectors: QueryVectors | None
    ) -> tuple[SearchResult, ...]:
        """What is found for each of several questions; nothing unless each has a good answer of its own."""
        each: list[SearchResult] = []
        for line in multi_question.questions_in(question):
            each.append(await self._judge(tx, turn, await self._look_up(tx, turn, line, alone=True), vectors))
            if self._zone(turn, each[-1]) is not ConfidenceBand.ANSWER:
                return ()
        return tuple(each)

    async def _judge(
        self, tx: Transaction, turn: TurnContext, lookup: Lookup, vectors: QueryVectors | None
    ) -> SearchResult:
        top_k, zones = max(self._deps.top_k, SUGGESTED), turn.policy.zones
        threshold = zones.answer if zones else self._deps.threshold
        return await retrieval.judge(tx, lookup, vectors, top_k=top_k, threshold=threshold)

    @staticmethod
    def _zone(turn: TurnContext, found: SearchResult) -> ConfidenceBand:
        zone, zones = found.zone, turn.policy.zones
        if zones and zone is not ConfidenceBand.ANSWER:
            return ConfidenceBand.SUGGEST if found.confidence >= zones.suggest else ConfidenceBand.HANDOFF
        return zone

    async def _on_its_own(self, turn: TurnContext) -> str:
        """The question, rewritten by the model because it leans on what was said before."""
        model, memory = self._deps.model, turn.memory
        result = await rewritten(model, turn.question, memory.said) if model and memory else None
        if result is None:
            return turn.question
        turn.completions.append(result.cost)
        return result.question

    async def _decide(self, turn: TurnContext) -> None:
        if turn.decision is None:
            turn.decision = Answer() if turn.chosen is not None else decide(turn.facts)

    async def _compose(self, turn: TurnContext) -> None:
        match turn.decision:
            case Answer() if turn.chosen is not None:
                await self._compose_chosen(turn, turn.chosen)
            case Answer():
                await self._compose_answer(turn)
            case Suggest():
                passages = turn.found.passages if turn.found else ()
                turn.reply, turn.choices = menu(passages[:SUGGESTED], turn.question)
            case SmallTalk(reply=reply) | AskForText(reply=reply) | AskAgain(reply=reply):
                turn.reply = reply
            case HandOff() | NoReply() | None:
                pass
            case never:
                assert_never(never)

    async def _compose_chosen(self, turn: TurnContext, article_id: int) -> None:
        """The contact tapped an entry of our menu: its own answer, and what they had asked becomes a phrasing."""
        async with self._database.transaction(turn.conversation.workspace_id) as tx:
            passage = await entry(tx, article_id)
        text = answering.verbatim(passage) if passage is not None else None
        if passage is None or text is None:
            turn.chosen = None
            turn.decision = hand_off(turn.facts, HandOffReason.NO_ANSWER)
            return
        turn.reply = text
        turn.citations = [{"article_id": article_id, "title": passage.title, "source": passage.source_name}]

    async def _compose_answer(self, turn: TurnContext) -> None:
        found = turn.found
        if found is None:
            raise RuntimeError("An answer was decided on without a search.")
        passages = found.passages[: max(self._deps.top_k, len(turn.each))]
        memory = turn.memory
        outcome = await answering.answer(
            self._deps.model,
            [turn.question],
            passages,
            memory.said if memory else (),
            budget_seconds=self._deps.model_seconds,
            contact_name=turn.conversation.contact_name,
        )
        match outcome:
            case Answered(text=text, citations=citations, cost=cost):
                turn.completions.append(cost)
                turn.reply = text
                turn.citations = [_citation(passages[number - 1]) for number in citations]
            case FellBack(text=text, citations=citations, why=why, cost=spent):
                all_told = multi_question.verbatim(turn.each) if turn.each else None
                turn.reply, best = all_told or (text, [passages[number - 1] for number in citations])
                turn.citations, turn.detail = [_citation(passage) for passage in best], why.value
                turn.completions += [spent] if spent else []
            case CannotAnswer(why=why, cost=spent):
                turn.detail = why.value
                turn.completions += [spent] if spent else []
                turn.decision = hand_off(turn.facts, HandOffReason.NO_ANSWER)
            case never:
                assert_never(never)

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
        self._count(turn)

    async def _act(
        self, tx: Transaction, turn: TurnContext, state: ConversationState, turn_id: int, *, now: datetime
    ) -> None:
        conversation = turn.conversation
        match turn.decision:
            case HandOff() as decision:
                await self._hand_off(tx, turn, decision, now=now)
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
                    kind=Kind.MENU if turn.choices else Kind.TEXT,
                    choices=turn.choices,
                    footer=words_for(turn.question).menu_foot if turn.choices else "",
                    content={"citations": turn.citations, "below": below} if below else {},
                    turn_id=turn_id,
                    most=None if left is None else max(left - limits.reserved, 1),
                    helped=not isinstance(turn.decision, Suggest | AskForText | AskAgain),
                )
                conversation.queued = result.messages
                conversation.revision = result.revision or conversation.revision
                await self._learn(tx, turn, now=now)
            case NoReply(reason=NoReplyReason.ASSISTANT_OFF):
                await conversations.open_for_people(
                    tx, conversation.id, actor=ASSISTANT, now=now, reason="assistant_off"
                )
            case NoReply() | None:
                pass
            case never:
                assert_never(never)

    async def _hand_off(self, tx: Transaction, turn: TurnContext, decision: HandOff, *, now: datetime) -> None:
        conversation, policy = turn.conversation, turn.policy.handoff
        kind, _, servicer = policy.to.partition(":")
        native = {"pool": "pool", "servicer": "human"}.get(kind)
        handed = await conversations.hand_off(
            tx,
            conversation.id,
            reason=decision.reason.value,
            question=self._asked(turn),
            message_id=conversation.pending[-1].id,
            actor=ASSISTANT,
            now=now,
            notice=decision.notice,
            native_to=native,
            servicer=servicer.strip() or None,
            limits=conversation.inbox.channel.limits,
        )
        if handed and decision.urgent:
            await conversations.set_priority(
                tx, conversation.id, priority=Priority.URGENT, at_least=True, by=ASSISTANT, now=now, reason="urgent"
            )

    @staticmethod
    def _asked(turn: TurnContext) -> str:
        """What the contact wants to know: what they say now, or, if that is only the wish for a person, said last."""
        if is_question(turn.question):
            return turn.question
        said = turn.memory.said if turn.memory else ()
        return next((line.text for line in reversed(said) if line.who == "contact" and is_question(line.text)), "")

    async def _learn(self, tx: Transaction, turn: TurnContext, *, now: datetime) -> None:
        """A tapped suggestion tells that the earlier question meant this entry."""
        memory = turn.memory
        if turn.chosen is not None and memory is not None and memory.offered_question:
            question = memory.offered_question
            await knowledge.add_phrasing(tx, turn.chosen, question, source="click", by=ASSISTANT, now=now)

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


def _citation(passage: Passage) -> dict[str, Any]:
    return {
        "article_id": passage.article_id,
        "chunk_id": passage.chunk_id,
        "title": passage.title,
        "source": passage.source_name,
        "position": passage.position,
        "score": round(passage.score, 3),
    }

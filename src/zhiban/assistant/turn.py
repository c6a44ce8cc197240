"""One turn of the assistant, as a list of named steps: remember, look, search, decide, compose, store.

Nothing is sent from here. The turn ends with one transaction that checks that the conversation is still the assistant's
and stores the reply; the conversation worker sends it. A person who takes over, or a new message, makes an unstored
turn void.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, assert_never

from zhiban.assistant import answering, finding, learning, several_questions
from zhiban.assistant.answering import Answered, CannotAnswer, FellBack, Outcome, Quotable, Why
from zhiban.assistant.decide import (
    Answer,
    AskAgain,
    AskForText,
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
from zhiban.assistant.declining import DeclineMemory
from zhiban.assistant.finding import SUGGESTED
from zhiban.assistant.gap_evidence import record_left, record_untapped
from zhiban.assistant.menu_choice import chosen_by_words
from zhiban.assistant.queries import Chosen, entry, remember
from zhiban.assistant.reading import MOST, bare_questions, only_withdraws, questions_in
from zhiban.assistant.rewrite import looks_elliptic, rewritten
from zhiban.assistant.searching import BegunSearch, Searcher
from zhiban.assistant.service import record_turn
from zhiban.assistant.suggesting import is_question
from zhiban.assistant.turn_context import AssistantDeps, TurnContext, TurnStep
from zhiban.assistant.wording import menu, sources, words_for
from zhiban.channels.business_hours import is_open
from zhiban.conversations import service as conversations
from zhiban.conversations.models import Author, ConversationState, Priority
from zhiban.conversations.outbox import allowance, enqueue, key_for
from zhiban.conversations.responder import ConversationSnapshot
from zhiban.events import ASSISTANT
from zhiban.kit import metrics
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.retrieval import NEARLY_SAME, ConfidenceBand, Passage, SearchResult
from zhiban.knowledge.vectors import QueryVectors
from zhiban.ports import Kind

_LEAST_SECONDS = 0.2  # a model is not asked for less


class Assistant:
    """Takes turns. One object serves all conversations of a process."""

    def __init__(self, database: Database, clock: Clock, deps: AssistantDeps) -> None:
        self._database = database
        self._clock = clock
        self._deps = deps
        self._searcher = Searcher(deps.embedders, top_k=deps.top_k, threshold=deps.threshold)
        self._declines = DeclineMemory()
        self._bases: dict[tuple[int, int], int] = {}
        # The first steps read, in the worker's own transaction; the others may wait for a model, outside of any.
        self._preparation: tuple[TurnStep, ...] = (
            TurnStep("remember", self._remember),
            TurnStep("look", self._look),
            TurnStep("read", self._read),
            TurnStep("search", self._search),
        )
        self._response: tuple[TurnStep, ...] = (
            TurnStep("search", self._search_outside),
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
        """What needs no search: a person asked for, politeness, a picture, a menu entry that was tapped or named."""
        offered = turn.memory.offered if turn.memory else {}
        pending = tuple(_chosen(message, offered) for message in turn.pending)
        if pending != turn.pending:
            turn.pending = pending
            turn.facts = replace(turn.facts, pending=pending)
            turn.question = question_of(pending)
        turn.chosen = next((found for one in reversed(pending) if (found := Chosen.parse(one.choice))), None)
        turn.decision = decide_without_search(self._facts_without_tap(turn))

    def _facts_without_tap(self, turn: TurnContext) -> Facts:
        """Without a tapped entry: its label is ours, and what its words sound like means nothing."""
        if turn.chosen is None:
            return turn.facts
        words = tuple(replace(p, text="") if p.choice == turn.chosen.id else p for p in turn.pending)
        return replace(turn.facts, pending=words)

    async def _read(self, turn: TurnContext) -> None:
        """The questions in what was written, each with the ways to look it up."""
        if turn.decision is None and turn.chosen is None and turn.question:
            self._understand(turn, turn.question)

    def _understand(self, turn: TurnContext, text: str) -> None:
        questions = questions_in(text)
        turn.unread = tuple(question.text for question in questions[MOST:])
        turn.plans = finding.plan(questions[:MOST], turn.memory)

    async def _search(self, turn: TurnContext) -> None:
        if turn.plans:
            turn.begun = await self._begin_search(turn.tx_for_reading, turn)
            if not turn.begun.waits:
                await self._find(turn.tx_for_reading, turn, turn.begun, await turn.begun.vectors())

    async def _search_outside(self, turn: TurnContext) -> None:
        """Go on outside the reading: with vectors, and once more when a model has to rewrite the question first."""
        if turn.begun is None:
            return
        if turn.found is None:
            await self._find_with_vectors(turn, turn.begun)
        if turn.facts.zone is not ConfidenceBand.ANSWER and await self._rewrite(turn):
            async with self._database.transaction(turn.conversation.workspace_id) as tx:
                turn.begun = await self._begin_search(tx, turn)
            await self._find_with_vectors(turn, turn.begun)

    async def _begin_search(self, tx: Transaction, turn: TurnContext) -> BegunSearch:
        try:
            return await self._searcher.begin(tx, turn.base_id, turn.plans)
        except NotFound:
            # The base was removed; the next turn finds the one that took its place.
            self._bases.pop((turn.conversation.workspace_id, turn.conversation.inbox.inbox_id), None)
            raise

    async def _find_with_vectors(self, turn: TurnContext, begun: BegunSearch) -> None:
        vectors = await begun.vectors()
        async with self._database.transaction(turn.conversation.workspace_id) as tx:
            await self._find(tx, turn, begun, vectors)

    async def _find(self, tx: Transaction, turn: TurnContext, begun: BegunSearch, vectors: QueryVectors | None) -> None:
        turn.each = await self._searcher.find(tx, begun, vectors, turn.policy)
        turn.found = finding.together(turn.each)
        zone = finding.zone_of_all(turn.each)
        turn.facts = replace(turn.facts, zone=zone, suggestions=len(turn.found.passages))

    async def _rewrite(self, turn: TurnContext) -> bool:
        """Let the model put a question on its own feet that leans on what was said before. False: as it was."""
        model, memory = self._deps.model, turn.memory
        if model is None or memory is None or not memory.said or not looks_elliptic(turn.question):
            return False
        if (left := self._model_seconds(turn)) < _LEAST_SECONDS:
            return False
        result = await rewritten(model, turn.question, memory.said, budget_seconds=left)
        if result is None:
            return False
        turn.completions.append(result.cost)
        self._understand(turn, result.question)
        return True

    def _model_seconds(self, turn: TurnContext) -> float:
        """What is left of the time that this turn may wait for the model, whatever it is asked."""
        now = asyncio.get_running_loop().time()
        if turn.model_until is None:
            turn.model_until = now + self._deps.model_seconds
        return turn.model_until - now

    async def _decide(self, turn: TurnContext) -> None:
        if turn.decision is None:
            turn.decision = Answer() if turn.chosen is not None else decide(turn.facts)
        unsure = turn.facts.zone is ConfidenceBand.SUGGEST and isinstance(turn.decision, Suggest | HandOff)
        asked = turn.found is not None and turn.facts.has_room and not only_withdraws(turn.question)
        if unsure and turn.found is not None and self._deps.model is not None and asked:
            outcome = await self._ask(turn, turn.found, Quotable.NEVER)
            if isinstance(outcome, Answered):
                turn.outcome, turn.decision = outcome, Answer()
            elif outcome.cost is not None:
                turn.completions.append(outcome.cost)

    async def _compose(self, turn: TurnContext) -> None:
        match turn.decision:
            case Answer() if turn.chosen is not None:
                await self._compose_chosen(turn, turn.chosen)
            case Answer():
                await self._compose_answer(turn)
            case Suggest():
                passages = turn.found.passages if turn.found else ()
                most = max(SUGGESTED, 2 * len(turn.each))
                turn.reply, turn.choices = menu(passages[:most], turn.question)
            case SmallTalk(reply=reply) | AskForText(reply=reply) | AskAgain(reply=reply):
                turn.reply = reply
            case HandOff() | NoReply() | None:
                pass
            case never:
                assert_never(never)

    async def _compose_chosen(self, turn: TurnContext, chosen: Chosen) -> None:
        """The contact took an entry of our menu: its own answer."""
        async with self._database.transaction(turn.conversation.workspace_id) as tx:
            passage = await entry(tx, chosen)
        text = answering.section(passage) if passage is not None else None
        if passage is None or text is None:
            turn.chosen = None
            turn.decision = hand_off(turn.facts, HandOffReason.NO_ANSWER)
            return
        turn.reply = text
        turn.citations = [
            {"article_id": chosen.article_id, "title": passage.title, "source": passage.source_name}
            | ({} if chosen.chunk_id is None else {"chunk_id": chosen.chunk_id})
        ]

    async def _ask(self, turn: TurnContext, found: SearchResult, quotable: Quotable) -> Outcome:
        """Ask the model for an answer from what was found; without one the best passage, if it is quotable."""
        left = self._model_seconds(turn) if self._deps.model is not None else 0.0
        asked = self._deps.model if left >= _LEAST_SECONDS else None
        outcome = await answering.answer(
            asked,
            [turn.question],
            self._passages(turn, found),
            turn.memory.said if turn.memory else (),
            budget_seconds=left,
            contact_name=turn.conversation.contact_name,
            quotable=quotable,
        )
        if asked is None and self._deps.model is not None and isinstance(outcome, FellBack | CannotAnswer):
            return replace(outcome, why=Why.TOO_SLOW)
        return outcome

    async def _ask_about_sure(self, turn: TurnContext, found: SearchResult) -> Outcome:
        """The model's answer; it may say no, unless it always does or the entry asks nearly the same."""
        same = len(turn.each) == 1 and any(one.likeness >= NEARLY_SAME for one in found.passages[:1])
        surer = same or not self._declines.believed
        outcome = await self._ask(turn, found, Quotable.ALWAYS if surer else Quotable.UNLESS_DECLINED)
        self._declines.note(outcome)
        return outcome

    def _passages(self, turn: TurnContext, found: SearchResult) -> tuple[Passage, ...]:
        return found.passages[: max(self._deps.top_k, len(turn.each))]

    async def _compose_answer(self, turn: TurnContext) -> None:
        found = turn.found
        if found is None:
            raise RuntimeError("An answer was decided on without a search.")
        passages = self._passages(turn, found)
        outcome = turn.outcome or await self._ask_about_sure(turn, found)
        if outcome.cost is not None:
            turn.completions.append(outcome.cost)
        several = len(turn.each) > 1 or bool(turn.unread)
        match outcome:
            case Answered(text=text, citations=citations):
                cited = [passages[number - 1] for number in citations]
                turn.reply, turn.citations = text, list(map(_citation, cited))
                if several:
                    self._tell_each(turn, said=text, cited=cited)
            case FellBack(text=text, citations=citations, why=why):
                turn.reply, turn.detail = text, why.value
                turn.citations = [_citation(passages[number - 1]) for number in citations]
                if several:
                    self._tell_each(turn)
            case CannotAnswer(why=why):
                turn.detail = why.value
                self._suggest_instead(turn, passages)
            case never:
                assert_never(never)

    @staticmethod
    def _suggest_instead(turn: TurnContext, passages: Sequence[Passage]) -> None:
        """No answer could be made of what was found: which entry is it? People get it when patience is over."""
        turn.decision = decide(replace(turn.facts, zone=ConfidenceBand.SUGGEST))
        if isinstance(turn.decision, Suggest):
            turn.reply, turn.choices = menu(passages[:SUGGESTED], turn.question)
        else:
            turn.decision = hand_off(turn.facts, HandOffReason.NO_ANSWER)

    @staticmethod
    def _tell_each(turn: TurnContext, *, said: str = "", cited: Sequence[Passage] = ()) -> None:
        """Several questions: what is known of each, and which is left."""
        told = several_questions.told(turn.each, turn.unread, said=said, cited=cited)
        if told is not None:
            turn.reply, turn.choices, turn.listed = told.text, told.choices, True
            turn.citations = list(map(_citation, told.passages))

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


def _citation(passage: Passage) -> dict[str, Any]:
    return {
        "article_id": passage.article_id,
        "chunk_id": passage.chunk_id,
        "title": passage.title,
        "source": passage.source_name,
        "position": passage.position,
        "score": round(passage.score, 3),
    }


def _chosen(message: Pending, offered: Mapping[str, Mapping[str, Any]]) -> Pending:
    """The message, or, when it names an entry of our last menu, what tapping that would have sent."""
    id_ = chosen_by_words(message.text, offered) if message.choice is None and message.kind is Kind.TEXT else None
    return message if id_ is None else Pending(message.kind, str(offered[id_]["label"]), id_)

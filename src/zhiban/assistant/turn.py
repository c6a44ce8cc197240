"""One turn of the assistant, as a list of named steps: remember, look, search, decide, compose, store.

Nothing is sent from here. The turn ends with one transaction that checks that the conversation is still the assistant's
and stores the reply; the lane sends it. A person who takes over, or a new message, makes an unstored turn void.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, assert_never

from zhiban.assistant import answering
from zhiban.assistant import multi_question as several
from zhiban.assistant.answering import Answered, CannotAnswer, FellBack
from zhiban.assistant.decide import (
    Answer,
    AskAgain,
    AskToType,
    Decision,
    Facts,
    HandOff,
    HandOffReason,
    Pending,
    Quiet,
    QuietReason,
    SmallTalk,
    Suggest,
    decide,
    first_look,
    hand_off,
    question_of,
)
from zhiban.assistant.passages import Zone
from zhiban.assistant.queries import Memory, entry, remember
from zhiban.assistant.rewrite import looks_elliptic, rewritten
from zhiban.assistant.service import record_turn
from zhiban.assistant.wording import menu, sources, words_for
from zhiban.channels.business_hours import is_open
from zhiban.channels.policy import Policy
from zhiban.conversations import service as conversations
from zhiban.conversations.models import Author
from zhiban.conversations.outbox import RESERVED, allowance, key_for, queue
from zhiban.conversations.responder import Talk
from zhiban.events import ASSISTANT
from zhiban.kit import metrics
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Work
from zhiban.kit.errors import NotFound
from zhiban.knowledge import retrieval
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.retrieval import Found, Passage
from zhiban.ports import ChatModel, Choice, Completion, Embedder, Kind, ModelUnavailable

log = logging.getLogger(__name__)

EMBED_SECONDS = 3.0
SUGGESTED = 3
ZONES = {
    retrieval.Zone.ANSWER: Zone.ANSWER,
    retrieval.Zone.SUGGEST: Zone.SUGGEST,
    retrieval.Zone.HAND_OFF: Zone.HANDOFF,
}

# Handed over for these reasons, a question shows a hole in the knowledge.
GAPS = (HandOffReason.NOTHING_FOUND, HandOffReason.NO_ANSWER, HandOffReason.REPEATED_FAILURE)


@dataclass(frozen=True, slots=True)
class Means:
    """What the assistant works with on this installation."""

    model: ChatModel | None
    embedder: Embedder | None
    top_k: int
    threshold: float | None
    model_seconds: float
    price_input: float  # of a million tokens
    price_output: float

    def cost(self, completion: Completion) -> float:
        return (completion.input_tokens * self.price_input + completion.output_tokens * self.price_output) / 1_000_000


@dataclass(slots=True)
class Thought:
    """A turn while it is thought."""

    talk: Talk
    policy: Policy
    pending: tuple[Pending, ...]
    question: str
    started_at: datetime
    facts: Facts
    memory: Memory | None = None
    base_id: int = 0
    found: Found | None = None
    each: tuple[Found, ...] = ()  # for each of several questions
    chosen: int | None = None  # the article behind a tapped menu entry
    decision: Decision | None = None
    reply: str = ""
    choices: tuple[Choice, ...] = ()
    citations: list[dict[str, Any]] = field(default_factory=list)
    detail: str = ""
    work: Work | None = None  # the lane's transaction, while reading
    completions: list[Completion] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def reading(self) -> Work:
        if self.work is None:
            raise RuntimeError("This step reads, and its transaction is over.")
        return self.work


@dataclass(frozen=True, slots=True)
class Step:
    """A named step of a turn."""

    name: str
    run: Callable[[Thought], Awaitable[None]]


class Assistant:
    """Takes turns. One object serves all conversations of a process."""

    def __init__(self, database: Database, clock: Clock, means: Means) -> None:
        self._database = database
        self._clock = clock
        self._means = means
        self._policies: dict[str, Policy] = {}
        self._bases: dict[tuple[int, int], int] = {}
        # The first steps read, in the lane's own transaction; the others may wait for a model, outside of any.
        self._reading: tuple[Step, ...] = (
            Step("remember", self._remember),
            Step("look", self._look),
            Step("search", self._search),
        )
        self._thinking: tuple[Step, ...] = (
            Step("search", self._search_with_model),
            Step("decide", self._decide),
            Step("compose", self._compose),
            Step("store", self._store),
        )

    async def read(self, work: Work, talk: Talk) -> object:
        """Remember the conversation and search, as far as that needs no model."""
        thought = self._begin(talk)
        thought.work = work
        await self._take(self._reading, thought)
        thought.work = None
        return thought

    async def think(self, talk: Talk, known: object) -> None:
        """Take one turn for everything that waits in the conversation."""
        if not isinstance(known, Thought) or known.talk is not talk:
            raise TypeError("A turn begins with what was read of this conversation.")
        await self._take(self._thinking, known)

    def parting_words(self, talk: Talk) -> str:
        """What the contact is told when thinking fails again and again."""
        return self._policy(talk).handoff.text

    async def _take(self, steps: tuple[Step, ...], thought: Thought) -> None:
        for step in steps:
            began = time.perf_counter()
            await step.run(thought)
            took = round((time.perf_counter() - began) * 1000, 1)
            if not any(done["name"] == step.name for done in thought.steps):
                thought.steps.append({"name": step.name, "ms": took})
            elif took > 0.1:
                thought.steps[-1]["ms"] = round(thought.steps[-1]["ms"] + took, 1)

    def _begin(self, talk: Talk) -> Thought:
        now = self._clock.now()
        policy = self._policy(talk)
        pending = tuple(Pending(Kind(item.kind), item.text, item.choice) for item in talk.waiting)
        may = allowance(
            talk.place.channel.reply_window, last_incoming_at=talk.last_incoming_at, replies_used=talk.replies_used
        )
        facts = Facts(
            pending=pending,
            policy=policy,
            failures=talk.failures,
            allowance=may.left,
            window_open=may.closed(now) != "window_closed",
            people_there=is_open(policy.hours, now),
        )
        return Thought(talk, policy, pending, question_of(pending), now, facts)

    def _policy(self, talk: Talk) -> Policy:
        text = json.dumps(talk.place.policy, sort_keys=True)
        policy = self._policies.get(text)
        if policy is None:
            policy = self._policies[text] = Policy.model_validate(talk.place.policy)
        return policy

    # ------------------------------------------------------------------------------------------------- the steps

    async def _remember(self, thought: Thought) -> None:
        """What was said before, and which base knows the answers."""
        talk, work = thought.talk, thought.reading
        thought.memory = await remember(work, talk.id, before=talk.waiting[0].id)
        thought.base_id = talk.place.base_id or await self._base_of(work, talk)
        thought.facts = replace(thought.facts, person_offered=thought.memory.person_offered)

    async def _base_of(self, work: Work, talk: Talk) -> int:
        key = (talk.workspace_id, talk.place.inbox_id)
        if key not in self._bases:
            self._bases[key] = await knowledge.base_for(work, talk.place.inbox_id)
        return self._bases[key]

    async def _look(self, thought: Thought) -> None:
        """What needs no search: a person asked for, politeness, a picture, a tapped menu entry."""
        for pending in reversed(thought.pending):
            number = (pending.choice or "").removeprefix("a:")
            if number != pending.choice and number.isdecimal() and len(number) < 19:
                thought.chosen = int(number)
                break
        thought.decision = first_look(self._beside_the_tap(thought))

    def _beside_the_tap(self, thought: Thought) -> Facts:
        """Without a tapped entry: its label is ours, and what its words sound like means nothing."""
        if thought.chosen is None:
            return thought.facts
        tapped = f"a:{thought.chosen}"
        words = tuple(replace(p, text="") if p.choice == tapped else p for p in thought.pending)
        return replace(thought.facts, pending=words)

    async def _search(self, thought: Thought) -> None:
        if thought.decision is None and thought.chosen is None and thought.question and not self._needs_model(thought):
            await self._find(thought.reading, thought, thought.question, None)

    async def _search_with_model(self, thought: Thought) -> None:
        """Search again outside the reading, when a model has to rewrite or to embed the question first."""
        if thought.decision is None and thought.chosen is None and thought.question and self._needs_model(thought):
            question = await self._on_its_own(thought)
            vector = await self._vector(question)
            async with self._database.work(thought.talk.workspace_id) as work:
                await self._find(work, thought, question, vector)

    def _needs_model(self, thought: Thought) -> bool:
        said = bool(thought.memory and thought.memory.said)
        rewrites = self._means.model is not None and said and looks_elliptic(thought.question)
        return rewrites or self._means.embedder is not None

    async def _find(self, work: Work, thought: Thought, question: str, vector: list[float] | None) -> None:
        found = await self._look_up(work, thought, question, vector)
        zone = self._zone(thought, found)
        if zone is not Zone.ANSWER and (each := await self._find_each(work, thought, question)):
            thought.each, found, zone = each, several.together(each), Zone.ANSWER
        thought.found = found
        thought.facts = replace(thought.facts, zone=zone, suggestions=len(found.passages))

    async def _find_each(self, work: Work, thought: Thought, question: str) -> tuple[Found, ...]:
        """What is found for each of several questions; nothing unless each has a good answer of its own."""
        each: list[Found] = []
        for line in several.questions_in(question):
            each.append(await self._look_up(work, thought, line, None))
            if self._zone(thought, each[-1]) is not Zone.ANSWER:
                return ()
        return tuple(each)

    async def _look_up(self, work: Work, thought: Thought, question: str, vector: list[float] | None) -> Found:
        zones = thought.policy.zones
        try:
            return await retrieval.search(
                work,
                thought.base_id,
                question,
                top_k=max(self._means.top_k, SUGGESTED),
                context=thought.memory.questions if thought.memory else (),
                embedder_vector=vector,
                threshold=zones.answer if zones else self._means.threshold,
            )
        except NotFound:
            # The base was removed; the next turn finds the one that took its place.
            self._bases.pop((thought.talk.workspace_id, thought.talk.place.inbox_id), None)
            raise

    @staticmethod
    def _zone(thought: Thought, found: Found) -> Zone:
        zone, zones = ZONES[found.zone], thought.policy.zones
        if zones and zone is not Zone.ANSWER:
            return Zone.SUGGEST if found.confidence >= zones.suggest else Zone.HANDOFF
        return zone

    async def _on_its_own(self, thought: Thought) -> str:
        """The question, rewritten by the model when it leans on what was said before."""
        model, memory = self._means.model, thought.memory
        if model is None or memory is None or not memory.said or not looks_elliptic(thought.question):
            return thought.question  # only the embedder is needed
        result = await rewritten(model, thought.question, memory.said)
        if result is None:
            return thought.question
        thought.completions.append(result.cost)
        return result.question

    async def _vector(self, question: str) -> list[float] | None:
        if self._means.embedder is None:
            return None
        try:
            return (await self._means.embedder.embed([question], purpose="query"))[0]
        except ModelUnavailable as error:
            log.warning("Searching by words only: %s", error.sentence)
            return None

    async def _decide(self, thought: Thought) -> None:
        if thought.decision is None:
            thought.decision = Answer() if thought.chosen is not None else decide(thought.facts)

    async def _compose(self, thought: Thought) -> None:
        match thought.decision:
            case Answer() if thought.chosen is not None:
                await self._compose_chosen(thought, thought.chosen)
            case Answer():
                await self._compose_answer(thought)
            case Suggest():
                passages = thought.found.passages if thought.found else ()
                thought.reply, thought.choices = menu(passages[:SUGGESTED], thought.question)
            case SmallTalk(reply=reply) | AskToType(reply=reply) | AskAgain(reply=reply):
                thought.reply = reply
            case HandOff() | Quiet() | None:
                pass
            case never:
                assert_never(never)

    async def _compose_chosen(self, thought: Thought, article_id: int) -> None:
        """The contact tapped an entry of our menu: its own answer, and what they had asked becomes a phrasing."""
        async with self._database.work(thought.talk.workspace_id) as work:
            passage = await entry(work, article_id)
        text = answering.verbatim(passage) if passage is not None else None
        if passage is None or text is None:
            thought.chosen = None
            thought.decision = hand_off(thought.facts, HandOffReason.NO_ANSWER)
            return
        thought.reply = text
        thought.citations = [{"article_id": article_id, "title": passage.title, "source": passage.source_name}]

    async def _compose_answer(self, thought: Thought) -> None:
        found = thought.found
        if found is None:
            raise RuntimeError("An answer was decided on without a search.")
        passages = found.passages[: max(self._means.top_k, len(thought.each))]
        memory = thought.memory
        outcome = await answering.answer(
            self._means.model,
            [thought.question],
            passages,
            memory.said if memory else (),
            budget_seconds=self._means.model_seconds,
            contact_name=thought.talk.contact_name,
        )
        match outcome:
            case Answered(text=text, citations=citations, cost=cost):
                thought.completions.append(cost)
                thought.reply = text
                thought.citations = [_citation(passages[number - 1]) for number in citations]
            case FellBack(text=text, citations=citations, why=why, cost=spent):
                all_told = several.verbatim(thought.each) if thought.each else None
                thought.reply, best = all_told or (text, [passages[number - 1] for number in citations])
                thought.citations, thought.detail = [_citation(passage) for passage in best], why.value
                thought.completions += [spent] if spent else []
            case CannotAnswer(why=why, cost=spent):
                thought.detail = why.value
                thought.completions += [spent] if spent else []
                thought.decision = hand_off(thought.facts, HandOffReason.NO_ANSWER)
            case never:
                assert_never(never)

    async def _store(self, thought: Thought) -> None:
        """The one transaction that makes the turn true, or nothing when the conversation is not ours any more."""
        now = self._clock.now()
        async with self._database.work(thought.talk.workspace_id) as work:
            if not await thought.talk.still_ours(work):
                return
            thought.talk.stored = True
            turn_id = await record_turn(
                work,
                thought.talk.id,
                question=thought.question,
                decision=type(thought.decision).__name__,
                reason=getattr(getattr(thought.decision, "reason", None), "value", thought.detail),
                zone=thought.found.zone.value if thought.found else None,
                confidence=thought.found.confidence if thought.found else None,
                completions=thought.completions,
                cost=sum(map(self._means.cost, thought.completions)),
                citations=thought.citations,
                steps=thought.steps,
                started_at=thought.started_at,
                finished_at=now,
            )
            await work.run(
                "update message set state = 'handled', turn_id = %(turn)s "
                "where id = any(%(ids)s::bigint[]) and state = 'pending'",
                turn=turn_id,
                ids=[message.id for message in thought.talk.waiting],
            )
            await self._act(work, thought, turn_id, now=now)
        self._count(thought)

    async def _act(self, work: Work, thought: Thought, turn_id: int, *, now: datetime) -> None:
        talk = thought.talk
        match thought.decision:
            case HandOff() as decision:
                await self._hand_off(work, thought, decision, now=now)
            case Answer() | Suggest() | SmallTalk() | AskToType() | AskAgain():
                left = thought.facts.allowance
                below = sources(thought.citations, thought.question)
                talk.queued = await queue(
                    work,
                    talk.id,
                    author=Author.ASSISTANT,
                    actor=ASSISTANT,
                    text=thought.reply + below,
                    # Named after the vendor's own id: a database that lost its last second knows the answer again.
                    key=key_for("turn", talk.place.external_id, talk.waiting[-1].external_id),
                    now=now,
                    kind=Kind.MENU if thought.choices else Kind.TEXT,
                    choices=thought.choices,
                    footer=words_for(thought.question).menu_foot if thought.choices else "",
                    content={"citations": thought.citations, "below": below} if below else {},
                    turn_id=turn_id,
                    most=None if left is None else max(left - RESERVED, 1),
                    helped=not isinstance(thought.decision, Suggest | AskToType | AskAgain),
                )
                talk.rings += 1  # what we queued rang once
                await self._learn(work, thought, now=now)
            case Quiet(reason=QuietReason.ASSISTANT_OFF):
                held = await conversations.hold(work, talk.id)
                await conversations.open_for_people(work, held, actor=ASSISTANT, now=now, cause="assistant_off")
            case Quiet() | None:
                pass
            case never:
                assert_never(never)

    async def _hand_off(self, work: Work, thought: Thought, decision: HandOff, *, now: datetime) -> None:
        talk, policy = thought.talk, thought.policy.handoff
        kind, _, servicer = policy.to.partition(":")
        native = {"pool": "pool", "servicer": "human"}.get(kind)
        handed = await conversations.hand_off(
            work,
            talk.id,
            reason=decision.reason.value,
            actor=ASSISTANT,
            now=now,
            notice=decision.notice,
            native_to=native,
            servicer=servicer.strip() or None,
            window=talk.place.channel.reply_window,
        )
        if not handed:
            return
        if decision.urgent:
            await work.run("update conversation set priority = 2 where id = %(id)s and priority < 2", id=talk.id)
        if thought.question and decision.reason in GAPS:
            await knowledge.record_gap(
                work, thought.question, conversation_id=talk.id, message_id=talk.waiting[-1].id, now=now
            )

    async def _learn(self, work: Work, thought: Thought, *, now: datetime) -> None:
        """A tapped suggestion tells that the earlier question meant this entry."""
        memory = thought.memory
        if thought.chosen is not None and memory is not None and memory.offered_question:
            await knowledge.add_phrasing(work, thought.chosen, memory.offered_question, source="click", now=now)

    def _count(self, thought: Thought) -> None:
        match thought.decision:
            case HandOff(reason=reason):
                metrics.handoff(reason.value)
                metrics.answer("handoff")
            case Suggest() | AskToType() | AskAgain():
                metrics.answer("suggest")
            case Answer() | SmallTalk():
                metrics.answer("answer")
            case _:
                metrics.answer("silent")
        for completion in thought.completions:
            metrics.llm(
                "answered",
                read=completion.input_tokens,
                written=completion.output_tokens,
                cost=self._means.cost(completion),
            )


def _citation(passage: Passage) -> dict[str, Any]:
    return {
        "article_id": passage.article_id,
        "chunk_id": passage.chunk_id,
        "title": passage.title,
        "source": passage.source_name,
        "position": passage.position,
        "score": round(passage.score, 3),
    }

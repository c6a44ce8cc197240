"""Answers in the assistant's place while a flow talks with the contact; everything else is the inner responder's.

Which flow that is travels with the conversation, so that others cost nothing more. All that one turn does is one
transaction, and its keys are made of the vendor's ids: a turn that is repeated after a crash says nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from zhiban.assistant.asides import Aside, Asides
from zhiban.assistant.decide import Facts, HandOff, HandOffReason, hand_off, to_people
from zhiban.assistant.handing_over import hand_over
from zhiban.assistant.turn import facts_of
from zhiban.automation import flow_runs
from zhiban.automation.definition import BadDefinition
from zhiban.automation.flow_asking import actor_of, ask, cause_of
from zhiban.automation.flow_definition import FlowDefinition, load_flow
from zhiban.automation.flow_queries import FlowRun, run_of
from zhiban.automation.flow_talk import Ask, AwaitAnswer, Finish, Leave, Next, follow, tapped_here
from zhiban.conversations import transitions
from zhiban.conversations.models import Author, ConversationState
from zhiban.conversations.outbox import enqueue, key_for
from zhiban.conversations.replies import send_as_rule
from zhiban.conversations.responder import ConversationSnapshot, Responder
from zhiban.conversations.service import mark_handled
from zhiban.events import ASSISTANT
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.ports import Limits

STOPPED = (
    "好的，先不填了。有别的问题请直接说；需要人工，请回复“转人工”。",
    "All right, let us stop here. Ask whatever else you need, or reply “human” to reach a person.",
)


@dataclass(slots=True)
class _FlowTurn:
    """That a flow answers this time, and what is known beforehand. `off_topic`: what was said is no answer."""

    facts: Facts
    off_topic: bool = False


class FlowResponder:
    """Stands in front of whoever answers. One object serves all conversations of a process."""

    def __init__(
        self,
        inner: Responder,
        database: Database,
        clock: Clock,
        limits_of: Callable[[str], Limits],
        asides: Asides,
    ) -> None:
        self._inner = inner
        self._database = database
        self._clock = clock
        self._limits_of = limits_of
        self._asides = asides

    async def prepare(self, tx: Transaction, snapshot: ConversationSnapshot) -> object:
        if snapshot.state.flow_run_id is None:
            return await self._inner.prepare(tx, snapshot)
        turn = _FlowTurn(facts_of(snapshot, now=self._clock.now()))
        run = await run_of(tx, snapshot.state.flow_run_id)
        turn.off_topic = _is_off_topic(run, turn.facts, now=self._clock.now())
        return turn

    async def respond(self, snapshot: ConversationSnapshot, prepared: object) -> None:
        if not isinstance(prepared, _FlowTurn):
            await self._inner.respond(snapshot, prepared)
            return
        now = self._clock.now()
        aside = await self._asides.answer(snapshot, prepared.facts, now=now) if prepared.off_topic else None
        async with self._database.transaction(snapshot.workspace_id) as tx:
            state = await snapshot.lock_if_ours(tx)
            if state is None or state.flow_run_id != snapshot.state.flow_run_id or state.flow_run_id is None:
                return
            snapshot.stored = True
            run = await run_of(tx, state.flow_run_id)
            await _FlowAnswering(tx, snapshot, state, run, prepared.facts, aside, self._limits_of, now).take()
            await mark_handled(tx, [one.id for one in snapshot.pending])

    def fallback_text(self, snapshot: ConversationSnapshot) -> str:
        return self._inner.fallback_text(snapshot)


@dataclass(slots=True)
class _FlowAnswering:
    """One turn of a flow within its transaction."""

    tx: Transaction
    snapshot: ConversationSnapshot
    state: ConversationState
    run: FlowRun
    facts: Facts
    aside: Aside | None
    limits_of: Callable[[str], Limits]
    now: datetime

    async def take(self) -> None:
        """Do what comes after the contact's words."""
        try:
            definition = load_flow(self.run.definition)
        except BadDefinition:
            await self._to_people("failed", HandOffReason.FLOW)
            return
        if self.run.removed:
            await self._to_people("removed", HandOffReason.FLOW)
            return
        found, wants = _next(definition, self.run, self.facts, now=self.now)
        await self._go_on(definition, found, wants)

    async def _go_on(self, definition: FlowDefinition, found: Next, wants: HandOff | None) -> None:
        if _has_no_answer(found) and self.aside is not None and self._may_speak:
            await self._answer_beside(self.aside)
            return
        await flow_runs.keep_answers(self.tx, self.run, self.state, found.progress, now=self.now)
        if (await transitions.lock(self.tx, self.state.id)).flow_run_id != self.run.id:
            return
        match found:
            case Ask() if self._may_speak:
                await self._ask(found)
            case Ask():
                await self._to_people("failed", HandOffReason.ALLOWANCE)
            case AwaitAnswer():
                pass
            case Finish():
                await flow_runs.finish(self.tx, self.run, "finished", limits_of=self.limits_of, now=self.now)
            case Leave(outcome="asked"):
                await self._to_people("asked", wants.reason if wants else HandOffReason.ASKED)
            case Leave(outcome="cancelled") if definition.when_cancelled == "assistant":
                await self._cancel(definition, found.progress.step)
            case Leave(outcome=outcome):
                await self._to_people(outcome, HandOffReason.FLOW)

    async def _answer_beside(self, aside: Aside) -> None:
        """Answer what the contact wanted to know, and ask again; that was no try."""
        snapshot, left = self.snapshot, self.facts.allowance
        limits = snapshot.inbox.channel.limits
        said = await enqueue(
            self.tx,
            self.state,
            author=Author.ASSISTANT,
            actor=ASSISTANT,
            text=aside.text,
            key=key_for("flow", self.tx.workspace_id, self.run.id, "aside", snapshot.pending[-1].external_id),
            limits=limits,
            now=self.now,
            content={"citations": aside.turn.citations, "below": aside.below},
            turn_id=await aside.record(self.tx, snapshot, now=self.now),
            # One is kept for the question.
            most=None if left is None else max(left - limits.reserved - 1, 1),
            helped=True,
            cause=cause_of(self.run),
        )
        snapshot.queued = said.messages
        await self._ask(Ask(self.run.progress))

    @property
    def _may_speak(self) -> bool:
        return self.facts.window_open and self.facts.has_room

    async def _ask(self, asking: Ask) -> None:
        snapshot = self.snapshot
        queued = await ask(
            self.tx,
            self.run,
            asking,
            limits=snapshot.inbox.channel.limits,
            now=self.now,
            # Named after the vendor's own id: a database that lost its last second knows the question again.
            key=(snapshot.inbox.external_id, snapshot.pending[-1].external_id),
        )
        snapshot.queued += queued.messages
        snapshot.revision = queued.revision or snapshot.revision

    async def _to_people(self, outcome: str, reason: HandOffReason) -> None:
        await flow_runs.end(self.tx, self.run, outcome, now=self.now)
        await hand_over(
            self.tx,
            self.snapshot,
            self.facts,
            hand_off(self.facts, reason),
            question="",
            by=actor_of(self.run),
            now=self.now,
            cause=cause_of(self.run),
        )

    async def _cancel(self, definition: FlowDefinition, step: int) -> None:
        """The contact does not want to go on, and asked for nobody."""
        await flow_runs.end(self.tx, self.run, "cancelled", now=self.now)
        if self._may_speak:
            await send_as_rule(
                self.tx,
                self.state.id,
                text=STOPPED[definition.steps[step].english],
                by=actor_of(self.run),
                key=key_for("flow", self.tx.workspace_id, self.run.id, "cancelled"),
                limits=self.snapshot.inbox.channel.limits,
                now=self.now,
                cause=cause_of(self.run),
            )
        await flow_runs.settle(self.tx, self.run, now=self.now)


def _next(definition: FlowDefinition, run: FlowRun, facts: Facts, *, now: datetime) -> tuple[Next, HandOff | None]:
    """What comes after the contact's words, and whether these are for people."""
    own = tapped_here(facts.pending, run.id)
    # What stands on an entry of ours are our own words.
    words = tuple(one for one in facts.pending if one.choice not in own)
    wants = to_people(replace(facts, pending=words))
    today = now.astimezone(ZoneInfo(facts.policy.hours.timezone)).date()
    found = follow(
        definition.steps, run.progress, facts.pending, run_id=run.id, wants_person=wants is not None, today=today
    )
    return found, wants


def _has_no_answer(found: Next) -> bool:
    """Whether what was said is none, and may be something else that the contact wants to know."""
    return (isinstance(found, Ask) and bool(found.problem)) or (isinstance(found, Leave) and found.outcome == "failed")


def _is_off_topic(run: FlowRun, facts: Facts, *, now: datetime) -> bool:
    try:
        definition = load_flow(run.definition)
    except BadDefinition:
        return False
    return not run.removed and _has_no_answer(_next(definition, run, facts, now=now)[0])

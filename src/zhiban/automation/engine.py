"""Asks the rules about each fact, in the transaction of the change, and lets those act whose conditions hold.

Whatever a rule does goes through the verbs that people use, names the rule as its actor and cause, and may set off
other rules. A chain is cut at the depth of the event log, and where it comes back to a rule that is still acting on the
same conversation: that a rule answers itself is nothing but its echo, a longer way round is a loop, and stands in the
log. Every firing is a stored run; one whose conditions did not hold leaves none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime
from typing import Any

from zhiban.automation.action_context import ActionContext
from zhiban.automation.actions import AnyAction, StopAction
from zhiban.automation.attempts import attempt
from zhiban.automation.conditions import CheckedCondition, check
from zhiban.automation.delays import TIME_PASSED
from zhiban.automation.facts import AgentFacts, RuleFacts
from zhiban.automation.jobs import NOTE_AGENT
from zhiban.automation.models import RunOutcome
from zhiban.automation.rule_book import CompiledRule, RuleBook
from zhiban.automation.triggers import Trigger, triggers_of
from zhiban.automation.waiting import EXPIRES, DueDelay, goes_on, note_skipped, note_waits, take_turn
from zhiban.conversations.assignment import open_counts
from zhiban.conversations.contact_labels import contact_labels
from zhiban.conversations.facts import conversation_facts, previous_assignee
from zhiban.events import Actor, Cause, ConversationEvent
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.jobs import enqueue
from zhiban.kit.json_safe import json_safe
from zhiban.people.presence import PresenceFact, availabilities
from zhiban.ports import Limits

log = logging.getLogger(__name__)

TOO_DEEP = "too_deep"
LOOP = "loop"
STALE_READS = 3  # how often in a row rules may change under our hands before this fact goes on without them

# The rules that are acting in this task, each with its conversation, the innermost last.
_ACTING: ContextVar[tuple[tuple[int, int], ...]] = ContextVar("acting", default=())

# Only where the rule is still what we know of it: another process may have changed it a moment ago.
_BEGIN = """
insert into rule_run (workspace_id, rule_id, revision, trigger, event_id, conversation_id, outcome, reason, facts,
  conditions, at)
select %(workspace)s, r.id, r.revision, %(trigger)s, %(event)s, %(conversation)s, %(outcome)s, %(reason)s,
  %(facts)s::jsonb, %(conditions)s::jsonb, %(now)s
from rule r where r.id = %(rule)s and r.revision = %(revision)s and r.enabled and r.removed_at is null
returning id"""

_END = "update rule_run set outcome = %(outcome)s, actions = %(actions)s::jsonb where id = %(id)s"

# One change may be several facts (taken: opened and assigned); as "updated" they are one.
_UPDATED_ALREADY = """
select 1 from rule_run where conversation_id = %(conversation)s and rule_id = %(rule)s and at = %(now)s
  and trigger = 'conversation_updated' and event_id <> %(event)s and outcome <> 'cut' limit 1"""


class _Stale(Exception):
    """The rule was changed or switched off since it was read."""


@frozen_dataclass
class _AskedRule:
    """A rule that is asked about a fact."""

    rule: CompiledRule
    trigger: str
    facts: RuleFacts
    event: ConversationEvent | None  # None: time has passed
    checked: CheckedCondition


class RuleEngine:
    """The handler of all facts that may set off a rule. `limits_of` tells what a kind of channel takes."""

    def __init__(self, book: RuleBook, limits_of: Callable[[str], Limits]) -> None:
        self.book = book
        self._limits_of = limits_of

    async def react(self, tx: Transaction, event: ConversationEvent) -> None:
        """Ask every rule that listens to this fact, in their order; those that wait begin or end to do so."""
        await self._react(tx, event)
        await self._note_waits(tx, event)

    async def _note_waits(self, tx: Transaction, event: ConversationEvent) -> None:
        waiting = (await self.book.rules(tx)).waiting
        if waiting:
            await note_waits(tx, event, waiting)

    async def act_due(self, tx: Transaction, due: DueDelay, *, now: datetime) -> bool:
        """Ask a rule that has waited. False when somebody else has done so, or nothing is waited for any more.

        Its turn is taken in this transaction, together with all that it does: it is asked once or, where the process
        dies, not yet.
        """
        found = await conversation_facts(tx, due.conversation_id)
        rule = next((one for one in (await self.book.rules(tx)).waiting if one.id == due.rule_id), None)
        if found is None or (rule is not None and not await goes_on(tx, due, rule, found.state, now=now)):
            return False
        if not await take_turn(tx, due, now=now):
            return False
        if rule is None or now - due.due_at > EXPIRES:
            await note_skipped(tx, due, "off" if rule is None else "expired", now=now)
            return True
        facts = await _completed(tx, rule, RuleFacts(now, found))
        asked = _AskedRule(rule, TIME_PASSED, facts, None, check(rule.definition.conditions, facts))
        if asked.checked.held is False and not any(asked.checked.failed()):
            await note_skipped(tx, due, "conditions", now=now, checked=asked.checked)
            return True
        try:
            await self._answer(tx, asked, cut="")
        except _Stale:
            self.book.forget(tx.workspace_id)
            await note_skipped(tx, due, "off", now=now)
        return True

    async def note_presence(self, tx: Transaction, event: PresenceFact) -> None:
        """An agent came or went: where rules wait for that, look for who waits, once this is committed."""
        if any(one.definition.after and one.definition.after.of_agents for one in (await self.book.rules(tx)).waiting):
            await enqueue(tx, NOTE_AGENT.of(key=str(event.agent_id), agent_id=event.agent_id))

    async def cut(self, tx: Transaction, event: ConversationEvent) -> None:
        """The chain is too long: store which rules would have acted now, and act no more."""
        await self._react(tx, event, cut=TOO_DEEP)
        await self._note_waits(tx, event)

    async def _react(self, tx: Transaction, event: ConversationEvent, *, cut: str = "") -> None:
        asked: set[int] = set()
        for _ in range(STALE_READS):
            listening = (await self.book.rules(tx)).by_kind.get(type(event))
            if not listening:
                return
            try:
                await self._ask(tx, event, [rule for rule in listening if rule.id not in asked], asked, cut=cut)
            except _Stale:
                self.book.forget(tx.workspace_id)
                continue
            return

    async def _ask(
        self, tx: Transaction, event: ConversationEvent, rules: list[CompiledRule], asked: set[int], *, cut: str
    ) -> None:
        happened = triggers_of(event)
        facts: RuleFacts | None = None
        for rule in rules:
            trigger = next((one for one in rule.definition.on if one in happened), None)
            if trigger is None or _is_echo(rule, event):
                continue
            if facts is None:
                facts = await _facts(tx, event)
                if facts is None:
                    return
            facts = await _completed(tx, rule, facts)
            checked = check(rule.definition.conditions, facts)
            stop = await self._answer(tx, _AskedRule(rule, trigger, facts, event, checked), cut=cut)
            asked.add(rule.id)
            if stop:
                return
            if checked.held:
                facts = None  # it may have changed them

    async def _answer(self, tx: Transaction, asked: _AskedRule, *, cut: str) -> bool:
        """Act, or store why not. True: no rule after this one is asked."""
        failed = next(asked.checked.failed(), "")
        if not asked.checked.held:
            if failed:
                await _begin(tx, asked, RunOutcome.FAILED, failed)
            return False
        cut = cut or (LOOP if (asked.rule.id, asked.facts.state.id) in _ACTING.get() else "")
        if cut:
            await _begin(tx, asked, RunOutcome.CUT, cut)
            return False
        if (
            asked.event is not None
            and asked.trigger == Trigger.CONVERSATION_UPDATED
            and await tx.value(
                _UPDATED_ALREADY,
                conversation=asked.facts.state.id,
                rule=asked.rule.id,
                now=asked.facts.now,
                event=asked.event.id,
            )
        ):
            return False
        return await self._act(tx, asked)

    async def _act(self, tx: Transaction, asked: _AskedRule) -> bool:
        run_id = await _begin(tx, asked, RunOutcome.ACTED)
        acting = _ACTING.set((*_ACTING.get(), (asked.rule.id, asked.facts.state.id)))
        done: list[dict[str, Any]] = []
        stop = asked.rule.stops
        try:
            for position, action in enumerate(asked.rule.definition.actions):
                done.append(await self._do(tx, asked, action, run_id, position))
                if isinstance(action, StopAction):
                    stop = True
                    break
        finally:
            _ACTING.reset(acting)
        failed = any(one["outcome"] == "failed" for one in done)
        outcome = RunOutcome.FAILED if failed else RunOutcome.ACTED
        await tx.run(_END, id=run_id, outcome=outcome, actions=json_safe(done))
        return stop

    async def _do(
        self, tx: Transaction, asked: _AskedRule, action: AnyAction, run_id: int, position: int
    ) -> dict[str, Any]:
        """What came of one action. One that cannot be done leaves nothing behind; the others are done all the same."""
        reason = "rule"
        context = ActionContext(
            tx=tx,
            facts=asked.facts,
            limits=self._limits_of(asked.facts.conversation.channel),
            actor=Actor("rule", asked.rule.id, asked.rule.name),
            cause=Cause("rule", asked.rule.id, (asked.event.cause.depth if asked.event else 0) + 1),
            name=asked.rule.name,
            reason=reason,
            key=f"rule-{run_id}",
            run_id=run_id,
            position=position,
            now=asked.facts.now,
        )
        return await attempt(action, context)


def _is_echo(rule: CompiledRule, event: ConversationEvent) -> bool:
    """Whether the rule would hear itself: it is acting on this conversation, and brought the fact about."""
    return _ACTING.get()[-1:] == ((rule.id, event.conversation_id),)


async def _facts(tx: Transaction, event: ConversationEvent) -> RuleFacts | None:
    found = await conversation_facts(tx, event.conversation_id, event.column("message_id"))
    return None if found is None else RuleFacts(event.at, found, event)


async def _completed(tx: Transaction, rule: CompiledRule, facts: RuleFacts) -> RuleFacts:
    """With what this rule asks for and most do not."""
    if rule.needs_agents and facts.agents is None:
        facts = await _with_agents(tx, facts)
    if rule.needs_contact_labels and facts.contact_labels is None:
        facts = replace(facts, contact_labels=await contact_labels(tx, facts.state.contact_id))
    return facts


async def _with_agents(tx: Transaction, facts: RuleFacts) -> RuleFacts:
    state = facts.state
    assignee = state.assignee_id
    counts = await open_counts(tx, [assignee] if assignee is not None else [])
    agents = AgentFacts(
        await availabilities(tx, inbox_id=state.inbox_id),
        await previous_assignee(tx, state.id, other_than=assignee),
        0 if assignee is None else counts[assignee].total(),
    )
    return replace(facts, agents=agents)


async def _begin(tx: Transaction, asked: _AskedRule, outcome: RunOutcome, reason: str = "") -> int:
    """Store the run. Raises _Stale where the rule is not what we know of it."""
    run_id: int | None = await tx.value(
        _BEGIN,
        workspace=tx.workspace_id,
        rule=asked.rule.id,
        revision=asked.rule.revision,
        trigger=asked.trigger,
        event=asked.event.id if asked.event else None,
        conversation=asked.facts.state.id,
        outcome=outcome,
        reason=reason,
        facts=json_safe(asked.facts.stored()),
        conditions=json_safe(asked.checked.stored()),
        now=asked.facts.now,
    )
    if run_id is None:
        raise _Stale
    return run_id

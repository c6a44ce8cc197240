"""Asks a rule about what has already happened, without acting: would it have, and why not.

The log of events tells what each conversation was like after each change, so the rule is asked about the past as it
was. Contacts, attributes and the policies of inboxes are taken as they are now; who was there is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby

from zhiban.automation.conditions import CheckedCondition, check
from zhiban.automation.definition import Definition
from zhiban.automation.delays import TIME_PASSED, TimePassed, Wait
from zhiban.automation.facts import RuleFacts
from zhiban.automation.triggers import Trigger, triggers_of
from zhiban.conversations.evolution import born, evolve
from zhiban.conversations.facts import ConversationFacts, MessageFacts, latest_conversations, messages_of
from zhiban.conversations.models import ConversationState
from zhiban.conversations.queries import histories
from zhiban.events import ConversationCreated, ConversationEvent, Event, StatusChanged
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.permissions import Access

CONVERSATIONS = 200
EVENTS = 20_000  # of all of them together; what is older is left out


@frozen_dataclass
class RehearsedRun:
    """The rule would have acted here, or (`checked.held` is None) could not have told."""

    conversation_id: int
    name: str
    at: datetime
    trigger: str
    checked: CheckedCondition


@frozen_dataclass
class Rehearsal:
    """What a rule would have done. `conversations`: those looked at, newest first, each with how often it fired."""

    conversations: tuple[tuple[int, int], ...]
    runs: tuple[RehearsedRun, ...]  # newest first
    partial: bool = False  # it also waits for agents to come or go, of whom the past tells nothing

    @property
    def fired(self) -> int:
        return sum(run.checked.held is True for run in self.runs)

    @property
    def unsure(self) -> int:
        """How often it could not have been told whether it fires."""
        return sum(run.checked.held is None for run in self.runs)


@frozen_dataclass
class _Moment:
    """When a rule is asked, about which state, and because of which fact; None where time has passed."""

    at: datetime
    state: ConversationState
    event: ConversationEvent | None = None

    @property
    def message_id(self) -> int | None:
        return self.event.column("message_id") if self.event else None


async def rehearse(
    tx: Transaction,
    definition: Definition,
    *,
    now: datetime,
    access: Access | None = None,
    rule_id: int | None = None,
    limit: int = CONVERSATIONS,
) -> Rehearsal:
    """What this rule would have done in the conversations of lately, of which `access` may see only some.

    What `rule_id` itself did is no reason.
    """
    latest = await latest_conversations(tx, limit=limit)
    if access is not None:
        latest = [one for one in latest if access.sees(one.state.inbox_id)]
    events = await histories(tx, [one.state.id for one in latest], limit=EVENTS)
    moments: list[tuple[ConversationFacts, _Moment]] = []
    for one in latest:
        changes = list(_changes(events.get(one.state.id, ())))
        moments += [(one, moment) for moment in _set_off(changes, definition, rule_id)]
        if definition.after is not None:
            moments += [(one, moment) for moment in _waited(changes, definition.after, now=now)]
    messages = await messages_of(tx, [moment.message_id for _, moment in moments if moment.message_id is not None])
    runs = [run for moment in moments if (run := _asked(definition, *moment, messages)) is not None]
    counts = {one.state.id: 0 for one in latest}
    for run in runs:
        counts[run.conversation_id] += run.checked.held is True
    latest_first = tuple(sorted(runs, key=lambda run: run.at, reverse=True))
    partial = definition.after is not None and definition.after.of_agents
    return Rehearsal(tuple(counts.items()), latest_first, partial)


Change = tuple[list[ConversationEvent], ConversationState]


def _changes(events: Sequence[Event]) -> Iterator[Change]:
    """The facts of each change together, with the state after it. What begins before the log does is left out."""
    state: ConversationState | None = None
    told = [event for event in events if isinstance(event, ConversationEvent)]
    for _, change in groupby(told, key=lambda event: (event.at, event.cause.depth)):
        together = list(change)
        for event in together:
            if isinstance(event, ConversationCreated):
                state = born(event)
            elif state is not None:
                state = evolve(state, event)
        if state is not None:
            yield together, state


def _set_off(changes: Sequence[Change], definition: Definition, rule_id: int | None) -> Iterator[_Moment]:
    """The facts that set the rule off."""
    updated_at: datetime | None = None
    for together, state in changes:
        for event in together:
            if event.actor.kind == "rule" and event.actor.id == rule_id:
                continue
            happened = triggers_of(event) & set(definition.on)
            # Several facts of one change are one update, as the engine has it.
            if not happened or (happened == {Trigger.CONVERSATION_UPDATED} and updated_at == event.at):
                continue
            if Trigger.CONVERSATION_UPDATED in happened:
                updated_at = event.at
            yield _Moment(event.at, state, event)


def _waited(changes: Sequence[Change], after: TimePassed, *, now: datetime) -> Iterator[_Moment]:
    """The moments at which something had been waited through."""
    wait: Wait | None = None
    waiting: ConversationState | None = None
    status_since: datetime | None = None
    done: datetime | None = None

    def due(until: datetime) -> Iterator[_Moment]:
        if wait is not None and waiting is not None and wait.since != done and wait.counts_from + after.span <= until:
            yield _Moment(wait.counts_from + after.span, waiting)

    for together, state in changes:
        for moment in due(together[0].at):
            done = wait.since if wait else None
            yield moment
        began = [event.at for event in together if isinstance(event, StatusChanged | ConversationCreated)]
        status_since = began[-1] if began else status_since
        wait, waiting = after.wait(state, status_since=status_since), state
    yield from due(now)


def _asked(
    definition: Definition, one: ConversationFacts, moment: _Moment, messages: dict[int, MessageFacts]
) -> RehearsedRun | None:
    message = messages.get(moment.message_id or 0)
    facts = RuleFacts(moment.at, replace(one, state=moment.state, message=message), moment.event)
    checked = check(definition.conditions, facts)
    if not checked.held and not any(checked.failed()):
        return None
    if checked.held is False:
        checked = replace(checked, held=None)  # one part failed: nobody can say
    happened = triggers_of(moment.event) if moment.event else frozenset()
    trigger = next((trigger for trigger in definition.on if trigger in happened), TIME_PASSED)
    return RehearsedRun(moment.state.id, one.contact.name, moment.at, trigger, checked)

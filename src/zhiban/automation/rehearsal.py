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
from zhiban.automation.facts import RuleFacts
from zhiban.automation.triggers import Trigger, triggers_of
from zhiban.conversations.evolution import born, evolve
from zhiban.conversations.facts import ConversationFacts, MessageFacts, latest_conversations, messages_of
from zhiban.conversations.models import ConversationState
from zhiban.conversations.queries import histories
from zhiban.events import ConversationCreated, ConversationEvent, Event
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass

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

    @property
    def fired(self) -> int:
        return sum(run.checked.held is True for run in self.runs)

    @property
    def unsure(self) -> int:
        """How often it could not have been told whether it fires."""
        return sum(run.checked.held is None for run in self.runs)


async def rehearse(
    tx: Transaction, definition: Definition, *, rule_id: int | None = None, limit: int = CONVERSATIONS
) -> Rehearsal:
    """What this rule would have done in the conversations of lately. What `rule_id` itself did is no reason."""
    latest = await latest_conversations(tx, limit=limit)
    events = await histories(tx, [one.state.id for one in latest], limit=EVENTS)
    moments: list[tuple[ConversationFacts, ConversationEvent, ConversationState]] = []
    for one in latest:
        moments += [(one, event, state) for event, state in _moments(events.get(one.state.id, ()), definition, rule_id)]
    wanted = [event.column("message_id") for _, event, _ in moments]
    messages = await messages_of(tx, [id_ for id_ in wanted if id_ is not None])
    runs = [run for moment in moments if (run := _asked(definition, *moment, messages)) is not None]
    counts = {one.state.id: 0 for one in latest}
    for run in runs:
        counts[run.conversation_id] += run.checked.held is True
    return Rehearsal(tuple(counts.items()), tuple(sorted(runs, key=lambda run: run.at, reverse=True)))


def _moments(
    events: Sequence[Event], definition: Definition, rule_id: int | None
) -> Iterator[tuple[ConversationEvent, ConversationState]]:
    """The facts that set the rule off, each with the state after the whole change that it belongs to."""
    state: ConversationState | None = None
    updated_at: datetime | None = None
    told = [event for event in events if isinstance(event, ConversationEvent)]
    for _, change in groupby(told, key=lambda event: (event.at, event.cause.depth)):
        together = list(change)
        for event in together:
            if isinstance(event, ConversationCreated):
                state = born(event)
            elif state is not None:
                state = evolve(state, event)
        if state is None:
            continue  # its beginning was left out
        for event in together:
            if event.actor.kind == "rule" and event.actor.id == rule_id:
                continue
            happened = triggers_of(event) & set(definition.on)
            # Several facts of one change are one update, as the engine has it.
            if not happened or (happened == {Trigger.CONVERSATION_UPDATED} and updated_at == event.at):
                continue
            if Trigger.CONVERSATION_UPDATED in happened:
                updated_at = event.at
            yield event, state


def _asked(
    definition: Definition,
    one: ConversationFacts,
    event: ConversationEvent,
    state: ConversationState,
    messages: dict[int, MessageFacts],
) -> RehearsedRun | None:
    message = messages.get(event.column("message_id") or 0)
    facts = RuleFacts(event.at, replace(one, state=state, message=message), event)
    checked = check(definition.conditions, facts)
    if not checked.held and not any(checked.failed()):
        return None
    if checked.held is False:
        checked = replace(checked, held=None)  # one part failed: nobody can say
    trigger = next(trigger for trigger in definition.on if trigger in triggers_of(event))
    return RehearsedRun(state.id, one.contact.name, event.at, trigger, checked)

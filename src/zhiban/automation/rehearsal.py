"""Asks a rule about what has already happened, without acting: would it have, and why not.

The log of events tells what each conversation was like after each change, and who was there, so the rule is asked
about the past as it was. Contacts, attributes, the policies of inboxes and who may answer where are taken as they are
now; how many conversations an agent had in hand nobody knows any more. A rule that waits for agents to come or go is
asked about the last times that they did.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby

from zhiban.automation.comings_and_goings import ComingsAndGoings, RowPosition, comings_and_goings, presence_since
from zhiban.automation.conditions import CheckedCondition, check, needs_agents, needs_contact_labels
from zhiban.automation.definition import Definition
from zhiban.automation.delays import TIME_PASSED, TimePassed, Wait
from zhiban.automation.facts import AgentFacts, RuleFacts
from zhiban.automation.triggers import Trigger, triggers_of
from zhiban.conversations.contact_labels import labels_of_contacts
from zhiban.conversations.evolution import born, evolve
from zhiban.conversations.facts import (
    ConversationFacts,
    MessageFacts,
    conversations_since,
    latest_conversations,
    messages_of,
)
from zhiban.conversations.models import ConversationState
from zhiban.conversations.queries import histories
from zhiban.events import (
    AgentWentOffline,
    ConversationAssigned,
    ConversationCreated,
    ConversationEvent,
    Event,
    StatusChanged,
)
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.people.permissions import Access
from zhiban.people.presence import PresenceFact

CONVERSATIONS = 200
WITH_AGENTS = 2000  # conversations in which agents who come or go are looked for
EVENTS = 20_000  # of all of them together; what is older is left out
_LATEST = 2**63 - 1  # behind every fact of the same moment


@frozen_dataclass
class RehearsedRun:
    """The rule would have acted here, or (`checked.held` is None) could not have told."""

    conversation_id: int
    name: str
    at: datetime
    trigger: str
    checked: CheckedCondition
    channel: str = ""


@frozen_dataclass
class Rehearsal:
    """What a rule would have done. `conversations`: those looked at, newest first, each with how often it fired.

    `waits_for` agents to come or go, and how often they did as far as was looked (`agent_facts`); empty: for nobody.
    Of `untold` conversations the log does not hold the beginning, so that nobody knows what they were like.
    """

    conversations: tuple[tuple[int, int], ...]
    runs: tuple[RehearsedRun, ...]  # newest first
    waits_for: str = ""
    agent_facts: int = 0
    untold: int = 0

    @property
    def fired(self) -> int:
        return sum(run.checked.held is True for run in self.runs)

    @property
    def unsure(self) -> int:
        """How often it could not have been told whether it fires."""
        return sum(run.checked.held is None for run in self.runs)


@frozen_dataclass
class _ReplayedMoment:
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
    after = definition.after
    log: ComingsAndGoings | None = None
    latest = await latest_conversations(tx, limit=limit)
    if after is not None and after.of_agents:
        log = await comings_and_goings(tx, after.what, limit=limit)
        touched = await conversations_since(tx, log.first_id, limit=WITH_AGENTS)
        also = {one.state.id: one for one in latest} if definition.on else {}
        latest = list((also | {one.state.id: one for one in touched}).values())
    if access is not None:
        latest = [one for one in latest if access.sees(one.state.inbox_id)]
    events = await histories(tx, [one.state.id for one in latest], limit=EVENTS)
    moments: list[tuple[ConversationFacts, _ReplayedMoment]] = []
    untold = 0
    histories_of: dict[int, list[ReplayedChange]] = {}
    for one in latest:
        changes = histories_of[one.state.id] = list(_changes(events.get(one.state.id, ())))
        untold += not changes
        moments += [(one, moment) for moment in _set_off(changes, definition, rule_id)]
        if after is not None:
            moments += [(one, moment) for moment in _in_time(changes, after, log, now=now)]
    messages = await messages_of(tx, [moment.message_id for _, moment in moments if moment.message_id is not None])
    there = None
    if moments and needs_agents(definition.conditions):
        there = await presence_since(tx, min(moment.at for _, moment in moments))
    labels: dict[int, tuple[int, ...]] | None = None
    if needs_contact_labels(definition.conditions):
        labels = await labels_of_contacts(tx, [one.state.contact_id for one in latest if one.state.contact_id])
    runs = []
    for one, moment in moments:
        agents = None if there is None else _agents(there, moment, histories_of[one.state.id])
        borne = None if labels is None else labels.get(one.state.contact_id or 0, ())
        run = _asked(definition, one, moment, messages, agents, borne)
        runs += [] if run is None else [run]
    counts = {one.state.id: 0 for one in latest}
    for run in runs:
        counts[run.conversation_id] += run.checked.held is True
    latest_first = tuple(sorted(runs, key=lambda run: run.at, reverse=True))
    found = Rehearsal(tuple(counts.items()), latest_first, untold=untold)
    if after is None or log is None:
        return found
    return replace(found, waits_for=after.what, agent_facts=log.asked_about)


def remarks(found: Rehearsal, texts: Texts) -> list[str]:
    """What whoever reads it should know of how it was done."""
    said: list[str] = []
    if found.waits_for and not found.agent_facts:
        said.append(texts("日志里还没有人这样上线或离线过。"))
    elif found.waits_for == "assignee_offline":
        said.append(texts.n("看了最近{n}次同事离线，和当时归他们、对方在等的会话。", found.agent_facts))
    elif found.waits_for:
        said.append(texts.n("看了最近{n}次同事上线，和当时归他们或没人处理、对方在等的会话。", found.agent_facts))
        said.append(texts("谁能回复哪个收件箱，按现在的算。"))
    if found.untold:
        said.append(texts.n("有{n}个会话的开头不在日志里，当时怎样无从得知。", found.untold))
    return said


ReplayedChange = tuple[list[ConversationEvent], ConversationState]


def _changes(events: Sequence[Event]) -> Iterator[ReplayedChange]:
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


def _set_off(
    changes: Sequence[ReplayedChange], definition: Definition, rule_id: int | None
) -> Iterator[_ReplayedMoment]:
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
            yield _ReplayedMoment(event.at, state, event)


def _in_time(
    changes: Sequence[ReplayedChange], after: TimePassed, log: ComingsAndGoings | None, *, now: datetime
) -> Iterator[_ReplayedMoment]:
    """The moments at which something had been waited through."""
    if log is None:
        return _waited(_waits(changes, after), after, now=now)
    if after.what == "assignee_offline":
        return _waited(_waits_for_absent(changes, after, log), after, now=now)
    return _came(changes, after, log, now=now)


_WaitingRule = tuple[datetime, Wait | None, ConversationState]  # from when on what is waited through, in which state


def _waited(steps: Iterable[_WaitingRule], after: TimePassed, *, now: datetime) -> Iterator[_ReplayedMoment]:
    """The moments at which a wait had lasted long enough, each once."""
    wait: Wait | None = None
    waiting: ConversationState | None = None
    done: datetime | None = None

    def due(until: datetime) -> Iterator[_ReplayedMoment]:
        if wait is not None and waiting is not None and wait.since != done and wait.counts_from + after.span <= until:
            yield _ReplayedMoment(wait.counts_from + after.span, waiting)

    for at, begun, state in steps:
        for moment in due(at):
            done = wait.since if wait else None
            yield moment
        wait, waiting = begun, state
    yield from due(now)


def _waits(changes: Sequence[ReplayedChange], after: TimePassed) -> Iterator[_WaitingRule]:
    status_since: datetime | None = None
    for together, state in changes:
        began = [event.at for event in together if isinstance(event, StatusChanged | ConversationCreated)]
        status_since = began[-1] if began else status_since
        yield together[0].at, after.wait(state, status_since=status_since), state


def _waits_for_absent(
    changes: Sequence[ReplayedChange], after: TimePassed, log: ComingsAndGoings
) -> Iterator[_WaitingRule]:
    """What is waited through after each change, and after each time that an agent who had the conversation moved."""
    agents = {state.assignee_id for _, state in changes if state.assignee_id is not None}
    absent = {agent: log.absent_before(agent) for agent in agents}
    steps: list[tuple[RowPosition, ReplayedChange | PresenceFact]] = [(_key(change), change) for change in changes]
    steps += log.of(agents)
    state: ConversationState | None = None
    given: datetime | None = None
    for (at, _), step in sorted(steps, key=lambda one: one[0]):
        if isinstance(step, tuple):
            together, state = step
            given = at if any(isinstance(event, ConversationAssigned) for event in together) else given
        else:
            absent[step.agent_id] = at if isinstance(step, AgentWentOffline) else None
        if state is not None:
            gone = absent.get(state.assignee_id) if state.assignee_id is not None else None
            agent_since = None if gone is None else max(gone, given or gone)
            yield at, after.wait(state, agent_since=agent_since), state


def _came(
    changes: Sequence[ReplayedChange], after: TimePassed, log: ComingsAndGoings, *, now: datetime
) -> Iterator[_ReplayedMoment]:
    """The moments at which an agent who could answer had been there long enough; who comes in between begins anew."""
    keys = [_key(change) for change in changes]
    began: list[RowPosition] = []
    for fact in log.comings():
        place = bisect_right(keys, (fact.at, fact.id))
        state = changes[place - 1][1] if place else None
        if state is None or state.assignee_id not in (None, fact.agent_id):
            continue
        if after.wait(state, agent_since=fact.at) is not None and log.may_answer(fact.agent_id, state.inbox_id):
            began.append((fact.at, fact.id))
    for number, (at, id_) in enumerate(began):
        due = at + after.span
        if due > now or (number + 1 < len(began) and began[number + 1][0] < due):
            continue
        # What happens at the very moment in which it is due comes too late, as it does for a timer.
        until = (due, 0) if after.span else (at, id_)
        state = changes[bisect_right(keys, until) - 1][1]
        wait = after.wait(state, agent_since=at)
        if wait is not None and wait.since == at and _somebody_there(state, log, until):
            yield _ReplayedMoment(due, state)


def _somebody_there(state: ConversationState, log: ComingsAndGoings, until: RowPosition) -> bool:
    """Whether the assignee, or where there is none anybody who may answer, was online."""
    asked = log.answers if state.assignee_id is None else (state.assignee_id,)
    return any(log.may_answer(agent, state.inbox_id) and log.is_online(agent, until) for agent in asked)


def _key(change: ReplayedChange) -> RowPosition:
    return change[0][-1].at, change[0][-1].id


def _agents(there: ComingsAndGoings, moment: _ReplayedMoment, changes: Sequence[ReplayedChange]) -> AgentFacts | None:
    """Who was there at that moment, and who had had the conversation before; None where nobody knows."""
    if not there.tells_of(moment.at):
        return None
    until = (moment.at, moment.event.id if moment.event else _LATEST)
    has = moment.state.assignee_id
    had = [state.assignee_id for together, state in changes if together[0].at <= moment.at]
    previous = next((agent for agent in reversed(had) if agent not in (None, has)), None)
    return AgentFacts(there.seen_in(moment.state.inbox_id, until), previous, None)


def _asked(
    definition: Definition,
    one: ConversationFacts,
    moment: _ReplayedMoment,
    messages: dict[int, MessageFacts],
    agents: AgentFacts | None,
    contact_labels: tuple[int, ...] | None,
) -> RehearsedRun | None:
    message = messages.get(moment.message_id or 0)
    then = replace(one, state=moment.state, message=message)
    facts = RuleFacts(moment.at, then, moment.event, agents, contact_labels)
    checked = check(definition.conditions, facts)
    if not checked.held and not any(checked.failed()):
        return None
    if checked.held is False:
        checked = replace(checked, held=None)  # one part failed: nobody can say
    happened = triggers_of(moment.event) if moment.event else frozenset()
    trigger = next((trigger for trigger in definition.on if trigger in happened), TIME_PASSED)
    return RehearsedRun(moment.state.id, one.contact.name, moment.at, trigger, checked, one.channel)

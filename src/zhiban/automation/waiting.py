"""Which rule waits for what in which conversation: rows that facts begin and end, and that timers take up when due."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from zhiban.automation.conditions import CheckedCondition
from zhiban.automation.definition import BadDefinition, load_definition
from zhiban.automation.delays import TIME_PASSED, Wait
from zhiban.automation.models import RunOutcome
from zhiban.automation.queries import access_rule
from zhiban.automation.rule_book import CompiledRule
from zhiban.conversations import transitions
from zhiban.conversations.facts import given_at, open_for, those_in
from zhiban.conversations.models import ConversationState
from zhiban.events import ConversationCreated, ConversationEvent, RuleAdded, RuleChanged, StatusChanged
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.json_safe import json_safe
from zhiban.people import presence
from zhiban.people.permissions import Permission, access_of_agent
from zhiban.people.presence import Availability

EXPIRES = timedelta(days=1)  # what was due longer ago, because nobody was running, would surprise people
AT_ONCE = 200
EXISTING = 10_000  # conversations that a rule begins to wait in when it is switched on

# A wait that is known stays as it is, also when it has been acted on; where it goes on longer, it is due later.
_BEGIN = """
insert into rule_delay (workspace_id, rule_id, conversation_id, since, due_at)
select %(workspace)s, rule, conversation, since, due
from json_to_recordset(%(rows)s::json) as t(rule bigint, conversation bigint, since timestamptz, due timestamptz)
order by rule, conversation
on conflict (workspace_id, rule_id, conversation_id) do update
set since = excluded.since, due_at = excluded.due_at,
  done_at = case when rule_delay.since = excluded.since then rule_delay.done_at end"""

_END = """
delete from rule_delay where conversation_id = %(conversation)s and rule_id = any(%(rules)s::bigint[])
  and done_at is null"""

_END_MANY = """
delete from rule_delay where conversation_id = any(%(conversations)s::bigint[]) and rule_id = %(rule)s
  and done_at is null"""

_DUE = """
select rule_id, conversation_id, since, due_at from rule_delay
where due_at <= %(now)s and done_at is null order by due_at, rule_id, conversation_id limit %(limit)s"""

ANY_DUE = (
    "exists (select from rule_delay where due_at <= %(now)s and done_at is null)"  # whether `due_delays` finds any
)

_TAKE = """
update rule_delay set done_at = %(now)s
where rule_id = %(rule)s and conversation_id = %(conversation)s and due_at <= %(now)s and done_at is null
returning since"""

_SKIP = """
insert into rule_run (workspace_id, rule_id, revision, trigger, conversation_id, outcome, reason, conditions, at)
select %(workspace)s, id, revision, %(trigger)s, %(conversation)s, %(outcome)s, %(reason)s, %(conditions)s::jsonb,
  %(now)s from rule where id = %(rule)s"""


@frozen_dataclass
class DueDelay:
    """A rule that has waited long enough in a conversation."""

    rule_id: int
    conversation_id: int
    since: datetime
    due_at: datetime


async def note_waits(tx: Transaction, event: ConversationEvent, rules: Sequence[CompiledRule]) -> None:
    """Begin or end the waits of these rules, as a fact has it."""
    listening = [rule for rule in rules if rule.definition.after and rule.definition.after.listens(event)]
    if not listening:
        return
    state = await transitions.lock(tx, event.conversation_id)
    changed = isinstance(event, StatusChanged | ConversationCreated)
    absent = None
    if any(rule.definition.after and rule.definition.after.of_agents for rule in listening):
        absent = await _absent_since(tx, state, now=event.at)
    began, ended = [], []
    for rule in listening:
        after = rule.definition.after
        status_since = event.at if changed else None
        wait = after.wait(state, status_since=status_since, agent_since=absent) if after else None
        if wait is None:
            ended.append(rule.id)
        elif after is not None:
            began.append(_row(rule.id, state.id, wait, wait.counts_from + after.span))
    if ended:
        await tx.run(_END, conversation=state.id, rules=ended)
    if began:
        await tx.run(_BEGIN, workspace=tx.workspace_id, rows=json_safe(began))


async def _absent_since(tx: Transaction, state: ConversationState, *, now: datetime) -> datetime | None:
    """Since when somebody waits for an agent who is gone and had it by then; None: nobody does."""
    if state.assignee_id is None or state.waiting_since is None:
        return None
    absent = await presence.absent_since(tx, state.assignee_id, now=now)
    if absent is None:
        return None
    return max([absent, *(await given_at(tx, [state.id])).values()])


async def note_agent(tx: Transaction, agent_id: int, rules: Sequence[CompiledRule]) -> None:
    """Begin and end the waits of these rules after an agent came or went; once more is nothing."""
    of_kind: dict[str, list[CompiledRule]] = {"assignee_offline": [], "agent_available": []}
    for rule in rules:
        if rule.definition.after is not None and rule.definition.after.of_agents:
            of_kind[rule.definition.after.what].append(rule)
    availability, since = await presence.standing_of(tx, agent_id)
    access = await access_of_agent(tx, agent_id)
    answers = access is not None and access.may(Permission.ANSWER)
    gone = availability is Availability.OFFLINE
    if not gone:
        theirs = [state.id for state in await open_for(tx, agent_id, limit=EXISTING)]
        for rule in of_kind["assignee_offline"]:
            await tx.run(_END_MANY, conversations=theirs, rule=rule.id)
    asked = of_kind["assignee_offline"] if gone else of_kind["agent_available"]
    if since is None or not asked or not (gone or (answers and availability is Availability.ONLINE)):
        return
    waiting = await open_for(tx, agent_id, limit=AT_ONCE, or_nobody_in=None if gone else access)
    given = await given_at(tx, [state.id for state in waiting]) if gone else {}
    await _begin(tx, asked, waiting, {state.id: max(since, given.get(state.id, since)) for state in waiting})


async def _begin(
    tx: Transaction,
    rules: Sequence[CompiledRule],
    states: Sequence[ConversationState],
    agent_since: dict[int, datetime],
) -> None:
    rows = [
        _row(rule.id, state.id, wait, wait.counts_from + rule.definition.after.span)
        for rule in rules
        for state in states
        if rule.definition.after and (wait := rule.definition.after.wait(state, agent_since=agent_since[state.id]))
    ]
    if rows:
        await tx.run(_BEGIN, workspace=tx.workspace_id, rows=json_safe(rows))


async def goes_on(
    tx: Transaction, due: DueDelay, rule: CompiledRule, state: ConversationState, *, now: datetime
) -> bool:
    """Whether what began with an agent has lasted until now: they may have come back, or gone again, unnoticed here.

    What does not is forgotten, and what began anew waits for its own time.
    """
    after = rule.definition.after
    if after is None or not after.of_agents:
        return True
    if after.what == "assignee_offline":
        agent_since = await _absent_since(tx, state, now=now)
    else:
        there = await presence.availabilities(tx, inbox_id=state.inbox_id)
        asked = there.values() if state.assignee_id is None else [there.get(state.assignee_id)]
        agent_since = due.since if Availability.ONLINE in asked else None
    wait = after.wait(state, agent_since=agent_since)
    if wait is not None and wait.since == due.since:
        return True
    await tx.run(_END, conversation=state.id, rules=[rule.id])
    if wait is not None and after.what == "assignee_offline":
        row = _row(rule.id, state.id, wait, wait.counts_from + after.span)
        await tx.run(_BEGIN, workspace=tx.workspace_id, rows=json_safe([row]))
    return False


def _row(rule_id: int, conversation_id: int, wait: Wait, due: datetime) -> dict[str, object]:
    return {"rule": rule_id, "conversation": conversation_id, "since": wait.since, "due": due}


async def wait_in_existing(tx: Transaction, event: RuleAdded | RuleChanged) -> None:
    """A rule that is switched on, or waits for something else now, begins with what is there already.

    A status counts from now on, as nobody noted when it began; nothing is due before now.
    """
    if isinstance(event, RuleChanged) and not {"enabled", "definition"} & event.after.keys():
        return
    rule = await access_rule(tx, event.rule_id)
    if isinstance(event, RuleChanged):
        await tx.run("delete from rule_delay where rule_id = %(rule)s and done_at is null", rule=rule.id)
    try:
        after = load_definition(rule.definition).after
    except BadDefinition:
        return
    if after is None or not rule.enabled:
        return
    statuses = [after.status] if after.what == "status" else ["pending", "open"]
    states = await those_in(tx, statuses, limit=EXISTING)
    absent = await _absences(tx, states) if after.what == "assignee_offline" else {}
    rows = [
        _row(rule.id, state.id, wait, max(wait.counts_from + after.span, event.at))
        for state in states
        if (wait := after.wait(state, status_since=event.at, agent_since=absent.get(state.id))) is not None
    ]
    if rows:
        await tx.run(_BEGIN, workspace=tx.workspace_id, rows=json_safe(rows))


async def _absences(tx: Transaction, states: Sequence[ConversationState]) -> dict[int, datetime]:
    """By conversation: since when its assignee has been gone and had it."""
    gone = await presence.absences(tx)
    found = {one.id: gone[one.assignee_id] for one in states if one.assignee_id in gone and one.waiting_since}
    given = await given_at(tx, list(found))
    return {id_: max(since, given.get(id_, since)) for id_, since in found.items()}


async def due_delays(tx: Transaction, *, now: datetime) -> list[DueDelay]:
    """What is due, longest first, AT_ONCE at most. Whoever takes one up asks `take_turn` first."""
    return await tx.objects(DueDelay, _DUE, now=now, limit=AT_ONCE)


async def take_turn(tx: Transaction, due: DueDelay, *, now: datetime) -> bool:
    """Take it up, for a conversation that this transaction has locked. False when it is not due any more."""
    taken = await tx.value(_TAKE, rule=due.rule_id, conversation=due.conversation_id, now=now)
    return taken is not None


async def note_skipped(
    tx: Transaction, due: DueDelay, reason: str, *, now: datetime, checked: CheckedCondition | None = None
) -> None:
    """Store why a rule that has waited does not act."""
    await tx.run(
        _SKIP,
        workspace=tx.workspace_id,
        rule=due.rule_id,
        trigger=TIME_PASSED,
        conversation=due.conversation_id,
        outcome=RunOutcome.SKIPPED,
        reason=reason,
        conditions=json_safe(checked.stored() if checked else {}),
        now=now,
    )

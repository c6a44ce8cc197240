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
from zhiban.conversations.facts import those_in
from zhiban.events import ConversationCreated, ConversationEvent, RuleAdded, RuleChanged, StatusChanged
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.json_safe import json_safe

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

_DUE = """
select rule_id, conversation_id, due_at from rule_delay
where due_at <= %(now)s and done_at is null order by due_at, rule_id, conversation_id limit %(limit)s"""

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
    due_at: datetime


async def note_waits(tx: Transaction, event: ConversationEvent, rules: Sequence[CompiledRule]) -> None:
    """Begin or end the waits of these rules, as a fact has it."""
    listening = [rule for rule in rules if rule.definition.after and rule.definition.after.listens(event)]
    if not listening:
        return
    state = await transitions.lock(tx, event.conversation_id)
    changed = isinstance(event, StatusChanged | ConversationCreated)
    began, ended = [], []
    for rule in listening:
        after = rule.definition.after
        wait = after.wait(state, status_since=event.at if changed else None) if after else None
        if wait is None:
            ended.append(rule.id)
        elif after is not None:
            began.append(_row(rule.id, state.id, wait, wait.counts_from + after.span))
    if ended:
        await tx.run(_END, conversation=state.id, rules=ended)
    if began:
        await tx.run(_BEGIN, workspace=tx.workspace_id, rows=json_safe(began))


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
    rows = [
        _row(rule.id, state.id, wait, max(wait.counts_from + after.span, event.at))
        for state in await those_in(tx, statuses, limit=EXISTING)
        if (wait := after.wait(state, status_since=event.at)) is not None
    ]
    if rows:
        await tx.run(_BEGIN, workspace=tx.workspace_id, rows=json_safe(rows))


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

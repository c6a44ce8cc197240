"""Reads about rules, and the names behind the ids that they name."""

from __future__ import annotations

from datetime import datetime

from zhiban.automation.models import RuleRow, RuleRun
from zhiban.automation.wording import Names
from zhiban.conversations.action_files import action_files
from zhiban.conversations.attributes import conversation_fields
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.contact_fields import STANDARD, contact_fields, names_borne

_RULES = """
select id, position, name, enabled, stops, definition, revision, shipped, changed_at, changed_by
from rule where removed_at is null"""

_RUNS = """
select id, rule_id, revision, trigger, event_id, conversation_id, outcome, reason, facts, conditions, actions, at
from rule_run"""

_NAMES = """
select 'agent' as kind, id, name from agent
union all select 'team', id, name from team
union all select 'label', id, name from label where removed_at is null
union all select 'inbox', id, name from inbox where archived_at is null
union all select 'macro', id, name from macro
union all select 'rule', id, name from rule
union all select 'flow', id, name from flow where removed_at is null
order by 1, 3, 2"""


async def rules(tx: Transaction) -> list[RuleRow]:
    """Every rule in the order in which they are asked."""
    return await tx.objects(RuleRow, _RULES + " order by position, id")


async def enabled_rules(tx: Transaction) -> list[RuleRow]:
    """Those that work, in their order."""
    return await tx.objects(RuleRow, _RULES + " and enabled order by position, id")


async def access_rule(tx: Transaction, rule_id: int) -> RuleRow:
    """One rule of the transaction's workspace. Raises NotFound."""
    found = await tx.object(RuleRow, _RULES + " and id = %(id)s", id=rule_id)
    if found is None:
        raise NotFound("There is no such rule.")
    return found


async def runs_of(tx: Transaction, rule_id: int, *, limit: int = 50) -> list[RuleRun]:
    """What a rule did, newest first."""
    return await tx.objects(
        RuleRun,
        _RUNS + " where rule_id = %(rule)s order by at desc, id desc limit %(limit)s",
        rule=rule_id,
        limit=limit,
    )


async def access_run(tx: Transaction, run_id: int) -> RuleRun:
    """One run. Raises NotFound."""
    found = await tx.object(RuleRun, _RUNS + " where id = %(id)s", id=run_id)
    if found is None:
        raise NotFound("There is no such run.")
    return found


async def runs_about(tx: Transaction, conversation_id: int) -> list[RuleRun]:
    """What rules did to a conversation, in the order in which they did it."""
    return await tx.objects(RuleRun, _RUNS + " where conversation_id = %(id)s order by id", id=conversation_id)


@frozen_dataclass
class RunCount:
    """How often a rule acted, and failed, since a moment."""

    rule_id: int
    acted: int
    failed: int


async def run_counts(tx: Transaction, *, since: datetime) -> dict[int, RunCount]:
    """By rule; one that was not asked, or never did anything, is not in it."""
    found = await tx.objects(
        RunCount,
        "select rule_id, count(*) filter (where outcome = 'acted') as acted, "
        "count(*) filter (where outcome = 'failed') as failed from rule_run where at >= %(since)s group by rule_id",
        since=since,
    )
    return {one.rule_id: one for one in found}


async def names(tx: Transaction, channels: dict[str, str] | None = None) -> Names:
    """What agents, teams, labels and inboxes, macros and rules are called. `channels` names the kinds of inbox."""
    called: dict[str, dict[int, str]] = {
        kind: {} for kind in ("agent", "team", "label", "inbox", "macro", "rule", "flow")
    }
    for kind, id_, name in await tx.rows(_NAMES):
        called[kind][id_] = name
    return Names(
        agents=called["agent"],
        teams=called["team"],
        labels=called["label"],
        inboxes=called["inbox"],
        channels=channels or {},
        macros=called["macro"],
        rules=called["rule"],
        files={one.id: one for one in await action_files(tx)},
        flows=called["flow"],
        contact_fields=await contact_field_names(tx),
        conversation_fields=await conversation_field_names(tx),
    )


async def contact_field_names(tx: Transaction) -> tuple[str, ...]:
    """What can be asked of contacts: the usual fields, those of the workspace, and what vendors tell."""
    own = [one.name for one in (*STANDARD, *await contact_fields(tx))]
    return tuple(dict.fromkeys((*own, *await names_borne(tx))))


async def conversation_field_names(tx: Transaction) -> tuple[str, ...]:
    """What can be asked of conversations, and filled in."""
    return tuple(one.name for one in await conversation_fields(tx))

"""The rules that come with the program. Every new workspace has them, in its language; they are changed like others.

Only the first is on from the beginning: a resolved conversation is nobody's, so that a contact who returns waits for
whoever is there. The agent who resolved it keeps the credit in the log of events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from zhiban.automation import service
from zhiban.automation.definition import load_definition
from zhiban.automation.models import RuleRow
from zhiban.automation.queries import rules
from zhiban.events import SYSTEM, Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark


@frozen_dataclass
class ShippedRule:
    """A rule as data. `key` tells which of ours a workspace's rule once was."""

    key: str
    name: str
    definition: Mapping[str, Any]
    enabled: bool = False


UNASSIGN_ON_RESOLVE = "unassign_on_resolve"

SHIPPED = (
    ShippedRule(
        UNASSIGN_ON_RESOLVE,
        mark("解决后取消分配"),
        {
            "on": ["conversation_resolved"],
            "conditions": {"conditions": [{"kind": "assignee", "operator": "present"}]},
            "actions": [{"kind": "unassign"}],
        },
        enabled=True,
    ),
    ShippedRule(
        "returning_contact",
        mark("再次来访，给最合适的在线同事"),
        {
            "on": ["conversation_opened"],
            "conditions": {
                "conditions": [{"kind": "returning"}, {"kind": "assignee", "operator": "not_present"}],
            },
            "actions": [{"kind": "assign_best"}],
        },
    ),
    ShippedRule(
        "agent_offline",
        mark("处理人离线两分钟而对方在等，另找人"),
        {
            "on": [],
            "after": {"what": "assignee_offline", "minutes": 2},
            # Nobody's, should nobody be there: whoever comes first is given it.
            "actions": [{"kind": "unassign"}, {"kind": "assign_best"}],
        },
    ),
    ShippedRule(
        "urgent_words",
        mark("对方很急，标为紧急并通知"),
        {
            "on": ["message_created"],
            "conditions": {"conditions": [{"kind": "message_sentiment", "sentiment": "urgent"}]},
            "actions": [
                {"kind": "set_priority", "priority": 4, "at_least": True},
                {"kind": "notify", "text": "{{contact.name}}很急，已标为紧急"},
            ],
        },
    ),
    ShippedRule(
        "negative_sentiment",
        mark("情绪不好，转人工"),
        {
            "on": ["message_created"],
            "conditions": {
                "conditions": [
                    {"kind": "message_sentiment", "sentiment": "negative"},
                    {"kind": "status", "statuses": ["pending"]},
                ]
            },
            "actions": [{"kind": "hand_off", "to": "people"}],
        },
    ),
)


async def install_shipped(tx: Transaction, texts: Texts, *, now: datetime) -> None:
    """Give a new workspace the rules that come with the program."""
    for one in SHIPPED:
        await _add(tx, one, texts, enabled=one.enabled, by=SYSTEM, now=now)


def missing(rules: Iterable[RuleRow]) -> list[ShippedRule]:
    """Those that a workspace does not have: removed, or newer than it."""
    there = {rule.shipped for rule in rules}
    return [one for one in SHIPPED if one.key not in there]


async def add_shipped(tx: Transaction, key: str, texts: Texts, *, by: Actor, now: datetime) -> int:
    """Take one over that is missing, switched on. Returns its id. Raises NotFound, Conflict."""
    found = next((one for one in SHIPPED if one.key == key), None)
    if found is None:
        raise NotFound("There is no such rule.")
    if found not in missing(await rules(tx)):
        raise Conflict("This rule is there already.")
    return await _add(tx, found, texts, enabled=True, by=by, now=now)


async def _add(tx: Transaction, one: ShippedRule, texts: Texts, *, enabled: bool, by: Actor, now: datetime) -> int:
    return await service.add(
        tx,
        name=texts(one.name),
        definition=load_definition(one.definition),
        enabled=enabled,
        shipped=one.key,
        by=by,
        now=now,
    )

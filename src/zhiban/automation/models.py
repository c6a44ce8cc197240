"""Rules as they are stored, and the records of what they did."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from zhiban.kit.frozen_dataclass import frozen_dataclass


class RunOutcome(StrEnum):
    """What came of a rule that was asked. One whose conditions simply did not hold leaves no run."""

    ACTED = "acted"  # every action was done, or changed nothing because it was so already
    FAILED = "failed"  # a condition could not be told, or an action could not be done
    CUT = "cut"  # it would have acted, but the chain of reactions was too long, or came back to it
    SKIPPED = "skipped"  # a delayed rule that was not right any more when its time came


@frozen_dataclass
class RuleRow:
    """A rule. `definition` is what `Definition.to_json` wrote, `revision` grows with every change."""

    id: int
    position: int
    name: str
    enabled: bool
    stops: bool
    definition: dict[str, Any]
    revision: int
    shipped: str | None
    changed_at: datetime
    changed_by: int | None


@frozen_dataclass
class RuleRun:
    """One firing: which rule in which revision, because of what, what it saw, and what it did."""

    id: int
    rule_id: int
    revision: int
    trigger: str
    event_id: int | None
    conversation_id: int | None
    outcome: str
    reason: str
    facts: dict[str, Any]
    conditions: dict[str, Any]
    actions: list[dict[str, Any]]
    at: datetime

"""What every action is done with, and what may come of it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from zhiban.automation.facts import RuleFacts
from zhiban.conversations.transitions import Applied
from zhiban.events import Actor, Cause
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports import Limits

# queued: it leaves after the commit; nobody: no agent who may be given it is there.
ActionOutcome = Literal["done", "unchanged", "queued", "nobody"]


@frozen_dataclass
class ActionContext:
    """For whom, on what, and because of what an action is done."""

    tx: Transaction
    facts: RuleFacts  # as they were when the rule was asked
    limits: Limits  # of the conversation's channel
    actor: Actor
    cause: Cause
    name: str  # of the rule or macro
    reason: str  # what the facts say: rule or macro
    key: str  # of this firing
    run_id: int | None  # of this firing, where it is a rule's
    position: int  # of the action in its rule
    now: datetime

    @property
    def conversation_id(self) -> int:
        return self.facts.state.id


def outcome_of(applied: Applied) -> ActionOutcome:
    return "done" if applied.changed else "unchanged"

"""How far connecting a vendor has come, step by step. Pure: what is known comes in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports import CheckResult, Setup, SetupStep

StepStatus = Literal["done", "doing", "failed", "todo"]


@frozen_dataclass
class SetupFacts:
    """What is known of a connection. `checks` None: the vendor was not asked yet. A contact's message was received and
    answered, where anybody has written at all."""

    verified_at: datetime | None = None
    checks: Sequence[CheckResult] | None = None
    checked_at: datetime | None = None
    received_at: datetime | None = None
    answered_at: datetime | None = None


@frozen_dataclass
class StepProgress:
    """One step as it stands. `at` is when it was proved, `check` what the vendor says of it."""

    number: int
    step: SetupStep
    status: StepStatus
    at: datetime | None = None
    check: CheckResult | None = None


def setup_progress(setup: Setup, facts: SetupFacts) -> list[StepProgress]:
    """Every step. Those that only the vendor can prove wait for each other; calls and messages come at any time."""
    by_vendor = _by_vendor(setup, facts)
    found: list[StepProgress] = []
    for number, step in enumerate(setup.steps, 1):
        match step.proof:
            case "saved":
                found.append(StepProgress(number, step, "done"))
            case "vendor":
                status, check = by_vendor[step.key]
                at = facts.checked_at if status in ("done", "failed") else None
                found.append(StepProgress(number, step, status, at, check))
            case "webhook":
                found.append(StepProgress(number, step, "done" if facts.verified_at else "doing", facts.verified_at))
            case "message":
                before = all(one.status == "done" for one in found)
                found.append(StepProgress(number, step, _message(facts, ready=before), _latest(facts)))
    return found


def remaining(found: Sequence[StepProgress]) -> int:
    """How many steps are left."""
    return sum(one.status != "done" for one in found)


def _message(facts: SetupFacts, *, ready: bool) -> StepStatus:
    if facts.answered_at is not None:
        return "done"
    return "doing" if ready or facts.received_at is not None else "todo"


def _latest(facts: SetupFacts) -> datetime | None:
    return facts.answered_at or facts.received_at


def _by_vendor(setup: Setup, facts: SetupFacts) -> dict[str, tuple[StepStatus, CheckResult | None]]:
    keys = [step.key for step in setup.steps if step.proof == "vendor"]
    if not keys:
        return {}
    if facts.checks is None:
        return {key: ("doing" if key == keys[0] else "todo", None) for key in keys}
    # The first that does not work holds up those behind it; where all work, the furthest says how far it has come. A
    # connection that could not even be opened names no step: it stands before the first.
    named = [one for one in facts.checks if one.step in keys]
    stuck = next((one for one in named if one.level in ("fail", "warn")), None)
    reached = stuck or max(named, key=lambda one: keys.index(one.step), default=None)
    reached = reached or next((one for one in facts.checks if one.level == "fail"), None)
    if reached is None:
        return dict.fromkeys(keys, ("done", None))
    at = keys.index(reached.step) if reached.step in keys else 0
    status: StepStatus = "done" if reached.level == "ok" else "doing" if reached.level == "warn" else "failed"
    states: dict[str, tuple[StepStatus, CheckResult | None]] = {}
    for index, key in enumerate(keys):
        if index == at:
            states[key] = status, reached
        else:
            states[key] = ("done" if index < at else "todo"), None
    return states

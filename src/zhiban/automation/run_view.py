"""A run as people read it: each condition and action in words, with what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from zhiban.automation.actions import AnyAction
from zhiban.automation.conditions import SingleCondition
from zhiban.automation.mail_action import rule_mail_key
from zhiban.automation.models import RuleRun
from zhiban.automation.wording import RuleWording
from zhiban.conversations.transcript_mails import MailState, TranscriptMail, mails_by_key
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass


@frozen_dataclass
class RunLine:
    """One condition or action. `held`: a condition's answer, None where it could not be told; `error` says why."""

    what: str
    held: bool | None = None
    outcome: str = ""
    error: str = ""
    depth: int = 0


@frozen_dataclass
class RunView:
    """A run, with the name of the contact whom it is about."""

    id: int
    at: datetime
    who: str
    conversation_id: int | None
    outcome: str
    reason: str
    done: tuple[str, ...]
    conditions: tuple[RunLine, ...]
    actions: tuple[RunLine, ...]
    because: str  # of whose doing, where it was no direct one


async def run_views(
    tx: Transaction, runs: Sequence[RuleRun], words: RuleWording, called: Mapping[int, str]
) -> list[RunView]:
    """These runs; of mails that they asked for, what became of them by now."""
    keys = [rule_mail_key(run.id, place) for run in runs for place, one in enumerate(run.actions) if _is_mail(one)]
    mails = await mails_by_key(tx, keys) if keys else {}
    return [_view(run, words, called.get(run.conversation_id or 0, ""), mails) for run in runs]


def _is_mail(told: Mapping[str, Any]) -> bool:
    kind, outcome = told["action"].get("kind"), told["outcome"]
    return (kind, outcome) == ("mail_transcript", "queued")


_MAILED: Mapping[MailState, str] = {"sent": "delivered", "refused": "failed", "unknown": "unknown"}


def _action(told: Mapping[str, Any], mail: TranscriptMail | None, words: RuleWording) -> RunLine:
    outcome, error = told["outcome"], told.get("error", "")
    if mail is not None:
        outcome, error = _MAILED.get(mail.state, outcome), mail.problem
    return RunLine(_said(_actions, told["action"], words), outcome=outcome, error=error)


def _view(run: RuleRun, words: RuleWording, who: str, mails: Mapping[str, TranscriptMail]) -> RunView:
    actions = tuple(
        _action(one, mails.get(rule_mail_key(run.id, place)), words) for place, one in enumerate(run.actions)
    )
    done = tuple(one.what for one in actions if one.outcome != "failed")
    conditions = tuple(_lines(run.conditions, words))
    because = _because(run.facts, words)
    return RunView(
        run.id, run.at, who, run.conversation_id, run.outcome, run.reason, done, conditions, actions, because
    )


def _because(facts: Mapping[str, Any], words: RuleWording) -> str:
    id_ = facts.get("cause_id", 0)
    match facts.get("cause"):
        case "macro":
            return words.texts("由宏“{name}”引起", name=words.names.macros.get(id_, ""))
        case "rule":
            return words.texts("由规则“{name}”引起", name=words.names.rules.get(id_, ""))
        case "flow":
            return words.texts("由流程“{name}”引起", name=words.names.flows.get(id_, ""))
        case "bulk":
            return words.texts("由批量操作引起")
        case _:
            return ""


def _lines(told: Mapping[str, Any], words: RuleWording, depth: int = -1) -> Iterator[RunLine]:
    if "condition" in told:
        what = _said(_conditions, told["condition"], words)
        yield RunLine(what, told.get("held"), error=told.get("error", ""), depth=max(depth, 0))
    for part in told.get("parts", ()):
        yield from _lines(part, words, depth + 1)


def _said(adapter: Any, values: Mapping[str, Any], words: RuleWording) -> str:
    """A part in words; its kind where this version knows it no more."""
    try:
        said: str = adapter().validate_python(values).label(words)
    except ValidationError:
        return str(values.get("kind", ""))
    return said


@cache
def _conditions() -> TypeAdapter[SingleCondition]:
    return TypeAdapter(SingleCondition)


@cache
def _actions() -> TypeAdapter[AnyAction]:
    return TypeAdapter(AnyAction)

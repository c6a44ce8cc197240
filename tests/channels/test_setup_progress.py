"""How far connecting has come, from what is known of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from zhiban.channels.setup_progress import SetupFacts, remaining, setup_progress
from zhiban.integrations.wecom.setup import SETUP
from zhiban.ports import CheckResult

AT = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
KEYS = ["values", "callback", "address", "accounts", "message"]


def stand(**facts: Any) -> list[str]:
    found = setup_progress(SETUP, SetupFacts(**facts))
    assert [one.step.key for one in found] == KEYS
    return [one.status for one in found]


def said(level: Any, step: str) -> list[CheckResult]:
    return [CheckResult("WeCom", level, step=step), CheckResult("clock", "ok")]


def test_nobody_was_asked_yet() -> None:
    assert stand() == ["doing", "doing", "todo", "todo", "todo"]


@pytest.mark.parametrize(
    ("level", "step", "states"),
    [
        ("fail", "values", ["failed", "doing", "todo", "todo", "todo"]),
        ("fail", "address", ["done", "doing", "failed", "todo", "todo"]),
        ("warn", "accounts", ["done", "doing", "done", "doing", "todo"]),
        ("ok", "accounts", ["done", "doing", "done", "done", "todo"]),
    ],
)
def test_the_vendor_proves_what_stands_before_the_step_that_it_names(level: str, step: str, states: list[str]) -> None:
    assert stand(checks=said(level, step), checked_at=AT) == states


def test_a_connection_that_cannot_be_opened_stands_before_its_first_step() -> None:
    assert stand(checks=[CheckResult("connection", "fail", problem="The seal is broken.")])[0] == "failed"


def test_a_call_and_a_message_may_come_at_any_time() -> None:
    assert stand(verified_at=AT, received_at=AT) == ["doing", "done", "todo", "todo", "doing"]
    ready = {"verified_at": AT, "checks": said("ok", "accounts"), "checked_at": AT}
    assert stand(**ready)[-1] == "doing"
    done = setup_progress(SETUP, SetupFacts(**ready, received_at=AT, answered_at=AT))
    assert (remaining(done), done[-1].at) == (0, AT)

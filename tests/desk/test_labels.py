"""Whatever may happen has words in both languages, and no words are kept for what cannot happen."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import zhiban
from zhiban.assistant.decide import HandOffReason
from zhiban.conversations.list_models import Queue, StatusTab
from zhiban.conversations.models import Status
from zhiban.conversations.reasons import REASON_LABELS, UNSAID, Reason
from zhiban.desk.labels import FAILURE_LABELS, QUEUE_LABELS, STATUS_LABELS, TAB_LABELS
from zhiban.kit.i18n import catalogue
from zhiban.ports import Refusal

SOURCE = Path(zhiban.__file__).parent
# Where the reason stands in a call, counted from 0; as a keyword it is always `reason`.
PLACES = {
    "ActionContext": -1,
    "Open": 0,
    "Resolve": 0,
    "HandOff": 0,
    "_resolve": 0,
    "_to_people_unasked": 0,
    "Assign": 1,
    "_assign": 1,
    "hand_off": -1,
    "resolve": -1,
    "open_for_people": -1,
    "set_priority": -1,
    "assign": -1,
}


def literals(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str() as word) if word:
            yield word
        case ast.IfExp():
            yield from literals(node.body)
            yield from literals(node.orelse)


def said_in(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Call():
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = PLACES.get(name, -1)
            if 0 <= place < len(node.args):
                yield from literals(node.args[place])
            if name in PLACES or name.startswith("Conversation"):
                for keyword in node.keywords:
                    if keyword.arg == "reason":
                        yield from literals(keyword.value)
        case ast.Assign(targets=[ast.Name(id="reason")], value=value):
            yield from literals(value)


def words_of_the_code() -> set[str]:
    """Every reason that the code says as a literal, wherever a conversation changes."""
    found = set()
    for module in ("assistant", "automation", "conversations", "desk", "workers"):
        for path in (SOURCE / module).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                found.update(said_in(node))
    return found


def test_the_list_of_reasons_is_what_the_code_says() -> None:
    assert words_of_the_code() | {reason.value for reason in HandOffReason} == {reason.value for reason in Reason}


def test_every_reason_has_words_or_needs_none() -> None:
    assert set(REASON_LABELS) == set(Reason) - UNSAID


def test_every_failure_has_words_and_no_other() -> None:
    # The last is why an idle conversation was resolved without its words.
    assert set(FAILURE_LABELS) == {*(refusal.value for refusal in Refusal), "paused"}


def test_every_status_queue_and_tab_has_its_name() -> None:
    assert set(STATUS_LABELS) == {status.value for status in Status}
    assert set(QUEUE_LABELS) == {queue.value for queue in Queue}
    assert set(TAB_LABELS) == {tab.value for tab in StatusTab}


def test_all_of_them_are_said_in_english_too() -> None:
    english = catalogue("en").plain
    for labels in (REASON_LABELS, FAILURE_LABELS, STATUS_LABELS, QUEUE_LABELS, TAB_LABELS):
        assert all(english.get(words) for words in labels.values()), labels

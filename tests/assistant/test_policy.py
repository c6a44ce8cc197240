"""Policy files as operators write them, with every mistake named."""

from __future__ import annotations

import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.channels.business_hours import DAYS, Hours, Span
from zhiban.channels.policy import HandoffPolicy, Policy, PolicyMistake, Zones
from zhiban.channels.policy_file import load_policy, policy_yaml

SHOP = """
# 天猫店
assistant: on
welcome: 您好，这里是小店。
closing: "感谢光临"
handoff:
  words: [投诉, 发票抬头]
  max_failures: 3
  to: servicer:lihua
  text: |
    已为您转接人工，
    请稍候。
  notify:
    - telegram:8518085684
    - mailto://user:password@example.com
hours:
  timezone: Asia/Shanghai
  weekly:
    mon-fri: [9:00-12:00, 13:30-18:00]
    周六: 10:00-16:00
  holidays:
    - 2026-10-01..2026-10-07
  days:
    2026-10-10: 9:00-18:00
zones:
  answer: 0.9
  suggest: 0.4
"""


def test_a_policy_as_operators_write_it() -> None:
    policy = load_policy(SHOP)
    assert policy.assistant
    assert policy.welcome == "您好，这里是小店。"
    assert policy.handoff.words == ("投诉", "发票抬头")
    assert policy.handoff.max_failures == 3
    assert policy.handoff.servicer == "lihua"
    assert policy.handoff.text == "已为您转接人工，\n请稍候。"
    assert policy.hours.weekly is not None
    assert list(policy.hours.weekly) == list(DAYS[:6])
    assert policy.hours.weekly["mon"] == (Span(start=540, end=720), Span(start=810, end=1080))
    assert len(policy.hours.holidays) == 7
    assert policy.zones == Zones(answer=0.9, suggest=0.4)
    assert load_policy(policy_yaml(policy)) == policy


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "handoff:\n", "hours: always", "zones: null"])
def test_what_is_left_out_has_its_default(text: str) -> None:
    assert load_policy(text) == Policy()


def test_nothing_is_written_as_null_and_comes_back() -> None:
    """Where nothing means "never" while leaving it out means a number."""
    never = load_policy("auto_resolve:\n  answered_hours: null\nassignment:\n  by: balanced\n  offline_minutes: ~\n")
    assert (never.auto_resolve.answered_hours, never.assignment.offline_minutes) == (None, None)
    assert load_policy(policy_yaml(never)) == never
    assert load_policy("auto_resolve:\n  answered_hours:\n").auto_resolve.answered_hours == 24


@pytest.mark.parametrize(
    ("written", "meant"), [("on", True), ("off", False), ("yes", True), ("false", False), ("'off'", False)]
)
def test_on_and_off(written: str, meant: bool) -> None:
    assert load_policy(f"assistant: {written}").assistant is meant


@pytest.mark.parametrize(
    ("text", "line", "field", "says"),
    [
        ("welcom: hi", 1, "welcom", "no such field"),
        ("assistant: maybe", 1, "assistant", "on or off"),
        ("handoff:\n  max_failures: many", 2, "handoff.max_failures", "whole number"),
        ("handoff:\n  max_failures: 0", 2, "handoff.max_failures", "greater than or equal to 1"),
        ("handoff:\n  words:\n    - 投诉\n    - ''", 4, "handoff.words.1", "empty"),
        ("handoff:\n  to: nobody", 2, "handoff.to", "pool"),
        ("handoff:\n  notify: nowhere", 2, "handoff.notify.0", "telegram:"),
        ("handoff:\n  max_failures: 2\n  max_failures: 3", 3, "handoff.max_failures", "twice"),
        ("hours:\n  timezone: Asia/Shangai", 2, "hours.timezone", "Asia/Shanghai"),
        ("hours:\n  weekly:\n    funday: 9:00-18:00", 2, "hours.weekly", "funday"),
        ("hours:\n  weekly:\n    mon: 9-18", 3, "hours.weekly.mon.0", "09:00-18:00"),
        ("hours:\n  weekly:\n    mon: 9:00-25:00", 3, "hours.weekly.mon.0", "no day has"),
        ("hours:\n  weekly:\n    mon: 9:00-9:00", 3, "hours.weekly.mon.0", "00:00-24:00"),
        ("hours:\n  weekly:\n    mon: 9:00-10:00\n    mon-fri: 9:00-10:00", 2, "hours.weekly", "twice"),
        ("hours:\n  holidays:\n   - 2026-13-01", 3, "hours.holidays.0", "date"),
        ("hours:\n  holidays:\n   - 2026-10-07..2026-10-01", 2, "hours.holidays", "forward"),
        ("hours:\n  days:\n    tomorrow: 9:00-18:00", 3, "hours.days.tomorrow", "date"),
        ("zones:\n  answer: 0.2\n  suggest: 0.4", 1, "zones", "suggest must not be above answer"),
        ("zones:\n  answer: 0.2", 1, "zones.suggest", "missing"),
        ("welcome: " + "好" * 1000, 1, "welcome", "bytes"),
        ("- a\n- b", 1, "", "list of fields"),
        ("just words", 1, "", "list of fields"),
        ("a: b: c", 1, "", "not YAML"),
        ("handoff:\n\twords: x", 2, "", "not YAML"),
        ("a: &x [1]\nb: *x", 1, "", "anchors"),
        ("welcome: a\nclosing: \x00", 2, "", "character"),
        ("? [a]\n: b", 1, "", "plain word"),
        ("a: b\n---\nc: d", 2, "", "not YAML"),
        ("[" * 5000, 1, "", "nested"),
        ("[" * 5000 + "]" * 5000, 1, "", "nested"),
        ("#" * 300_000, None, "", "too long"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_field(text: str, line: int | None, field: str, says: str) -> None:
    with pytest.raises(PolicyMistake) as caught:
        load_policy(text)
    problem = caught.value.problems[0]
    assert (problem.line, problem.field) == (line, field)
    assert says in problem.message
    assert says in caught.value.sentence


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(PolicyMistake) as caught:
        load_policy("assistant: maybe\nhandoff:\n  max_failures: x\n  to: y\nunknown: 1")
    assert len(caught.value.problems) == 4


def test_keys_of_addresses_are_not_repeated() -> None:
    with pytest.raises(PolicyMistake) as caught:
        load_policy("handoff: {notify: ['wecom-robot secret-key-1234']}")
    assert "secret-key" not in caught.value.sentence


LINES = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60).map(str.strip)
WORDS = st.lists(LINES.filter(lambda word: 0 < len(word) <= 50), max_size=4).map(tuple)
SPANS = st.lists(
    st.tuples(st.integers(0, 1439), st.integers(1, 1440))
    .filter(lambda ends: ends[0] != ends[1])
    .map(lambda ends: Span(start=ends[0], end=ends[1])),
    max_size=3,
).map(tuple)
DATES = st.dates(dt.date(2000, 1, 1), dt.date(2100, 1, 1))
POLICIES = st.builds(
    Policy,
    assistant=st.booleans(),
    welcome=LINES,
    closing=LINES,
    handoff=st.builds(
        HandoffPolicy,
        words=WORDS,
        max_failures=st.integers(1, 10),
        when_upset=st.booleans(),
        to=st.sampled_from(["pool", "desk", "servicer:li hua", "servicer:123"]),
        text=LINES,
        notify=st.lists(st.sampled_from(["telegram:1", "mailto://a:b@c.d"]), max_size=2).map(tuple),
    ),
    hours=st.builds(
        Hours,
        timezone=st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "UTC"]),
        weekly=st.none() | st.dictionaries(st.sampled_from(DAYS), SPANS, max_size=7),
        holidays=st.lists(DATES, max_size=3).map(tuple),
        days=st.dictionaries(DATES, SPANS, max_size=2),
    ),
    zones=st.none() | st.just(Zones(answer=0.75, suggest=0.25)),
)


@given(POLICIES)
def test_every_policy_survives_a_round_trip(policy: Policy) -> None:
    assert load_policy(policy_yaml(policy)) == policy


@given(st.text())
def test_any_text_is_a_policy_or_a_named_mistake(text: str) -> None:
    with contextlib.suppress(PolicyMistake):
        load_policy(text)

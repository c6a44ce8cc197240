"""Every kind of condition, with plain values: what holds, what does not, and what cannot be told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from zhiban.automation.conditions import CONDITIONS, ConditionGroup, check
from zhiban.automation.definition import BadDefinition, load_definition
from zhiban.automation.facts import AgentFacts, RuleFacts
from zhiban.automation.flow_definition import load_flow
from zhiban.automation.macro_definition import load_macro
from zhiban.automation.wording import Names, RuleWording
from zhiban.conversations.facts import ContactFacts, ConversationFacts, MessageFacts
from zhiban.conversations.models import ConversationState, Status
from zhiban.events import (
    Actor,
    ContactLabelsChanged,
    ConversationAssigned,
    ConversationEvent,
    ConversationLabelsChanged,
    ConversationPriorityChanged,
    ConversationReopened,
    ConversationTeamAssigned,
)
from zhiban.kit.i18n import Texts

NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)  # a Friday, noon in China
STATE = ConversationState(
    id=1, inbox_id=2, contact_id=3, thread="wm1", status=Status.OPEN, assignee_id=7, team_id=5, priority=3,
    labels=(11, 12), waiting_since=NOON - timedelta(minutes=12),
)  # fmt: skip
HOURS = {"hours": {"weekly": {"mon-fri": "09:00-18:00"}}}
ABOUT: dict[str, Any] = {"actor": Actor("agent", 7), "at": NOON, "conversation_id": 1, "assignee_id": 7, "team_id": 5}
NAMES = Names({7: "林晓", 8: "陈默"}, {5: "售后"}, {11: "退款", 12: "催单"}, {2: "官网"}, {"memory": "内存"})


def facts(event: ConversationEvent | None = None, text: str = "", **more: Any) -> RuleFacts:
    message = MessageFacts(9, more.pop("direction", "in"), more.pop("author", "contact"), "text", text)
    contact = ContactFacts(
        "沈嘉宁", "嘉宁", {"version": "企业版", "orders": 12, "since": "2026-11-01", "tags": ["a", "VIP"]}
    )
    hours = more.pop("team_hours", None)
    state = replace(STATE, **more)
    conversation = ConversationFacts(state, "memory", {"plan": "年付"}, contact, HOURS, message, hours)
    return RuleFacts(NOON, conversation, event, AgentFacts({7: "online", 8: "busy"}, 8, 4), (12, 13))


reopened = ConversationReopened(**ABOUT, status="open", previous="resolved", reason="wrote_again")
taken = ConversationAssigned(**{**ABOUT, "assignee_id": None}, to_agent_id=7)
freed = ConversationAssigned(**ABOUT, to_agent_id=None)
team = ConversationTeamAssigned(**ABOUT, to_team_id=6)
no_team = ConversationTeamAssigned(**ABOUT, to_team_id=None)
contact_labelled = ContactLabelsChanged(**ABOUT, contact_id=3, added=(12,), removed=(13,))
labelled = ConversationLabelsChanged(**ABOUT, added=(11,), removed=(13,))
risen = ConversationPriorityChanged(**ABOUT, priority=3, previous=1)

# The condition without its kind, the facts, and whether it holds (None: cannot be told).
TABLE: list[tuple[str, dict[str, Any], RuleFacts, bool | None]] = [
    ("status", {"statuses": ["open"]}, facts(), True),
    ("status", {"statuses": ["open", "pending"], "operator": "none_of"}, facts(), False),
    ("assignee", {"operator": "present"}, facts(), True),
    ("assignee", {"operator": "not_present"}, facts(assignee_id=None), True),
    ("assignee", {"operator": "any_of", "agents": [8, 7]}, facts(), True),
    ("assignee", {"operator": "none_of", "agents": [7]}, facts(assignee_id=None), True),
    ("team", {"operator": "any_of", "teams": [5]}, facts(), True),
    ("team", {"operator": "not_present"}, facts(), False),
    ("inbox", {"inboxes": [2]}, facts(), True),
    ("inbox", {"inboxes": [2], "operator": "none_of"}, facts(), False),
    ("channel", {"channels": ["memory"]}, facts(), True),
    ("label", {"labels": [12, 99]}, facts(), True),
    ("label", {"operator": "none_of", "labels": [12]}, facts(), False),
    ("label", {"operator": "not_present"}, facts(labels=()), True),
    ("priority", {"priority": 2, "operator": "at_least"}, facts(), True),
    ("priority", {"priority": 0}, facts(priority=0), True),
    ("priority", {"priority": 3, "operator": "less"}, facts(), False),
    ("waiting", {"minutes": 10}, facts(), True),
    ("waiting", {"minutes": 15}, facts(), False),
    ("waiting", {"minutes": 15, "operator": "less"}, facts(waiting_since=None), False),
    ("business_hours", {}, facts(), True),
    ("business_hours", {"inside": False}, facts(), False),
    ("business_hours", {}, facts(team_hours={"weekly": {"mon-fri": "18:00-09:00"}}), False),  # the team's own
    ("returning", {}, facts(cycle=2), True),
    ("returning", {"returning": False}, facts(cycle=2), False),
    ("assignee_availability", {"availabilities": ["online"]}, facts(), True),
    ("assignee_availability", {"availabilities": ["online"], "operator": "none_of"}, facts(assignee_id=8), True),
    ("assignee_availability", {"availabilities": ["offline"]}, facts(assignee_id=None), False),
    ("assignee_availability", {"availabilities": ["offline"]}, replace(facts(), agents=None), None),
    ("previous_assignee_availability", {"availabilities": ["busy"]}, facts(), True),
    ("assignee_open_count", {"count": 4}, facts(), True),
    ("assignee_open_count", {"count": 4, "operator": "less"}, facts(assignee_id=None), False),
    ("agents_online", {"count": 0, "operator": "equal"}, facts(), False),
    ("attribute", {"name": "plan", "values": ["年付"]}, facts(), True),
    ("attribute", {"name": "nothing", "operator": "not_present"}, facts(), True),
    ("contact_name", {"values": ["嘉"]}, facts(), True),
    ("contact_name", {"operator": "starts_with", "values": ["嘉"]}, facts(), False),
    ("contact_attribute", {"name": "version", "values": ["企业版"]}, facts(), True),
    ("contact_attribute", {"name": "orders", "operator": "greater", "values": ["10"]}, facts(), True),
    ("contact_attribute", {"name": "version", "operator": "greater", "values": ["10"]}, facts(), None),
    ("contact_attribute", {"name": "since", "operator": "days_before", "values": ["10"]}, facts(), True),
    ("contact_attribute", {"name": "since", "operator": "days_before", "values": ["30"]}, facts(), False),
    ("contact_attribute", {"name": "version", "operator": "days_before", "values": ["1"]}, facts(), None),
    ("contact_attribute", {"name": "tags", "values": ["vip"]}, facts(), True),
    ("contact_attribute", {"name": "tags", "operator": "not_contains", "values": ["v"]}, facts(), False),
    ("message_text", {"values": ["退款", "退货"]}, facts(text="我要退货"), True),
    ("message_text", {"operator": "not_contains", "values": ["退款"]}, facts(text="我要退货"), True),
    ("message_text", {"operator": "equal", "values": ["hello"]}, facts(text=" ＨＥＬＬＯ "), True),
    ("message_text", {"operator": "matches", "values": [r"订单\s*\d{4,}"]}, facts(text="订单 12345"), True),
    ("message_text", {"operator": "matches", "values": ["(a|aa)+$"]}, facts(text="a" * 60 + "!"), None),
    ("message_text", {"operator": "not_present"}, facts(), True),
    ("message_kind", {"kinds": ["text"]}, facts(text="在吗"), True),
    ("message_kind", {"kinds": ["text"], "operator": "none_of"}, facts(text="在吗"), False),
    ("message_direction", {"direction": "in"}, facts(), True),
    ("message_direction", {"direction": "note"}, facts(direction="internal", author="agent"), True),
    ("message_author", {"authors": ["agent"]}, facts(direction="out", author="agent"), True),
    ("message_author", {"authors": ["flow"]}, facts(direction="out", author="flow"), True),
    ("message_author", {"authors": ["contact"], "operator": "none_of"}, facts(), False),
    ("message_language", {"languages": ["zh"]}, facts(text="我的 order 呢"), True),
    ("message_language", {"languages": ["ja"]}, facts(text="注文はどこですか"), True),
    ("message_language", {"languages": ["latin"]}, facts(text="where is it"), True),
    ("message_language", {"languages": ["other"]}, facts(text="123"), True),
    ("message_sentiment", {}, facts(text="你们就是骗子"), True),
    ("message_sentiment", {}, facts(text="你们就是骗子", direction="out", author="agent"), False),
    ("message_sentiment", {"sentiment": "urgent"}, facts(text="急急急，在线等"), True),
    ("status_changed", {"past": ["resolved"], "to": ["open"]}, facts(reopened), True),
    ("status_changed", {"past": ["snoozed"]}, facts(reopened), False),
    ("status_changed", {}, facts(taken), False),
    ("assignee_changed", {}, facts(taken), True),
    ("assignee_changed", {"to": "nobody"}, facts(freed), True),
    ("assignee_changed", {"agents": [8]}, facts(taken), False),
    ("team_changed", {"teams": [6]}, facts(team), True),
    ("team_changed", {"to": "none"}, facts(no_team), True),
    ("label_changed", {"labels": [11]}, facts(labelled), True),
    ("label_changed", {"change": "removed", "labels": [11]}, facts(labelled), False),
    ("label_changed", {"change": "removed"}, facts(labelled), True),
    ("priority_changed", {"direction": "up"}, facts(risen), True),
    ("priority_changed", {"to": [4]}, facts(risen), False),
    ("priority_changed", {}, facts(), False),
    ("contact_label", {"labels": [12, 99]}, facts(), True),
    ("contact_label", {"labels": [11]}, facts(), False),
    ("contact_label", {"operator": "none_of", "labels": [12]}, facts(), False),
    ("contact_label", {"operator": "present"}, facts(), True),
    ("contact_label", {"operator": "not_present"}, replace(facts(), contact_labels=()), True),
    ("contact_label", {"operator": "not_present"}, replace(facts(), contact_labels=None), None),
    ("contact_label_changed", {"labels": [12]}, facts(contact_labelled), True),
    ("contact_label_changed", {"change": "removed", "labels": [12]}, facts(contact_labelled), False),
    ("contact_label_changed", {"change": "removed"}, facts(contact_labelled), True),
    ("contact_label_changed", {}, facts(labelled), False),
    ("label_changed", {}, facts(contact_labelled), False),
]  # fmt: skip


def group_of(*conditions: dict[str, Any], match: str = "all") -> ConditionGroup:
    conditions_ = {"match": match, "conditions": list(conditions)}
    definition = {"on": ["message_created"], "conditions": conditions_, "actions": [{"kind": "unassign"}]}
    return load_definition(definition).conditions


@pytest.mark.parametrize(("kind", "fields", "seen", "held"), TABLE, ids=[f"{row[0]}-{row[3]}" for row in TABLE])
def test_each_condition(kind: str, fields: dict[str, Any], seen: RuleFacts, held: bool | None) -> None:
    group = group_of({"kind": kind, **fields})
    checked = check(group, seen)
    assert checked.held is held
    assert bool(list(checked.failed())) is (held is None)
    for locale in ("zh", "en"):
        said = group.label(RuleWording(Texts(locale), NAMES))  # type: ignore[arg-type]
        assert said
        assert "{" not in said.replace("\\d{4,}", "")


def test_every_kind_is_in_the_table() -> None:
    assert {row[0] for row in TABLE} == set(CONDITIONS)


OPEN = {"kind": "status", "statuses": ["open"]}
SNOOZED = {"kind": "status", "statuses": ["snoozed"]}
BROKEN = {"kind": "contact_attribute", "name": "version", "operator": "greater", "values": ["1"]}


@pytest.mark.parametrize(
    ("match", "parts", "held"),
    [
        ("all", [], True),
        ("any", [], True),
        ("all", [OPEN, OPEN], True),
        ("all", [OPEN, SNOOZED], False),
        ("any", [SNOOZED, OPEN], True),
        ("any", [SNOOZED, SNOOZED], False),
        ("all", [OPEN, BROKEN], None),
        ("all", [SNOOZED, BROKEN], False),  # certain whatever the other part is
        ("any", [OPEN, BROKEN], True),
        ("any", [SNOOZED, BROKEN], None),
        ("all", [OPEN, {"kind": "group", "match": "any", "conditions": [SNOOZED, OPEN]}], True),
        ("any", [SNOOZED, {"kind": "group", "match": "all", "conditions": [OPEN, SNOOZED]}], False),
    ],
)
def test_groups_mean_what_they_show(match: str, parts: list[dict[str, Any]], held: bool | None) -> None:
    assert check(group_of(*parts, match=match), facts()).held is held


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ({"on": [], "actions": [{"kind": "unassign"}]}, "on"),
        ({"on": ["message_created"], "actions": []}, "actions"),
        ({"on": ["something"], "actions": [{"kind": "unassign"}]}, "on.0"),
        ({"on": ["message_created"], "actions": [{"kind": "explode"}]}, "explode"),
        ({"on": ["message_created"], "actions": [{"kind": "unassign", "to": 3}]}, "to"),
        ({"on": ["message_created"], "actions": [{"kind": "send_message", "text": "{{contact.secret}}"}]}, "variable"),
        ({"on": ["message_created"], "actions": [{"kind": "send_message", "text": " "}]}, "nothing to write"),
    ],
)
def test_what_is_no_rule_is_refused_in_words(definition: dict[str, Any], said: str) -> None:
    with pytest.raises(BadDefinition) as refused:
        load_definition(definition)
    assert said in refused.value.sentence


def test_a_pattern_that_is_none_and_too_deep_groups_are_refused() -> None:
    with pytest.raises(BadDefinition, match="is no pattern"):
        group_of({"kind": "message_text", "operator": "matches", "values": ["(["]})
    deep: dict[str, Any] = OPEN
    for _ in range(5):
        deep = {"kind": "group", "conditions": [deep]}
    with pytest.raises(BadDefinition, match="deep"):
        group_of(deep)


def test_what_the_database_would_refuse_is_no_rule_no_flow_and_no_macro() -> None:
    note = {"kind": "add_note", "text": "a\0b"}
    with pytest.raises(BadDefinition, match="visible characters"):
        load_definition({"on": ["conversation_opened"], "actions": [note]})
    with pytest.raises(BadDefinition, match="visible characters"):
        load_flow({"steps": [{"question": "a\0b", "kind": "text"}], "actions": [{"kind": "unassign"}]})
    with pytest.raises(BadDefinition, match="visible characters"):
        load_macro([note])
    with pytest.raises(BadDefinition):
        load_definition({"on": ["conversation_opened"], "actions": [{"kind": "assign_team", "team": 2**63}]})


def test_a_rule_is_said_in_one_sentence() -> None:
    definition = load_definition(
        {
            "on": ["conversation_resolved"],
            "conditions": {
                "conditions": [
                    {"kind": "priority", "priority": 2, "operator": "at_least"},
                    {
                        "kind": "group",
                        "match": "any",
                        "conditions": [
                            {"kind": "contact_attribute", "name": "版本", "values": ["企业版"]},
                            {"kind": "label", "labels": [11]},
                        ],
                    },
                ]
            },
            "actions": [{"kind": "unassign"}, {"kind": "add_labels", "labels": [12]}],
        }
    )
    assert definition.label(RuleWording(Texts(), NAMES)) == (
        "当会话变为已解决时，如果优先级不低于普通，且（联系人的“版本”是“企业版”，或会话的标签包含退款），就取消分配，再加上标签催单"
    )
    assert load_definition(definition.plain()) == definition

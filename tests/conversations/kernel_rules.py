"""What is set up where chance plays with conversations: rules, macros, a flow, and values of fields."""

from __future__ import annotations

from typing import Any

# Two fields filled in, one of them again, and both taken away.
FILLED: tuple[dict[str, str], ...] = (
    {"版本": "企业版", "期限": "2026-12-31"},
    {"版本": "个人版"},
    {"版本": "", "期限": ""},
)

# Rules that answer what people do and each other: nothing they do may leave the log, or an illegal state.
RULES: tuple[dict[str, Any], ...] = (
    {"on": ["conversation_updated"], "actions": [{"kind": "set_priority", "priority": 3}, {"kind": "remove_team"}]},
    {
        "on": ["message_created"],
        "conditions": {"conditions": [{"kind": "message_direction", "direction": "in"}]},
        "actions": [{"kind": "add_note", "text": "来了"}, {"kind": "hand_off", "to": "people"}],
    },
    {"on": ["conversation_assigned"], "actions": [{"kind": "snooze", "minutes": 3}, {"kind": "unassign"}]},
    {"on": ["conversation_snoozed"], "actions": [{"kind": "send_message", "text": "稍等"}]},
    {
        "on": ["conversation_updated"],
        "conditions": {"conditions": [{"kind": "priority_changed", "direction": "up"}, {"kind": "team"}]},
        "actions": [{"kind": "set_status", "status": "resolved"}],
    },
    {"on": ["conversation_handed_off", "message_created"], "actions": [{"kind": "start_flow", "flow": 1}]},
)
FLOW: dict[str, Any] = {
    "steps": [{"question": "单号？", "kind": "number"}],
    "actions": [{"kind": "send_message", "text": "收到"}, {"kind": "set_priority", "priority": 4}],
}

# Macros that do several things, some of which are refused in some states: then nothing of them may stay.
MACROS: tuple[list[dict[str, Any]], ...] = (
    [{"kind": "assign_me"}, {"kind": "send_message", "text": "您好"}, {"kind": "set_status", "status": "resolved"}],
    [{"kind": "set_priority", "priority": 4}, {"kind": "add_note", "text": "记"}, {"kind": "snooze", "minutes": 5}],
)

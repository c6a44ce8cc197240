"""Flows as YAML, to be kept beside other configuration or taken to another workspace: names instead of ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, cast

from zhiban.automation.actions import FLOW_ACTIONS
from zhiban.automation.flow_definition import FlowDefinition, FlowInFile, load_flow
from zhiban.automation.flow_queries import FlowRow
from zhiban.automation.flow_steps import STEPS
from zhiban.automation.rule_files import BadRuleFile, with_ids, with_names
from zhiban.automation.wording import Names
from zhiban.kit.yaml_files import as_yaml, plain_values

_MORE = ("minutes", "when_silent", "when_cancelled")
_KEYS = ("name", "enabled", "ask", "then", *_MORE)
_KNOWN = ", ".join(_KEYS)


def to_yaml(flows: Iterable[FlowRow], names: Names) -> str:
    """The flows, as `from_yaml` reads them."""
    return as_yaml([_told(flow, names) for flow in flows])


def _told(flow: FlowRow, names: Names) -> dict[str, Any]:
    definition = load_flow(flow.definition).plain()
    usual = _usual(FlowDefinition)
    told: dict[str, Any] = {"name": flow.name, "enabled": flow.enabled}
    told["ask"] = [_short(step, STEPS, names) for step in definition["steps"]]
    if definition["actions"]:
        told["then"] = [_short(action, FLOW_ACTIONS, names) for action in definition["actions"]]
    return told | {key: definition[key] for key in _MORE if definition[key] != usual[key]}


def _usual(cls: type) -> dict[str, Any]:
    return {
        field.name: list(field.default) if isinstance(field.default, tuple) else field.default
        for field in fields(cast("Any", cls))
        if field.default is not MISSING
    }


def _short(part: Mapping[str, Any], registry: Mapping[str, type], names: Names) -> dict[str, Any]:
    """A part without what is as usual, its kind first."""
    usual = _usual(registry[part["kind"]])
    kept = {key: value for key, value in part.items() if key != "kind" and (key not in usual or usual[key] != value)}
    return {"kind": part["kind"], **with_names(kept, names)}


def from_yaml(text: str, names: Names) -> list[FlowInFile]:
    """The flows of a file. Raises BadYaml, BadRuleFile, BadDefinition."""
    return [read_flow(one, names) for one in entries(text)]


def entries(text: str) -> list[dict[str, Any]]:
    """What a file holds, each for `read_flow`. Raises BadYaml, BadRuleFile."""
    told = plain_values(text)
    if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
        raise BadRuleFile("A file of flows is a list, each flow with a name and what it asks.")
    return told


def read_flow(told: dict[str, Any], names: Names) -> FlowInFile:
    """One of them. Raises BadRuleFile, BadDefinition."""
    if unknown := [key for key in told if key not in _KEYS]:
        raise BadRuleFile(f'A flow has no field "{unknown[0]}"; it has {_KNOWN}.')
    name, enabled = str(told.get("name") or ""), told.get("enabled", False)
    if not isinstance(enabled, bool):
        raise BadRuleFile("A flow is enabled: true or enabled: false.")
    asked, then = told.get("ask") or [], told.get("then") or []
    if not isinstance(asked, list) or not isinstance(then, list):
        raise BadRuleFile("What stands under ask: and then: are lists.")
    definition: dict[str, Any] = {"steps": asked, "actions": [with_ids(one, names) for one in then]}
    definition |= {key: told[key] for key in _MORE if key in told}
    return FlowInFile(name, enabled, load_flow(definition))

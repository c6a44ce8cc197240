"""Rules as YAML, to be kept beside other configuration or taken to another workspace: names instead of ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, cast

from zhiban.automation.actions import ACTIONS
from zhiban.automation.conditions import CONDITIONS, ConditionGroup
from zhiban.automation.definition import RuleInFile, load_definition
from zhiban.automation.models import RuleRow
from zhiban.automation.wording import Names
from zhiban.kit.errors import Conflict
from zhiban.kit.yaml_files import as_yaml, plain_values

_NAMED = {"agent": "agents", "agents": "agents", "team": "teams", "teams": "teams", "labels": "labels",
          "inboxes": "inboxes", "flow": "flows"}  # fmt: skip


class BadRuleFile(Conflict):
    """The file holds no rules; the sentence says where and why. Nothing of it was taken."""


def to_yaml(rules: Iterable[RuleRow], names: Names) -> str:
    """The rules in their order, as `from_yaml` reads them."""
    return as_yaml([_told(rule, names) for rule in rules])


def _told(rule: RuleRow, names: Names) -> dict[str, Any]:
    definition = load_definition(rule.definition).plain()
    told: dict[str, Any] = {"name": rule.name, "enabled": rule.enabled}
    if rule.stops:
        told["stops"] = True
    if definition["on"]:
        told["when"] = definition["on"]
    if definition["after"]:
        told["after"] = {key: value for key, value in definition["after"].items() if _means(key, definition["after"])}
    conditions = _short(definition["conditions"], names)
    if conditions.get("conditions"):
        told["if"] = {conditions.get("match", "all"): conditions["conditions"]}
    told["then"] = [_short(action, names) for action in definition["actions"]]
    return told


def _means(key: str, after: Mapping[str, Any]) -> bool:
    return key != "status" or after["what"] == "status"


def _short(part: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """A part without what is as usual; a group as `all: […]` or `any: […]` inside another."""
    cls = ConditionGroup if part["kind"] == "group" else {**CONDITIONS, **ACTIONS}[part["kind"]]
    usual = {
        field.name: list(field.default) if isinstance(field.default, tuple) else field.default
        for field in fields(cast("Any", cls))
        if field.default is not MISSING
    }
    kept = {"kind": part["kind"]} if part["kind"] != "group" else {}
    for key, value in part.items():
        if key == "conditions":
            inner = [_short(one, names) for one in value]
            kept[key] = [{one.get("match", "all"): one["conditions"]} if "kind" not in one else one for one in inner]
        elif key == "files":
            kept[key] = [_told_file(id_, names) for id_ in value]
        elif key != "kind" and (key not in usual or usual[key] != value):
            kept[key] = _renamed(key, value, lambda id_, known: known.get(id_, id_), names)
    return kept


def from_yaml(text: str, names: Names) -> list[RuleInFile]:
    """The rules of a file. Raises BadYaml, BadRuleFile, BadDefinition."""
    return [read_rule(one, names) for one in entries(text)]


def entries(text: str) -> list[dict[str, Any]]:
    """What a file holds, each for `read_rule`. Raises BadYaml, BadRuleFile."""
    found = plain_values(text)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise BadRuleFile("A file of rules is a list, each with name, when, if and then.")
    return found


_KEYS = {"name", "enabled", "stops", "when", "after", "if", "then"}


def read_rule(told: Mapping[str, Any], names: Names) -> RuleInFile:
    """One of them. Raises BadRuleFile, BadDefinition."""
    unknown = sorted(str(key) for key in told.keys() - _KEYS)
    if unknown:
        raise BadRuleFile(f'A rule has no field "{unknown[0]}"; it has name, enabled, stops, when, after, if and then.')
    name, enabled, stops = str(told.get("name") or ""), told.get("enabled", False), told.get("stops", False)
    if not isinstance(enabled, bool) or not isinstance(stops, bool):
        raise BadRuleFile("enabled and stops are true or false.")
    then = told.get("then") or []
    if not isinstance(then, list):
        raise BadRuleFile("What stands under then: is a list.")
    definition = {
        "on": told.get("when") or [],
        "conditions": _group(told.get("if") or {}, names),
        "after": told.get("after"),
        "actions": [with_ids(one, names) for one in then],
    }
    return RuleInFile(name, enabled, stops, load_definition(definition))


def _group(told: Any, names: Names) -> dict[str, Any]:
    """`all: […]` and `any: […]` are groups."""
    if not isinstance(told, dict) or (told and told.keys() not in ({"all"}, {"any"})):
        raise BadRuleFile("Conditions stand under all: or any:.")
    for match, parts in told.items():
        if not isinstance(parts, list):
            raise BadRuleFile("Conditions are a list.")
        return {"match": match, "conditions": [_condition(one, names) for one in parts]}
    return {}


def _condition(told: Any, names: Names) -> Any:
    if isinstance(told, dict) and "kind" not in told:
        return {"kind": "group", **_group(told, names)}
    return with_ids(told, names)


def with_names(part: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """A part with the names of what it names by id; what is gone keeps its id."""
    return {key: _renamed(key, value, lambda id_, known: known.get(id_, id_), names) for key, value in part.items()}


def with_ids(told: Any, names: Names) -> Any:
    """A part with the ids behind the names. Raises BadRuleFile where there is none, or more than one."""
    if not isinstance(told, dict):
        return told
    return {
        key: _file_ids(value, names) if key == "files" else _renamed(key, value, _id_of, names)
        for key, value in told.items()
    }


def _told_file(id_: int, names: Names) -> Any:
    """A file by its name and content; the number of one that is gone."""
    file = names.files.get(id_)
    return id_ if file is None else {"name": file.filename, "sha256": file.sha256}


def _file_ids(told: Any, names: Names) -> Any:
    """The files here that have this content, one of the same name first. Raises BadRuleFile where there is none.

    A number is that of a file which was gone when it was written; another one that has it here is not meant.
    """
    if not isinstance(told, list):
        return told
    by_number = [one for one in told if isinstance(one, int) and one in names.files]
    if by_number:
        raise _not_here(by_number[0])
    return [_file_id(one, names) if isinstance(one, dict) else one for one in told]


def _file_id(told: Mapping[str, Any], names: Names) -> int:
    same = [one for one in names.files.values() if one.sha256 == told.get("sha256")]
    if not same:
        raise _not_here(told.get("name"))
    return next((one.id for one in same if one.filename == told.get("name")), same[0].id)


def _not_here(name: object) -> BadRuleFile:
    return BadRuleFile(f'The file "{name}" is not here. Keep the folder that the export made beside this file.')


def files_named(text: str) -> list[tuple[str, str]]:
    """The files that the rules of a YAML file send: name and digest. Raises BadYaml."""
    found = plain_values(text)
    actions = [action for one in _maps(found) for action in _maps(one.get("then"))]
    told = [file for action in actions for file in _maps(action.get("files"))]
    return [(str(one.get("name") or ""), str(one.get("sha256") or "")) for one in told]


def _maps(found: Any) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _id_of(name: Any, known: Mapping[int, str]) -> Any:
    """The id behind a name. Raises BadRuleFile where there is none, or more than one."""
    if not isinstance(name, str):
        return name
    found = [id_ for id_, called in known.items() if called == name]
    if len(found) != 1:
        raise BadRuleFile(
            f'Several here are called "{name}"; a rule needs exactly one.'
            if found
            else f'Nothing here is called "{name}".'
        )
    return found[0]


def _renamed(key: str, value: Any, rename: Callable[[Any, Mapping[int, str]], Any], names: Names) -> Any:
    if key not in _NAMED:
        return value
    known: Mapping[int, str] = getattr(names, _NAMED[key])
    return [rename(one, known) for one in value] if isinstance(value, list) else rename(value, known)

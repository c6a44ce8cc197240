"""The editor of a rule as a form: what is typed becomes plain values, and these the fields that are shown.

Nothing here names a condition or an action: the fields come from their classes, so that a new one is in the editor as
soon as it has a label. A draft may be incomplete at any time; only saving wants a whole rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

from zhiban.automation.actions import ACTIONS
from zhiban.automation.conditions import CONDITIONS
from zhiban.automation.definition import BadDefinition, Definition
from zhiban.automation.triggers import Trigger
from zhiban.automation.wording import PRIORITY_LABELS, RuleWording
from zhiban.desk.rule_labels import CHOICE_LABELS, FIELD_LABELS
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts

RuleDraft = dict[str, Any]  # name, stops, and the definition's on, conditions, actions as plain values

DEFINITION = ("on", "after", "conditions", "actions")
NEW_CONDITION: Mapping[str, Any] = {"kind": "status", "statuses": ["open"]}
MOST_PARTS = 60  # of one draft; more is no rule that a person could read
NEW: RuleDraft = {"name": "", "stops": False, "on": ["conversation_resolved"], "after": None,
              "conditions": {"kind": "group"}, "actions": [{"kind": "unassign"}]}  # fmt: skip
_ROWS = {"agent": "agents", "agents": "agents", "team": "teams", "teams": "teams", "labels": "labels",
         "inboxes": "inboxes", "channels": "channels", "flow": "flows", "save": "fields"}  # fmt: skip
_FIELDS_OF = {"contact_attribute": "contact", "attribute": "conversation", "set_attribute": "conversation"}
_FIRST = {"priority": ("0",)}
_SEPARATORS = re.compile(r"[,，、\n]")


@frozen_dataclass
class FieldView:
    """One field: `look` is select, picks, files, number, text or area; `options` are (value, label, chosen)."""

    name: str
    look: str
    label: str
    value: str = ""
    options: tuple[tuple[str, str, bool], ...] = ()


@frozen_dataclass
class PartView:
    """A condition, a group or an action in the editor, at its path."""

    path: str
    kind: str
    fields: tuple[FieldView, ...] = ()
    match: str = "all"
    parts: tuple[PartView, ...] = ()


def of_rule(name: str, *, stops: bool, definition: Definition) -> RuleDraft:
    return {"name": name, "stops": stops, **definition.plain()}


def typed(
    form: Iterable[tuple[str, str]],
    actions: Mapping[str, type] = ACTIONS,
    conditions: Mapping[str, type] = CONDITIONS,
) -> RuleDraft:
    """The draft that a form holds. Names are paths: `c.0.operator` is the operator of the first condition."""
    values: dict[str, list[str]] = {}
    for name, value in form:
        values.setdefault(name, []).append(value[:4000])
    return {
        "name": (values.get("name") or [""])[0][:200],
        "stops": "stops" in values,
        "on": [one for one in values.get("on", []) if one in set(Trigger)],
        "after": _after(values),
        "conditions": _group("c", values, conditions),
        "actions": parts(values, "a", actions),
    }


def parts(values: Mapping[str, list[str]], path: str, registry: Mapping[str, type]) -> list[RuleDraft]:
    """The parts that a form holds at `path`.0, `path`.1 and so on."""
    return [_part(child, values, registry) for child in _children(path, values)]


def _after(values: Mapping[str, list[str]]) -> RuleDraft | None:
    """What time has to pass; nothing where no such choice was made."""
    told = {name: (values.get(f"t.{name}") or [""])[0] for name in ("what", "minutes", "status")}
    return {name: value for name, value in told.items() if value} if told["what"] else None


def _children(path: str, values: Mapping[str, list[str]]) -> list[str]:
    pattern = re.compile(re.escape(path) + r"\.(\d{1,3})\.")
    numbers = {int(found.group(1)) for name in values if (found := pattern.match(name))}
    return [f"{path}.{number}" for number in sorted(numbers)][:MOST_PARTS]


def _group(path: str, values: Mapping[str, list[str]], conditions: Mapping[str, type]) -> RuleDraft:
    parts = [
        _group(child, values, conditions) if f"{child}.match" in values else _part(child, values, conditions)
        for child in _children(path, values)
    ]
    match = (values.get(f"{path}.match") or ["all"])[0]
    return {"kind": "group", "match": match, "conditions": parts}


def _part(path: str, values: Mapping[str, list[str]], registry: Mapping[str, type]) -> RuleDraft:
    kind = (values.get(f"{path}.kind") or [""])[0]
    if kind not in registry:
        kind = next(iter(registry))
    part: RuleDraft = {"kind": kind}
    required = {one.name for one in fields(registry[kind]) if one.default is MISSING}
    for name, hint in _fields(registry[kind]).items():
        given = values.get(f"{path}.{name}")
        if given is None:
            if name in required and (choices := _choices(hint) or _FIRST.get(name, ())) and not _is_tuple(hint):
                part[name] = choices[0]  # as the form shows it
            continue
        if _is_tuple(hint):
            part[name] = _listed(part, name, given, hint)
        elif given[0].strip():
            part[name] = given[0]
    return part


def _listed(part: RuleDraft, name: str, given: list[str], hint: Any) -> list[str]:
    """Ticked choices as they are; words of one text, apart where it is no pattern."""
    if _choices(hint) or name in _ROWS or name in ("to", "files"):
        return [one for one in given if one]
    whole = part.get("operator") == "matches"
    words = given if whole else [word for one in given for word in _SEPARATORS.split(one)]
    return [word.strip() for word in words if word.strip()]


def changed(
    draft: RuleDraft, wish: str, actions: Mapping[str, type] = ACTIONS, condition: Mapping[str, Any] = NEW_CONDITION
) -> RuleDraft:
    """The draft after a button: `add-condition:c`, `add-group:c.0`, `add-action:a`, `remove:c.0.1`."""
    verb, _, path = wish.partition(":")
    match verb:
        case "add-condition" | "add-group":
            group = _at(draft, path)
            if group is not None and "conditions" in group:
                new = {"kind": "group", "match": "any", "conditions": [dict(condition)]}
                group["conditions"].append(new if verb == "add-group" else dict(condition))
        case "add-action":
            draft["actions"].append({"kind": next(iter(actions))})
        case "remove":
            parent, _, number = path.rpartition(".")
            holder = draft["actions"] if parent == "a" else (_at(draft, parent) or {}).get("conditions", [])
            if number.isdecimal() and int(number) < len(holder):
                del holder[int(number)]
    return draft


def _at(draft: RuleDraft, path: str) -> RuleDraft | None:
    found: RuleDraft = draft["conditions"]
    for number in path.split(".")[1:]:
        inner = found.get("conditions", [])
        if not number.isdecimal() or int(number) >= len(inner):
            return None
        found = inner[int(number)]
    return found


# ------------------------------------------------------------------------------------------------------ what is shown


def trouble(error: Conflict, texts: Texts) -> str:
    """Why it was not stored, in words of the page."""
    return unfinished(error, texts) if isinstance(error, BadDefinition) else texts.error(error.sentence)


def unfinished(error: BadDefinition, texts: Texts) -> str:
    """What is still to be filled in, in words of the page."""
    match error.path:
        case ("after", *_):
            said = texts("还没写要过多久")
        case ("on", *_):
            said = texts("先选什么时候")
        case ("actions", int(number), *_):
            said = texts("第{n}个动作还没有填好", n=number + 1)
        case ("actions", *_):
            said = texts("还没有动作")
        case ("conditions", *_):
            said = texts("有条件还没有填好")
        case _:
            return texts.error(error.sentence)
    return texts("{said}：{why}", said=said, why=texts.error(error.told)) if error.told else said


def conditions_view(draft: RuleDraft, words: RuleWording, conditions: Mapping[str, type] = CONDITIONS) -> PartView:
    return _condition_view("c", draft["conditions"], words, conditions)


def _condition_view(path: str, part: RuleDraft, words: RuleWording, conditions: Mapping[str, type]) -> PartView:
    if part["kind"] == "group":
        inner = tuple(
            _condition_view(f"{path}.{number}", one, words, conditions)
            for number, one in enumerate(part.get("conditions", ()))
        )
        return PartView(path, "group", match=part.get("match", "all"), parts=inner)
    return _part_view(path, part, conditions[part["kind"]], words)


def actions_view(draft: RuleDraft, words: RuleWording, actions: Mapping[str, type] = ACTIONS) -> list[PartView]:
    return parts_view(draft["actions"], "a", actions, words)


def parts_view(
    found: Iterable[RuleDraft], path: str, registry: Mapping[str, type], words: RuleWording
) -> list[PartView]:
    """The parts of a list in the editor, at `path`.0, `path`.1 and so on."""
    return [_part_view(f"{path}.{number}", one, registry[one["kind"]], words) for number, one in enumerate(found)]


def _part_view(path: str, part: RuleDraft, cls: type, words: RuleWording) -> PartView:
    defaults = {one.name: one.default for one in fields(cls) if one.default is not MISSING}
    values = {**defaults, **part}
    shown = [
        _field_view(part["kind"], name, hint, values.get(name), words)
        for name, hint in _fields(cls).items()
        if not _is_idle(name, values)
    ]
    # How it is compared stands before what it is compared with.
    shown.sort(key=lambda field: (field.name != "name", field.name not in ("operator", "at_least", "change")))
    return PartView(path, part["kind"], tuple(shown))


def _is_idle(name: str, values: Mapping[str, Any]) -> bool:
    """Whether a field means nothing beside another."""
    if name in ("values", "agents", "teams", "labels") and values.get("operator") in ("present", "not_present"):
        return True
    if name in ("agents", "teams") and values.get("kind") == "notify_agents":
        return values.get("to") != name
    if name == "address":
        return values.get("to") != "address"
    return name in ("agents", "teams") and values.get("to") in ("nobody", "none")


def _field_view(kind: str, name: str, hint: Any, value: Any, words: RuleWording) -> FieldView:
    said = words.texts(FIELD_LABELS.get(f"{kind}.{name}") or FIELD_LABELS.get(name, ""))
    several = _is_tuple(hint)
    if name == "files":
        return FieldView(name, "files", said, options=tuple((_written(one), "", True) for one in value or ()))
    chosen = {_written(one) for one in (value or ())} if several else {_written(value)}
    options = _options(kind, name, hint, words)
    if name == "name" and kind in _FIELDS_OF:
        options = _field_names(_FIELDS_OF[kind], _written(value), words)
    if options:
        shown = tuple((key, label, key in chosen) for key, label in options)
        return FieldView(name, "picks" if several else "select", said, options=shown)
    if several:
        return FieldView(name, "text", said, words.texts("，").join(value or ()))
    if name in ("text", "question"):
        return FieldView(name, "area", said, _written(value))
    look = "number" if _base(hint) in (int, float) else "text"
    return FieldView(name, look, said, _written(value))


def _field_names(of: str, chosen: str, words: RuleWording) -> list[tuple[str, str]]:
    """The fields that there are, and the one that was chosen, which may be gone; nothing is chosen by itself."""
    known = (words.names.contact_fields if of == "contact" else words.names.conversation_fields) or ()
    said = words.contact_field if of == "contact" else words.conversation_field
    every = [*known, *([chosen] if chosen and chosen not in known else [])]
    return [("", words.texts("选一项资料")), *((name, said(name)) for name in every)]


def _options(kind: str, name: str, hint: Any, words: RuleWording) -> list[tuple[str, str]]:
    if name in _ROWS:
        rows: Mapping[Any, str] = getattr(words.names, _ROWS[name])
        return [(str(key), words.texts(label) if name == "channels" else label) for key, label in rows.items()]
    if name == "priority" or (kind, name) == ("priority_changed", "to"):
        return [(str(number), words.texts(label)) for number, label in enumerate(PRIORITY_LABELS)]
    labels = CHOICE_LABELS.get(f"{kind}.{name}") or CHOICE_LABELS.get(name, {})
    return [(key, words.texts(labels.get(key, key))) for key in _choices(hint)]


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


@cache
def _fields(cls: type) -> dict[str, Any]:
    """The fields of a condition or action, without its kind, with their types."""
    hints = get_type_hints(cls, include_extras=True)
    return {one.name: hints[one.name] for one in fields(cast("Any", cls)) if one.name != "kind"}


def _base(hint: Any) -> Any:
    return _base(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def _is_tuple(hint: Any) -> bool:
    return get_origin(_base(hint)) is tuple


def _choices(hint: Any) -> tuple[str, ...]:
    """The values that a field allows, where these are few."""
    base = _base(hint)
    if base is bool:
        return ("true", "false")
    if get_origin(base) is tuple:
        return _choices(get_args(base)[0])
    if get_origin(base) is Literal:
        return tuple(str(one) for one in get_args(base) if one is not NoneType)
    return ()

"""The editor of a flow as a form: what is typed becomes plain values, and these the fields that are shown."""

from __future__ import annotations

from collections.abc import Iterable

from zhiban.automation.actions import FLOW_ACTIONS
from zhiban.automation.definition import BadDefinition
from zhiban.automation.flow_definition import FlowDefinition
from zhiban.automation.flow_steps import STEPS
from zhiban.automation.wording import RuleWording
from zhiban.desk import rule_form
from zhiban.desk.rule_form import PartView, RuleDraft
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import Texts

DEFINITION = ("steps", "actions", "minutes", "when_silent", "when_cancelled")
NEW: RuleDraft = {
    "name": "",
    "steps": [{"kind": "text", "question": ""}],
    "actions": [{"kind": "hand_off", "to": "people"}],
    "minutes": "60",
    "when_silent": "finish",
    "when_cancelled": "people",
}
# What stands after the question: first what belongs to this kind of answer.
_ORDER = ("question", "options", "pattern", "example", "name", "optional", "save", "retry")


def of_flow(name: str, definition: FlowDefinition) -> RuleDraft:
    return {"name": name, **definition.plain()}


def typed(form: Iterable[tuple[str, str]]) -> RuleDraft:
    """The draft that a form holds: `s.0.question` is the first question, `a.0.kind` what is done first at the end."""
    values: dict[str, list[str]] = {}
    for name, value in form:
        values.setdefault(name, []).append(value[:4000])

    def one(name: str) -> str:
        return (values.get(name) or [""])[0]

    return {
        "name": one("name")[:200],
        "steps": rule_form.parts(values, "s", STEPS),
        "actions": rule_form.parts(values, "a", FLOW_ACTIONS),
        "minutes": one("minutes"),
        **{name: one(name) or NEW[name] for name in ("when_silent", "when_cancelled")},
    }


def changed(draft: RuleDraft, wish: str) -> RuleDraft:
    """The draft after a button: `add-step:s`, `add-action:a`, `remove:s.0`, `up:s.1`."""
    verb, _, path = wish.partition(":")
    parent, _, number = path.partition(".")
    listed: list[RuleDraft] = draft["actions"] if parent == "a" else draft["steps"]
    place = int(number) if number.isdecimal() else len(listed)
    match verb:
        case "add-step" | "add-action":
            new = {"kind": "hand_off", "to": "people"} if parent == "a" else {"kind": "text", "question": ""}
            listed.append(new)
        case "remove" if place < len(listed):
            del listed[place]
        case "up" if 0 < place < len(listed):
            listed.insert(place - 1, listed.pop(place))
    return draft


def steps_view(draft: RuleDraft, words: RuleWording) -> list[PartView]:
    found = rule_form.parts_view(draft["steps"], "s", STEPS, words)
    return [
        PartView(one.path, one.kind, tuple(sorted(one.fields, key=lambda field: _ORDER.index(field.name))))
        for one in found
    ]


def actions_view(draft: RuleDraft, words: RuleWording) -> list[PartView]:
    return rule_form.parts_view(draft["actions"], "a", FLOW_ACTIONS, words)


def trouble(error: Conflict, texts: Texts) -> str:
    """Why it was not stored, in words of the page."""
    return unfinished(error, texts) if isinstance(error, BadDefinition) else texts.error(error.sentence)


def unfinished(error: BadDefinition, texts: Texts) -> str:
    """What is still to be filled in, in words of the page."""
    match error.path:
        case ("steps", int(number), *_):
            said = texts("第{n}个问题还没有填好", n=number + 1)
        case ("steps", *_):
            said = texts("还没有问题")
        case ("minutes", *_):
            said = texts("还没写等多久")
        case _:
            return rule_form.unfinished(error, texts)
    return texts("{said}：{why}", said=said, why=texts.error(error.told)) if error.told else said

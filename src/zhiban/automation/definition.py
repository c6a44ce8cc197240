"""What a rule is made of: when it is asked, what must hold, what it does; and how that is read, stored and said."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from zhiban.automation.actions import Action
from zhiban.automation.conditions import ConditionGroup
from zhiban.automation.delays import TimePassed
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.triggers import TRIGGER_LABELS, Trigger
from zhiban.automation.wording import RuleWording
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass

DEEPEST_GROUP = 4


@rule_part
class Definition(RulePart):
    """When something of `on` happens, or time has passed, and `conditions` hold, `actions` are done in their order."""

    on: Annotated[tuple[Trigger, ...], Field(max_length=20)]
    actions: Annotated[tuple[Action, ...], Field(min_length=1, max_length=20)]
    conditions: ConditionGroup = ConditionGroup()
    after: TimePassed | None = None

    def to_json(self) -> str:
        return _adapter().dump_json(self).decode()

    def plain(self) -> dict[str, Any]:
        """As plain values, for files and forms; what is as usual is left out."""
        found: dict[str, Any] = _adapter().dump_python(self, mode="json", exclude_defaults=False)
        return found

    def label(self, words: RuleWording) -> str:
        """The rule in one sentence: `当会话变为已解决时，如果有负责人，就取消分配`."""
        moments = [words.texts(TRIGGER_LABELS[one]) for one in self.on]
        when = words.either([*moments, self.after.label(words)] if self.after else moments)
        given = self.conditions.label(words)
        done = words.texts("，再").join(words.inside(one.label(words)) for one in self.actions)
        if given:
            return words.texts("当{when}时，如果{given}，就{done}", when=when, given=given, done=done)
        return words.texts("当{when}时，{done}", when=when, done=done)


@frozen_dataclass
class RuleInFile:
    """A rule as a file tells it."""

    name: str
    enabled: bool
    stops: bool
    definition: Definition


class BadDefinition(Conflict):
    """What was given is no rule; the sentence says where and why.

    `path` leads to the first mistake, as ("actions", 0, …); `told` is what we have to say of it ourselves, if anything.
    """

    def __init__(self, sentence: str, path: tuple[str | int, ...] = (), told: str = "") -> None:
        super().__init__(sentence)
        self.path = path
        self.told = told


@cache
def _adapter() -> TypeAdapter[Definition]:
    # Not at import: nobody who only answers messages needs the schema of forty small classes.
    return TypeAdapter(Definition)


def build_schema() -> None:
    """Do now what the first rule that is read would have to wait for, some 40 ms. May run in a thread."""
    _adapter()


def load_definition(values: Mapping[str, Any]) -> Definition:
    """The rule that plain values describe. Raises BadDefinition."""
    try:
        found = _adapter().validate_python(values)
    except ValidationError as error:
        raise bad_definition(error) from None
    check_texts(values)
    if not found.on and found.after is None:
        raise BadDefinition("on: A rule says when it is asked.", ("on",))
    if found.conditions.depth() > DEEPEST_GROUP:
        raise BadDefinition(f"Groups of conditions may stand {DEEPEST_GROUP} deep in each other.")
    return found


def check_texts(values: object) -> None:
    """Raises BadDefinition where a text among these values has what the database refuses."""
    match values:
        case str() if "\0" in values:
            raise BadDefinition("A text has visible characters only.")
        case Mapping():
            for inner in values.values():
                check_texts(inner)
        case list() | tuple():
            for inner in values:
                check_texts(inner)


def bad_definition(error: ValidationError, within: str = "") -> BadDefinition:
    """The first mistake, with the way to it, which begins with `within`."""
    detail = error.errors(include_url=False)[0]
    own = detail["type"] == "value_error"
    said = detail["msg"].removeprefix("Value error, ")
    way = (*((within,) if within else ()), *detail["loc"])
    path = ".".join(str(part) for part in way)
    return BadDefinition(f"{path}: {said}", way, said if own else "")

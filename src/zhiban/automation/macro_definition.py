"""What a macro is made of: what it does, in its order; and how that is read, stored and said."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from zhiban.automation.actions import MacroAction
from zhiban.automation.definition import bad_definition, check_texts
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.wording import RuleWording


@rule_part
class MacroDefinition(RulePart):
    actions: Annotated[tuple[MacroAction, ...], Field(min_length=1, max_length=20)]

    def to_json(self) -> str:
        """The actions alone, as they are stored."""
        return _list().dump_json(self.actions).decode()

    def plain(self) -> list[dict[str, Any]]:
        """The actions as plain values, for forms."""
        found: list[dict[str, Any]] = _list().dump_python(self.actions, mode="json")
        return found

    def label(self, words: RuleWording) -> str:
        """In one sentence: `分配给自己，再把优先级设为高`."""
        return words.texts("，再").join(words.inside(one.label(words)) for one in self.actions)


@cache
def _adapter() -> TypeAdapter[MacroDefinition]:
    return TypeAdapter(MacroDefinition)


@cache
def _list() -> TypeAdapter[tuple[MacroAction, ...]]:
    return TypeAdapter(tuple[MacroAction, ...])


def load_macro(actions: Sequence[Any]) -> MacroDefinition:
    """The macro that plain values describe. Raises BadDefinition."""
    try:
        found = _adapter().validate_python({"actions": actions})
    except ValidationError as error:
        raise bad_definition(error) from None
    check_texts(actions)
    return found

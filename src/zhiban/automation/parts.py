"""What all parts of a rule have in common: they are read from outside, and kept as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict

from zhiban.automation.wording import RuleWording
from zhiban.kit.i18n import mark


class RulePart:
    """A condition, an action, or what holds them. A field that nobody knows is a mistake, never passed over."""

    __slots__ = ()
    __pydantic_config__ = ConfigDict(extra="forbid")

    def stored(self) -> dict[str, Any]:
        """The part as plain values, its kind among them."""
        return {field.name: getattr(self, field.name) for field in fields(cast("Any", self))}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.stored() == other.stored()

    def __hash__(self) -> int:
        return hash((type(self), *self.stored().values()))

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self.stored().items())
        return f"{type(self).__name__}({said})"


class GroupPart(RulePart):
    """All or any of its parts, which may be groups themselves."""

    __slots__ = ()
    match: Literal["all", "any"]
    conditions: tuple[Any, ...]

    def label(self, words: RuleWording, *, inside: bool = False) -> str:
        """`A and (B or C)`; a group inside another stands in brackets."""
        parts = [
            one.label(words, inside=len(self.conditions) > 1) if isinstance(one, GroupPart) else one.label(words)
            for one in self.conditions
        ]
        said = words.texts(mark("，且") if self.match == "all" else mark("，或")).join(part for part in parts if part)
        return words.texts("（{conditions}）", conditions=said) if inside and len(parts) > 1 else said

    def depth(self) -> int:
        """How many groups stand inside each other, this one included."""
        return 1 + max((one.depth() for one in self.conditions if isinstance(one, GroupPart)), default=0)


P = TypeVar("P", bound=RulePart)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def rule_part(cls: type[P]) -> type[P]:
    """A dataclass that Pydantic reads: for it, those of `kit.frozen_dataclass` are none.

    That nobody changes one is seen to by the type checker alone: what refuses it at run time takes 20 ms of each start.
    """
    return dataclass(slots=True, eq=False, repr=False)(cls)

"""What all parts of a rule have in common: they are read from outside, and kept as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict


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


P = TypeVar("P", bound=RulePart)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def rule_part(cls: type[P]) -> type[P]:
    """A dataclass that Pydantic reads: for it, those of `kit.frozen_dataclass` are none.

    That nobody changes one is seen to by the type checker alone: what refuses it at run time takes 20 ms of each start.
    """
    return dataclass(slots=True, eq=False, repr=False)(cls)

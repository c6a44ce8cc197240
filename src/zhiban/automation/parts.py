"""What all parts of a rule have in common: they are read from outside, and kept as plain values."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, cast

from pydantic import ConfigDict


class RulePart:
    """A condition, an action, or what holds them. A field that nobody knows is a mistake, never passed over."""

    __slots__ = ()
    __pydantic_config__ = ConfigDict(extra="forbid")

    def stored(self) -> dict[str, Any]:
        """The part as plain values, its kind among them."""
        return {field.name: getattr(self, field.name) for field in fields(cast("Any", self))}

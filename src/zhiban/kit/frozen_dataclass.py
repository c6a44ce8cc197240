"""Frozen dataclasses that share their methods, so that hundreds of them cost little time when the program starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, cast, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen_dataclass(cls: type[T]) -> type[T]:
    """`dataclass(frozen=True, slots=True)` at half the time: Python 3.11 compiles six methods for each such class.

    Two of one class are equal when their fields are, `field(compare=False)` and `field(repr=False)` are honoured, and
    what a class writes itself stays.
    """
    if cls.__doc__ is None:
        cls.__doc__ = cls.__name__  # otherwise the signature is worked out only to stand here
    written = vars(cls)
    made = dataclass(frozen=True, slots=True, eq=False, repr=False)(cls)
    known = fields(cast("Any", made))
    values = _reader(*(one.name for one in known if one.compare))
    shown = tuple(one.name for one in known if one.repr)

    def equal(self: object, other: object) -> object:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self is other or values(self) == values(other)

    def hashed(self: object) -> int:
        return hash(values(self))

    def described(self: object) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    for name, method in (("__eq__", equal), ("__hash__", hashed), ("__repr__", described)):
        if name not in written:
            setattr(made, name, method)
    return made


def _reader(*names: str) -> Callable[[object], tuple[object, ...]]:
    """What gives these attributes of an object, whatever their number."""
    if not names:
        return lambda _: ()
    read = attrgetter(*names)
    return (lambda one: (read(one),)) if len(names) == 1 else read

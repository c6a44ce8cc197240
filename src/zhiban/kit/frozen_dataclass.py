"""Frozen dataclasses that cost little time, when the program starts and makes hundreds of them, and in each message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field
from operator import attrgetter
from typing import Any, TypeVar, cast, dataclass_transform

import msgspec

T = TypeVar("T")
_ASIDE = frozenset({"__dict__", "__weakref__"})  # what every class has of its own


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen_dataclass(cls: type[T]) -> type[T]:
    """`dataclass(frozen=True, slots=True)`, made by msgspec: Python compiles three to six methods for each such class.

    `dataclasses.fields`, `replace` and `asdict` work as usual, `field(default_factory=…, compare=False, repr=False)` is
    honoured, two of one class are equal when their fields are, and what a class writes itself stays. Setting a field
    raises AttributeError. There is no inheritance: a class with bases is refused with TypeError.
    """
    if cls.__bases__ != (object,):
        raise TypeError(f"{cls.__name__} has bases; a frozen dataclass stands alone.")
    written = {name: value for name, value in vars(cls).items() if name not in _ASIDE}
    special = {name: value for name, value in written.items() if isinstance(value, Field)}
    content = {**written, **{name: _default(value) for name, value in special.items()}}
    defaults = {name: written[name] for name in cls.__annotations__ if name in written}
    content["__dataclass_fields__"] = _DataclassFields(defaults)
    made = msgspec.StructMeta(cls.__name__, (msgspec.Struct,), content, frozen=True)
    if any(not value.compare or not value.repr for value in special.values()):
        _leave_out(made, written, special)
    return cast("type[T]", made)


def _default(given: Field[Any]) -> Any:
    if given.default_factory is not MISSING:
        return msgspec.field(default_factory=given.default_factory)
    return msgspec.NODEFAULT if given.default is MISSING else msgspec.field(default=given.default)


class _DataclassFields:
    """What `dataclasses` wants to know of a class, worked out when it asks for the first time, which it does of few."""

    def __init__(self, defaults: dict[str, Any]) -> None:
        # The class as it was written is not kept: there are hundreds, of two kilobytes each.
        self._defaults = defaults

    def __get__(self, one: object, kind: Any) -> dict[str, Field[Any]]:
        names = {"__module__": kind.__module__, "__annotations__": kind.__annotations__, **self._defaults}
        made: Any = dataclass(init=False, repr=False, eq=False)(type(kind.__name__, (), names))
        kind.__dataclass_fields__ = made.__dataclass_fields__
        return kind.__dataclass_fields__  # type: ignore[no-any-return]


def _leave_out(made: Any, written: dict[str, Any], special: dict[str, Field[Any]]) -> None:
    """Methods that leave out what is not to be compared or not to be shown."""
    names = made.__struct_fields__
    values = _reader(*(name for name in names if name not in special or special[name].compare))
    shown = tuple(name for name in names if name not in special or special[name].repr)

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


def _reader(*names: str) -> Callable[[object], tuple[object, ...]]:
    """What gives these attributes of an object, whatever their number."""
    if not names:
        return lambda _: ()
    read = attrgetter(*names)
    return (lambda one: (read(one),)) if len(names) == 1 else read

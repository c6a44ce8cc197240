"""What every fact has in common: who brought it about, why, when, and how it is stored in the log and read back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from datetime import datetime
from typing import Any, ClassVar, Literal, Self, dataclass_transform

from zhiban.kit.frozen_dataclass import frozen_dataclass

ActorKind = Literal[
    "contact", "assistant", "agent", "servicer", "rule", "campaign", "flow", "tracker", "api", "timer", "system"
]
CauseKind = Literal["", "event", "rule", "macro", "bulk", "flow", "campaign", "timer", "webhook", "command", "policy"]

# What the row keeps in columns of their own; everything else of a fact stands in `data`.
COLUMNS = ("conversation_id", "message_id", "contact_id", "inbox_id", "cycle", "assignee_id", "team_id")
_COMMON = frozenset({"actor", "at", "cause", "id", *COLUMNS})


@frozen_dataclass
class Actor:
    """Who brought something about.

    `id` is a row of ours (agent, contact, rule, token …). `ref` is what names them where no row exists or when the row
    may go: a login, the user id of a servicer at the vendor, the name of an API token.
    """

    kind: ActorKind
    id: int | None = None
    ref: str | None = None


@frozen_dataclass
class Cause:
    """What led to a fact: `id` names the event, rule or macro; `depth` counts reactions to reactions."""

    kind: CauseKind = ""
    id: int | None = None
    depth: int = 0


ASSISTANT = Actor("assistant")
SYSTEM = Actor("system")
TIMER = Actor("timer")
DIRECT = Cause()


@dataclass_transform(kw_only_default=True, frozen_default=True)
class _Fact:
    """Makes every class below it a frozen dataclass with keywords only, known by its name in snake case.

    All share the methods below: having them made for each class took a good part of the time to start.
    """

    _kind: ClassVar[str] = ""
    _data: ClassVar[tuple[str, ...] | None] = None
    _names: ClassVar[frozenset[str]] = frozenset()
    _defaults: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        dataclass(init=False, kw_only=True, eq=False, repr=False)(cls)
        found = fields(cls)  # type: ignore[arg-type]  # mypy does not know what the line above does
        cls._names = frozenset(field.name for field in found)
        cls._defaults = {field.name: field.default for field in found if field.default is not MISSING}
        cls._kind = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        cls._data = None
        _BY_KIND[cls._kind] = cls

    def __init__(self, **values: Any) -> None:
        held = vars(self)
        held.update(self._defaults)
        held.update(values)
        if held.keys() != self._names:
            wrong = ", ".join(sorted(held.keys() ^ self._names))
            raise TypeError(f"{type(self).__name__} lacks or does not know: {wrong}")

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


_BY_KIND: dict[str, type[Any]] = {}


class Event(_Fact):
    """A fact. `id` is its row in the log, 0 until it is written."""

    actor: Actor
    at: datetime
    cause: Cause = DIRECT
    id: int = 0

    @classmethod
    def kind(cls) -> str:
        """The name under which the log stores it: the class name in snake case."""
        return cls._kind

    def logged(self, id_: int) -> Self:
        """The same fact, known by the id of its row."""
        known = object.__new__(type(self))
        vars(known).update(vars(self), id=id_)
        return known

    def column(self, name: str) -> int | None:
        """The value of a column that the row keeps, None where this fact has no such field."""
        value: int | None = getattr(self, name, None)
        return value

    def data(self) -> dict[str, Any]:
        """All fields that are no columns and not None."""
        cls = type(self)
        if cls._data is None:
            cls._data = tuple(field.name for field in fields(cls) if field.name not in _COMMON)
        return {name: value for name in cls._data if (value := getattr(self, name)) is not None}

    def consequence(self) -> Cause:
        """The cause of whatever is done because of this fact."""
        return Cause("event", self.id or None, self.cause.depth + 1)


class ConversationEvent(Event):
    """A fact about a conversation. `assignee_id` and `team_id` are those before it, `cycle` the one after it."""

    conversation_id: int
    inbox_id: int | None = None
    contact_id: int | None = None
    cycle: int | None = None
    assignee_id: int | None = None
    team_id: int | None = None


class StatusChanged(ConversationEvent):
    """What all changes of the status have in common; never recorded itself. `reason` is a stable word."""

    status: str
    previous: str
    reason: str = ""


class MessageFact(ConversationEvent):
    """A fact about one message."""

    message_id: int


def decode(kind: str, common: Mapping[str, Any], data: Mapping[str, Any]) -> Event:
    """A fact as it was recorded. `common` holds actor, at, cause, id and the columns. Raises KeyError when unknown."""
    cls: type[Event] = _BY_KIND[kind]
    values: dict[str, Any] = {}
    for field in fields(cls):
        if field.name in data:
            values[field.name] = _decoded(str(field.type), data[field.name])
        elif field.name in common:
            values[field.name] = common[field.name]
        elif field.default is MISSING:
            values[field.name] = None  # the log leaves out what is nothing
    return cls(**values)


def _decoded(written: str, value: Any) -> Any:
    if "datetime" in written and isinstance(value, str):
        return datetime.fromisoformat(value)
    return tuple(value) if written.startswith("tuple") else value

"""What an operator has to fill in to connect a vendor, for the terminal and for the settings page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from zhiban.kit.errors import Misconfigured
from zhiban.kit.frozen_dataclass import frozen_dataclass

Values = Mapping[str, Any]

READ_ONLY = "read_only"  # the field of a connection whose inboxes say nothing: they are silent as paused ones are


class UnusableValues(Misconfigured):
    """Values of a set-up that cannot be used, by the names of their fields."""

    def __init__(self, fields: Sequence[str], sentence: str = "") -> None:
        self.fields = tuple(fields)
        super().__init__(sentence or f"These values cannot be used: {', '.join(self.fields)}.")


@frozen_dataclass
class SetupField:
    """One value. `name` is its key in the connection's configuration and, with dashes, its option on the terminal.

    `label` and `help` are translatable texts; `help` says where the value is found.
    """

    name: str
    label: str
    help: str = ""
    secret: bool = False  # sealed, and never shown again
    required: bool = True
    default: str = ""
    identifies: bool = False  # the same values of these fields mean the same connection
    rotates: bool = False  # the former value is kept as `previous_<name>` for a day after a change
    operator: bool = False  # it decides where we call: set by the operator's terminal or environment alone
    lines: bool = False  # it has several lines, such as a key in a file
    yes_no: bool = False  # it is "true" or "false"


Proof = Literal["saved", "vendor", "webhook", "message"]


@frozen_dataclass
class SetupStep:
    """One thing that an operator does. `title`, `text`, `done` are translatable; in `text` `{callback}` is our address.

    `proof` says how it is seen to be done: the values are stored; one of the vendor's checks names it by its `key`, or
    a later one; the vendor called our address; a contact wrote and was answered. `done` says what is proved then.
    """

    key: str
    title: str
    proof: Proof
    text: str = ""
    done: str = ""


@frozen_dataclass
class Setup:
    """The fields in the order of asking, and the steps in the order in which they are done.

    `complete` checks the values and fills in what may be left out. Raises UnusableValues. `is_operators` tells of
    stored values that they open what agents may not reach, so that the operator alone changes any of them.
    """

    fields: tuple[SetupField, ...]
    steps: tuple[SetupStep, ...]
    complete: Callable[[Values], Values]
    is_operators: Callable[[Values], bool] = lambda _values: False

    @property
    def agents_fields(self) -> tuple[SetupField, ...]:
        """The fields that an agent fills in, who manages a workspace and not the installation."""
        return tuple(field for field in self.fields if not field.operator)

    def without_operators(self, values: Values) -> dict[str, Any]:
        """The values without those that only the operator sets."""
        kept = {field.name for field in self.fields if field.operator}
        return {name: value for name, value in values.items() if name not in kept}

    def split(self, values: Values) -> tuple[dict[str, Any], dict[str, Any]]:
        """The open configuration and the secrets. Values that no field names are left out."""
        known = {field.name: field for field in self.fields if field.name in values}
        return (
            {name: values[name] for name, field in known.items() if not field.secret},
            {name: values[name] for name, field in known.items() if field.secret},
        )

    def only(self, values: Values) -> dict[str, Any]:
        """The values that fields name."""
        return {field.name: values[field.name] for field in self.fields if field.name in values}

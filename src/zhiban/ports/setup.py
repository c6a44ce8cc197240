"""What an operator has to fill in to connect a vendor, for the terminal and for the settings page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zhiban.kit.frozen_dataclass import frozen_dataclass

Values = Mapping[str, Any]


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


@frozen_dataclass
class Setup:
    """The fields in the order of asking; `steps` are translatable texts in which `{callback}` is our address.

    `complete` checks the values and fills in what may be left out. Raises Misconfigured.
    """

    fields: tuple[SetupField, ...]
    steps: tuple[str, ...]
    complete: Callable[[Values], Values]

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

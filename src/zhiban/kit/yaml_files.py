"""YAML that an operator gives us, as plain values."""

from __future__ import annotations

import re
from typing import Any

from zhiban.kit.errors import Conflict

LONGEST = 200_000  # characters
_LONG_NUMBER = re.compile(r"[-+]?(?:0x[0-9a-fA-F_]{98,}|[0-9][0-9_:.]{99,})")  # it would be read for seconds
DEEPEST = 50  # lists and maps inside each other; the parser's time grows with the square of it


class BadYaml(Conflict):
    """The text is no YAML, or more than is taken; the sentence says why."""


def plain_values(text: str) -> Any:
    """What the text says, without any types but those that YAML sees by itself. Raises BadYaml."""
    import yaml  # a megabyte, for the few who bring a file

    # The one in C is ten times as fast; it is there where the package was built with it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    if len(text) > LONGEST:
        raise BadYaml(f"Such a file has at most {LONGEST} characters.")
    try:
        depth = 0
        for event in yaml.parse(text, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise BadYaml(f"Lists and maps may stand {DEEPEST} deep in each other here.")
            # Anchors can be stacked into a text of gigabytes, and nothing here needs any.
            if isinstance(event, yaml.AliasEvent):
                raise BadYaml("Aliases (*) are not allowed here.")
            # What is no number, no day and so on although it says so fails in as many ways as there are tags.
            if getattr(event, "tag", None) not in (None, "!"):
                raise BadYaml("Tags (!) are not allowed here.")
            if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and _LONG_NUMBER.fullmatch(event.value):
                raise BadYaml("A number has at most 100 digits here.")
        return yaml.load(text, Loader=loader)  # noqa: S506 - a safe one
    except (yaml.YAMLError, RecursionError, ValueError, ArithmeticError) as error:
        raise BadYaml(f"This is not YAML: {str(error)[:200]}") from None


def as_yaml(values: Any) -> str:
    """The same the other way, in the order of the values and in their own letters."""
    import yaml

    text: str = yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=1000)
    return text

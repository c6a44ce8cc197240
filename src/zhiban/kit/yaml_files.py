"""YAML that an operator gives us, as plain values."""

from __future__ import annotations

from typing import Any

from zhiban.kit.errors import Conflict

LONGEST = 200_000  # characters
DEEPEST = 50  # lists and maps inside each other; the parser's time grows with the square of it


class BadYaml(Conflict):
    """The text is no YAML, or more than is taken; the sentence says why."""


def plain_values(text: str) -> Any:
    """What the text says, without any types but YAML's own. Raises BadYaml."""
    import yaml  # a megabyte, for the few who bring a file

    if len(text) > LONGEST:
        raise BadYaml(f"Such a file has at most {LONGEST} characters.")
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise BadYaml(f"Lists and maps may stand {DEEPEST} deep in each other here.")
            # Anchors can be stacked into a text of gigabytes, and nothing here needs any.
            if isinstance(event, yaml.AliasEvent):
                raise BadYaml("Aliases (*) are not allowed here.")
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadYaml(f"This is not YAML: {str(error)[:200]}") from None


def as_yaml(values: Any) -> str:
    """The same the other way, in the order of the values and in their own letters."""
    import yaml

    text: str = yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=1000)
    return text

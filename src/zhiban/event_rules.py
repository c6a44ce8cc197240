"""What can happen to the rules that move work around. What a rule did stands in its runs. Part of `events`."""

from __future__ import annotations

from zhiban.event_base import Event


class RuleAdded(Event):
    """A rule was made; whether it works says `enabled`."""

    rule_id: int
    name: str
    enabled: bool = False


class RuleChanged(Event):
    """Name, definition, place or switch: the names of what changed, with their values before and after."""

    rule_id: int
    revision: int
    before: dict[str, object]
    after: dict[str, object]


class RuleRemoved(Event):
    """The rule is gone; its runs stay."""

    rule_id: int
    name: str

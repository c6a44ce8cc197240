"""A policy as a YAML file: read with every mistake named at once, and written back."""

from __future__ import annotations

from typing import Any

import yaml

from zhiban.channels.business_hours import Hours
from zhiban.channels.policy import Policy, PolicyMistake, Problem, parse_policy
from zhiban.kit.i18n import mark

_FILE_SIZE = 256 * 1024  # characters
_DEPTH = 10


def policy_yaml(policy: Policy) -> str:
    """The policy as a file that `load_policy` reads back to an equal one."""
    written: str = yaml.safe_dump(policy.model_dump(mode="json"), allow_unicode=True, sort_keys=False, width=1000)
    return written


def load_policy(yaml_text: str) -> Policy:
    """The policy that a YAML file says. Raises PolicyMistake with every mistake, each with its line and field."""
    if len(yaml_text) > _FILE_SIZE:
        raise PolicyMistake([Problem(None, "", mark("is too long for a policy"))])
    root = _parsed(yaml_text)
    lines: dict[tuple[str, ...], int] = {}
    values = _plain(root, (), lines) if root is not None else None
    values = {} if values is None or values is _EMPTY else values
    if not isinstance(values, dict):
        raise PolicyMistake([Problem(1, "", mark("must be a list of fields such as `welcome: …`"))])
    return parse_policy(values, lines)


def hours_yaml(hours: Hours) -> str:
    """The business hours as a file that `load_hours` reads back, and that a policy's file may hold as they are."""
    plain = {"hours": hours.model_dump(mode="json")}
    written: str = yaml.safe_dump(plain, allow_unicode=True, sort_keys=False, width=1000)
    return written


def load_hours(yaml_text: str) -> Hours:
    """The business hours of a file that says nothing else. Raises PolicyMistake."""
    policy = load_policy(yaml_text)
    others = policy.model_fields_set - {"hours"}
    if others:
        raise PolicyMistake([Problem(None, ".".join(sorted(others)[:1]), mark("does not belong to business hours"))])
    if "hours" not in policy.model_fields_set:
        raise PolicyMistake([Problem(None, "hours", mark("is missing"))])
    return policy.hours


_ANCHORED = mark("anchors and aliases (& and *) are not allowed")
_NESTED = mark("is nested too deeply")


def _parsed(yaml_text: str) -> yaml.Node | None:
    try:
        depth = 0
        for event in yaml.parse(yaml_text, Loader=yaml.BaseLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            # Anchors can be stacked into a text of gigabytes, nesting takes time; and a policy needs neither.
            anchored = isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None)
            if anchored or depth > _DEPTH:
                mistake = _ANCHORED if anchored else _NESTED
                raise PolicyMistake([Problem(event.start_mark.line + 1 if event.start_mark else None, "", mistake)])
        return yaml.compose(yaml_text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        line = at.line + 1 if at else None
        raise PolicyMistake([Problem(line, "", mark(f"this is not YAML: {error.problem or error.context}"))]) from None
    except yaml.reader.ReaderError as error:
        line = yaml_text.count("\n", 0, error.position) + 1
        raise PolicyMistake([Problem(line, "", mark("there is a character that YAML does not allow"))]) from None
    except yaml.YAMLError:
        raise PolicyMistake([Problem(None, "", mark("this is not YAML"))]) from None


_NOTHING = ("~", "null", "Null", "NULL")
_EMPTY: Any = object()  # a field that is left empty keeps its default; `null` is said on purpose


def _plain(node: yaml.Node, path: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> Any:
    """The node as text, lists and dicts. Scalars stay text, so that `on` and 09:30 mean what one reads."""
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        if node.style is None and not node.value:
            return _EMPTY
        return None if node.style is None and node.value in _NOTHING else node.value
    if isinstance(node, yaml.SequenceNode):
        items = [_plain(item, (*path, str(index)), lines) for index, item in enumerate(node.value)]
        return [None if item is _EMPTY else item for item in items]
    return _mapping(node, path, lines)


def _mapping(node: yaml.Node, path: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise PolicyMistake([Problem(line, ".".join(path), mark("a field's name must be a plain word"))])
        key = key_node.value
        if key in values:
            raise PolicyMistake([Problem(line, ".".join((*path, key)), mark("stands twice"))])
        values[key] = _plain(value_node, (*path, key), lines)
        lines[(*path, key)] = line
    return {key: value for key, value in values.items() if value is not _EMPTY}

"""JSON of others in our words. Tolerant: what is missing or of another shape is as if it had not been said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from zhiban.kit.text import clean

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Where changes are counted by themselves, #5 and !5 are two things: ours of the second is this much higher.
CHANGES: Final = 1_000_000_000

JsonPart = Mapping[str, Any]

_NOTHING: JsonPart = {}
_MARK = re.compile(r"<!-- zhiban:draft=([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) -->\s*\Z")


def mark_of(key: str) -> str:
    """What stands hidden at the end of a text of ours, so that we find it again."""
    return f"<!-- zhiban:draft={key} -->"


def marked(text: str, key: str) -> str:
    return f"{text}\n\n{mark_of(key)}"


def key_in(text: str) -> str:
    """The key in a text of ours; empty where there is none. Only the end counts: what is quoted is not ours."""
    found = _MARK.search(text)
    return found[1] if found else ""


def without_mark(text: str) -> str:
    return _MARK.sub("", text).rstrip()


def part(value: object, *names: str) -> JsonPart:
    """The object that lies there, or one without anything."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else _NOTHING


def words(value: object, name: str) -> str:
    found = value.get(name) if isinstance(value, Mapping) else None
    return clean(found) if isinstance(found, str) else ""


def number(value: object, name: str) -> int:
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 2**53 else 0


def moment(value: object, name: str) -> datetime:
    """ISO 8601, also with UTC written out, or seconds since 1970 as some old hooks say it; 1970 where nothing can be
    read."""
    found = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(found, int) and not isinstance(found, bool) and 0 < found < 2**33:
        return datetime.fromtimestamp(found, UTC)
    try:
        at = datetime.fromisoformat(str(found).replace(" UTC", "+00:00"))
    except ValueError:
        return EPOCH
    return at.astimezone(UTC) if at.tzinfo else EPOCH


def second(value: object, name: str) -> datetime:
    """The same in whole seconds, where hooks say those only and answers more: one moment must not look like two."""
    return moment(value, name).replace(microsecond=0)


def items(value: object, name: str) -> list[Any]:
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else []


def names(found: list[Any], *keys: str) -> tuple[str, ...]:
    """What each of them is called: a text, or an object with one of these keys."""
    called = (
        one if isinstance(one, str) else next(filter(None, (words(one, key) for key in keys)), "") for one in found
    )
    return tuple(filter(None, called))

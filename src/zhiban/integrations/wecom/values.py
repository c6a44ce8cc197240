"""Reading loosely typed JSON and XML values: whatever stands there, these functions return something sensible."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from zhiban.kit.text import clean

_MILLISECONDS = 10**11  # seconds reach this only in the year 5138
_SLACK = timedelta(minutes=5)  # how far a vendor's clock may be ahead
_DEEPEST = 24
_NOTHING: Mapping[str, Any] = {}


def text_of(values: Mapping[str, Any], name: str) -> str:
    """The value as storable text; numbers become text, and what is missing or a structure becomes empty."""
    value = values.get(name)
    if isinstance(value, str):
        return clean(value)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def mapping_of(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name)
    return value if isinstance(value, dict) else _NOTHING


def items_of(values: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Those entries of a list that are objects."""
    value = values.get(name)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def texts_of(values: Mapping[str, Any], name: str) -> list[str]:
    """Those entries of a list that are texts."""
    value = values.get(name)
    return [clean(entry) for entry in value if isinstance(entry, str) and entry] if isinstance(value, list) else []


def number(value: object) -> int | None:
    """A whole number, also when written as text or as a float; None for all else."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str) and len(value) > 20:
        return None
    try:
        return int(float(value)) if isinstance(value, str | float) else None
    except (ValueError, OverflowError):
        return None


def moment(value: object, now: datetime) -> datetime:
    """A vendor's timestamp (seconds or milliseconds). Unusable ones, and those from the future, become `now`."""
    seconds = number(value)
    if seconds is None or seconds <= 0:
        return now
    if seconds >= _MILLISECONDS:
        seconds //= 1000
    try:
        found = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return now
    return now if found > now + _SLACK else found


def storable(value: Any, depth: int = 0) -> Any:
    """A copy that the database takes: cleaned texts, and nothing nested deeper than 24."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        if depth >= _DEEPEST:
            return {}
        return {clean(str(key)): storable(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [storable(inner, depth + 1) for inner in value] if depth < _DEEPEST else []
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None  # JSON in the database knows neither
    return value

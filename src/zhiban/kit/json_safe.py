"""Vendors' content as JSON that PostgreSQL takes."""

from __future__ import annotations

import json
from typing import Any

from zhiban.kit.text import clean


def json_safe(value: Any) -> str:
    """JSON that PostgreSQL takes: no NUL, no lone surrogate, whatever the vendor put in."""
    text = json.dumps(value, ensure_ascii=True, default=str)
    if "\\u0000" in text or "\\ud" in text:
        text = json.dumps(_cleaned(value), ensure_ascii=False, default=str)
    return text


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return clean(value)
        case dict():
            return {clean(str(name)): _cleaned(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_cleaned(inner) for inner in value]
        case _:
            return value

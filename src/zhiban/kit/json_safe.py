"""Anything as JSON that PostgreSQL takes: vendors' content, and many rows in one parameter.

A statement that writes many rows takes them as one JSON array and reads it with `json_to_recordset`: that costs both
sides about a third of what an array for each column costs.
"""

from __future__ import annotations

import json
from typing import Any

from zhiban.kit.text import clean

_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


def json_safe(value: Any) -> str:
    """JSON that PostgreSQL takes: no NUL, no lone surrogate, whatever the vendor put in. Moments become text."""
    text = _encode(value)
    # A NUL is always escaped in JSON; what `clean` would change besides is a lone surrogate.
    return _encode(_cleaned(value)) if "\\u0000" in text or clean(text) != text else text


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

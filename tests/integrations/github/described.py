"""What GitHub says about the bodies of the calls that we make: an excerpt of its published description."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

REQUESTS = Path(__file__).with_name("requests.json")

# On purpose: whether we may open issues GitHub says before it misses the title, and none is opened.
PROBE: tuple[str, dict[str, Any]] = ("POST /repos/{owner}/{repo}/issues", {})


@cache
def described() -> dict[str, Any]:
    """A schema by method and path, None where nothing is sent."""
    found: dict[str, Any] = json.loads(REQUESTS.read_text("utf-8"))
    return found


@cache
def validator(operation: str) -> Any:
    """Compiled when the first such call is made."""
    return jsonschema_rs.validator_for(described()[operation])


def operation_of(method: str, path: str) -> str | None:
    """Which of the described calls this is."""
    return next((one for one in described() if _fits(one, method, path)), None)


def problem(method: str, path: str, body: Any) -> str:
    """What is wrong with a call that is sent, empty where nothing is."""
    operation = operation_of(method, path)
    if operation is None:
        return "" if body is None else "this call is not described"
    if body is None or (operation, body) == PROBE:
        return ""
    if described()[operation] is None:
        return "this call takes no body"
    wrong = next(validator(operation).iter_errors(body), None)
    return "" if wrong is None else str(wrong.message)


def _fits(described: str, method: str, path: str) -> bool:
    verb, _, template = described.partition(" ")
    pieces, real = template.strip("/").split("/"), path.strip("/").split("/")
    same = len(pieces) == len(real) and all(
        piece == there or piece.startswith("{") for piece, there in zip(pieces, real, strict=True)
    )
    return verb == method and same

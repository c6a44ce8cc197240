"""Whether what is sent to a simulated forge is what the vendor describes: a simulator refuses what the vendor refuses.

The vendor's description is no part of the product: whoever has it at hand, as tests have, sets `check`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BodyCheck = Callable[[str, str, Any], str]  # of method, path and body: what is wrong with it, empty where nothing is

check: BodyCheck | None = None
unfit: list[str] = []  # what was wrong since somebody looked


def look_at(method: str, path: str, body: Any) -> str:
    """What is wrong with a call, empty where nothing is or nobody knows. It is kept in `unfit` as well."""
    wrong = check(method, path, body) if check is not None else ""
    if wrong:
        unfit.append(f"{method} {path}: {wrong}")
    return wrong


def taken() -> list[str]:
    """What was wrong since the last time that somebody asked."""
    found, unfit[:] = list(unfit), []
    return found

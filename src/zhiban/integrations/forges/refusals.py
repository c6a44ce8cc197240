"""Refusals of forges, sorted by what helps: waiting, an operator, another name, or nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from zhiban.kit.http import HttpResponse, NotJson
from zhiban.kit.i18n import mark
from zhiban.kit.text import clean
from zhiban.ports import ConnectionBroken, TrackerRefused, TryLater

LEAST_PAUSE: Final = 60.0  # seconds after a limit that names no time
LONGEST_PAUSE: Final = 3600.0

BAD_CREDENTIALS = mark("The tracker refuses our credentials: the token was revoked, has expired, or is mistyped")
NOT_FOUND = mark("The repository or issue is not there, or we may not see it.")
ISSUES_OFF = mark("Issues are switched off for this repository.")
DELETED = mark("The issue was deleted.")
LOCKED = mark("The issue is locked: only its maintainers comment.")
FORBIDDEN = mark("The tracker does not let us do this: the token lacks a permission.")
ARCHIVED = mark("The repository is archived: nothing can be written there.")

_SECONDS = re.compile(r"[0-9]{1,6}")
_MOMENT = re.compile(r"[0-9]{1,12}")


class Moved(Exception):
    """The answer is another address: the repository was renamed or given to somebody else."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.location = location


def wait_asked(answer: HttpResponse, now: datetime, *, also: Collection[int] = ()) -> float | None:
    """The seconds of pause that a rate limit asks for; None when the answer is no rate limit.

    `also`: statuses besides 429 that may be one, which their headers or words say.
    """
    if answer.status != 429 and answer.status not in also:
        return None
    stated = answer.headers.get("retry-after", "")
    if _SECONDS.fullmatch(stated):
        return min(max(float(stated), 1.0), LONGEST_PAUSE)
    for prefix in ("x-ratelimit", "ratelimit"):
        reset, left = answer.headers.get(f"{prefix}-reset", ""), answer.headers.get(f"{prefix}-remaining")
        if left == "0" and _MOMENT.fullmatch(reset):
            return min(max(float(reset) - now.timestamp(), 1.0), LONGEST_PAUSE)
    if answer.status == 429 or "rate limit" in message(answer).lower():
        return LEAST_PAUSE
    return None


def message(answer: HttpResponse) -> str:
    """The forge's own sentence, with what it says of each field."""
    try:
        said = answer.json()
    except NotJson:
        return ""
    if not isinstance(said, dict):
        return ""
    told = [_flat(said.get(name)) for name in ("message", "error", "error_description")]
    errors = said.get("errors")
    told += [_detail(error) for error in errors] if isinstance(errors, list) else []
    return clean("; ".join(one for one in told if one))[:300]


def _flat(said: Any) -> str:
    """A sentence, or fields with their sentences."""
    if isinstance(said, Mapping):
        return "; ".join(f"{name} {_flat(one)}".strip() for name, one in said.items())
    if isinstance(said, list):
        return ", ".join(_flat(one) for one in said)
    return str(said)[:200] if said else ""


def _detail(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)[:100]
    return " ".join(str(error[key]) for key in ("field", "code", "message") if error.get(key))


def refusal(answer: HttpResponse, *, vendor: str, writes: bool) -> Exception:
    """The error for an answer that is neither a success nor a rate limit, where a forge has no word of its own."""
    status, said = answer.status, message(answer)
    match status:
        case 301 | 302 | 303 | 307 | 308:
            return Moved(answer.headers.get("location", ""))
        case 401:
            return ConnectionBroken(BAD_CREDENTIALS, code=status)
        case 403 | 451:
            if "archived" in said.lower():
                return TrackerRefused("forbidden", code=status, hint=ARCHIVED)
            return TrackerRefused("forbidden", code=status, hint=FORBIDDEN)
        case 404:
            return TrackerRefused("not_found", code=status, hint=NOT_FOUND)
        case 410:
            return TrackerRefused("gone", code=status, hint=DELETED)
        case _ if status >= 500 or status == 408:
            return TryLater(f"{vendor} does not answer properly now.", after=5, unknown=writes, code=status)
        case _:
            return TrackerRefused("invalid", code=status, hint=said)

"""GitHub's refusals, sorted by what helps: waiting, an operator, another name, or nothing."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from zhiban.kit.http import HttpResponse, NotJson
from zhiban.kit.i18n import mark
from zhiban.kit.text import clean
from zhiban.ports import ConnectionBroken, TrackerRefused, TryLater

LEAST_PAUSE: Final = 60.0  # seconds after a secondary limit that names no time, by GitHub's own advice
LONGEST_PAUSE: Final = 3600.0

_BAD_CREDENTIALS = mark("GitHub refuses our credentials: the token or the app's key was revoked, or is mistyped")
_SUSPENDED = mark("The app's installation is suspended at GitHub")

_NOT_FOUND = mark("The repository or issue is not there, or we may not see it: is the app installed for it?")
_ISSUES_OFF = mark("Issues are switched off for this repository.")
_DELETED = mark("The issue was deleted.")
_LOCKED = mark("The issue is locked: only its maintainers comment.")
_FORBIDDEN = mark("GitHub does not let us do this: the permission Issues (read and write) is missing.")
_ARCHIVED = mark("The repository is archived: nothing can be written there.")


class Moved(Exception):
    """GitHub answers with another address: the repository was renamed or given to somebody else."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.location = location


def wait_asked(answer: HttpResponse, now: datetime) -> float | None:
    """The seconds of pause that a rate limit asks for; None when the answer is no rate limit.

    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    if answer.status not in (403, 429):
        return None
    stated = answer.headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,6}", stated):
        return min(max(float(stated), 1.0), LONGEST_PAUSE)
    reset = answer.headers.get("x-ratelimit-reset", "")
    if answer.headers.get("x-ratelimit-remaining") == "0" and re.fullmatch(r"[0-9]{1,12}", reset):
        return min(max(float(reset) - now.timestamp(), 1.0), LONGEST_PAUSE)
    if answer.status == 429 or "rate limit" in message(answer).lower():
        return LEAST_PAUSE
    return None


def message(answer: HttpResponse) -> str:
    """GitHub's own sentence, with what it says of each field."""
    try:
        said = answer.json()
    except NotJson:
        return ""
    if not isinstance(said, dict):
        return ""
    parts = [str(said.get("message") or "")]
    errors = said.get("errors")
    parts += [_detail(error) for error in errors] if isinstance(errors, list) else []
    return clean("; ".join(part for part in parts if part))[:300]


def _detail(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)[:100]
    return " ".join(str(error[key]) for key in ("field", "code", "message") if error.get(key))


def refusal(answer: HttpResponse, *, writes: bool) -> Exception:
    """The error for an answer that is neither a success nor a rate limit."""
    status, said = answer.status, message(answer)
    match status:
        case 301 | 302 | 307 | 308:
            return Moved(answer.headers.get("location", ""))
        case 401:
            return ConnectionBroken(_BAD_CREDENTIALS, code=status)
        case 403 | 451:
            return _forbidden(status, said)
        case 404:
            return TrackerRefused("not_found", code=status, hint=_NOT_FOUND)
        case 410:
            if "deleted" in said.lower():
                return TrackerRefused("gone", code=status, hint=_DELETED)
            return TrackerRefused("issues_disabled", code=status, hint=_ISSUES_OFF)
        case _ if status >= 500 or status == 408:
            return TryLater("GitHub does not answer properly now.", after=5, unknown=writes, code=status)
        case _:
            return TrackerRefused("invalid", code=status, hint=said)


def _forbidden(status: int, said: str) -> Exception:
    lower = said.lower()
    if "suspended" in lower:
        return ConnectionBroken(_SUSPENDED, code=status)
    if "is locked" in lower:
        return TrackerRefused("locked", code=status, hint=_LOCKED)
    if "archived" in lower:
        return TrackerRefused("forbidden", code=status, hint=_ARCHIVED)
    return TrackerRefused("forbidden", code=status, hint=_FORBIDDEN)

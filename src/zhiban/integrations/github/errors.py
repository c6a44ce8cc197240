"""GitHub's refusals, sorted by what helps: waiting, an operator, another name, or nothing."""

from __future__ import annotations

from datetime import datetime

from zhiban.integrations.forges import refusals
from zhiban.integrations.forges.refusals import Moved, message
from zhiban.kit.http import HttpResponse
from zhiban.kit.i18n import mark
from zhiban.ports import ConnectionBroken, TrackerRefused, TryLater

_BAD_CREDENTIALS = mark("GitHub refuses our credentials: the token or the app's key was revoked, or is mistyped")
_SUSPENDED = mark("The app's installation is suspended at GitHub")

_NOT_FOUND = mark("The repository or issue is not there, or we may not see it: is the app installed for it?")
_FORBIDDEN = mark("GitHub does not let us do this: the permission Issues (read and write) is missing.")


def wait_asked(answer: HttpResponse, now: datetime) -> float | None:
    """The seconds of pause that a rate limit asks for; None when the answer is no rate limit.

    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    return refusals.wait_asked(answer, now, also=(403,))


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
                return TrackerRefused("gone", code=status, hint=refusals.DELETED)
            return TrackerRefused("issues_disabled", code=status, hint=refusals.ISSUES_OFF)
        case _ if status >= 500 or status == 408:
            return TryLater("GitHub does not answer properly now.", after=5, unknown=writes, code=status)
        case _:
            return TrackerRefused("invalid", code=status, hint=said)


def _forbidden(status: int, said: str) -> Exception:
    lower = said.lower()
    if "suspended" in lower:
        return ConnectionBroken(_SUSPENDED, code=status)
    if "is locked" in lower:
        return TrackerRefused("locked", code=status, hint=refusals.LOCKED)
    if "archived" in lower:
        return TrackerRefused("forbidden", code=status, hint=refusals.ARCHIVED)
    return TrackerRefused("forbidden", code=status, hint=_FORBIDDEN)

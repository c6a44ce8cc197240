"""How the simulated GitHub refuses: its words for each situation, its limits of texts, and the mishaps."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from zhiban.testing.forge import ForgeFault
from zhiban.testing.forge_asgi import ApiRefusal
from zhiban.testing.github.simulator import BODY_CHARACTERS, TITLE_CHARACTERS


class GitHubRefusal(ApiRefusal):
    def __init__(self, status: int, message: str, *, headers: dict[str, str] | None = None, errors: Any = None) -> None:
        said = {"message": message, "documentation_url": "https://docs.github.com/rest"}
        super().__init__(status, said | ({"errors": errors} if errors else {}), headers)


async def mishap(fault: ForgeFault) -> None:
    match fault.kind:
        case "502":
            raise GitHubRefusal(502, "Server Error")
        case "401":
            raise GitHubRefusal(401, "Bad credentials")
        case "suspended":
            raise GitHubRefusal(403, "Sorry. Your account was suspended")
        case "429":
            raise GitHubRefusal(429, "Too many requests", headers={"Retry-After": str(fault.retry_after or 1)})
        case "secondary":
            raise secondary(fault.retry_after)
        case "limit":
            reset = str(int(datetime.now(UTC).timestamp()) + (fault.retry_after or 1))
            headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
            raise GitHubRefusal(403, "API rate limit exceeded for installation", headers=headers)
        case _:
            await asyncio.sleep(0.3)


def secondary(after: int | None) -> GitHubRefusal:
    headers = {"Retry-After": str(after)} if after else None
    return GitHubRefusal(403, "You have exceeded a secondary rate limit. Please wait a few minutes.", headers=headers)


def object_of(found: Any, known: set[str]) -> dict[str, Any]:
    if not isinstance(found, dict) or set(found) - known:
        raise GitHubRefusal(422, "Invalid request.", errors=[f"{sorted(set(found) - known)} are not permitted keys."])
    return found


def title_of(found: Any) -> str:
    if not isinstance(found, str) or not found.strip():
        raise invalid("Issue", "title", "missing_field")
    if len(found) > TITLE_CHARACTERS:
        message = f"title is too long (maximum is {TITLE_CHARACTERS} characters)"
        raise GitHubRefusal(
            422, "Validation Failed", errors=[{"resource": "Issue", "code": "custom", "message": message}]
        )
    return found


def text_of(found: Any, resource: str) -> str:
    if not isinstance(found, str):
        raise invalid(resource, "body", "missing_field")
    if len(found) > BODY_CHARACTERS:
        message = f"body is too long (maximum is {BODY_CHARACTERS} characters)"
        raise GitHubRefusal(
            422, "Validation Failed", errors=[{"resource": resource, "code": "custom", "message": message}]
        )
    return found


def invalid(resource: str, name: str, code: str) -> GitHubRefusal:
    return GitHubRefusal(422, "Validation Failed", errors=[{"resource": resource, "field": name, "code": code}])

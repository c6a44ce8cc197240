"""GitHub's JSON in our words. Tolerant: what is missing or of another shape is as if it had not been said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from zhiban.kit.text import clean
from zhiban.ports import Issue, IssueComment, Repository, TrackerUser

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Part = Mapping[str, Any]

_NOTHING: Part = {}
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


def part(value: object, *names: str) -> Part:
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
    """ISO 8601, or seconds since 1970 as some old hooks say it; 1970 where nothing can be read."""
    found = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(found, int) and not isinstance(found, bool) and 0 < found < 2**33:
        return datetime.fromtimestamp(found, UTC)
    try:
        at = datetime.fromisoformat(str(found))
    except ValueError:
        return EPOCH
    return at.astimezone(UTC) if at.tzinfo else EPOCH


def items(value: object, name: str) -> list[Any]:
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else []


def user(found: Part, *, ours: bool = False) -> TrackerUser:
    login = words(found, "login")
    return TrackerUser(login, bot=words(found, "type") == "Bot" or login.endswith("[bot]"), ours=ours)


def repository(found: Part) -> Repository:
    enabled = found.get("has_issues", True)
    return Repository(
        str(number(found, "id")),
        words(found, "full_name"),
        private=found.get("private") is True,
        issues_enabled=enabled is not False,
        archived=found.get("archived") is True,
    )


def is_ours(found: Part, app_id: str) -> bool:
    """Whether our app wrote it, or a text of ours stands in it."""
    via = part(found, "performed_via_github_app")
    return (bool(app_id) and app_id in (str(number(via, "id")), words(via, "client_id"))) or bool(
        key_in(words(found, "body"))
    )


def issue(found: Part, name: str, *, app_id: str = "") -> Issue:
    """An issue, or a pull request as issues show it or as hooks show it."""
    is_change = bool(part(found, "pull_request")) or "merged_at" in found or "head" in found
    merged = bool(found.get("merged_at") or part(found, "pull_request").get("merged_at"))
    closed = words(found, "state") == "closed"
    created = moment(found, "created_at")
    return Issue(
        name,
        number(found, "number"),
        words(found, "html_url"),
        words(found, "title"),
        "closed" if closed else "open",
        user(part(found, "user"), ours=is_ours(found, app_id)),
        created,
        max(moment(found, "updated_at"), created),
        body=without_mark(words(found, "body")),
        reason="merged" if merged else words(found, "state_reason") if closed else "",
        labels=tuple(
            one if isinstance(one, str) else words(one, "name")
            for one in items(found, "labels")
            if isinstance(one, str) or words(one, "name")
        ),
        assignees=tuple(words(one, "login") for one in items(found, "assignees") if words(one, "login")),
        comments=number(found, "comments"),
        locked=found.get("locked") is True,
        is_change=is_change,
        key=key_in(words(found, "body")),
    )


def comment(found: Part, *, app_id: str = "") -> IssueComment:
    created = moment(found, "created_at")
    return IssueComment(
        str(number(found, "id")),
        words(found, "html_url"),
        without_mark(words(found, "body")),
        user(part(found, "user"), ours=is_ours(found, app_id)),
        created,
        max(moment(found, "updated_at"), created),
        key_in(words(found, "body")),
    )

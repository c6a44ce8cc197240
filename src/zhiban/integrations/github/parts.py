"""GitHub's JSON in our words. Tolerant: what is missing or of another shape is as if it had not been said."""

from __future__ import annotations

from zhiban.integrations.forges.parts import (
    EPOCH,
    JsonPart,
    items,
    key_in,
    mark_of,
    marked,
    moment,
    number,
    part,
    without_mark,
    words,
)
from zhiban.ports import Issue, IssueComment, Repository, TrackerUser

__all__ = [
    "EPOCH",
    "JsonPart",
    "comment",
    "is_ours",
    "issue",
    "items",
    "key_in",
    "mark_of",
    "marked",
    "moment",
    "number",
    "part",
    "repository",
    "user",
    "without_mark",
    "words",
]


def user(found: JsonPart, *, ours: bool = False) -> TrackerUser:
    login = words(found, "login")
    return TrackerUser(login, bot=words(found, "type") == "Bot" or login.endswith("[bot]"), ours=ours)


def repository(found: JsonPart) -> Repository:
    enabled = found.get("has_issues", True)
    return Repository(
        str(number(found, "id")),
        words(found, "full_name"),
        private=found.get("private") is True,
        issues_enabled=enabled is not False,
        archived=found.get("archived") is True,
    )


def is_ours(found: JsonPart, app_id: str) -> bool:
    """Whether our app wrote it, or a text of ours stands in it."""
    via = part(found, "performed_via_github_app")
    return (bool(app_id) and app_id in (str(number(via, "id")), words(via, "client_id"))) or bool(
        key_in(words(found, "body"))
    )


def issue(found: JsonPart, name: str, *, app_id: str = "") -> Issue:
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


def comment(found: JsonPart, *, app_id: str = "") -> IssueComment:
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

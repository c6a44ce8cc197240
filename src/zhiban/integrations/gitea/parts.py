"""Gitea's JSON in our words: answers and hooks say the same."""

from __future__ import annotations

import re

from zhiban.integrations.forges.parts import JsonPart, items, key_in, names, number, part, second, without_mark, words
from zhiban.ports import Issue, IssueComment, Repository, TrackerUser

# Users of a machine have no mark; those that Gitea makes itself have these names, and negative numbers.
_BOT = re.compile(r"(?:gitea|forgejo)-actions|ghost|.*(?:\[bot\]|[-_.]bot)", re.IGNORECASE)


def user(found: JsonPart, *, ours: bool = False) -> TrackerUser:
    login = words(found, "login") or words(found, "username")
    return TrackerUser(login, bot=bool(_BOT.fullmatch(login)), ours=ours)


def repository(found: JsonPart) -> Repository:
    """One whose issues are kept by another program has none for us."""
    return Repository(
        str(number(found, "id")),
        words(found, "full_name"),
        private=found.get("private") is True,
        issues_enabled=found.get("has_issues") is not False and not part(found, "external_tracker"),
        archived=found.get("archived") is True,
    )


def issue(found: JsonPart, name: str) -> Issue:
    """An issue, or a pull request as lists of issues and as hooks show it."""
    body = words(found, "body")
    is_change = bool(part(found, "pull_request")) or "merged" in found or "head" in found
    merged = found.get("merged") is True or part(found, "pull_request").get("merged") is True
    closed = words(found, "state") == "closed"
    return Issue(
        name,
        number(found, "number"),
        words(found, "html_url"),
        words(found, "title"),
        "closed" if closed else "open",
        user(part(found, "user"), ours=bool(key_in(body))),
        second(found, "created_at"),
        max(second(found, "updated_at"), second(found, "created_at")),
        body=without_mark(body),
        reason="merged" if merged else "",
        labels=names(items(found, "labels"), "name"),
        assignees=names(items(found, "assignees"), "login", "username"),
        comments=number(found, "comments"),
        locked=found.get("is_locked") is True,
        is_change=is_change,
        key=key_in(body),
    )


def comment(found: JsonPart) -> IssueComment:
    body = words(found, "body")
    return IssueComment(
        str(number(found, "id")),
        words(found, "html_url"),
        without_mark(body),
        user(part(found, "user"), ours=bool(key_in(body))),
        second(found, "created_at"),
        max(second(found, "updated_at"), second(found, "created_at")),
        key_in(body),
    )

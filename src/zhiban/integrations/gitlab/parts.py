"""GitLab's JSON in our words: what its API answers, and what its hooks say, which differ in almost every name."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from zhiban.integrations.forges.parts import (
    CHANGES,
    JsonPart,
    items,
    key_in,
    names,
    number,
    part,
    second,
    without_mark,
    words,
)
from zhiban.ports import Issue, IssueComment, Repository, TrackerUser

PUBLIC: Final = 20  # GitLab's number for what everybody sees
LINES: Final = frozenset(("DiffNote", "LegacyDiffNote"))  # types of notes that are lines of a review

# No answer and no hook says who is a machine: tokens of projects and groups, service accounts and GitLab's own have
# names that nobody else may have or takes.
_BOT = re.compile(
    r"(?:project|group)_[0-9]+_bot(?:_\w+)?|service_account_\w+|.*[-_.]bot|(?:alert|support|security|migration)-bot.*"
    r"|GitLabDuo|ghost",
    re.IGNORECASE,
)


def user(found: JsonPart, *, ours: bool = False) -> TrackerUser:
    login = words(found, "username")
    return TrackerUser(login, bot=found.get("bot") is True or bool(_BOT.fullmatch(login)), ours=ours)


def repository(found: JsonPart) -> Repository:
    """A project, as the API shows it."""
    level = words(found, "issues_access_level")
    enabled = level != "disabled" if level else found.get("issues_enabled") is not False
    return Repository(
        str(number(found, "id")),
        words(found, "path_with_namespace"),
        private=words(found, "visibility") != "public",
        issues_enabled=enabled,
        archived=found.get("archived") is True,
    )


def hooked_repository(found: JsonPart) -> Repository:
    """A project, as a hook shows it."""
    private = number(found, "visibility_level") != PUBLIC
    return Repository(str(number(found, "id")), words(found, "path_with_namespace"), private=private)


def is_confidential(found: JsonPart) -> bool:
    return found.get("confidential") is True


def is_aside(note: JsonPart) -> bool:
    """Whether a note is no comment for everybody: GitLab's own words, what colleagues say, a line of a review."""
    if words(note, "type") in LINES or note.get("system") is True:
        return True
    return note.get("internal") is True or is_confidential(note)


def issue(found: JsonPart, name: str, *, is_change: bool = False) -> Issue:
    """An issue or a merge request, as the API shows it."""
    body, state = words(found, "description"), words(found, "state")
    return Issue(
        name,
        number(found, "iid") + (CHANGES if is_change else 0),
        words(found, "web_url"),
        words(found, "title"),
        "open" if state in ("opened", "locked") else "closed",
        user(part(found, "author"), ours=bool(key_in(body))),
        second(found, "created_at"),
        max(second(found, "updated_at"), second(found, "created_at")),
        body=without_mark(body),
        reason="merged" if state == "merged" else "",
        labels=names(items(found, "labels"), "name", "title"),
        assignees=names(items(found, "assignees"), "username"),
        comments=number(found, "user_notes_count"),
        locked=found.get("discussion_locked") is True,
        is_change=is_change,
        key=key_in(body),
        confidential=is_confidential(found),
    )


def hooked_issue(payload: JsonPart, found: JsonPart, *, is_change: bool = False) -> Issue:
    """An issue or a merge request, as a hook shows it: its author only by a number, unless it is who did this."""
    actor, body, state = part(payload, "user"), words(found, "description"), words(found, "state")
    wrote = number(actor, "id") == number(found, "author_id") != 0
    labels = items(found, "labels") or items(payload, "labels")
    assignees = items(found, "assignees") or items(payload, "assignees")
    return Issue(
        words(part(payload, "project"), "path_with_namespace"),
        number(found, "iid") + (CHANGES if is_change else 0),
        words(found, "url") or _address(payload, found, is_change=is_change),
        words(found, "title"),
        "open" if state in ("opened", "locked") else "closed",
        user(actor if wrote else {}, ours=bool(key_in(body))),
        second(found, "created_at"),
        max(second(found, "updated_at"), second(found, "created_at")),
        body=without_mark(body),
        reason="merged" if state == "merged" else "",
        labels=names(labels, "title", "name"),
        assignees=names(assignees, "username"),
        locked=found.get("discussion_locked") is True,
        is_change=is_change,
        key=key_in(body),
    )


def _address(payload: JsonPart, found: JsonPart, *, is_change: bool) -> str:
    """Where it is: what a comment is about comes without it."""
    place = "merge_requests" if is_change else "issues"
    return f"{words(part(payload, 'project'), 'web_url')}/-/{place}/{number(found, 'iid')}"


def comment(found: JsonPart, place: str) -> IssueComment:
    """A note, as the API shows it: without an address, which is that of its issue and its number."""
    body, id_ = words(found, "body"), str(number(found, "id"))
    return IssueComment(
        id_,
        f"{place}#note_{id_}",
        without_mark(body),
        user(part(found, "author"), ours=bool(key_in(body))),
        second(found, "created_at"),
        max(second(found, "updated_at"), second(found, "created_at")),
        key_in(body),
    )


def hooked_comment(payload: JsonPart, found: JsonPart) -> IssueComment:
    body = words(found, "note")
    return IssueComment(
        str(number(found, "id")),
        words(found, "url"),
        without_mark(body),
        user(part(payload, "user"), ours=bool(key_in(body))),
        second(found, "created_at"),
        max(second(found, "updated_at"), second(found, "created_at")),
        key_in(body),
    )


def happened(found: JsonPart) -> datetime:
    return max(second(found, "updated_at"), second(found, "created_at"))

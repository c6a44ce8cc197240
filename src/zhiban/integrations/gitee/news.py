"""What each event of Gitee means to us, and why the others mean nothing.

https://help.gitee.com/webhook/gitee-webhook-push-data-format
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal

from zhiban.integrations.forges.parts import JsonPart, key_in, number, part, words
from zhiban.integrations.gitee import parts
from zhiban.ports import Issue, IssueComment, TrackerNews

GiteeNewsKind = Literal["issue", "comment", "change", "review"]

# Events that mean nothing to us, each with its reason.
IGNORED: Final[Mapping[str, str]] = dict.fromkeys(("Push Hook", "Tag Push Hook"), "code itself is not our subject")

# Nothing in a call is signed, and its name becomes part of an address that we ask.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*/[A-Za-z0-9_-][A-Za-z0-9_.-]*")

_ISSUE_ACTIONS: Final = {
    "open": "opened", "close": "closed", "reopen": "reopened", "assign": "assigned", "delete": "deleted",
}  # fmt: skip
_CHANGE_ACTIONS: Final = {
    "open": "opened", "close": "closed", "merge": "closed", "reopen": "reopened", "assign": "assigned",
}  # fmt: skip


def read(event: str, payload: JsonPart) -> list[TrackerNews]:
    """The news in this call."""
    place = part(payload, "repository")
    if not number(place, "id") or not _NAME.fullmatch(words(place, "full_name")):
        return []
    reader = _READERS.get(event)
    found = reader(payload, words(payload, "action")) if reader is not None else None
    return [] if found is None else [found]


GiteeReader = Callable[[JsonPart, str], TrackerNews | None]


def _told(
    payload: JsonPart,
    kind: GiteeNewsKind,
    action: str,
    issue: Issue,
    *,
    at: datetime,
    object_id: object,
    comment: IssueComment | None = None,
    key: str = "",
    summary: Mapping[str, Any] | None = None,
) -> TrackerNews:
    place = part(payload, "repository")
    # Two hooks of one repository tell the same in calls of their own.
    named = f"{kind} {action} {number(place, 'id')} {object_id} {at.isoformat()}"
    return TrackerNews(
        kind=kind,
        action=action,
        repository=parts.repository(place),
        actor=replace(parts.user(part(payload, "sender")), ours=bool(key)),
        happened_at=at,
        digest=hashlib.sha256(named.encode()).hexdigest(),
        issue=issue,
        comment=comment,
        key=key,
        summary=summary or {},
    )


def gone(news: TrackerNews) -> TrackerNews:
    """What may not be told any more is as if it had been deleted; what was never told, nobody here has heard of."""
    assert news.issue is not None
    empty = replace(news.issue, title="", body="", labels=(), assignees=(), key="")
    return replace(news, kind="issue", action="deleted", issue=empty, comment=None, key="", summary={})


def _issue_in(payload: JsonPart) -> Issue | None:
    found = part(payload, "issue")
    issue = parts.issue(found, words(part(payload, "repository"), "full_name"))
    return issue if issue.number else None


def _change_in(payload: JsonPart) -> Issue | None:
    found = part(payload, "pull_request")
    if not number(found, "number"):
        return None
    return parts.change(found, words(part(payload, "repository"), "full_name"))


def _issue(payload: JsonPart, action: str) -> TrackerNews | None:
    issue = _issue_in(payload)
    if issue is None:
        return None
    told = _ISSUE_ACTIONS.get(action, "edited")
    if action == "state_change":
        # Also from to do to in progress, which is one to us; whether it was closed before that, only we may know.
        progressing = words(part(payload, "issue"), "state") == "progressing"
        told = "closed" if issue.state == "closed" else "edited" if progressing else "reopened"
    key = issue.key if told == "opened" else ""
    return _told(payload, "issue", told, issue, at=issue.updated_at, object_id=issue.number, key=key)


def _change(payload: JsonPart, action: str) -> TrackerNews | None:
    issue = _change_in(payload)
    if issue is None:
        return None
    if action == "approved":
        id_ = f"{issue.number} {words(part(payload, 'sender'), 'login')}"
        summary = {"review": issue.number, "text": "", "url": issue.url}
        return _told(payload, "review", "approved", issue, at=issue.updated_at, object_id=id_, summary=summary)
    return _told(
        payload,
        "change",
        _CHANGE_ACTIONS.get(action, "edited"),
        issue,
        at=issue.updated_at,
        object_id=issue.number,
        summary={"draft": part(payload, "pull_request").get("draft") is True},
    )


def _comment(payload: JsonPart, action: str) -> TrackerNews | None:
    """A comment on an issue or on a pull request; those on commits are about code."""
    found, about = part(payload, "comment"), words(payload, "noteable_type")
    issue = {"Issue": _issue_in, "PullRequest": _change_in}.get(about, lambda _payload: None)(payload)
    if issue is None or not number(found, "id"):
        return None
    comment = parts.comment(found, issue.url)
    told = "deleted" if action.startswith("delete") else "edited" if action in ("edit", "edited") else "created"
    return _told(
        payload,
        "comment",
        told,
        issue,
        at=comment.updated_at,
        object_id=comment.external_id,
        comment=comment,
        key=key_in(words(found, "body")),
    )


_READERS: Final[Mapping[str, GiteeReader]] = {
    "Issue Hook": _issue,
    "Merge Request Hook": _change,
    "Note Hook": _comment,
}

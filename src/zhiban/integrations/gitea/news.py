"""What each event of Gitea means to us, and why the others mean nothing.

https://docs.gitea.com/usage/repository/webhooks
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal

from zhiban.integrations.forges.parts import JsonPart, key_in, number, part, second, words
from zhiban.integrations.gitea import parts
from zhiban.ports import Issue, IssueComment, TrackerNews

CHARACTERS: Final = 2000  # of a text that a line about the news may quote

GiteaNewsKind = Literal["issue", "comment", "change", "review", "release", "repository"]

_CODE = "code itself is not our subject"
_MACHINE = "machines report to machines"

# Events that mean nothing to us, each with its reason.
IGNORED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("create", "delete", "fork", "push", "wiki"), _CODE),
    **dict.fromkeys(("package", "status", "workflow_job", "workflow_run", "action_run_success"), _MACHINE),
}

_ACTIONS: Final = {
    "label_updated": "labeled", "label_cleared": "unlabeled", "unassigned": "edited", "milestoned": "edited",
    "demilestoned": "edited", "synchronized": "edited",
}  # fmt: skip
_REVIEWS: Final = {
    "pull_request_approved": "approved",
    "pull_request_rejected": "changes_requested",
    "pull_request_comment": "commented",
}


def read(event: str, payload: JsonPart) -> list[TrackerNews]:
    """The news in this call."""
    place = part(payload, "repository")
    if not number(place, "id") or not words(place, "full_name"):
        return []
    reader = _READERS.get(event)
    found = reader(payload, words(payload, "action"), event) if reader is not None else None
    return [] if found is None else [found]


GiteaReader = Callable[[JsonPart, str, str], TrackerNews | None]


def _told(
    payload: JsonPart,
    kind: GiteaNewsKind,
    action: str,
    *,
    at: datetime,
    object_id: object,
    issue: Issue | None = None,
    comment: IssueComment | None = None,
    key: str = "",
    summary: Mapping[str, Any] | None = None,
) -> TrackerNews:
    place = part(payload, "repository")
    # A hook of the organisation and one of the repository tell the same under two ids.
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


def _issue_in(payload: JsonPart, name: str) -> Issue | None:
    found = part(payload, name)
    if not number(found, "number"):
        return None
    return parts.issue(found, words(part(payload, "repository"), "full_name"))


def _issue(payload: JsonPart, action: str, _event: str) -> TrackerNews | None:
    issue = _issue_in(payload, "issue")
    if issue is None:
        return None
    key = issue.key if action == "opened" else ""
    told = _ACTIONS.get(action, action)
    kind: GiteaNewsKind = "change" if issue.is_change else "issue"
    return _told(payload, kind, told, at=issue.updated_at, object_id=issue.number, issue=issue, key=key)


def _change(payload: JsonPart, action: str, event: str) -> TrackerNews | None:
    issue = _issue_in(payload, "pull_request")
    if issue is None:
        return None
    issue = replace(issue, is_change=True)
    if event in _REVIEWS or action == "reviewed":
        review = part(payload, "review")
        state = _REVIEWS.get(event, "commented")
        text = words(review, "content")[:CHARACTERS]
        # A review has no number in its hook.
        id_ = f"{issue.number} {words(part(payload, 'sender'), 'login')} {hashlib.sha256(text.encode()).hexdigest()}"
        summary = {"review": issue.number, "text": text, "url": issue.url}
        return _told(payload, "review", state, at=issue.updated_at, object_id=id_, issue=issue, summary=summary)
    return _told(
        payload,
        "change",
        _ACTIONS.get(action, action),
        at=issue.updated_at,
        object_id=issue.number,
        issue=issue,
        summary={"draft": part(payload, "pull_request").get("draft") is True},
    )


def _comment(payload: JsonPart, action: str, _event: str) -> TrackerNews | None:
    """A pull request comes as `pull_request`, or as an issue that says so."""
    found = part(payload, "comment")
    issue = _issue_in(payload, "issue") or _issue_in(payload, "pull_request")
    if issue is None or not number(found, "id"):
        return None
    comment = parts.comment(found)
    return _told(
        payload,
        "comment",
        action,
        at=comment.updated_at,
        object_id=comment.external_id,
        issue=replace(issue, is_change=issue.is_change or payload.get("is_pull") is True),
        comment=comment,
        key=key_in(words(found, "body")),
    )


def _release(payload: JsonPart, action: str, _event: str) -> TrackerNews | None:
    found = part(payload, "release")
    if action != "published" or found.get("draft") is True:
        return None
    return _told(
        payload,
        "release",
        action,
        at=second(found, "published_at"),
        object_id=number(found, "id"),
        summary={
            "name": words(found, "name") or words(found, "tag_name"),
            "tag": words(found, "tag_name"),
            "url": words(found, "html_url"),
            "early": found.get("prerelease") is True,
        },
    )


def _repository(payload: JsonPart, action: str, _event: str) -> TrackerNews | None:
    place = part(payload, "repository")
    at = second(place, "updated_at")
    return _told(payload, "repository", action, at=at, object_id=number(place, "id"))


_READERS: Final[Mapping[str, GiteaReader]] = {
    "issues": _issue,
    "issue_comment": _comment,
    "pull_request": _change,
    **dict.fromkeys(_REVIEWS, _change),
    "release": _release,
    "repository": _repository,
}

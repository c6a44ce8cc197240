"""What each event of GitHub means to us, and why the others mean nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal

from zhiban.integrations.github import parts
from zhiban.integrations.github.parts import JsonPart
from zhiban.ports import Issue, TrackerNews
from zhiban.ports.trackers import IssueComment

CHARACTERS: Final = 2000  # of a text that a line about the news may quote

GitHubNewsKind = Literal[
    "issue", "comment", "change", "review", "release", "discussion", "workflow", "stars", "repository"
]

_CODE = "code itself is not our subject"
_PEOPLE = "who may do what at the tracker is not our subject"
_MACHINE = "machines report to machines; only a failed run is news"
_BOARD = "boards arrange issues and change none"
_SECURITY = "what is not public yet must not reach a group"

# Events that mean nothing to us, each with its reason.
IGNORED: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("branch_protection_rule", "commit_comment", "create", "delete", "fork", "gollum", "merge_group", "push"), _CODE
    ),
    **dict.fromkeys(("deploy_key", "github_app_authorization", "member", "membership", "org_block"), _PEOPLE),
    **dict.fromkeys(("organization", "team", "team_add", "marketplace_purchase", "sponsorship"), _PEOPLE),
    **dict.fromkeys(
        ("check_run", "check_suite", "deployment", "deployment_review", "deployment_status", "page_build"), _MACHINE
    ),
    **dict.fromkeys(
        ("package", "repository_dispatch", "repository_import", "status", "workflow_dispatch", "workflow_job"), _MACHINE
    ),
    **dict.fromkeys(("project", "project_card", "project_column", "projects_v2_item", "milestone"), _BOARD),
    **dict.fromkeys(
        ("code_scanning_alert", "dependabot_alert", "repository_vulnerability_alert", "security_advisory"), _SECURITY
    ),
    "label": "labels are known by the issues that have them",
    "meta": "whoever removed the hook knows it; the silence is found by the watch",
    "ping": "the first call only proves the address",
    "discussion_comment": "only the question and its answer are news",
    "pull_request_review_thread": "a thread that is resolved is told by the review",
    "public": "that it is public now, the next news of the repository says",
    "watch": "the same as a star, told twice",
}

# Actions of events that otherwise mean something.
IGNORED_ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "pull_request": (
        *("synchronize", "auto_merge_enabled", "auto_merge_disabled", "enqueued", "dequeued", "milestoned"),
        *("review_requested", "review_request_removed", "demilestoned"),
    ),
    "pull_request_review": ("edited", "dismissed"),
    "pull_request_review_comment": ("edited", "deleted"),
    "release": ("created", "edited", "deleted", "prereleased", "released", "unpublished"),
    "discussion": (
        *("edited", "deleted", "pinned", "unpinned", "locked", "unlocked", "transferred", "category_changed"),
        *("unanswered", "labeled", "unlabeled", "closed", "reopened"),
    ),
    "star": ("deleted",),
    "workflow_run": ("requested", "in_progress"),
    "repository": ("edited",),
    # What we may and may not do is found out by the next call.
    "installation": ("new_permissions_accepted", "suspend", "unsuspend"),
}


def read(event: str, payload: JsonPart, *, app_id: str = "") -> list[TrackerNews]:
    """The news in this call."""
    action = parts.words(payload, "action")
    reader = _READERS.get(event)
    if reader is None or action in IGNORED_ACTIONS.get(event, ()):
        return []
    if event in ("installation", "installation_repositories"):
        return _installation(payload, action)
    place = parts.part(payload, "repository")
    if not parts.number(place, "id") or not parts.words(place, "full_name"):
        return []
    found = reader(payload, action, app_id)
    return [] if found is None else [found]


GitHubReader = Callable[[JsonPart, str, str], TrackerNews | None]


def _told(
    payload: JsonPart,
    kind: GitHubNewsKind,
    action: str,
    *,
    at: datetime,
    object_id: object,
    issue: Issue | None = None,
    comment: IssueComment | None = None,
    key: str = "",
    summary: Mapping[str, Any] | None = None,
) -> TrackerNews:
    place = parts.part(payload, "repository")
    # An app's hook and a repository's hook tell the same under two ids.
    named = f"{kind} {action} {parts.number(place, 'id')} {object_id} {at.isoformat()}"
    actor = parts.user(parts.part(payload, "sender"))
    return TrackerNews(
        kind=kind,
        action=action,
        repository=parts.repository(place),
        actor=replace(actor, ours=comment.author.ours if comment else bool(key)),
        happened_at=at,
        digest=hashlib.sha256(named.encode()).hexdigest(),
        issue=issue,
        comment=comment,
        key=key,
        summary=summary or {},
    )


def _issue_of(payload: JsonPart, found: JsonPart, app_id: str) -> Issue:
    return parts.issue(found, parts.words(parts.part(payload, "repository"), "full_name"), app_id=app_id)


def _issues(payload: JsonPart, action: str, app_id: str) -> TrackerNews | None:
    found = parts.part(payload, "issue")
    if not parts.number(found, "number"):
        return None
    issue = _issue_of(payload, found, app_id)
    key = parts.key_in(parts.words(found, "body")) if action == "opened" else ""
    return _told(
        payload,
        "change" if issue.is_change else "issue",
        action,
        at=issue.updated_at,
        object_id=issue.number,
        issue=issue,
        key=key,
        summary={"label": parts.words(parts.part(payload, "label"), "name")} if "label" in payload else None,
    )


def _issue_comment(payload: JsonPart, action: str, app_id: str) -> TrackerNews | None:
    found, issue = parts.part(payload, "comment"), parts.part(payload, "issue")
    if not parts.number(found, "id") or not parts.number(issue, "number"):
        return None
    comment = parts.comment(found, app_id=app_id)
    return _told(
        payload,
        "comment",
        action,
        at=comment.updated_at,
        object_id=comment.external_id,
        issue=_issue_of(payload, issue, app_id),
        comment=comment,
        key=parts.key_in(parts.words(found, "body")),
    )


def _pull_request(payload: JsonPart, action: str, app_id: str) -> TrackerNews | None:
    found = parts.part(payload, "pull_request")
    if not parts.number(found, "number"):
        return None
    issue = replace(_issue_of(payload, found, app_id), is_change=True)
    draft = found.get("draft") is True
    return _told(
        payload, "change", action, at=issue.updated_at, object_id=issue.number, issue=issue, summary={"draft": draft}
    )


def _review(payload: JsonPart, action: str, app_id: str) -> TrackerNews | None:
    found, change = parts.part(payload, "review"), parts.part(payload, "pull_request")
    state = parts.words(found, "state").lower()
    if action != "submitted" or not parts.number(change, "number"):
        return None
    return _told(
        payload,
        "review",
        state or "commented",
        at=parts.moment(found, "submitted_at"),
        object_id=parts.number(found, "id"),
        issue=replace(_issue_of(payload, change, app_id), is_change=True),
        summary={
            "review": parts.number(found, "id"),
            "text": parts.words(found, "body")[:CHARACTERS],
            "url": parts.words(found, "html_url"),
        },
    )


def _review_comment(payload: JsonPart, _action: str, app_id: str) -> TrackerNews | None:
    """A line of a review: it is told with the review that it belongs to."""
    found, change = parts.part(payload, "comment"), parts.part(payload, "pull_request")
    if not parts.number(change, "number"):
        return None
    return _told(
        payload,
        "review",
        "line",
        at=parts.moment(found, "created_at"),
        object_id=parts.number(found, "id"),
        issue=replace(_issue_of(payload, change, app_id), is_change=True),
        summary={
            "review": parts.number(found, "pull_request_review_id"),
            "text": parts.words(found, "body")[:CHARACTERS],
            "url": parts.words(found, "html_url"),
        },
    )


def _release(payload: JsonPart, action: str, _app_id: str) -> TrackerNews | None:
    found = parts.part(payload, "release")
    return _told(
        payload,
        "release",
        action,
        at=parts.moment(found, "published_at"),
        object_id=parts.number(found, "id"),
        summary={
            "name": parts.words(found, "name") or parts.words(found, "tag_name"),
            "tag": parts.words(found, "tag_name"),
            "url": parts.words(found, "html_url"),
            "early": found.get("prerelease") is True,
        },
    )


def _discussion(payload: JsonPart, action: str, _app_id: str) -> TrackerNews | None:
    found = parts.part(payload, "discussion")
    return _told(
        payload,
        "discussion",
        action,
        at=parts.moment(found, "updated_at"),
        object_id=parts.number(found, "number"),
        summary={
            "number": parts.number(found, "number"),
            "title": parts.words(found, "title"),
            "url": parts.words(found, "html_url"),
        },
    )


def _workflow(payload: JsonPart, _action: str, _app_id: str) -> TrackerNews | None:
    """Only a run that failed on the default branch."""
    found = parts.part(payload, "workflow_run")
    branch = parts.words(parts.part(payload, "repository"), "default_branch")
    if parts.words(found, "conclusion") != "failure" or parts.words(found, "head_branch") != branch:
        return None
    return _told(
        payload,
        "workflow",
        "failed",
        at=parts.moment(found, "updated_at"),
        object_id=parts.number(found, "id"),
        summary={"name": parts.words(found, "name"), "url": parts.words(found, "html_url"), "branch": branch},
    )


def _star(payload: JsonPart, _action: str, _app_id: str) -> TrackerNews | None:
    count = parts.number(parts.part(payload, "repository"), "stargazers_count")
    at = parts.moment(payload, "starred_at")
    url = parts.words(parts.part(payload, "repository"), "html_url")
    return _told(payload, "stars", "created", at=at, object_id=count, summary={"count": count, "url": url})


def _repository(payload: JsonPart, action: str, _app_id: str) -> TrackerNews | None:
    place = parts.part(payload, "repository")
    at = parts.moment(place, "updated_at")
    return _told(payload, "repository", action, at=at, object_id=parts.number(place, "id"))


def _installation(payload: JsonPart, action: str) -> list[TrackerNews]:
    """Which repositories our app reaches now. They are named in short."""
    at = parts.moment(parts.part(payload, "installation"), "updated_at")
    meant = "removed" if action == "deleted" else "added"
    named = (("repositories", meant), ("repositories_added", "added"), ("repositories_removed", "removed"))
    found = [
        _told({**payload, "repository": one}, "repository", told, at=at, object_id="app")
        for name, told in named
        for one in parts.items(payload, name)
    ]
    return [one for one in found if one.repository.name and one.repository.external_id != "0"]


def _never(_payload: JsonPart, _action: str, _app_id: str) -> TrackerNews | None:
    raise AssertionError("read by itself")


_READERS: Final[Mapping[str, GitHubReader]] = {
    "issues": _issues,
    "issue_comment": _issue_comment,
    "pull_request": _pull_request,
    "pull_request_review": _review,
    "pull_request_review_comment": _review_comment,
    "release": _release,
    "discussion": _discussion,
    "workflow_run": _workflow,
    "star": _star,
    "repository": _repository,
    "installation": _never,
    "installation_repositories": _never,
}

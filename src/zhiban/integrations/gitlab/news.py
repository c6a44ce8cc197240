"""What each event of GitLab means to us, and why the others mean nothing.

https://docs.gitlab.com/user/project/integrations/webhook_events/
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal

from zhiban.integrations.forges.parts import JsonPart, items, key_in, names, number, part, second, words
from zhiban.integrations.gitlab import parts
from zhiban.ports import Issue, IssueComment, Repository, TrackerNews, TrackerUser

CHARACTERS: Final = 2000  # of a text that a line about the news may quote

GitLabNewsKind = Literal["issue", "comment", "change", "review", "release", "repository"]

_CODE = "code itself is not our subject"
_MACHINE = "machines report to machines"
_PEOPLE = "who may do what at the tracker is not our subject"

# Kinds of objects that mean nothing to us, each with its reason.
IGNORED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("push", "tag_push", "wiki_page"), _CODE),
    **dict.fromkeys(("pipeline", "build", "deployment", "feature_flag"), _MACHINE),
    **dict.fromkeys(("access_token", "deploy_token"), _PEOPLE),
    "emoji": "a reaction says nothing in words",
    "milestone": "boards arrange issues and change none",
    "vulnerability": "what is not public yet must not reach a group",
}

_ISSUE_ACTIONS: Final = {"open": "opened", "close": "closed", "reopen": "reopened"}
_CHANGE_ACTIONS: Final = {**_ISSUE_ACTIONS, "merge": "closed"}
_REVIEWS: Final = {"approved": "approved", "approval": "approved"}
_PLACES: Final = {"project_rename": "renamed", "project_transfer": "renamed", "project_destroy": "deleted"}


def read(event: str, payload: JsonPart) -> list[TrackerNews]:
    """The news in this call. Of what is confidential, only that it changed: groups may not see what is there."""
    kind = words(payload, "object_kind")
    named = words(payload, "event_name")
    if not kind and named in _PLACES:
        return _place(payload, named)
    reader = _READERS.get(kind)
    place = part(payload, "project")
    if reader is None or not number(place, "id") or not words(place, "path_with_namespace"):
        return []
    hidden = "confidential" in event.lower() or words(payload, "event_type").startswith("confidential")
    found = reader(payload, part(payload, "object_attributes"), hidden)
    return [] if found is None else [found]


GitLabReader = Callable[[JsonPart, JsonPart, bool], TrackerNews | None]


def _told(
    payload: JsonPart,
    kind: GitLabNewsKind,
    action: str,
    *,
    at: datetime,
    object_id: object,
    issue: Issue | None = None,
    comment: IssueComment | None = None,
    key: str = "",
    summary: Mapping[str, Any] | None = None,
    actor: TrackerUser | None = None,
) -> TrackerNews:
    place = part(payload, "project")
    # A group's hook and a project's hook tell the same under two ids.
    named = f"{kind} {action} {number(place, 'id')} {object_id} {at.isoformat()}"
    return TrackerNews(
        kind=kind,
        action=action,
        repository=parts.hooked_repository(place),
        actor=replace(actor or parts.user(part(payload, "user")), ours=bool(key)),
        happened_at=at,
        digest=hashlib.sha256(named.encode()).hexdigest(),
        issue=issue,
        comment=comment,
        key=key,
        summary=summary or {},
    )


def _issue(payload: JsonPart, found: JsonPart, hidden: bool) -> TrackerNews | None:
    action = words(found, "action")
    if not number(found, "iid") or not action:  # a hook that is only tried out names no action
        return None
    issue = parts.hooked_issue(payload, found)
    told = _ISSUE_ACTIONS.get(action) or _changed(part(payload, "changes"))
    if hidden or parts.is_confidential(found):
        bare = replace(issue, title="", body="", labels=(), assignees=(), confidential=True)
        return _told(payload, "issue", told, at=issue.updated_at, object_id=issue.number, issue=bare)
    key = key_in(words(found, "description")) if action == "open" else ""
    return _told(payload, "issue", told, at=issue.updated_at, object_id=issue.number, issue=issue, key=key)


def _changed(changes: JsonPart) -> str:
    """What an update is, in one word."""
    labels = part(changes, "labels")
    if labels:
        before = set(names(items(labels, "previous"), "title", "name"))
        return "labeled" if set(names(items(labels, "current"), "title", "name")) - before else "unlabeled"
    if part(changes, "assignees"):
        return "assigned"
    return "edited"


def _change(payload: JsonPart, found: JsonPart, _hidden: bool) -> TrackerNews | None:
    action = words(found, "action")
    if not number(found, "iid") or not action:
        return None
    issue = parts.hooked_issue(payload, found, is_change=True)
    if action in _REVIEWS:
        id_ = f"{issue.number} {words(part(payload, 'user'), 'username')}"
        summary = {"review": issue.number, "text": "", "url": issue.url}
        return _told(
            payload, "review", _REVIEWS[action], at=issue.updated_at, object_id=id_, issue=issue, summary=summary
        )
    draft = found.get("draft") is True or found.get("work_in_progress") is True
    return _told(
        payload,
        "change",
        _CHANGE_ACTIONS.get(action, "edited"),
        at=issue.updated_at,
        object_id=issue.number,
        issue=issue,
        summary={"draft": draft},
    )


def _note(payload: JsonPart, found: JsonPart, hidden: bool) -> TrackerNews | None:
    """A comment on an issue or on a merge request; those on commits and snippets are about code."""
    about = words(found, "noteable_type")
    is_change = about == "MergeRequest"
    subject = part(payload, "merge_request" if is_change else "issue")
    if about not in ("Issue", "WorkItem", "MergeRequest") or not number(subject, "iid") or not number(found, "id"):
        return None
    # What GitLab writes by itself says again what an event of its own says.
    if found.get("system") is True or hidden or found.get("internal") is True or parts.is_confidential(subject):
        return None
    issue = parts.hooked_issue(payload, subject, is_change=is_change)
    comment = parts.hooked_comment(payload, found)
    if is_change and words(found, "type") in parts.LINES:
        summary = {"review": issue.number, "text": comment.body[:CHARACTERS], "url": comment.url}
        id_ = comment.external_id
        return _told(payload, "review", "line", at=comment.created_at, object_id=id_, issue=issue, summary=summary)
    return _told(
        payload,
        "comment",
        "edited" if words(found, "action") == "update" else "created",
        at=comment.updated_at,
        object_id=comment.external_id,
        issue=issue,
        comment=comment,
        key=key_in(words(found, "note")),
    )


def _release(payload: JsonPart, _found: JsonPart, _hidden: bool) -> TrackerNews | None:
    """Says nobody's name but that of the commit's author."""
    if words(payload, "action") != "create":
        return None
    author = words(part(payload, "commit", "author"), "name")
    return _told(
        payload,
        "release",
        "published",
        at=second(payload, "released_at"),
        object_id=number(payload, "id"),
        summary={
            "name": words(payload, "name") or words(payload, "tag"),
            "tag": words(payload, "tag"),
            "url": words(payload, "url"),
            "early": False,
        },
        actor=TrackerUser(author or words(part(payload, "project"), "namespace")),
    )


def _place(payload: JsonPart, named: str) -> list[TrackerNews]:
    """A group's hook, of its projects."""
    id_, name = number(payload, "project_id"), words(payload, "path_with_namespace")
    if not id_ or not name:
        return []
    at = parts.happened(payload)
    digest = hashlib.sha256(f"repository {named} {id_} {at.isoformat()}".encode()).hexdigest()
    private = words(payload, "project_visibility") not in ("public", "visibilitylevel|public")
    place = Repository(str(id_), name, private=private)
    return [TrackerNews("repository", _PLACES[named], place, TrackerUser(words(payload, "owner_name")), at, digest)]


_READERS: Final[Mapping[str, GitLabReader]] = {
    "issue": _issue,
    "work_item": _issue,
    "merge_request": _change,
    "note": _note,
    "release": _release,
}

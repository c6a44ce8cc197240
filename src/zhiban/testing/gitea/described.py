"""Gitea's webhooks as https://docs.gitea.com/usage/repository/webhooks and its API's description have them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from zhiban.testing.described_hooks import DescribedHook, DescribedPlace, Json, Places

_CHEN = {
    "id": 2, "login": "chen", "login_name": "", "source_id": 0, "full_name": "陈默", "email": "chen@noreply.gitea.test",
    "avatar_url": "https://gitea.test/avatars/2", "html_url": "https://gitea.test/chen", "language": "",
    "is_admin": False, "last_login": "0001-01-01T00:00:00Z", "created": "2026-01-01T00:00:00Z", "restricted": False,
    "active": False, "prohibit_login": False, "location": "", "website": "", "description": "", "visibility": "public",
    "followers_count": 0, "following_count": 0, "starred_repos_count": 0, "username": "chen",
}  # fmt: skip
_GHOST = {**_CHEN, "id": -1, "login": "Ghost", "username": "Ghost", "full_name": "", "email": ""}
_LABEL = {
    "id": 9,
    "name": "bug",
    "exclusive": False,
    "is_archived": False,
    "color": "ee0701",
    "description": "",
    "url": "",
}
_NEVER = "0001-01-01T00:00:00Z"


def _stamp(place: DescribedPlace, at: datetime | None = None) -> str:
    return f"{at or place.now:%Y-%m-%dT%H:%M:%S}+00:00"


def _repository(place: DescribedPlace) -> Json:
    url, owner = f"https://gitea.test/{place.name}", {**_CHEN, "login": "acme", "username": "acme"}
    return {
        "id": place.id, "owner": owner, "name": place.name.split("/")[1], "full_name": place.name, "description": "",
        "empty": False, "private": False, "fork": False, "template": False, "parent": None, "mirror": False,
        "size": 20, "language": "", "languages_url": "", "html_url": url, "url": url, "link": "", "ssh_url": "",
        "clone_url": f"{url}.git", "original_url": "", "website": "", "stars_count": 0, "forks_count": 0,
        "watchers_count": 1, "open_issues_count": 1, "open_pr_counter": 0, "release_counter": 0,
        "default_branch": "main", "archived": False, "created_at": _stamp(place), "updated_at": _stamp(place),
        "archived_at": _NEVER, "permissions": {"admin": False, "push": False, "pull": True}, "has_issues": True,
        "internal_tracker": {"enable_time_tracker": True}, "has_wiki": True, "has_pull_requests": True,
        "has_projects": True, "has_releases": True, "has_packages": True, "has_actions": False, "avatar_url": "",
        "internal": False, "mirror_interval": "", "object_format_name": "sha1", "mirror_updated": _NEVER,
        "repo_transfer": None, "topics": [], "licenses": [],
    }  # fmt: skip


def _issue(place: DescribedPlace, **more: Any) -> Json:
    """Lists that are empty come as nulls."""
    found = {
        "id": 11, "url": "", "html_url": f"https://gitea.test/{place.name}/issues/{place.number}",
        "number": place.number, "user": _CHEN, "original_author": "", "original_author_id": 0, "title": "新接口",
        "body": "切换后丢数据", "ref": "", "assets": [], "labels": [_LABEL], "milestone": None, "assignee": None,
        "assignees": None, "state": "open", "is_locked": False, "comments": 0, "created_at": _stamp(place, place.since),
        "updated_at": _stamp(place), "closed_at": None, "due_date": None, "time_estimate": 0, "pull_request": None,
        "repository": {"id": place.id, "name": "r", "owner": "acme", "full_name": place.name}, "pin_order": 0,
    }  # fmt: skip
    return {**found, **more}


def _change(place: DescribedPlace, **more: Any) -> Json:
    branch = {"label": "main", "ref": "main", "sha": "da15", "repo_id": place.id, "repo": _repository(place)}
    found = {
        **_issue(place), "requested_reviewers": None, "requested_reviewers_teams": None, "draft": False,
        "review_comments": 0, "additions": 1, "deletions": 1, "changed_files": 1, "diff_url": "", "patch_url": "",
        "mergeable": True, "merged": False, "merged_at": None, "merge_commit_sha": None, "merged_by": None,
        "allow_maintainer_edit": False, "base": branch, "head": branch, "merge_base": "da15",
        "html_url": f"https://gitea.test/{place.name}/pulls/{place.number}",
    }  # fmt: skip
    found.pop("pull_request")
    return {**found, **more}


def _about(place: DescribedPlace, action: str, **more: Any) -> Json:
    said = {"action": action, "number": place.number, "repository": _repository(place), "sender": _CHEN}
    return {**said, "commit_id": "", "review": None, "requested_reviewer": None, **more}


def _comment(place: DescribedPlace, **more: Any) -> Json:
    found = {
        "id": place.comment_id, "html_url": f"https://gitea.test/{place.name}/issues/1#issuecomment-1",
        "pull_request_url": "", "issue_url": f"https://gitea.test/{place.name}/issues/1", "user": _CHEN,
        "original_author": "", "original_author_id": 0, "body": "我也是", "assets": [], "created_at": _stamp(place),
        "updated_at": _stamp(place),
    }  # fmt: skip
    return {**found, **more}


def _release(place: DescribedPlace, **more: Any) -> Json:
    found = {
        "id": 4, "tag_name": "v1.1", "target_commitish": "main", "name": "v1.1", "body": "", "url": "", "html_url": "",
        "tarball_url": "", "zipball_url": "", "upload_url": "", "draft": False, "prerelease": False,
        "created_at": _stamp(place), "published_at": _stamp(place), "author": _CHEN, "assets": [],
    }  # fmt: skip
    return {**found, **more}


def hooks(places: Places) -> list[DescribedHook]:
    """Every kind of event that a repository's, an organisation's or the system's hook may tell of."""

    def at(state: str = "open") -> DescribedPlace:
        return places(state, False)

    shown: list[tuple[str, str, Json]] = []
    for action in (
        "opened",
        "reopened",
        "edited",
        "assigned",
        "unassigned",
        "label_updated",
        "label_cleared",
        "milestoned",
        "demilestoned",
        "deleted",
        "closed",
    ):
        place = at({"closed": "closed", "opened": "new"}.get(action, "open"))
        closed = {"state": "closed", "closed_at": _stamp(place)} if action == "closed" else {}
        changes = {"title": {"from": "旧"}} if action == "edited" else None
        said = _about(place, action, issue=_issue(place, **closed), **({"changes": changes} if changes else {}))
        shown.append((f"issue {action}", "issues", said))
    place = at("new")
    ghost = _about(place, "opened", issue=_issue(place, user=_GHOST, labels=None, body=""), sender=_GHOST)
    shown.append(("issue of somebody who is gone", "issues", ghost))
    place = at("new")
    shown.append(("issue of nobody", "issues", _about(place, "opened", issue=_issue(place, user=None), sender=None)))
    for action in ("created", "edited", "deleted"):
        place = at()
        changes = {"body": {"from": "旧"}} if action == "edited" else None
        said = _about(place, action, issue=_issue(place), comment=_comment(place), changes=changes, is_pull=False)
        shown.append((f"comment {action}", "issue_comment", said))
    place = at()
    on_change = _issue(place, pull_request={"merged": False, "merged_at": None, "draft": False, "html_url": ""})
    said = _about(place, "created", issue=on_change, comment=_comment(place), pull_request=None, is_pull=True)
    shown.append(("comment on a pull request", "issue_comment", said))
    for action in (
        "opened",
        "reopened",
        "edited",
        "assigned",
        "unassigned",
        "label_updated",
        "synchronized",
        "review_requested",
        "review_request_removed",
        "milestoned",
    ):
        place = at("new" if action == "opened" else "open")
        shown.append((f"pull request {action}", "pull_request", _about(place, action, pull_request=_change(place))))
    place = at()
    merged = _change(
        place, state="closed", merged=True, merged_at=_stamp(place), merged_by=_CHEN, closed_at=_stamp(place)
    )
    shown.append(("pull request merged", "pull_request", _about(place, "closed", pull_request=merged)))
    for event, type_ in (
        ("pull_request_approved", "approved"),
        ("pull_request_rejected", "rejected"),
        ("pull_request_comment", "comment"),
    ):
        place = at()
        review = {"type": f"pull_request_review_{type_}", "content": "看过了"}
        said = _about(place, "reviewed", pull_request=_change(place), review=review)
        shown.append((f"review {type_}", event, said))
    for action, more in (("published", {}), ("updated", {}), ("deleted", {}), ("published", {"draft": True})):
        place = at()
        name = "release of a draft" if more else f"release {action}"
        shown.append((name, "release", _about(place, action, release=_release(place, **more))))
    for action in ("created", "deleted"):
        place = at()
        said = {"action": action, "repository": _repository(place), "organization": _CHEN, "sender": _CHEN}
        shown.append((f"repository {action}", "repository", said))
    for event in ("create", "delete", "fork", "push", "wiki", "package", "status", "workflow_job", "workflow_run"):
        place = at()
        said = {"action": "created", "ref": "main", "ref_type": "branch", "sha": "da15", "pusher_type": "user"}
        shown.append((event, event, {**said, "repository": _repository(place), "sender": _CHEN}))
    return [DescribedHook(name, event, payload) for name, event, payload in shown]

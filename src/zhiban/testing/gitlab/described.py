"""GitLab's webhooks as https://docs.gitlab.com/user/project/integrations/webhook_events/ describes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from zhiban.testing.described_hooks import DescribedHook, DescribedPlace, Json, Places

_CHEN = {"id": 1, "name": "陈默", "username": "chen", "avatar_url": None, "email": "[REDACTED]"}
_LABEL = {
    "id": 206, "title": "bug", "color": "#dc143c", "project_id": 14, "created_at": "2026-01-01 01:00:00 UTC",
    "updated_at": "2026-01-01 01:00:00 UTC", "template": False, "description": None, "type": "ProjectLabel",
    "group_id": None,
}  # fmt: skip


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _project(place: DescribedPlace) -> Json:
    url = f"https://gitlab.test/{place.name}"
    return {
        "id": place.id, "name": place.name.split("/")[1], "description": "", "web_url": url, "avatar_url": None,
        "git_ssh_url": f"git@gitlab.test:{place.name}.git", "git_http_url": f"{url}.git", "namespace": "Acme",
        "visibility_level": 20, "path_with_namespace": place.name, "default_branch": "main", "ci_config_path": None,
        "homepage": url, "url": f"{url}.git", "ssh_url": f"git@gitlab.test:{place.name}.git", "http_url": f"{url}.git",
    }  # fmt: skip


def _about(place: DescribedPlace, kind: str, attributes: Json, **more: Any) -> Json:
    url = f"https://gitlab.test/{place.name}"
    repository = {"name": "r", "url": f"{url}.git", "description": "", "homepage": url}
    said = {
        "object_kind": kind, "event_type": kind, "user": _CHEN, "project": _project(place),
        "object_attributes": attributes, "repository": repository,
    }  # fmt: skip
    return {**said, **more}


def _issue(place: DescribedPlace, action: str | None, **more: Any) -> Json:
    """`action` None: as comments and hooks that are only tried out have it."""
    found = {
        "id": 301, "iid": place.number, "title": "新接口", "assignee_ids": [1], "assignee_id": 1, "author_id": 1,
        "project_id": place.id, "created_at": _at(place.since), "updated_at": _at(place.now), "updated_by_id": None,
        "last_edited_at": None, "last_edited_by_id": None, "relative_position": 0, "description": "切换后丢数据",
        "milestone_id": None, "state_id": 1, "confidential": False, "discussion_locked": None, "due_date": None,
        "moved_to_id": None, "duplicated_to_id": None, "time_estimate": 0, "total_time_spent": 0, "time_change": 0,
        "human_total_time_spent": None, "human_time_estimate": None, "human_time_change": None, "weight": None,
        "health_status": None, "type": "Issue", "url": f"https://gitlab.test/{place.name}/-/issues/{place.number}",
        "state": "opened", "severity": "unknown", "labels": [_LABEL], "escalation_status": "triggered",
        "escalation_policy": {"id": 18, "name": "Engineering On-call"},
        "customer_relations_contacts": [], "status": None,
    }  # fmt: skip
    return {**found, **({"action": action} if action else {}), **more}


def _issue_hook(place: DescribedPlace, action: str | None, *, event: str = "issue", **more: Any) -> Json:
    changes = more.pop("changes", {})
    said = {"event_type": event, "assignees": [_CHEN], "assignee": _CHEN, "labels": [_LABEL], "changes": changes}
    return _about(place, "issue", _issue(place, action, **more), **said)


def _change(place: DescribedPlace, action: str | None, **more: Any) -> Json:
    commit = {
        "id": "da1560886d4f", "message": "fix", "title": "fix", "timestamp": f"{place.now:%Y-%m-%dT%H:%M:%S}+00:00",
        "url": f"https://gitlab.test/{place.name}/commit/da15", "author": {"name": "陈默", "email": "c@x.example"},
    }  # fmt: skip
    found = {
        "id": 99, "iid": place.number, "target_branch": "main", "source_branch": "fix", "source_project_id": place.id,
        "author_id": 1, "assignee_ids": [], "assignee_id": None, "reviewer_ids": [], "title": "修好了",
        "created_at": _at(place.since), "updated_at": _at(place.now), "last_edited_at": None, "last_edited_by_id": None,
        "milestone_id": None, "state_id": 1, "state": "opened", "blocking_discussions_resolved": True,
        "work_in_progress": False, "draft": False, "first_contribution": False, "merge_status": "unchecked",
        "target_project_id": place.id, "description": "", "prepared_at": None, "total_time_spent": 0,
        "time_change": 0, "human_total_time_spent": None, "human_time_change": None, "human_time_estimate": None,
        "url": f"https://gitlab.test/{place.name}/-/merge_requests/{place.number}", "source": _project(place),
        "target": _project(place), "last_commit": commit, "labels": [], "detailed_merge_status": "mergeable",
        "merge_params": {"force_remove_source_branch": "1"}, "merge_when_pipeline_succeeds": False,
        "merge_user_id": None, "merge_error": None, "merge_commit_sha": None, "updated_by_id": None, "system": False,
        "head_pipeline_id": None, "time_estimate": 0, "oldrev": None,
    }  # fmt: skip
    return {**found, **({"action": action} if action else {}), **more}


def _change_hook(place: DescribedPlace, action: str, **more: Any) -> Json:
    said = {"labels": [], "changes": more.pop("changes", {}), "assignees": None, "reviewers": None}
    return _about(place, "merge_request", _change(place, action, **more), **said)


def _note(place: DescribedPlace, about: str, subject: Json, **more: Any) -> Json:
    event = more.pop("event", "note")
    key = {"Issue": "issue", "MergeRequest": "merge_request", "Commit": "commit", "Snippet": "snippet"}[about]
    found = {
        "id": place.comment_id, "note": "我也是", "noteable_type": about, "author_id": 1,
        "created_at": _at(place.now), "updated_at": _at(place.now), "project_id": place.id, "attachment": None,
        "line_code": None, "commit_id": "", "noteable_id": 301, "system": False, "st_diff": None, "type": None,
        "updated_by_id": None, "change_position": None, "discussion_id": "a9f0", "position": None,
        "original_position": None, "resolved_at": None, "resolved_by_id": None, "resolved_by_push": None,
        "internal": False, "description": "我也是", "action": "create",
        "url": f"https://gitlab.test/{place.name}/-/issues/{place.number}#note_{place.comment_id}",
    }  # fmt: skip
    return _about(place, "note", {**found, **more}, event_type=event, project_id=place.id, **{key: subject})


def _release(place: DescribedPlace, action: str) -> Json:
    commit = {
        "id": "ee0a", "message": "v1", "title": "v1", "timestamp": "2026-01-01T00:00:00+00:00", "url": "https://x",
        "author": {"name": "陈默", "email": "[REDACTED]"},
    }  # fmt: skip
    return {
        "id": 1, "created_at": _at(place.now), "description": "v1.1", "name": "v1.1", "released_at": _at(place.now),
        "tag": "v1.1", "object_kind": "release", "project": _project(place), "action": action, "commit": commit,
        "url": f"https://gitlab.test/{place.name}/-/releases/v1.1",
        "assets": {"count": 0, "links": [], "sources": [{"format": "zip", "url": "https://x.example/v1.1.zip"}]},
    }  # fmt: skip


def _of_the_group(place: DescribedPlace, named: str) -> Json:
    """A group's hook, of its projects: `object_kind` is missing, and so is the sender."""
    stamp = f"{place.now:%Y-%m-%dT%H:%M:%SZ}"
    owner = {"name": "Acme", "email": ""}
    return {
        "event_name": named, "created_at": stamp, "updated_at": stamp, "name": "new", "path": "new",
        "path_with_namespace": "acme/new-name" if named == "project_rename" else place.name,
        "project_id": place.id, "project_namespace_id": 73, "owners": [owner], "project_visibility": "public",
        "old_path_with_namespace": place.name, "owner_name": "Acme", "owner_email": "",
    }  # fmt: skip


def hooks(places: Places) -> list[DescribedHook]:
    """Every kind of event that a project's or group's hook may tell of."""

    def at(state: str = "open", *, private: bool = False) -> DescribedPlace:
        return places(state, private)

    shown: list[tuple[str, str, Json]] = [
        *(
            (f"issue {one}", "Issue Hook", _issue_hook(at("new" if one == "open" else "open"), one))
            for one in ("open", "reopen")
        ),
        ("issue close", "Issue Hook", _issue_hook(at("closed"), "close", state="closed", state_id=2)),
        (
            "issue without an author",
            "Issue Hook",
            _issue_hook(at("new"), "open", author_id=None, labels=[], description=None),
        ),
        (
            "issue update of labels",
            "Issue Hook",
            _issue_hook(at(), "update", changes={"labels": {"previous": [], "current": [_LABEL]}}),
        ),
        (
            "issue update of its title",
            "Issue Hook",
            _issue_hook(at(), "update", changes={"title": {"previous": "旧", "current": "新"}}),
        ),
        (
            "issue update of nobody",
            "Issue Hook",
            _issue_hook(at(), "update", changes={"assignees": {"previous": [_CHEN], "current": []}}),
        ),
        ("issue that is only tried out", "Issue Hook", _issue_hook(at(), None)),
        (
            "confidential issue",
            "Confidential Issue Hook",
            _issue_hook(at("new"), "open", event="confidential_issue", confidential=True),
        ),
        (
            "work item",
            "Work Item Hook",
            {**_issue_hook(at("new"), "open", type="Task"), "object_kind": "work_item", "event_type": "work_item"},
        ),
        *(
            (f"merge request {one}", "Merge Request Hook", _change_hook(at("new" if one == "open" else "open"), one))
            for one in ("open", "reopen", "update", "approved", "approval", "unapproved", "unapproval")
        ),
        ("merge request close", "Merge Request Hook", _change_hook(at(), "close", state="closed")),
        (
            "merge request merge",
            "Merge Request Hook",
            _change_hook(at(), "merge", state="merged", merge_commit_sha="da15"),
        ),
        (
            "merge request of a draft",
            "Merge Request Hook",
            _change_hook(at("new"), "open", draft=True, work_in_progress=True),
        ),
    ]
    place = at()
    shown.append(("comment on an issue", "Note Hook", _note(place, "Issue", _issue(place, None))))
    place = at()
    shown.append(
        ("comment on an issue, edited", "Note Hook", _note(place, "Issue", _issue(place, None), action="update"))
    )
    place = at()
    shown.append(("comment on a merge request", "Note Hook", _note(place, "MergeRequest", _change(place, None))))
    place = at()
    position = {
        "base_sha": "a",
        "start_sha": "a",
        "head_sha": "b",
        "old_path": "a.py",
        "new_path": "a.py",
        "position_type": "text",
        "old_line": None,
        "new_line": 4,
    }
    line = _note(place, "MergeRequest", _change(place, None), type="DiffNote", position=position, line_code="x_1_2")
    shown.append(("line of a review", "Note Hook", line))
    place = at()
    system = _note(place, "Issue", _issue(place, None), system=True, note="added ~206 label", action=None)
    shown.append(("note that GitLab wrote", "Note Hook", system))
    place = at()
    internal = _note(place, "Issue", _issue(place, None), internal=True, event="confidential_note")
    shown.append(("internal note", "Confidential Note Hook", internal))
    place = at()
    hidden = _note(place, "Issue", _issue(place, None, confidential=True), event="confidential_note")
    shown.append(("comment on a confidential issue", "Confidential Note Hook", hidden))
    shown += [
        (
            "comment on a commit",
            "Note Hook",
            _note(at(), "Commit", {"id": "cfe3", "message": "x", "author": {"name": "x"}}, commit_id="cfe3"),
        ),
        (
            "comment on a snippet",
            "Note Hook",
            _note(at(), "Snippet", {"id": 53, "title": "t", "file_name": "a.rb", "type": "ProjectSnippet"}),
        ),
        *((f"release {one}", "Release Hook", _release(at(), one)) for one in ("create", "update", "delete")),
        *(
            (one, "Project Hook", _of_the_group(at(), one))
            for one in ("project_create", "project_rename", "project_transfer", "project_destroy")
        ),
        (
            "member",
            "Member Hook",
            {
                "event_name": "user_add_to_group",
                "group_name": "Acme",
                "group_path": "acme",
                "group_id": 78,
                "user_username": "chen",
                "user_name": "陈默",
                "user_email": "",
                "user_id": 1,
                "group_access": "Guest",
                "expires_at": None,
            },
        ),
        (
            "subgroup",
            "Subgroup Hook",
            {
                "event_name": "subgroup_create",
                "name": "s",
                "path": "s",
                "full_path": "acme/s",
                "group_id": 10,
                "parent_group_id": 7,
                "parent_name": "acme",
            },
        ),
        *(
            (
                kind,
                event,
                {
                    "object_kind": kind,
                    "user": _CHEN,
                    "project": _project(at()),
                    "object_attributes": {"id": 1, "iid": 1, "action": "create", "state": "active", "created_at": None},
                },
            )
            for kind, event in (
                ("push", "Push Hook"),
                ("tag_push", "Tag Push Hook"),
                ("wiki_page", "Wiki Page Hook"),
                ("pipeline", "Pipeline Hook"),
                ("build", "Job Hook"),
                ("deployment", "Deployment Hook"),
                ("feature_flag", "Feature Flag Hook"),
                ("milestone", "Milestone Hook"),
                ("emoji", "Emoji Hook"),
                ("access_token", "Resource Access Token Hook"),
                ("vulnerability", "Vulnerability Hook"),
            )
        ),
    ]
    return [DescribedHook(name, event, payload) for name, event, payload in shown]

"""Gitee's webhooks as https://help.gitee.com/webhook/gitee-webhook-push-data-format describes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from zhiban.integrations.gitee.parts import ident_of
from zhiban.testing.described_hooks import DescribedHook, DescribedPlace, Json, Places

_CHEN = {
    "id": 2, "name": "陈默", "email": "chen@example.com", "username": "chen", "user_name": "chen",
    "url": "https://gitee.test/chen", "login": "chen", "avatar_url": None, "html_url": "https://gitee.test/chen",
    "type": "User", "site_admin": False, "time": None, "remark": "",
}  # fmt: skip


def _stamp(place: DescribedPlace, at: datetime | None = None) -> str:
    return f"{at or place.now:%Y-%m-%dT%H:%M:%S}+00:00"


def _repository(place: DescribedPlace) -> Json:
    url, name = f"https://gitee.test/{place.name}", place.name.split("/")[1]
    return {
        "id": place.id, "name": name, "path": name, "full_name": place.name, "owner": _CHEN, "private": False,
        "html_url": url, "url": url, "description": "", "fork": False, "created_at": _stamp(place),
        "updated_at": _stamp(place), "pushed_at": _stamp(place), "git_url": "", "ssh_url": "", "clone_url": "",
        "svn_url": "", "git_http_url": "", "git_ssh_url": "", "git_svn_url": "", "homepage": None,
        "stargazers_count": 0, "watchers_count": 1, "forks_count": 0, "language": "", "has_issues": True,
        "has_wiki": True, "has_pages": False, "license": None, "open_issues_count": 1, "default_branch": "master",
        "namespace": "acme", "name_with_namespace": f"Acme/{name}", "path_with_namespace": place.name,
    }  # fmt: skip


def _about(place: DescribedPlace, hook: str, action: str, **more: Any) -> Json:
    """What every call has, `repository` and `project` being the same twice."""
    at = f"{place.now.timestamp() * 1000:.0f}"
    said = {
        "hook_name": hook, "hook_id": 1, "hook_url": "https://gitee.test/hooks/1/edit", "password": "",
        "timestamp": at, "sign": "", "action": action, "repository": _repository(place),
        "project": _repository(place), "sender": _CHEN, "user": _CHEN, "updated_by": _CHEN, "enterprise": None,
    }  # fmt: skip
    return {**said, **more}


def _issue(place: DescribedPlace, **more: Any) -> Json:
    found = {
        "html_url": f"https://gitee.test/{place.name}/issues/{ident_of(place.number)}", "id": place.number,
        "number": ident_of(place.number), "title": "新接口", "user": _CHEN, "labels": [], "state": "open",
        "state_name": "待办的", "type_name": "任务", "assignee": None, "collaborators": [], "milestone": None,
        "comments": 0, "created_at": _stamp(place, place.since), "updated_at": _stamp(place), "body": "切换后丢数据",
    }  # fmt: skip
    return {**found, **more}


def _issue_hook(place: DescribedPlace, action: str, **more: Any) -> Json:
    issue = _issue(place, **more)
    said = {"iid": issue["number"], "title": issue["title"], "description": issue["body"], "state": issue["state"]}
    said |= {"milestone": None, "url": issue["html_url"], "target_user": None, "assignee": None, "push_data": None}
    return _about(place, "issue_hooks", action, issue=issue, **said)


def _change(place: DescribedPlace, **more: Any) -> Json:
    branch = {"label": "master", "ref": "master", "sha": "da15", "user": _CHEN, "repo": _repository(place)}
    found = {
        "id": 70, "number": place.number % 1000 + 1, "state": "open", "diff_url": "", "patch_url": "",
        "title": "修好了",
        "html_url": f"https://gitee.test/{place.name}/pulls/1", "body": None, "languages": [], "labels": [],
        "created_at": _stamp(place, place.since), "updated_at": _stamp(place), "closed_at": None, "merged_at": None,
        "merge_commit_sha": None, "merge_reference_name": "refs/pull/1/MERGE", "user": _CHEN, "assignee": None,
        "assignees": [], "tester": None, "testers": [], "need_test": False, "need_review": False, "milestone": None,
        "head": branch, "base": branch, "merged": False, "mergeable": True, "merge_status": "can_be_merged",
        "updated_by": _CHEN, "comments": 0, "commits": 1, "additions": 1, "deletions": 1, "changed_files": 1,
    }  # fmt: skip
    return {**found, **more}


def _change_hook(place: DescribedPlace, action: str, **more: Any) -> Json:
    desc = more.pop("action_desc", "")
    said = {"action_desc": desc, "author": _CHEN, "target_user": None, "source_repo": None, "target_repo": None}
    said |= {"title": "修好了", "body": None, "state": more.get("state", "open"), "merge_status": "can_be_merged"}
    return _about(place, "merge_request_hooks", action, pull_request=_change(place, **more), **said)


def _note(place: DescribedPlace, about: str, action: str = "comment", **more: Any) -> Json:
    comment = {
        "html_url": f"https://gitee.test/{place.name}/issues/1#note_{place.comment_id}_link", "id": place.comment_id,
        "body": "我也是", "user": _CHEN, "created_at": _stamp(place), "updated_at": _stamp(place),
    }  # fmt: skip
    said = {"noteable_type": about, "noteable_id": place.number, "issue": None, "pull_request": None, "title": ""}
    said |= {"per_iid": "", "short_commit_id": None, "url": comment["html_url"], "note": "我也是", "author": _CHEN}
    return _about(place, "note_hooks", action, comment=comment, **{**said, **more})


def hooks(places: Places) -> list[DescribedHook]:
    """Every kind of event that a repository's hook may tell of."""

    def at(state: str = "open", *, private: bool = False) -> DescribedPlace:
        return places(state, private)

    shown: list[tuple[str, str, Json]] = [
        ("issue open", "issue_hooks", _issue_hook(at("new"), "open")),
        ("issue that is private", "issue_hooks", _issue_hook(at("new", private=True), "open")),
        (
            "issue without anybody",
            "issue_hooks",
            {**_issue_hook(at("new"), "open", user=None), "user": None, "sender": None},
        ),
        ("issue closed", "issue_hooks", _issue_hook(at("closed"), "state_change", state="closed", state_name="已完成")),
        (
            "issue in progress",
            "issue_hooks",
            _issue_hook(at(), "state_change", state="progressing", state_name="进行中"),
        ),
        ("issue assign", "issue_hooks", _issue_hook(at(), "assign", assignee=_CHEN)),
        ("issue delete", "issue_hooks", _issue_hook(at(), "delete")),
        *(
            (f"pull request {one}", "merge_request_hooks", _change_hook(at("new" if one == "open" else "open"), one))
            for one in ("open", "update", "assign", "test", "approved", "tested")
        ),
        (
            "pull request close",
            "merge_request_hooks",
            _change_hook(at(), "close", state="closed", closed_at="2026-11-30T00:00:00+00:00"),
        ),
        ("pull request merge", "merge_request_hooks", _change_hook(at(), "merge", state="merged", merged=True)),
        (
            "pull request with new code",
            "merge_request_hooks",
            _change_hook(at(), "update", action_desc="source_branch_changed"),
        ),
        (
            "push",
            "push_hooks",
            _about(
                at(),
                "push_hooks",
                "",
                ref="refs/heads/master",
                before="0",
                after="da15",
                commits=[],
                head_commit=None,
                total_commits_count=0,
                commits_more_than_ten=False,
                created=False,
                deleted=False,
                compare="",
                pusher=_CHEN,
            ),
        ),
        (
            "tag",
            "tag_push_hooks",
            _about(
                at(), "tag_push_hooks", "", ref="refs/tags/v1", before="0", after="da15", created=True, deleted=False
            ),
        ),
    ]
    for action in ("comment", "edit", "delete"):
        place = at()
        shown.append((f"comment, {action}", "note_hooks", _note(place, "Issue", action, issue=_issue(place))))
    place = at(private=True)
    shown.append(("comment on what is private", "note_hooks", _note(place, "Issue", issue=_issue(place))))
    place = at()
    shown.append(("comment on a pull request", "note_hooks", _note(place, "PullRequest", pull_request=_change(place))))
    place = at()
    shown.append(("comment on a commit", "note_hooks", _note(place, "Commit", short_commit_id="da15")))
    return [DescribedHook(name, event, payload) for name, event, payload in shown]

"""What stands at the simulated Gitee: what every forge has, its tokens, and how it says all of it.

An issue's number is its id, for all of Gitee; pull requests count for each repository: `entries` holds one under its
number and `APART`.
"""

from __future__ import annotations

import base64
import hmac
import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from zhiban.testing.forge import Account, Comment, Forge, ForgeEntry, Json, Repo
from zhiban.testing.forge_hooks import HookDelivery, Hooks

SCOPES = frozenset({"user_info", "projects", "pull_requests", "issues", "notes"})
APART = 1_000_000_000
FIRST = 4_980_905  # I2YRAH

_CHINA = timezone(timedelta(hours=8))
_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_EVENTS = {
    "issue_hooks": "Issue Hook",
    "merge_request_hooks": "Merge Request Hook",
    "note_hooks": "Note Hook",
    "push_hooks": "Push Hook",
    "tag_push_hooks": "Tag Push Hook",
}
_ACTIONS = {"opened": "open", "closed": "state_change", "reopened": "state_change"}
_CHANGE_ACTIONS = {"opened": "open", "closed": "close", "approved": "approved"}


class GiteeHooks(Hooks):
    """With a signature over the moment, or with `passwords` the secret itself, in a header and in what is said."""

    passwords = False

    def headers(self, delivery: HookDelivery) -> dict[str, str]:
        at = str(int(self.forge.now().timestamp() * 1000))
        secret = delivery.hook.secret.encode()
        mac = hmac.digest(secret, f"{at}\n".encode() + secret, "sha256")
        return {
            "Content-Type": "application/json",
            "User-Agent": "git-oschina-hook",
            "X-Gitee-Token": delivery.hook.secret if self.passwords else base64.b64encode(mac).decode(),
            "X-Gitee-Timestamp": at,
            "X-Gitee-Event": _EVENTS[delivery.event],
        }

    def tell(self, event: str, payload: dict[str, Any], repo: Repo) -> None:
        password = self.hooks[0].secret if self.hooks and self.passwords else ""
        at = str(int(self.forge.now().timestamp() * 1000))
        super().tell(event, {"hook_name": event, "hook_id": 1, "password": password, "timestamp": at, **payload}, repo)


@dataclass
class GiteeGrant:
    """Who a token speaks for, with which scopes, and where it may do more than write issues."""

    account: Account
    writes: set[int] = field(default_factory=set)
    scopes: set[str] = field(default_factory=lambda: set(SCOPES))


class GiteeSimulator(Forge):
    """One Gitee."""

    def __init__(self, *, now: Callable[[], datetime] | None = None, base: str = "https://gitee.test") -> None:
        super().__init__(now=now, base=base)
        self.grants: dict[str, GiteeGrant] = {}
        self._numbers = itertools.count(FIRST)

    def _hooks(self) -> GiteeHooks:
        return GiteeHooks(self)

    def token(self, login: str, *repos: Repo) -> str:
        token = secrets.token_hex(16)
        self.grants[token] = GiteeGrant(self.account(login), {repo.id for repo in repos})
        return token

    def rename(self, repo: Repo, full_name: str) -> None:
        """Nothing leads from the old name to the new one."""
        owner, _, repo.name = full_name.partition("/")
        repo.owner = self.account(owner, "Organization")

    def next_number(self, repo: Repo, *, pull_request: bool) -> int:
        if pull_request:
            return sum(one.pull_request for one in repo.entries.values()) + 1
        return next(self._numbers)

    def put(self, repo: Repo, entry: ForgeEntry) -> None:
        repo.entries[entry.number + (APART if entry.pull_request else 0)] = entry

    # --------------------------------------------------------------------------------------------------- as it says it

    def url(self, repo: Repo, entry: ForgeEntry) -> str:
        return f"{self.base}/{repo.full_name}/{f'pulls/{entry.number}' if entry.pull_request else _issue(entry)}"

    def user_json(self, account: Account) -> Json:
        return {"id": account.id, "login": account.login, "name": account.login.title(), "type": "User"}

    def repo_json(self, repo: Repo) -> Json:
        return {
            "id": repo.id,
            "full_name": repo.full_name,
            "human_name": f"{repo.owner.login.title()}/{repo.name.title()}",
            "path": repo.name,
            "private": repo.private,
            "internal": False,
            "public": not repo.private,
            "html_url": f"{self.base}/{repo.full_name}.git",
            "has_issues": repo.has_issues,
        }

    def label_json(self, name: str) -> Json:
        return {"id": 1, "name": name, "color": "ededed"}

    def issue_json(self, repo: Repo, entry: ForgeEntry) -> Json:
        people = [self.user_json(self.account(login)) for login in entry.assignees]
        return {
            **self._said(repo, entry),
            "id": entry.number,
            "number": ident(entry.number),
            "assignee": people[0] if people else None,
            "collaborators": people[1:],
            "security_hole": entry.confidential,
            "issue_type": "任务",
        }

    def pull_json(self, repo: Repo, entry: ForgeEntry) -> Json:
        return {
            **self._said(repo, entry),
            "id": entry.id,
            "number": entry.number,
            "state": "merged" if entry.merged_at else entry.state,
            "assignees": [self.user_json(self.account(login)) for login in entry.assignees],
            "draft": False,
        }

    def _said(self, repo: Repo, entry: ForgeEntry) -> Json:
        return {
            "html_url": self.url(repo, entry),
            "title": entry.title,
            "body": entry.body,
            "state": entry.state,
            "user": self.user_json(entry.author),
            "labels": [self.label_json(name) for name in entry.labels],
            "comments": len(entry.comments),
            "created_at": local(entry.created_at),
            "updated_at": local(entry.updated_at),
        }

    def comment_json(self, entry: ForgeEntry, comment: Comment) -> Json:
        issue = None if entry.pull_request else {"id": entry.number, "number": ident(entry.number)}
        return {
            "id": comment.id,
            "body": comment.body,
            "user": self.user_json(comment.author),
            "source": None,
            "target": {"issue": issue, "pull_request": None if issue else {"number": entry.number}},
            "created_at": local(comment.created_at),
            "updated_at": local(comment.updated_at),
        }

    # ---------------------------------------------------------------------------------------------- as its hooks say it

    def tell(self, repo: Repo, entry: ForgeEntry, action: str, by: Account, **more: Any) -> None:
        if entry.pull_request:
            merged = entry.merged_at is not None and action == "closed"
            said = "merge" if merged else _CHANGE_ACTIONS.get(action, "update")
            payload = {**self._envelope(repo, said, by), "pull_request": self.pull_json(repo, entry)}
            self.hooks.tell("merge_request_hooks", {**payload, "number": entry.number, **more}, repo)
        else:
            payload = {**self._envelope(repo, _ACTIONS.get(action, action), by), "issue": self._hooked(repo, entry)}
            self.hooks.tell("issue_hooks", {**payload, "iid": ident(entry.number), **more}, repo)

    def tell_comment(
        self,
        repo: Repo,
        entry: ForgeEntry,
        comment: Comment,
        action: str = "created",
        **more: Any,  # noqa: ARG002
    ) -> None:
        """Only of a comment that is new."""
        if action != "created":
            return
        about: Json = {"pull_request": self.pull_json(repo, entry)}
        if not entry.pull_request:
            about = {"issue": self._hooked(repo, entry)}
        found = self.comment_json(entry, comment)
        del found["source"], found["target"]
        payload = {
            **self._envelope(repo, "comment", comment.author),
            **about,
            "comment": {**found, "html_url": f"{self.url(repo, entry)}#note_{comment.id}_link"},
            "noteable_type": "PullRequest" if entry.pull_request else "Issue",
            "note": comment.body,
        }
        self.hooks.tell("note_hooks", payload, repo)

    def _hooked(self, repo: Repo, entry: ForgeEntry) -> Json:
        """A hook does not say whether an issue is private."""
        found = {**self.issue_json(repo, entry), "state_name": "待办的", "type_name": "任务"}
        del found["security_hole"], found["issue_type"]
        return found

    def _envelope(self, repo: Repo, action: str, by: Account) -> Json:
        place = self.repo_json(repo)
        del place["internal"], place["public"]
        return {"action": action, "repository": place, "project": place, "sender": self.user_json(by)}


def ident(number: int) -> str:
    found = ""
    while number:
        number, digit = divmod(number, 36)
        found = _BASE36[digit] + found
    return f"I{found}"


def _issue(entry: ForgeEntry) -> str:
    return f"issues/{ident(entry.number)}"


def local(at: datetime) -> str:
    return at.astimezone(_CHINA).isoformat(timespec="seconds")

"""What stands at the simulated GitLab: what every forge has, its tokens, and how its hooks say all of it.

Issues and merge requests count by themselves: `entries` holds a merge request under its number and `APART`.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from zhiban.testing.forge import Account, Comment, Forge, ForgeEntry, Json, Repo
from zhiban.testing.forge_hooks import HookDelivery, Hooks

GUEST, REPORTER = 10, 20
APART = 1_000_000

_ACTIONS = {"opened": "open", "closed": "close", "reopened": "reopen"}


class GitLabHooks(Hooks):
    """With a signature, as GitLab has it since 2026, and with `tokens` the secret itself, as it always had."""

    tokens = False

    def headers(self, delivery: HookDelivery) -> dict[str, str]:
        found = {
            "Content-Type": "application/json",
            "User-Agent": "GitLab/19.2.0",
            "Idempotency-Key": delivery.guid,
            "X-Gitlab-Event": delivery.event,
            "X-Gitlab-Webhook-UUID": "5a3c1d6e-0000-4000-8000-000000000001",
            "X-Gitlab-Event-UUID": delivery.guid,
            "X-Gitlab-Instance": self.forge.base,
        }
        if self.tokens:
            return {**found, "X-Gitlab-Token": delivery.hook.secret}
        at = str(int(self.forge.now().timestamp()))
        key = base64.b64decode(delivery.hook.secret.removeprefix("whsec_"))
        mac = hmac.digest(key, f"{delivery.guid}.{at}.".encode() + delivery.body, "sha256")
        signed = {"webhook-id": delivery.guid, "webhook-timestamp": at}
        return {**found, **signed, "webhook-signature": f"v1,{base64.b64encode(mac).decode()}"}


@dataclass
class GitLabGrant:
    """Who a token speaks for, with which scopes, and which role it has in which project."""

    account: Account
    roles: dict[int, int] = field(default_factory=dict)
    scopes: set[str] = field(default_factory=lambda: {"api"})


class GitLabSimulator(Forge):
    """One GitLab."""

    def __init__(self, *, now: Callable[[], datetime] | None = None, base: str = "https://gitlab.test") -> None:
        super().__init__(now=now, base=base)
        self.grants: dict[str, GitLabGrant] = {}

    def _hooks(self) -> GitLabHooks:
        return GitLabHooks(self)

    def token(self, login: str, *repos: Repo, role: int = REPORTER) -> str:
        token = f"glpat-{secrets.token_hex(10)}"
        self.grants[token] = GitLabGrant(self.account(login), {repo.id: role for repo in repos})
        return token

    def repository(self, full_name: str, **more: Any) -> Repo:
        """A project: everything before its last name is the group, in groups."""
        group, _, name = full_name.rpartition("/")
        repo = Repo(next(self._ids), self.account(group, "Organization"), name, **more)
        self.repos[repo.id] = repo
        return repo

    def rename(self, repo: Repo, full_name: str) -> None:
        """Under its old name GitLab leads whoever reads to its number, and refuses whoever writes."""
        self.former[repo.full_name.lower()] = repo.id
        group, _, repo.name = full_name.rpartition("/")
        repo.owner = self.account(group, "Organization")

    def next_number(self, repo: Repo, *, pull_request: bool) -> int:
        return sum(one.pull_request == pull_request for one in repo.entries.values()) + 1

    def put(self, repo: Repo, entry: ForgeEntry) -> None:
        repo.entries[entry.number + (APART if entry.pull_request else 0)] = entry

    # ----------------------------------------------------------------------------------------------- as its API says it

    def url(self, repo: Repo, entry: ForgeEntry) -> str:
        return f"{self.base}/{repo.full_name}/-/{'merge_requests' if entry.pull_request else 'issues'}/{entry.number}"

    def user_json(self, account: Account) -> Json:
        return {
            "id": account.id,
            "username": account.login,
            "name": account.login.title(),
            "state": "active",
            "web_url": f"{self.base}/{account.login}",
        }

    def project_json(self, repo: Repo) -> Json:
        return {
            "id": repo.id,
            "name": repo.name,
            "path_with_namespace": repo.full_name,
            "visibility": "private" if repo.private else "public",
            "issues_enabled": repo.has_issues,
            "issues_access_level": "enabled" if repo.has_issues else "disabled",
            "archived": repo.archived,
            "web_url": f"{self.base}/{repo.full_name}",
        }

    def issue_json(self, repo: Repo, entry: ForgeEntry) -> Json:
        state = "opened" if entry.state == "open" else "merged" if entry.merged_at else "closed"
        return {
            "id": entry.id,
            "iid": entry.number,
            "project_id": repo.id,
            "title": entry.title,
            "description": entry.body,
            "state": state,
            "created_at": exact(entry.created_at),
            "updated_at": exact(entry.updated_at),
            "labels": list(entry.labels),
            "author": self.user_json(entry.author),
            "assignees": [self.user_json(self.account(login)) for login in entry.assignees],
            "user_notes_count": len(entry.comments),
            "confidential": entry.confidential,
            "discussion_locked": entry.locked or None,
            "web_url": self.url(repo, entry),
        }

    def note_json(self, entry: ForgeEntry, comment: Comment) -> Json:
        return {
            "id": comment.id,
            "type": None,
            "body": comment.body,
            "author": self.user_json(comment.author),
            "created_at": exact(comment.created_at),
            "updated_at": exact(comment.updated_at),
            "system": False,
            "internal": comment.internal,
            "noteable_iid": entry.number,
            "noteable_type": "MergeRequest" if entry.pull_request else "Issue",
        }

    # ---------------------------------------------------------------------------------------------- as its hooks say it

    def tell(self, repo: Repo, entry: ForgeEntry, action: str, by: Account, **more: Any) -> None:
        merged = entry.pull_request and entry.merged_at is not None and action == "closed"
        said = "merge" if merged else _ACTIONS.get(action, action if action == "approved" else "update")
        kind = "merge_request" if entry.pull_request else "issue"
        payload = self._envelope(repo, kind, by, entry.confidential) | {
            "object_attributes": {**self._attributes(repo, entry), "action": said, "url": self.url(repo, entry)},
            "labels": _labels(entry),
            "changes": more.get("changes", {}),
            "assignees": [self.user_json(self.account(login)) for login in entry.assignees],
        }
        name = "Merge Request Hook" if entry.pull_request else "Issue Hook"
        self.hooks.tell(f"Confidential {name}" if entry.confidential else name, payload, repo)

    def edits(self, repo: Repo, entry: ForgeEntry, comment: Comment, body: str) -> None:
        """Saving a note touches what it is about."""
        entry.updated_at = self.now()
        super().edits(repo, entry, comment, body)

    def tell_comment(
        self,
        repo: Repo,
        entry: ForgeEntry,
        comment: Comment,
        action: str = "created",
        **more: Any,  # noqa: ARG002
    ) -> None:
        """Of a note that is taken away no hook is told."""
        if action != "deleted":
            self.tell_note(repo, entry, comment, action="update" if action == "edited" else "create")

    def tell_note(self, repo: Repo, entry: ForgeEntry, comment: Comment, **more: Any) -> None:
        hidden = entry.confidential or comment.internal
        payload = self._envelope(repo, "note", comment.author, hidden) | {
            "object_attributes": {
                "id": comment.id,
                "note": comment.body,
                "noteable_type": "MergeRequest" if entry.pull_request else "Issue",
                "author_id": comment.author.id,
                "created_at": spoken(comment.created_at),
                "updated_at": spoken(comment.updated_at),
                "system": False,
                "internal": comment.internal,
                "type": None,
                "action": "create",
                "url": f"{self.url(repo, entry)}#note_{comment.id}",
                **more,
            },
            ("merge_request" if entry.pull_request else "issue"): self._attributes(repo, entry),
        }
        self.hooks.tell("Confidential Note Hook" if hidden else "Note Hook", payload, repo)

    def releases(self, repo: Repo, tag: str, name: str) -> None:
        payload = {
            "id": next(self._ids),
            "object_kind": "release",
            "action": "create",
            "name": name,
            "tag": tag,
            "url": f"{self.base}/{repo.full_name}/-/releases/{tag}",
            "released_at": spoken(self.now()),
            "project": self._project(repo),
            "commit": {"id": "a" * 40, "author": {"name": "chen", "email": "chen@example.com"}},
        }
        self.hooks.tell("Release Hook", payload, repo)

    def _envelope(self, repo: Repo, kind: str, by: Account, hidden: bool) -> Json:
        user = {"id": by.id, "username": by.login, "name": by.login.title(), "email": "[REDACTED]"}
        event = f"confidential_{kind}" if hidden else kind
        return {"object_kind": kind, "event_type": event, "user": user, "project": self._project(repo)}

    def _project(self, repo: Repo) -> Json:
        return {
            "id": repo.id,
            "name": repo.name,
            "namespace": repo.owner.login,
            "path_with_namespace": repo.full_name,
            "visibility_level": 0 if repo.private else 20,
            "web_url": f"{self.base}/{repo.full_name}",
            "default_branch": "main",
        }

    def _attributes(self, repo: Repo, entry: ForgeEntry) -> Json:
        merged = entry.pull_request and entry.merged_at is not None
        return {
            "id": entry.id,
            "iid": entry.number,
            "project_id": repo.id,
            "author_id": entry.author.id,
            "title": entry.title,
            "description": entry.body,
            "state": "opened" if entry.state == "open" else "merged" if merged else "closed",
            "confidential": entry.confidential,
            "created_at": spoken(entry.created_at),
            "updated_at": spoken(entry.updated_at),
            "labels": _labels(entry),
        }


def _labels(entry: ForgeEntry) -> list[Json]:
    return [{"id": 1, "title": name, "color": "#ededed", "type": "ProjectLabel"} for name in entry.labels]


def exact(at: datetime) -> str:
    """As the API says a moment."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def spoken(at: datetime) -> str:
    """As hooks do: without what is less than a second."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"

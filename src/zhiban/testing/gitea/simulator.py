"""What stands at the simulated Gitea: what every forge has, its tokens, and how it says all of it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from zhiban.testing.forge import Account, Comment, Forge, ForgeEntry, Json, Repo, stamp
from zhiban.testing.forge_hooks import HookDelivery, Hooks

SCOPES = frozenset({"write:issue", "read:repository", "read:user"})

_ACTIONS = {"labeled": "label_updated", "unlabeled": "label_updated"}


class GiteaHooks(Hooks):
    def headers(self, delivery: HookDelivery) -> dict[str, str]:
        secret = delivery.hook.secret.encode()
        mac = hmac.new(secret, delivery.body, hashlib.sha256).hexdigest()
        said = {
            "Delivery": delivery.guid,
            "Event": delivery.event,
            "Event-Type": delivery.event,
            "Signature": mac,
        }
        return {
            "Content-Type": "application/json",
            **{f"X-{kind}-{name}": value for kind in ("Gitea", "Gogs") for name, value in said.items()},
            "X-Hub-Signature": "sha1=" + hmac.new(secret, delivery.body, hashlib.sha1).hexdigest(),
            "X-Hub-Signature-256": f"sha256={mac}",
            "X-GitHub-Delivery": delivery.guid,
            "X-GitHub-Event": delivery.event,
        }


@dataclass
class GiteaGrant:
    """Who a token speaks for, with which scopes, and where it may do more than write issues."""

    account: Account
    writes: set[int] = field(default_factory=set)
    scopes: set[str] = field(default_factory=lambda: set(SCOPES))


class GiteaSimulator(Forge):
    """One Gitea. `base` is what it takes for its own address."""

    def __init__(self, *, now: Callable[[], datetime] | None = None, base: str = "https://gitea.test") -> None:
        super().__init__(now=now, base=base)
        self.grants: dict[str, GiteaGrant] = {}

    def _hooks(self) -> GiteaHooks:
        return GiteaHooks(self)

    def token(self, login: str, *repos: Repo) -> str:
        token = secrets.token_hex(20)
        self.grants[token] = GiteaGrant(self.account(login), {repo.id for repo in repos})
        return token

    def rename(self, repo: Repo, full_name: str) -> None:
        """Under its old name Gitea leads to the same call under the new one."""
        self.former[repo.full_name.lower()] = repo.id
        owner, _, repo.name = full_name.partition("/")
        repo.owner = self.account(owner, "Organization")

    # --------------------------------------------------------------------------------------------------- as it says it

    def url(self, repo: Repo, entry: ForgeEntry) -> str:
        return f"{self.base}/{repo.full_name}/{'pulls' if entry.pull_request else 'issues'}/{entry.number}"

    def user_json(self, account: Account) -> Json:
        return {"id": account.id, "login": account.login, "username": account.login, "full_name": ""}

    def repo_json(self, repo: Repo) -> Json:
        return {
            "id": repo.id,
            "name": repo.name,
            "full_name": repo.full_name,
            "owner": self.user_json(repo.owner),
            "private": repo.private,
            "has_issues": repo.has_issues,
            "archived": repo.archived,
            "html_url": f"{self.base}/{repo.full_name}",
            "default_branch": "main",
            "updated_at": stamp(self.now()),
        }

    def label_json(self, name: str) -> Json:
        return {"id": label_id(name), "name": name, "color": "ededed"}

    def issue_json(self, repo: Repo, entry: ForgeEntry) -> Json:
        merged = entry.merged_at is not None
        return {
            "id": entry.id,
            "number": entry.number,
            "html_url": self.url(repo, entry),
            "user": self.user_json(entry.author),
            "title": entry.title,
            "body": entry.body,
            "labels": [self.label_json(name) for name in entry.labels],
            "assignees": [self.user_json(self.account(login)) for login in entry.assignees] or None,
            "state": entry.state,
            "is_locked": entry.locked,
            "comments": len(entry.comments),
            "created_at": stamp(entry.created_at),
            "updated_at": stamp(entry.updated_at),
            "pull_request": {"merged": merged, "html_url": self.url(repo, entry)} if entry.pull_request else None,
        }

    def pull_json(self, repo: Repo, entry: ForgeEntry) -> Json:
        found = self.issue_json(repo, entry)
        found.pop("pull_request")
        return {**found, "merged": entry.merged_at is not None, "draft": False, "head": {}, "base": {}}

    def comment_json(self, repo: Repo, entry: ForgeEntry, comment: Comment) -> Json:
        here = self.url(repo, entry)
        return {
            "id": comment.id,
            "html_url": f"{here}#issuecomment-{comment.id}",
            "issue_url": "" if entry.pull_request else here,
            "pull_request_url": here if entry.pull_request else "",
            "user": self.user_json(comment.author),
            "body": comment.body,
            "created_at": stamp(comment.created_at),
            "updated_at": stamp(comment.updated_at),
        }

    # ---------------------------------------------------------------------------------------------- as its hooks say it

    def tell(self, repo: Repo, entry: ForgeEntry, action: str, by: Account, **more: Any) -> None:
        payload = self._envelope(repo, _ACTIONS.get(action, action), by) | {"number": entry.number} | more
        if entry.pull_request:
            self.hooks.tell("pull_request", {**payload, "pull_request": self.pull_json(repo, entry)}, repo)
        else:
            self.hooks.tell("issues", {**payload, "issue": self.issue_json(repo, entry)}, repo)

    def tell_comment(
        self, repo: Repo, entry: ForgeEntry, comment: Comment, action: str = "created", **more: Any
    ) -> None:
        payload = self._envelope(repo, action, comment.author) | more
        payload |= {"issue": self.issue_json(repo, entry), "comment": self.comment_json(repo, entry, comment)}
        self.hooks.tell("issue_comment", {**payload, "is_pull": entry.pull_request}, repo)

    def reviews(self, repo: Repo, entry: ForgeEntry, login: str, state: str, text: str = "") -> None:
        """`state` in Gitea's word: approved, rejected or comment."""
        payload = self._envelope(repo, "reviewed", self.account(login)) | {"number": entry.number}
        payload |= {"pull_request": self.pull_json(repo, entry)}
        payload |= {"review": {"type": f"pull_request_review_{state}", "content": text}}
        self.hooks.tell(f"pull_request_{state}", payload, repo)

    def releases(self, repo: Repo, tag: str, name: str) -> None:
        release = {
            "id": next(self._ids), "tag_name": tag, "name": name, "draft": False, "prerelease": False,
            "html_url": f"{self.base}/{repo.full_name}/releases/tag/{tag}", "published_at": stamp(self.now()),
        }  # fmt: skip
        payload = self._envelope(repo, "published", self.account("chen"))
        self.hooks.tell("release", {**payload, "release": release}, repo)

    def _envelope(self, repo: Repo, action: str, by: Account) -> Json:
        return {"action": action, "repository": self.repo_json(repo), "sender": self.user_json(by)}


def label_id(name: str) -> int:
    """A number for each name, as good as any."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])

"""What stands at the simulated GitHub: what every forge has, its apps and tokens, and how it says all of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from zhiban.testing.forge import Account, Comment, FaultKind, Forge, ForgeEntry, Json, Repo, stamp
from zhiban.testing.github.device_flow import DeviceFlow
from zhiban.testing.github.hooks import GitHubHooks
from zhiban.testing.github.registering import Registration

__all__ = ["Account", "Comment", "FaultKind", "ForgeEntry", "Repo", "stamp"]

WRITES_A_MINUTE = 80
WRITES_AN_HOUR = 500
BODY_CHARACTERS = 65_536
TITLE_CHARACTERS = 256


@dataclass
class Installation:
    id: int
    account: Account
    repositories: set[int]
    permissions: dict[str, str] = field(default_factory=lambda: {"issues": "write", "metadata": "read"})
    suspended: bool = False
    pushes: bool = True


@dataclass
class AppIdentity:
    id: int
    slug: str
    public_key: str
    installations: dict[int, Installation] = field(default_factory=dict)
    device_flow: bool = True
    page: str = ""
    owner: Account | None = None
    public: bool = True
    permissions: dict[str, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    setup_url: str = ""

    def json(self) -> Json:
        return {
            "id": self.id,
            "slug": self.slug,
            "name": self.slug,
            "client_id": f"Iv1.{self.id:016x}",
            "html_url": self.page,
            "owner": self.owner.json() if self.owner else None,
            "permissions": self.permissions,
            "events": self.events,
        }


@dataclass
class GitHubGrant:
    """Who a token speaks for. `installation`: it is an app's, and expires."""

    account: Account
    installation: Installation | None = None
    expires_at: datetime | None = None
    repositories: set[int] | None = None
    member: bool = False  # somebody who lets an app write for them
    issues: Literal["read", "write"] = "write"


class GitHubSimulator(Forge):
    """One GitHub."""

    def __init__(self, *, now: Callable[[], datetime] | None = None, base: str = "https://github.test") -> None:
        super().__init__(now=now, base=base)
        self.apps: dict[int, AppIdentity] = {}
        self.grants: dict[str, GitHubGrant] = {}
        self.written: list[datetime] = []
        self.device_flow = DeviceFlow(self)
        self.visitor = "chen"  # whoever is signed in on GitHub's pages
        self.owners: dict[str, set[str]] = {}  # of organisations
        self.registrations: dict[str, Registration] = {}

    def _hooks(self) -> GitHubHooks:
        return GitHubHooks(self)

    def app(self, public_key: str, *, slug: str = "zhiban") -> AppIdentity:
        app = AppIdentity(next(self._ids), slug, public_key, page=f"{self.base}/apps/{slug}")
        self.apps[app.id] = app
        self.account(f"{slug}[bot]", "Bot")
        return app

    def new_key(self) -> tuple[str, str]:
        """The private and the public key of a new app."""
        from joserfc.jwk import RSAKey

        key = RSAKey.generate_key(2048)
        return key.as_pem(private=True).decode(), key.as_pem(private=False).decode()

    def install(self, app: AppIdentity, *repos: Repo) -> Installation:
        installation = Installation(next(self._ids), repos[0].owner, {repo.id for repo in repos})
        app.installations[installation.id] = installation
        return installation

    def token(self, login: str, *repos: Repo, issues: Literal["read", "write"] = "write") -> str:
        """A fine-grained token of this account for these repositories."""
        token = f"github_pat_{secrets.token_hex(20)}"
        self.grants[token] = GitHubGrant(self.account(login), repositories={repo.id for repo in repos}, issues=issues)
        return token

    def member_token(self, app: AppIdentity, account: Account, token: str, *, seconds: int) -> None:
        """It reaches what the app is installed for."""
        reach = {id_ for one in app.installations.values() for id_ in one.repositories}
        self.grants[token] = GitHubGrant(
            account, expires_at=self.now() + timedelta(seconds=seconds), repositories=reach, member=True
        )

    def installation_token(self, app: AppIdentity, installation: Installation) -> Json:
        token, expires = f"ghs_{secrets.token_hex(18)}", self.now() + timedelta(hours=1)
        self.grants[token] = GitHubGrant(self.account(f"{app.slug}[bot]", "Bot"), installation, expires)
        return {
            "token": token,
            "expires_at": stamp(expires),
            "permissions": installation.permissions,
            "repository_selection": "selected",
        }

    def rename(self, repo: Repo, full_name: str) -> None:
        """Under its old name GitHub answers 301 until another takes it."""
        self.former[repo.full_name.lower()] = repo.id
        owner, _, repo.name = full_name.partition("/")
        repo.owner = self.account(owner, "Organization")
        self.hooks.tell("repository", self.envelope(repo, "renamed", repo.owner), repo)

    # -------------------------------------------------------------------------------------------------- what people do

    def reviews(self, repo: Repo, entry: ForgeEntry, login: str, state: str, body: str = "", *lines: str) -> None:
        """A review, with comments on lines."""
        review_id, now = next(self._ids), self.now()
        review = {
            "id": review_id,
            "user": self.account(login).json(),
            "body": body,
            "state": state,
            "submitted_at": stamp(now),
            "html_url": f"{self.url(repo, entry)}#pullrequestreview-{review_id}",
        }
        common = self.envelope(repo, "submitted", self.account(login)) | {"pull_request": self.pull(repo, entry)}
        self.hooks.tell("pull_request_review", {**common, "review": review}, repo)
        for line in lines:
            comment = {
                "id": next(self._ids),
                "pull_request_review_id": review_id,
                "user": self.account(login).json(),
                "body": line,
                "created_at": stamp(now),
                "updated_at": stamp(now),
                "html_url": self.url(repo, entry),
            }
            payload = {**common, "action": "created", "comment": comment}
            self.hooks.tell("pull_request_review_comment", payload, repo)

    def tell(self, repo: Repo, entry: ForgeEntry, action: str, by: Account, **more: Any) -> None:
        """Say to the hooks what became of an issue or pull request."""
        payload = self.envelope(repo, action, by) | more
        if entry.pull_request:
            self.hooks.tell("pull_request", {**payload, "pull_request": self.pull(repo, entry)}, repo)
        else:
            self.hooks.tell("issues", {**payload, "issue": self.issue(repo, entry)}, repo)

    def tell_comment(
        self, repo: Repo, entry: ForgeEntry, comment: Comment, action: str = "created", **more: Any
    ) -> None:
        payload = self.envelope(repo, action, comment.author) | more
        payload |= {"issue": self.issue(repo, entry), "comment": self.comment(repo, entry, comment)}
        self.hooks.tell("issue_comment", payload, repo)

    # ------------------------------------------------------------------------------------------------ as GitHub says it

    def url(self, repo: Repo, entry: ForgeEntry) -> str:
        return f"{self.base}/{repo.full_name}/{'pull' if entry.pull_request else 'issues'}/{entry.number}"

    def repo_json(self, repo: Repo) -> Json:
        return {
            "id": repo.id,
            "name": repo.name,
            "full_name": repo.full_name,
            "owner": repo.owner.json(),
            "private": repo.private,
            "has_issues": repo.has_issues,
            "archived": repo.archived,
            "html_url": f"{self.base}/{repo.full_name}",
            "default_branch": "main",
            "stargazers_count": repo.stars,
        }

    def envelope(self, repo: Repo, action: str, by: Account) -> Json:
        return {"action": action, "repository": self.repo_json(repo), "sender": by.json()}

    def issue(self, repo: Repo, entry: ForgeEntry) -> Json:
        found: Json = {
            "id": entry.id,
            "number": entry.number,
            "html_url": self.url(repo, entry),
            "title": entry.title,
            "body": entry.body,
            "user": entry.author.json(),
            "labels": [{"id": 1, "name": name, "color": "ededed", "default": False} for name in entry.labels],
            "assignees": [self.account(login).json() for login in entry.assignees],
            "state": entry.state,
            "state_reason": entry.state_reason,
            "locked": entry.locked,
            "comments": len(entry.comments),
            "created_at": stamp(entry.created_at),
            "updated_at": stamp(entry.updated_at),
            "closed_at": stamp(entry.updated_at) if entry.state == "closed" else None,
            "performed_via_github_app": self._via(entry.app),
        }
        if entry.pull_request:
            merged = stamp(entry.merged_at) if entry.merged_at else None
            found["pull_request"] = {"html_url": found["html_url"], "merged_at": merged}
        return found

    def pull(self, repo: Repo, entry: ForgeEntry) -> Json:
        merged = stamp(entry.merged_at) if entry.merged_at else None
        found = {**self.issue(repo, entry), "merged_at": merged, "draft": False, "head": {}, "base": {}}
        found.pop("pull_request")
        return found

    def comment(self, repo: Repo, entry: ForgeEntry, comment: Comment) -> Json:
        return {
            "id": comment.id,
            "html_url": f"{self.url(repo, entry)}#issuecomment-{comment.id}",
            "issue_url": f"{self.base}/repos/{repo.full_name}/issues/{entry.number}",
            "body": comment.body,
            "user": comment.author.json(),
            "created_at": stamp(comment.created_at),
            "updated_at": stamp(comment.updated_at),
            "performed_via_github_app": self._via(comment.app),
        }

    def _via(self, app: bool) -> Json | None:
        return next(iter(self.apps.values())).json() if app and self.apps else None

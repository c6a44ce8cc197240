"""What stands at the simulated GitHub: accounts, repositories, issues, comments, and the mishaps that are planned."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from zhiban.testing.github.hooks import Hooks

WRITES_A_MINUTE = 80
BODY_CHARACTERS = 65_536
TITLE_CHARACTERS = 256

Json = dict[str, Any]
FaultKind = Literal["502", "502_after", "broken_after", "429", "secondary", "limit", "401", "slow"]


@dataclass
class GitHubFault:
    """What goes wrong with the next calls of this method whose path ends so. `_after`: it is done all the same."""

    kind: FaultKind
    method: str = "POST"
    ending: str = ""
    times: int = 1
    retry_after: int | None = None


@dataclass
class Account:
    login: str
    type: Literal["User", "Organization", "Bot"] = "User"
    id: int = 0

    def json(self) -> Json:
        return {
            "login": self.login,
            "id": self.id,
            "type": self.type,
            "html_url": f"https://github.test/{self.login}",
            "site_admin": False,
        }


@dataclass
class ReactionEntry:
    id: int
    login: str
    content: str


@dataclass
class Comment:
    id: int
    author: Account
    body: str
    created_at: datetime
    updated_at: datetime
    app: bool = False
    reactions: list[ReactionEntry] = field(default_factory=list)


@dataclass
class GitHubEntry:
    """An issue or a pull request."""

    id: int
    number: int
    author: Account
    title: str
    body: str
    created_at: datetime
    updated_at: datetime
    state: str = "open"
    state_reason: str | None = None
    labels: list[str] = field(default_factory=list)
    assignees: list[str] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    locked: bool = False
    deleted: bool = False
    app: bool = False
    pull_request: bool = False
    merged_at: datetime | None = None
    reactions: list[ReactionEntry] = field(default_factory=list)


@dataclass
class Repo:
    id: int
    owner: Account
    name: str
    private: bool = False
    has_issues: bool = True
    archived: bool = False
    labels: set[str] = field(default_factory=lambda: {"bug", "question"})
    pushers: set[str] = field(default_factory=set)
    entries: dict[int, GitHubEntry] = field(default_factory=dict)
    stars: int = 0

    @property
    def full_name(self) -> str:
        return f"{self.owner.login}/{self.name}"


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

    def json(self) -> Json:
        return {"id": self.id, "slug": self.slug, "name": self.slug, "client_id": f"Iv1.{self.id:016x}"}


@dataclass
class GitHubGrant:
    """Who a token speaks for. `installation`: it is an app's, and expires."""

    account: Account
    installation: Installation | None = None
    expires_at: datetime | None = None
    repositories: set[int] | None = None


class GitHubSimulator:
    """One GitHub. Times are the clock's; ids count up; everything is said to the hooks that are set."""

    def __init__(self, *, now: Callable[[], datetime] | None = None, base: str = "https://github.test") -> None:
        self.now = now or (lambda: datetime.now(UTC).replace(microsecond=0))
        self.base = base
        self.accounts: dict[str, Account] = {}
        self.repos: dict[int, Repo] = {}
        self.former: dict[str, int] = {}
        self.apps: dict[int, AppIdentity] = {}
        self.grants: dict[str, GitHubGrant] = {}
        self.faults: list[GitHubFault] = []
        self.written: list[datetime] = []
        self.calls: list[tuple[str, str, Any]] = []
        self.hooks = Hooks(self)
        self.written_hook: Callable[[], Awaitable[None]] | None = None  # called between a write and its answer
        self._ids = itertools.count(1000)

    async def __aenter__(self) -> GitHubSimulator:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hooks.close()

    def count_from(self, first: int) -> None:
        """The next id, where earlier ones are known from before."""
        self._ids = itertools.count(first)

    # --------------------------------------------------------------------------------------------------- making it up

    def account(self, login: str, type_: Literal["User", "Organization", "Bot"] = "User") -> Account:
        known = self.accounts.get(login.lower())
        if known is None:
            known = self.accounts[login.lower()] = Account(login, type_, next(self._ids))
        return known

    def repository(self, full_name: str, **more: Any) -> Repo:
        owner, _, name = full_name.partition("/")
        repo = Repo(next(self._ids), self.account(owner, "Organization"), name, **more)
        self.repos[repo.id] = repo
        return repo

    def app(self, public_key: str, *, slug: str = "zhiban") -> AppIdentity:
        app = AppIdentity(next(self._ids), slug, public_key)
        self.apps[app.id] = app
        self.account(f"{slug}[bot]", "Bot")
        return app

    def install(self, app: AppIdentity, *repos: Repo) -> Installation:
        installation = Installation(next(self._ids), repos[0].owner, {repo.id for repo in repos})
        app.installations[installation.id] = installation
        return installation

    def token(self, login: str, *repos: Repo) -> str:
        """A fine-grained token of this account for these repositories."""
        token = f"github_pat_{secrets.token_hex(20)}"
        self.grants[token] = GitHubGrant(self.account(login), repositories={repo.id for repo in repos})
        return token

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

    def named(self, full_name: str) -> Repo | None:
        return next((one for one in self.repos.values() if one.full_name.lower() == full_name.lower()), None)

    def fails(self, kind: FaultKind, *, method: str = "POST", ending: str = "", **more: Any) -> GitHubFault:
        """Plan a mishap."""
        fault = GitHubFault(kind, method, ending, **more)
        self.faults.append(fault)
        return fault

    def fault(self, method: str, path: str) -> GitHubFault | None:
        """The mishap that is planned for this call, used up. Tokens are given out, unless they are named."""
        for fault in self.faults:
            named = path.endswith(fault.ending) if fault.ending else not path.endswith("/access_tokens")
            if fault.method == method and named:
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault
        return None

    # -------------------------------------------------------------------------------------------------- what people do

    def opens(
        self, repo: Repo, login: str, title: str, body: str = "", *, app: bool = False, pull_request: bool = False
    ) -> GitHubEntry:
        number, now = max(repo.entries, default=0) + 1, self.now()
        entry = GitHubEntry(next(self._ids), number, self.account(login), title, body, now, now, app=app)
        entry.pull_request = pull_request
        repo.entries[number] = entry
        self.tell(repo, entry, "opened", entry.author)
        return entry

    def comments(self, repo: Repo, entry: GitHubEntry, login: str, body: str, *, app: bool = False) -> Comment:
        now = self.now()
        comment = Comment(next(self._ids), self.account(login), body, now, now, app)
        entry.comments.append(comment)
        entry.updated_at = now
        self._tell_comment(repo, entry, comment, "created")
        return comment

    def edits(self, repo: Repo, entry: GitHubEntry, comment: Comment, body: str) -> None:
        """Its author writes the comment anew."""
        before, comment.body, comment.updated_at = comment.body, body, self.now()
        self._tell_comment(repo, entry, comment, "edited", changes={"body": {"from": before}})

    def erases(self, repo: Repo, entry: GitHubEntry, comment: Comment) -> None:
        entry.comments.remove(comment)
        self._tell_comment(repo, entry, comment, "deleted")

    def _tell_comment(self, repo: Repo, entry: GitHubEntry, comment: Comment, action: str, **more: Any) -> None:
        payload = self.envelope(repo, action, comment.author) | more
        payload |= {"issue": self.issue(repo, entry), "comment": self.comment(repo, entry, comment)}
        self.hooks.tell("issue_comment", payload, repo)

    def reacts(self, reactions: list[ReactionEntry], login: str, content: str) -> tuple[ReactionEntry, bool]:
        """One of a kind for an account; whether it is new. GitHub tells no hook of it."""
        for one in reactions:
            if (one.login, one.content) == (login, content):
                return one, False
        reactions.append(ReactionEntry(next(self._ids), login, content))
        return reactions[-1], True

    def closes(self, repo: Repo, entry: GitHubEntry, login: str, reason: str = "completed") -> None:
        self.changes(repo, entry, login, state="closed", state_reason=reason)

    def reopens(self, repo: Repo, entry: GitHubEntry, login: str) -> None:
        self.changes(repo, entry, login, state="open", state_reason="reopened")

    def merges(self, repo: Repo, entry: GitHubEntry, login: str) -> None:
        entry.merged_at = self.now()
        self.changes(repo, entry, login, state="closed", state_reason=None)

    def changes(self, repo: Repo, entry: GitHubEntry, login: str, **values: Any) -> None:
        """Set these values, and tell what differs."""
        before = {name: getattr(entry, name) for name in values}
        for name, value in values.items():
            setattr(entry, name, value)
        entry.updated_at = self.now()
        if values.get("state", before.get("state")) != before.get("state"):
            self.tell(repo, entry, "closed" if entry.state == "closed" else "reopened", self.account(login))
        if any(values[name] != before[name] for name in ("title", "body") if name in values):
            self.tell(repo, entry, "edited", self.account(login))

    def reviews(self, repo: Repo, entry: GitHubEntry, login: str, state: str, body: str = "", *lines: str) -> None:
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

    def tell(self, repo: Repo, entry: GitHubEntry, action: str, by: Account, **more: Any) -> None:
        """Say to the hooks what became of an issue or pull request."""
        payload = self.envelope(repo, action, by) | more
        if entry.pull_request:
            self.hooks.tell("pull_request", {**payload, "pull_request": self.pull(repo, entry)}, repo)
        else:
            self.hooks.tell("issues", {**payload, "issue": self.issue(repo, entry)}, repo)

    # ------------------------------------------------------------------------------------------------ as GitHub says it

    def url(self, repo: Repo, entry: GitHubEntry) -> str:
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

    def issue(self, repo: Repo, entry: GitHubEntry) -> Json:
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

    def pull(self, repo: Repo, entry: GitHubEntry) -> Json:
        merged = stamp(entry.merged_at) if entry.merged_at else None
        found = {**self.issue(repo, entry), "merged_at": merged, "draft": False, "head": {}, "base": {}}
        found.pop("pull_request")
        return found

    def comment(self, repo: Repo, entry: GitHubEntry, comment: Comment) -> Json:
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


def stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"

"""What stands at a simulated forge, whichever it is: accounts, repositories, issues, comments, planned mishaps."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Self

from zhiban.testing.forge_hooks import Hooks

Json = dict[str, Any]
FaultKind = Literal["502", "502_after", "broken_after", "429", "secondary", "limit", "401", "suspended", "slow"]


@dataclass
class ForgeFault:
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
    internal: bool = False  # not for everybody
    reactions: list[ReactionEntry] = field(default_factory=list)


@dataclass
class ForgeEntry:
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
    confidential: bool = False
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
    entries: dict[int, ForgeEntry] = field(default_factory=dict)
    stars: int = 0

    @property
    def full_name(self) -> str:
        return f"{self.owner.login}/{self.name}"


class Forge:
    """One forge. Times are the clock's; ids count up; everything is said to the hooks that are set."""

    def __init__(self, *, now: Callable[[], datetime] | None = None, base: str = "https://forge.test") -> None:
        self.now = now or (lambda: datetime.now(UTC).replace(microsecond=0))
        self.base = base
        self.accounts: dict[str, Account] = {}
        self.repos: dict[int, Repo] = {}
        self.former: dict[str, int] = {}
        self.faults: list[ForgeFault] = []
        self.calls: list[tuple[str, str, Any]] = []
        self.written_hook: Callable[[], Awaitable[None]] | None = None  # called between a write and its answer
        self.hooks = self._hooks()
        self._ids = itertools.count(1000)

    def _hooks(self) -> Hooks:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
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

    def named(self, full_name: str) -> Repo | None:
        return next((one for one in self.repos.values() if one.full_name.lower() == full_name.lower()), None)

    def fails(self, kind: FaultKind, *, method: str = "POST", ending: str = "", **more: Any) -> ForgeFault:
        """Plan a mishap."""
        fault = ForgeFault(kind, method, ending, **more)
        self.faults.append(fault)
        return fault

    def fault(self, method: str, path: str) -> ForgeFault | None:
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
    ) -> ForgeEntry:
        number, now = self.next_number(repo, pull_request=pull_request), self.now()
        entry = ForgeEntry(next(self._ids), number, self.account(login), title, body, now, now, app=app)
        entry.pull_request = pull_request
        self.put(repo, entry)
        self.tell(repo, entry, "opened", entry.author)
        return entry

    def next_number(self, repo: Repo, *, pull_request: bool) -> int:  # noqa: ARG002 - they share one row of numbers
        return max(repo.entries, default=0) + 1

    def put(self, repo: Repo, entry: ForgeEntry) -> None:
        repo.entries[entry.number] = entry

    def comments(self, repo: Repo, entry: ForgeEntry, login: str, body: str, *, app: bool = False) -> Comment:
        now = self.now()
        comment = Comment(next(self._ids), self.account(login), body, now, now, app)
        entry.comments.append(comment)
        entry.updated_at = now
        self.tell_comment(repo, entry, comment)
        return comment

    def edits(self, repo: Repo, entry: ForgeEntry, comment: Comment, body: str) -> None:
        """Its author writes the comment anew."""
        before, comment.body, comment.updated_at = comment.body, body, self.now()
        self.tell_comment(repo, entry, comment, "edited", changes={"body": {"from": before}})

    def erases(self, repo: Repo, entry: ForgeEntry, comment: Comment) -> None:
        entry.comments.remove(comment)
        self.tell_comment(repo, entry, comment, "deleted")

    def reacts(self, reactions: list[ReactionEntry], login: str, content: str) -> tuple[ReactionEntry, bool]:
        """One of a kind for an account; whether it is new. No hook is told of it."""
        for one in reactions:
            if (one.login, one.content) == (login, content):
                return one, False
        reactions.append(ReactionEntry(next(self._ids), login, content))
        return reactions[-1], True

    def closes(self, repo: Repo, entry: ForgeEntry, login: str, reason: str = "completed") -> None:
        self.changes(repo, entry, login, state="closed", state_reason=reason)

    def reopens(self, repo: Repo, entry: ForgeEntry, login: str) -> None:
        self.changes(repo, entry, login, state="open", state_reason="reopened")

    def merges(self, repo: Repo, entry: ForgeEntry, login: str) -> None:
        entry.merged_at = self.now()
        self.changes(repo, entry, login, state="closed", state_reason=None)

    def changes(self, repo: Repo, entry: ForgeEntry, login: str, **values: Any) -> None:
        """Set these values, and tell what differs."""
        before = {name: getattr(entry, name) for name in values}
        for name, value in values.items():
            setattr(entry, name, value)
        entry.updated_at = self.now()
        if values.get("state", before.get("state")) != before.get("state"):
            self.tell(repo, entry, "closed" if entry.state == "closed" else "reopened", self.account(login))
        if any(values[name] != before[name] for name in ("title", "body") if name in values):
            self.tell(repo, entry, "edited", self.account(login))

    def tell(self, repo: Repo, entry: ForgeEntry, action: str, by: Account, **more: Any) -> None:
        """Say to the hooks what became of an issue or pull request: `action` in GitHub's word."""
        raise NotImplementedError

    def tell_comment(
        self, repo: Repo, entry: ForgeEntry, comment: Comment, action: str = "created", **more: Any
    ) -> None:
        """Say to the hooks what was written, written anew, or taken away: `action` in GitHub's word."""
        raise NotImplementedError


def stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"

"""The trackers that are held to the contract, each with the people on its other side and the mishaps of its wire."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from zhiban import bootstrap
from zhiban.integrations.wecom.tokens import MemoryTokens
from zhiban.kit.breaker import LocalBreakers
from zhiban.kit.clock import Clock, SystemClock
from zhiban.kit.http import Http
from zhiban.ports import Breakers, Repository, Tracker, TryLater, Webhook
from zhiban.testing import tracker as memory
from zhiban.testing.forge import Forge, Repo
from zhiban.testing.gitea import GiteaSimulator
from zhiban.testing.gitea import application as gitea_application
from zhiban.testing.gitee import GiteeSimulator
from zhiban.testing.gitee import application as gitee_application
from zhiban.testing.github import GitHubSimulator, application
from zhiban.testing.github.simulator import AppIdentity, Installation
from zhiban.testing.gitlab import GitLabSimulator
from zhiban.testing.gitlab import application as gitlab_application
from zhiban.testing.serving import served
from zhiban.testing.tracker import MemoryBoard, MemoryTracker

NAME = "acme/shop"
WEBHOOK_SECRET = "whsec_YSBzZWNyZXQgZm9yIHRlc3RzIG9ubHkuLi4="


class FreeBudgets(LocalBreakers):
    """Without limits of our own, which have tests of their own."""

    async def spend(self, key: str, *, every: float, times: int = 1) -> float:
        return 0.0


class Stand(ABC):
    """A tracker and what is around it: the repository `acme/shop` with the label bug and the developer chen."""

    tracker: Tracker
    signs_bodies = True  # a call whose bytes were changed on the way is refused
    gives_reasons = True  # why an issue is closed
    leads_on = True  # from the name that a repository had to the one that it has

    @abstractmethod
    def written(self) -> list[str]:
        """The titles of the issues that are there."""

    @abstractmethod
    def said(self, number: int) -> list[str]:
        """The comments on an issue."""

    @abstractmethod
    def lost(self) -> None:
        """The next write is carried out and the answer never comes."""

    @abstractmethod
    def busy(self) -> None:
        """The next write is not carried out: later."""

    @abstractmethod
    def broken(self) -> None:
        """Our credentials are refused from now on."""

    @abstractmethod
    def renamed(self) -> None:
        """The repository is called acme/store now."""

    @abstractmethod
    def closed_for_issues(self) -> None:
        """The repository has no issues any more."""

    @abstractmethod
    async def comes(self) -> Webhook:
        """Somebody opens an issue "打不开"; the genuine call that follows."""


class MemoryStand(Stand):
    def __init__(self) -> None:
        self.board = MemoryBoard()
        self.tracker = MemoryTracker(self.board)

    def written(self) -> list[str]:
        return [one.title for one in self.board.issues.values()]

    def said(self, number: int) -> list[str]:
        return [one.body for one in self.board.comments.get((NAME, number), [])]

    def lost(self) -> None:
        self.board.faults.append((TryLater("no answer", unknown=True), True))

    def busy(self) -> None:
        self.board.faults.append((TryLater("busy", after=60), False))

    def broken(self) -> None:
        self.board.broken = True

    def renamed(self) -> None:
        self.board.repositories[0] = Repository("1", "acme/store")
        self.board.former[NAME] = "acme/store"

    def closed_for_issues(self) -> None:
        self.board.repositories[0] = Repository("1", NAME, issues_enabled=False)

    async def comes(self) -> Webhook:
        now = datetime.now(UTC)
        said = {"repository": NAME, "number": 7, "title": "打不开", "actor": "chen", "action": "opened"}
        return memory.webhook({**said, "at": now.timestamp()}, now=now)


@cache
def app_keys() -> tuple[str, str]:
    """Private and public key of an app, made once: it takes a tenth of a second."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


class ForgeStand(Stand):
    """A simulated forge of any kind."""

    def __init__(self, forge: Forge, repo: Repo, tracker: Tracker) -> None:
        self.forge = forge
        self.repo = repo
        self.tracker = tracker

    def written(self) -> list[str]:
        return [one.title for one in self.repo.entries.values()]

    def said(self, number: int) -> list[str]:
        return [one.body for one in self.repo.entries[number].comments]

    def lost(self) -> None:
        self.forge.fails("502_after")

    def busy(self) -> None:
        self.forge.fails("secondary", retry_after=60)

    def closed_for_issues(self) -> None:
        self.repo.has_issues = False

    async def comes(self) -> Webhook:
        return self.call(lambda: self.forge.opens(self.repo, "chen", "打不开"))

    def call(self, happening: Callable[[], object]) -> Webhook:
        """The genuine call that follows when this happens."""
        hooks = self.forge.hooks
        hooks.paused = True
        if not hooks.hooks:
            hooks.add("http://127.0.0.1:9/", WEBHOOK_SECRET)
        happening()
        delivery = hooks.waiting.pop()
        sent = {name.lower(): [value] for name, value in hooks.headers(delivery).items()}
        return Webhook("POST", {}, delivery.body, datetime.now(UTC), sent)


class GitLabStand(ForgeStand):
    gives_reasons = False

    @property
    def gitlab(self) -> GitLabSimulator:
        assert isinstance(self.forge, GitLabSimulator)
        return self.forge

    def broken(self) -> None:
        self.gitlab.grants.clear()

    def renamed(self) -> None:
        self.gitlab.rename(self.repo, "acme/store")


class GiteaStand(ForgeStand):
    gives_reasons = False

    @property
    def gitea(self) -> GiteaSimulator:
        assert isinstance(self.forge, GiteaSimulator)
        return self.forge

    def broken(self) -> None:
        self.gitea.grants.clear()

    def renamed(self) -> None:
        self.gitea.rename(self.repo, "acme/store")


class GiteeStand(ForgeStand):
    signs_bodies = False
    gives_reasons = False
    leads_on = False

    @property
    def gitee(self) -> GiteeSimulator:
        assert isinstance(self.forge, GiteeSimulator)
        return self.forge

    def broken(self) -> None:
        self.gitee.grants.clear()

    def renamed(self) -> None:
        self.gitee.rename(self.repo, "acme/store")


class GitHubStand(ForgeStand):
    tracker_with: Callable[[Breakers, Clock], Tracker]

    def __init__(self, github: GitHubSimulator, repo: Repo, tracker: Tracker, app: AppIdentity | None) -> None:
        super().__init__(github, repo, tracker)
        self.github = github
        self.app = app

    @property
    def installation(self) -> Installation:
        assert self.app is not None
        return next(iter(self.app.installations.values()))

    def broken(self) -> None:
        self.github.grants.clear()
        if self.app is not None:
            self.installation.suspended = True

    def renamed(self) -> None:
        self.github.rename(self.repo, "acme/store")


@asynccontextmanager
async def _memory() -> AsyncIterator[Stand]:
    yield MemoryStand()


@asynccontextmanager
async def github_stand(*, app: bool) -> AsyncIterator[GitHubStand]:
    async with GitHubSimulator() as github, served(application(github)) as url, Http() as http:
        repo = github.repository(NAME, pushers={"chen", "zhiban-user"})
        identity = github.app(app_keys()[1]) if app else None
        secrets = {"webhook_secret": WEBHOOK_SECRET}
        config = {"account": "acme", "api_base": url}
        if identity is not None:
            github.install(identity, repo)
            config["app_id"] = str(identity.id)
            secrets["private_key"] = app_keys()[0]
        else:
            secrets["token"] = github.token("zhiban-user", repo)
        build = bootstrap.TRACKERS["github"].build

        def tracker_with(breakers: Breakers, clock: Clock) -> Tracker:
            return build(http, clock, config, secrets, MemoryTokens(), breakers)

        stand = GitHubStand(github, repo, tracker_with(FreeBudgets(), SystemClock()), identity)
        stand.tracker_with = tracker_with
        yield stand


@asynccontextmanager
async def gitlab_stand() -> AsyncIterator[GitLabStand]:
    async with GitLabSimulator() as gitlab, served(gitlab_application(gitlab)) as url, Http() as http:
        repo = gitlab.repository(NAME, pushers={"chen", "desk"})
        gitlab.account("chen")
        config = {"account": "acme", "api_base": f"{url}/api/v4"}
        secrets = {"webhook_secret": WEBHOOK_SECRET, "token": gitlab.token("desk", repo)}
        build = bootstrap.TRACKERS["gitlab"].build
        tracker = build(http, SystemClock(), config, secrets, MemoryTokens(), FreeBudgets())
        yield GitLabStand(gitlab, repo, tracker)


@asynccontextmanager
async def gitea_stand() -> AsyncIterator[GiteaStand]:
    async with GiteaSimulator() as gitea, served(gitea_application(gitea)) as url, Http() as http:
        repo = gitea.repository(NAME, pushers={"chen", "desk"})
        config = {"account": "acme", "api_base": f"{url}/api/v1"}
        secrets = {"webhook_secret": WEBHOOK_SECRET, "token": gitea.token("desk", repo)}
        build = bootstrap.TRACKERS["gitea"].build
        tracker = build(http, SystemClock(), config, secrets, MemoryTokens(), FreeBudgets())
        yield GiteaStand(gitea, repo, tracker)


@asynccontextmanager
async def gitee_stand() -> AsyncIterator[GiteeStand]:
    async with GiteeSimulator() as gitee, served(gitee_application(gitee)) as url, Http() as http:
        repo = gitee.repository(NAME, pushers={"chen", "desk"})
        config = {"account": "acme", "api_base": f"{url}/api/v5"}
        secrets = {"webhook_secret": WEBHOOK_SECRET, "token": gitee.token("desk", repo)}
        build = bootstrap.TRACKERS["gitee"].build
        tracker = build(http, SystemClock(), config, secrets, MemoryTokens(), FreeBudgets())
        yield GiteeStand(gitee, repo, tracker)


STANDS: dict[str, Callable[[], object]] = {
    "memory": _memory,
    "github": lambda: github_stand(app=True),
    "gitlab": gitlab_stand,
    "gitea": gitea_stand,
    "gitee": gitee_stand,
    "github_token": lambda: github_stand(app=False),
}

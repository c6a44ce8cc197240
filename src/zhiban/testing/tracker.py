"""A tracker in memory: the twin of every real one, held to the same contract (tests/ports)."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from zhiban.kit.clock import Clock, SystemClock
from zhiban.kit.http import Http
from zhiban.kit.i18n import mark
from zhiban.ports import (
    Acknowledgement,
    Breakers,
    Challenge,
    CheckResult,
    CommentDraft,
    ConnectionBroken,
    InvalidWebhook,
    Issue,
    IssueChange,
    IssueComment,
    IssueDraft,
    OpenedIssue,
    Reaction,
    Repository,
    Setup,
    SetupField,
    SetupStep,
    TokenStore,
    TrackerIntegration,
    TrackerNews,
    TrackerRefused,
    TrackerUser,
    TryLater,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)
from zhiban.ports.webhooks import sole

KEY = b"a key for tests only"
SIGNATURE = "x-signature"
US = TrackerUser("zhiban", bot=True, ours=True)

TrackerFault = TrackerRefused | TryLater | ConnectionBroken


@dataclass
class MemoryBoard:
    """Repositories and what is written there. `labels` and `assignees` are those that exist.

    `faults` are mishaps that are planned, oldest first: an error to raise, and whether the write happens all the same.
    """

    repositories: list[Repository] = field(default_factory=lambda: [Repository("1", "acme/shop")])
    labels: set[str] = field(default_factory=lambda: {"bug", "question"})
    assignees: set[str] = field(default_factory=lambda: {"chen"})
    issues: dict[tuple[str, int], Issue] = field(default_factory=dict)
    comments: dict[tuple[str, int], list[IssueComment]] = field(default_factory=dict)
    keys: dict[str, tuple[str, int, str]] = field(default_factory=dict)  # of a draft: repository, number, comment
    reactions: set[tuple[str, int, str, str]] = field(default_factory=set)  # repository, number, comment, which
    faults: list[tuple[TrackerFault, bool]] = field(default_factory=list)
    former: dict[str, str] = field(default_factory=dict)  # where repositories went that were renamed
    broken: bool = False  # our credentials are refused

    def repository(self, name: str) -> Repository:
        """Raises TrackerRefused, ConnectionBroken."""
        if self.broken:
            raise ConnectionBroken("Bad credentials", code=401)
        found = next((one for one in self.repositories if one.name.lower() == name.lower()), None)
        if found is None and name in self.former:
            raise TrackerRefused("moved", code=301, moved_to=self.former[name])
        if found is None:
            raise TrackerRefused("not_found", code=404)
        return found

    def issue(self, name: str, number: int) -> Issue:
        """Raises TrackerRefused."""
        found = self.issues.get((self.repository(name).name, number))
        if found is None:
            raise TrackerRefused("not_found", code=404)
        return found


class MemoryTracker:
    """Tracker, TakesReactions and ListsComments."""

    name = "memory-tracker"

    def __init__(self, board: MemoryBoard, *, clock: Clock | None = None) -> None:
        self._board = board
        self._clock: Clock = clock or SystemClock()
        self._numbers = itertools.count(1)

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:
        if not hmac.compare_digest(sole(webhook.headers, SIGNATURE), signature(webhook.body)):
            raise InvalidWebhook("signature")
        try:
            return VerifiedWebhook(hashlib.sha256(webhook.body).digest(), webhook.body.decode())
        except UnicodeDecodeError:
            raise InvalidWebhook("not UTF-8", status=400) from None

    def acknowledge(self, outcome: WebhookOutcome, *, status: int, reason: str = "") -> Acknowledgement:  # noqa: ARG002
        return Acknowledgement(status)

    def read(self, body: str) -> Sequence[TrackerNews]:
        try:
            return [_news(json.loads(body))]
        except (ValueError, TypeError, KeyError, RecursionError):
            return ()

    async def open_issue(self, draft: IssueDraft) -> OpenedIssue:
        board = self._board
        repository = board.repository(draft.repository)
        if not repository.issues_enabled:
            raise TrackerRefused("issues_disabled", code=410)
        if not draft.title.strip():
            raise TrackerRefused("invalid", code=422)
        with _Mishap(board):
            if draft.key not in board.keys:
                now, number = self._clock.now(), next(self._numbers)
                board.issues[repository.name, number] = Issue(
                    repository.name,
                    number,
                    f"https://tracker.test/{repository.name}/issues/{number}",
                    draft.title,
                    "open",
                    US,
                    now,
                    now,
                    body=draft.body,
                    labels=tuple(one for one in draft.labels if one in board.labels),
                    assignees=tuple(one for one in draft.assignees if one in board.assignees),
                )
                board.keys[draft.key] = (repository.name, number, "")
        name, number, _ = board.keys[draft.key]
        return _opened(board.issues[name, number], draft.labels, draft.assignees)

    async def comment(self, draft: CommentDraft) -> IssueComment:
        board = self._board
        issue = board.issue(draft.repository, draft.number)
        if issue.locked:
            raise TrackerRefused("locked", code=403)
        place = (issue.repository, issue.number)
        with _Mishap(board):
            if draft.key not in board.keys:
                now, id_ = self._clock.now(), str(next(self._numbers))
                comment = IssueComment(id_, f"{issue.url}#{id_}", draft.body, US, now, now)
                board.comments.setdefault(place, []).append(comment)
                board.issues[place] = replace(issue, comments=issue.comments + 1, updated_at=now)
                board.keys[draft.key] = (*place, id_)
        _, _, id_ = board.keys[draft.key]
        return next(one for one in board.comments[place] if one.external_id == id_)

    async def update(self, repository: str, number: int, change: IssueChange) -> OpenedIssue:
        board = self._board
        issue = board.issue(repository, number)
        with _Mishap(board):
            labels = [*issue.labels, *(one for one in change.add_labels if one in board.labels)]
            assignees = [*issue.assignees, *(one for one in change.add_assignees if one in board.assignees)]
            board.issues[issue.repository, number] = replace(
                issue,
                state=change.state or issue.state,
                reason=(change.reason or "completed")
                if change.state == "closed"
                else ""
                if change.state
                else issue.reason,
                title=change.title if change.title is not None else issue.title,
                body=change.body if change.body is not None else issue.body,
                labels=tuple(dict.fromkeys(one for one in labels if one not in change.remove_labels)),
                assignees=tuple(dict.fromkeys(assignees)),
                updated_at=self._clock.now(),
            )
        return _opened(board.issues[issue.repository, number], change.add_labels, change.add_assignees)

    async def delete_comment(self, repository: str, number: int, external_id: str) -> None:
        name = self._board.repository(repository).name
        with _Mishap(self._board):
            kept = [one for one in self._board.comments.get((name, number), []) if one.external_id != external_id]
            self._board.comments[name, number] = kept

    async def react(self, repository: str, number: int, reaction: Reaction, *, comment: str = "") -> str:
        issue = self._board.issue(repository, number)
        with _Mishap(self._board):
            self._board.reactions.add((issue.repository, number, comment, reaction))
        return reaction

    async def take_back_reaction(self, repository: str, number: int, external_id: str, *, comment: str = "") -> None:
        name = self._board.repository(repository).name
        with _Mishap(self._board):
            self._board.reactions = {
                one for one in self._board.reactions if one != (name, number, comment, external_id)
            }

    async def issue(self, repository: str, number: int) -> Issue:
        return self._board.issue(repository, number)

    async def issues(self, repository: str, *, since: datetime | None = None) -> AsyncIterator[Issue]:
        name = self._board.repository(repository).name
        found = [one for one in self._board.issues.values() if one.repository == name]
        for issue in sorted(found, key=lambda one: one.updated_at):
            if since is None or issue.updated_at >= since:
                yield issue

    async def comments(self, repository: str, *, since: datetime) -> AsyncIterator[tuple[int, IssueComment]]:
        name = self._board.repository(repository).name
        there = [(number, all_) for (where, number), all_ in self._board.comments.items() if where == name]
        found = [(number, one) for number, all_ in there for one in all_]
        for number, comment in sorted(found, key=lambda each: each[1].updated_at):
            if comment.updated_at >= since:
                key = next((key for key, place in self._board.keys.items() if place[2] == comment.external_id), "")
                yield number, replace(comment, key=key)

    async def repositories(self) -> AsyncIterator[Repository]:
        if self._board.broken:
            raise ConnectionBroken("Bad credentials", code=401)
        for one in self._board.repositories:
            yield one

    async def checks(self) -> AsyncIterator[CheckResult]:
        yield CheckResult("memory", "fail" if self._board.broken else "ok")


class _Mishap:
    """What is planned to go wrong next: before the write, or after it."""

    def __init__(self, board: MemoryBoard) -> None:
        planned: tuple[TrackerFault | None, bool] = board.faults.pop(0) if board.faults else (None, True)
        self._fault, self._happens = planned

    def __enter__(self) -> None:
        if self._fault is not None and not self._happens:
            raise self._fault

    def __exit__(self, *_: object) -> None:
        if self._fault is not None:
            raise self._fault


def _opened(issue: Issue, labels: Sequence[str], assignees: Sequence[str]) -> OpenedIssue:
    return OpenedIssue(
        issue,
        tuple(one for one in labels if one not in issue.labels),
        tuple(one for one in assignees if one not in issue.assignees),
    )


def signature(body: bytes) -> str:
    return hmac.new(KEY, body, "sha256").hexdigest()


def webhook(said: Mapping[str, Any], *, now: datetime) -> Webhook:
    """The call that something happening at the tracker makes."""
    body = json.dumps(said, ensure_ascii=False).encode()
    return Webhook("POST", {}, body, now, {SIGNATURE: [signature(body)]})


def _news(said: Mapping[str, Any]) -> TrackerNews:
    at = datetime.fromtimestamp(float(said["at"]), UTC)
    actor = TrackerUser(str(said["actor"]), bot=bool(said.get("bot")), ours=said["actor"] == US.login)
    name, number = str(said["repository"]), int(said["number"])
    issue = Issue(
        name,
        number,
        f"https://tracker.test/{name}/issues/{number}",
        str(said.get("title", "")),
        said.get("state", "open"),
        TrackerUser(str(said.get("author", said["actor"]))),
        at,
        at,
        body=str(said.get("body", "")),
        reason=str(said.get("reason", "")),
        labels=tuple(said.get("labels", ())),
        assignees=tuple(said.get("assignees", ())),
    )
    comment = None
    if "comment" in said:
        id_ = str(said["comment_id"])
        comment = IssueComment(id_, f"{issue.url}#{id_}", str(said["comment"]), actor, at, at)
    return TrackerNews(
        kind="comment" if comment else "issue",
        action=str(said["action"]),
        repository=Repository(str(said.get("repository_id", "1")), name),
        actor=actor,
        happened_at=at,
        digest=f"{said['action']}:{name}#{number}:{said['at']}",
        issue=issue,
        comment=comment,
        key=str(said.get("key", "")),
    )


def memory_integration(board: MemoryBoard) -> TrackerIntegration:
    """The twin as something that can be connected."""

    def build(
        _http: Http,
        clock: Clock,
        _config: Mapping[str, Any],
        _secrets: Mapping[str, Any],
        _tokens: TokenStore,
        _breakers: Breakers,
    ) -> MemoryTracker:
        return MemoryTracker(board, clock=clock)

    return TrackerIntegration(
        name=MemoryTracker.name,
        label="memory",
        setup=Setup(
            fields=(SetupField("name", "name", identifies=True), SetupField("token", "token", secret=True)),
            steps=(SetupStep("values", mark("已保存"), "saved"),),
            complete=lambda values: values,
        ),
        build=build,
    )

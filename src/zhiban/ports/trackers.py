"""Where issues live, and what news of them is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

from zhiban.kit.clock import Clock
from zhiban.kit.errors import ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.http import Http
from zhiban.kit.settings import Settings
from zhiban.ports.apps import AppCreator
from zhiban.ports.setup import Setup, Values
from zhiban.ports.vendors import Breakers, CheckResult, TokenStore
from zhiban.ports.webhooks import Acknowledgement, Challenge, VerifiedWebhook, Webhook, WebhookOutcome


@frozen_dataclass
class Repository:
    """A place for issues. `external_id` stays when it is renamed or moves; `name` is what people write: owner/name."""

    external_id: str
    name: str
    private: bool = False
    issues_enabled: bool = True
    archived: bool = False


@frozen_dataclass
class TrackerUser:
    """Somebody at the tracker. `ours`: the account or app that we write with."""

    login: str
    bot: bool = False
    ours: bool = False


@frozen_dataclass
class Issue:
    """An issue as the tracker has it. `reason`: why it is closed, in the tracker's own word."""

    repository: str
    number: int
    url: str
    title: str
    state: Literal["open", "closed"]
    author: TrackerUser
    created_at: datetime
    updated_at: datetime
    body: str = ""
    reason: str = ""
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    comments: int = 0
    locked: bool = False
    is_change: bool = False  # a pull or merge request
    key: str = ""  # of a draft of ours that its text carries
    confidential: bool = False  # not everybody who sees the repository may read it


@frozen_dataclass
class IssueDraft:
    """An issue to open. `key` is ours, unique for ever: opening it twice with the same key makes one issue.

    `tried_at`: when an attempt began whose outcome is not known; then the tracker is asked first.
    """

    key: str
    repository: str
    title: str
    body: str
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    tried_at: datetime | None = None


@frozen_dataclass
class OpenedIssue:
    """What became of a draft. What was asked for and silently dropped by the tracker is named."""

    issue: Issue
    dropped_labels: tuple[str, ...] = ()
    dropped_assignees: tuple[str, ...] = ()


@frozen_dataclass
class CommentDraft:
    """A comment to write. Writing it twice with the same key makes one comment. `tried_at` as of `IssueDraft`."""

    key: str
    repository: str
    number: int
    body: str
    tried_at: datetime | None = None


@frozen_dataclass
class IssueComment:
    """A comment as the tracker has it."""

    external_id: str
    url: str
    body: str
    author: TrackerUser
    created_at: datetime
    updated_at: datetime
    key: str = ""  # of a draft of ours that its text carries


@frozen_dataclass
class IssueChange:
    """What to change at an issue; what is None or empty stays. Doing it twice is doing it once."""

    state: Literal["open", "closed"] | None = None
    reason: str = ""
    title: str | None = None
    body: str | None = None
    add_labels: tuple[str, ...] = ()
    remove_labels: tuple[str, ...] = ()
    add_assignees: tuple[str, ...] = ()


@frozen_dataclass
class TrackerNews:
    """Something that happened at a tracker, in our words.

    `kind` and `action` are from one closed vocabulary for all trackers; `digest` is the same for two calls that tell
    of one thing. `key` is the key of a draft of ours that the text carries, so that our own echo is recognised also
    before our call was answered. `summary` holds what a line about it needs, by names of ours.
    """

    kind: Literal["issue", "comment", "change", "review", "release", "discussion", "workflow", "stars", "repository"]
    action: str
    repository: Repository
    actor: TrackerUser
    happened_at: datetime
    digest: str
    issue: Issue | None = None
    comment: IssueComment | None = None
    key: str = ""
    summary: Mapping[str, Any] = field(default_factory=dict)


class TrackerRefused(ZhibanError):
    """The tracker will never do this. `reason` is one word for tables, `hint` is safe to show to an operator."""

    def __init__(
        self,
        reason: Literal[
            "moved", "not_found", "issues_disabled", "gone", "locked", "invalid", "forbidden", "unsupported"
        ],
        *,
        code: int = 0,
        hint: str = "",
        moved_to: str = "",
    ) -> None:
        super().__init__(f"The tracker refused: {reason} ({code}). {hint}".strip())
        self.reason = reason
        self.code = code
        self.hint = hint
        self.moved_to = moved_to  # the name that the repository has now


@runtime_checkable
class Tracker(Protocol):
    """One set of credentials at one tracker.

    Every call raises TrackerRefused when the tracker will not do this for a reason that repeating does not change,
    TryLater, or ConnectionBroken.
    """

    @property
    def name(self) -> str:
        """The kind of tracker, as `bootstrap` names it."""
        ...

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:
        """Pure and quick. Raises InvalidWebhook."""
        ...

    def acknowledge(self, outcome: WebhookOutcome, *, status: int, reason: str = "") -> Acknowledgement:
        """The answer to a webhook."""
        ...

    def read(self, body: str) -> Sequence[TrackerNews]:
        """What a stored delivery says; nothing for what has no meaning to us. Pure, never an error."""
        ...

    async def open_issue(self, draft: IssueDraft) -> OpenedIssue:
        """Open the issue, or find the one that an earlier attempt with this key opened."""
        ...

    async def comment(self, draft: CommentDraft) -> IssueComment:
        """Write the comment, or find the one that an earlier attempt with this key wrote."""
        ...

    async def update(self, repository: str, number: int, change: IssueChange) -> OpenedIssue:
        """Change the issue; what was silently dropped is named as with `open_issue`."""
        ...

    async def delete_comment(self, repository: str, number: int, external_id: str) -> None:
        """Take away a comment that we wrote. One that is gone already is no error."""
        ...

    async def issue(self, repository: str, number: int) -> Issue:
        """The issue as it is now."""
        ...

    def issues(self, repository: str, *, since: datetime | None = None) -> AsyncIterator[Issue]:
        """All issues, or those that changed since, oldest change first."""
        ...

    def repositories(self) -> AsyncIterator[Repository]:
        """Those that these credentials reach."""
        ...

    def checks(self) -> AsyncIterator[CheckResult]:
        """Whether credentials and permissions work. What does not is a result, not an error."""
        ...


Reaction = Literal["up", "down", "laugh", "hooray", "confused", "heart", "rocket", "eyes"]


@runtime_checkable
class TakesReactions(Protocol):
    """A tracker where people answer with a little picture instead of words. Raises as `Tracker`."""

    async def react(self, repository: str, number: int, reaction: Reaction, *, comment: str = "") -> str:
        """React to the issue, or to the comment of this id. Twice is once. Returns the reaction's id."""
        ...

    async def take_back_reaction(self, repository: str, number: int, external_id: str, *, comment: str = "") -> None:
        """Take a reaction of ours away. One that is gone already is no error."""
        ...


@runtime_checkable
class ListsComments(Protocol):
    """A tracker that tells the comments of a whole repository. Raises as `Tracker`."""

    def comments(self, repository: str, *, since: datetime) -> AsyncIterator[tuple[int, IssueComment]]:
        """Those that were written or edited since, oldest change first, each with the number of its issue."""
        ...


@runtime_checkable
class ConfirmsNews(Protocol):
    """A tracker whose webhooks prove nothing of what they say, or do not say who may see it. Raises as `Tracker`."""

    async def confirmed(self, news: Sequence[TrackerNews]) -> Sequence[TrackerNews]:
        """The same as the tracker itself has it now, without what groups may not hear of."""
        ...


@frozen_dataclass
class DeviceCode:
    """What a member types in (`typed`) at `url`, signed in as themselves, within so many seconds.

    `code` is ours and secret; `interval`: so many seconds are to be between two questions whether they did.
    """

    code: str
    typed: str
    url: str
    seconds: float
    interval: float


@frozen_dataclass
class MemberGrant:
    """A member lets us write under their account, for so many seconds or, with None, until they take it back."""

    token: str
    seconds: float | None = None
    refresh: str = ""


class MemberBindingEnded(ZhibanError):
    """A member will not be bound by this, or is bound no more."""

    def __init__(self, reason: Literal["denied", "expired", "revoked"]) -> None:
        super().__init__(f"The member's account is not bound: {reason}.")
        self.reason = reason


@runtime_checkable
class BindsMembers(Protocol):
    """A tracker at which members of groups write under their own account. FeatureOff: this connection lets nobody."""

    async def begin_binding(self) -> DeviceCode:
        """Raises FeatureOff, TryLater, ConnectionBroken."""
        ...

    async def finish_binding(self, code: str, *, interval: float) -> MemberGrant | float:
        """What was granted, or the seconds until the next question. Raises MemberBindingEnded, FeatureOff, TryLater."""
        ...

    async def renew_member(self, refresh: str) -> MemberGrant:
        """A new token; the one before is void. Raises MemberBindingEnded, TryLater."""
        ...

    async def member_name(self, token: str) -> str:
        """The login of whose token this is. Raises TryLater."""
        ...

    def as_member(self, token: str, *, login: str) -> Tracker:
        """The same tracker, written to by this member: its pauses are theirs alone.

        ConnectionBroken then means that their account cannot be used, with the code 401 that they took it back.
        """
        ...


@runtime_checkable
class RedeliversWebhooks(Protocol):
    """A tracker that never repeats a call by itself, and does so when it is asked."""

    async def redeliver(self, *, since: datetime) -> int:
        """Let it repeat what did not arrive since then. Returns how many. Raises TryLater, ConnectionBroken."""
        ...


@frozen_dataclass
class TrackerIntegration:
    """Everything the program knows of a tracker before there is a connection to it; the fields as of `Integration`.

    `app_creator` where an app can be registered there; it calls where the settings say.
    """

    name: str
    label: str
    setup: Setup
    build: Callable[[Http, Clock, Mapping[str, Any], Mapping[str, Any], TokenStore, Breakers], Tracker]
    addresses: tuple[str, ...] = ()
    environment: Callable[[Settings], Values | None] = field(default=lambda _settings: None)
    operators: Callable[[Settings], Values] = field(default=lambda _settings: {})
    app_creator: Callable[[Http, Settings], AppCreator] | None = None

"""What stands where a connection or inbox was removed: history can be read, nothing is received or sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import ClassVar

from zhiban.ports import (
    Acknowledgement,
    Challenge,
    Channel,
    CheckResult,
    CommentDraft,
    Incoming,
    InvalidWebhook,
    Issue,
    IssueChange,
    IssueComment,
    IssueDraft,
    Limits,
    OpenedIssue,
    Outgoing,
    Refusal,
    Repository,
    SendRefused,
    TrackerNews,
    TrackerRefused,
    VendorAccount,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)


class RemovedChannel:
    """A channel without an account."""

    kind: ClassVar[str] = "removed"
    limits: ClassVar[Limits] = Limits(text=100_000)

    def read(self, body: str) -> Sequence[Incoming]:  # noqa: ARG002
        return ()

    async def send(self, message: Outgoing) -> str:  # noqa: ARG002
        raise SendRefused(Refusal.MISCONFIGURED, hint="The inbox was removed.")


class _Removed:
    """What has no credentials any more."""

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:  # noqa: ARG002
        raise InvalidWebhook("the connection was removed")

    def acknowledge(self, outcome: WebhookOutcome, *, status: int, reason: str = "") -> Acknowledgement:  # noqa: ARG002
        return Acknowledgement(status)

    async def checks(self) -> AsyncIterator[CheckResult]:
        return
        yield


class RemovedVendor(_Removed):
    """A vendor without credentials."""

    def namespace(self, kind: str) -> tuple[str, str]:
        return kind, ""

    def account(self, named: str | None) -> VendorAccount:
        return VendorAccount(RemovedChannel.kind, named or "", named or "")

    def channel(self, kind: str, external_id: str) -> Channel:  # noqa: ARG002
        return RemovedChannel()

    async def accounts(self) -> Sequence[VendorAccount]:
        return ()


class RemovedTracker(_Removed):
    """A tracker without credentials."""

    name = "removed"

    def read(self, body: str) -> Sequence[TrackerNews]:  # noqa: ARG002
        return ()

    async def open_issue(self, draft: IssueDraft) -> OpenedIssue:  # noqa: ARG002
        raise _no_credentials()

    async def comment(self, draft: CommentDraft) -> IssueComment:  # noqa: ARG002
        raise _no_credentials()

    async def update(self, repository: str, number: int, change: IssueChange) -> OpenedIssue:  # noqa: ARG002
        raise _no_credentials()

    async def delete_comment(self, repository: str, number: int, external_id: str) -> None:  # noqa: ARG002
        raise _no_credentials()

    async def issue(self, repository: str, number: int) -> Issue:  # noqa: ARG002
        raise _no_credentials()

    async def issues(self, repository: str, *, since: datetime | None = None) -> AsyncIterator[Issue]:  # noqa: ARG002
        return
        yield

    async def repositories(self) -> AsyncIterator[Repository]:
        return
        yield


def _no_credentials() -> TrackerRefused:
    return TrackerRefused("forbidden", hint="The connection was removed.")

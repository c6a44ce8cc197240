"""What stands where a connection or inbox was removed: history can be read, nothing is received or sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import ClassVar

from zhiban.kit.i18n import mark
from zhiban.ports import (
    Acknowledgement,
    Challenge,
    Channel,
    CheckResult,
    Incoming,
    InvalidWebhook,
    Limits,
    Outgoing,
    Refusal,
    SendRefused,
    VendorAccount,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)


class RemovedChannel:
    """A channel without an account."""

    kind: ClassVar[str] = "removed"
    label: ClassVar[str] = mark("已移除")
    icon: ClassVar[str] = "x"
    limits: ClassVar[Limits] = Limits(text=100_000)

    def read(self, body: str) -> Sequence[Incoming]:  # noqa: ARG002
        return ()

    async def send(self, message: Outgoing) -> str:  # noqa: ARG002
        raise SendRefused(Refusal.MISCONFIGURED, hint="The inbox was removed.")


class RemovedVendor:
    """A vendor without credentials."""

    def namespace(self, kind: str) -> tuple[str, str]:
        return kind, ""

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:  # noqa: ARG002
        raise InvalidWebhook("the connection was removed")

    def acknowledge(self, outcome: WebhookOutcome, *, status: int, reason: str = "") -> Acknowledgement:  # noqa: ARG002
        return Acknowledgement(status)

    def account(self, named: str | None) -> VendorAccount:
        return VendorAccount(RemovedChannel.kind, named or "", named or "")

    def channel(self, kind: str, external_id: str) -> Channel:  # noqa: ARG002
        return RemovedChannel()

    async def accounts(self) -> Sequence[VendorAccount]:
        return ()

    async def checks(self) -> AsyncIterator[CheckResult]:
        return
        yield

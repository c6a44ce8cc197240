"""A vendor, with one set of credentials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from zhiban.ports.channels import Channel
from zhiban.ports.webhooks import Challenge, VerifiedWebhook, Webhook


@dataclass(frozen=True, slots=True)
class VendorAccount:
    """A place at a vendor that can become an inbox."""

    kind: str
    external_id: str
    name: str


class Vendor(Protocol):
    """One set of credentials at one vendor, and the accounts behind it."""

    def namespace(self, kind: str) -> tuple[str, str]:
        """Whose ids the people in a channel of this kind have, for example ("wecom", corp id)."""
        ...

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:
        """Pure and quick. Raises NotGenuine."""
        ...

    def account(self, doorbell_account: str | None) -> VendorAccount:
        """Which place a doorbell means; its name may be the id when the vendor did not say."""
        ...

    def channel(self, kind: str, external_id: str) -> Channel:
        """The channel of one account."""
        ...

    async def accounts(self) -> Sequence[VendorAccount]:
        """The accounts we may manage. Raises TryLater or ConnectionBroken."""
        ...

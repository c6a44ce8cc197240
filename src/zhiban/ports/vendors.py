"""A vendor, with one set of credentials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from zhiban.kit.breaker import Pauses
from zhiban.ports.channels import Channel
from zhiban.ports.webhooks import Challenge, VerifiedWebhook, Webhook


@dataclass(frozen=True, slots=True)
class VendorAccount:
    """A place at a vendor that can become an inbox.

    Where `talks` is false events arrive and nobody can be answered: its inbox stays out of sight.
    """

    kind: str
    external_id: str
    name: str
    talks: bool = True


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


class Breakers(Protocol):
    """What a vendor or a model may ask of us: which calls have to pause, known to all processes.

    A key names a call, and after a colon the account where the vendor counts by account: `kf/send_msg:wk1`.
    """

    async def admit(self, key: str, pauses: Pauses) -> bool:
        """Return when the call may be made, and whether it is the probe; how it ended must be told. Raises Paused."""
        ...

    async def failed(self, key: str, pauses: Pauses, *, asked: float | None = None, reason: str = "") -> float:
        """The call failed; `asked` is the pause the other side named. Returns the seconds this caller should wait."""
        ...

    async def succeeded(self, key: str) -> None:
        """The call was answered, whatever the answer was."""
        ...

    async def abandoned(self, key: str) -> None:
        """The call ended without telling anything, because nobody waits for it any more."""
        ...

    async def spend(self, key: str, *, every: float) -> float:
        """Take the one call that a budget allows in `every` seconds. Returns 0, or the seconds until there is one."""
        ...

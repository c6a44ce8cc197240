"""A vendor, with one set of credentials; what it may ask of us; and what an integration brings along."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, Protocol

from zhiban.kit.breaker import Pauses
from zhiban.kit.clock import Clock
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.http import Http
from zhiban.kit.settings import Settings
from zhiban.ports.channels import Channel, ChannelKind
from zhiban.ports.setup import Setup, Values
from zhiban.ports.webhooks import Acknowledgement, Challenge, ReplyPoll, VerifiedWebhook, Webhook, WebhookOutcome


@frozen_dataclass
class VendorAccount:
    """A place at a vendor that can become an inbox.

    Where `talks` is false events arrive and nobody can be answered: its inbox stays out of sight.
    """

    kind: str
    external_id: str
    name: str
    talks: bool = True


@frozen_dataclass
class AccessToken:
    """What a vendor issued, and for how many seconds it is to be used."""

    token: str
    seconds: float


class TokenStore(Protocol):
    """What a vendor may ask of us: one access token per secret, whatever number of processes use it."""

    async def current(self) -> str | None:
        """The token to use, or None when it is absent or too old."""
        ...

    async def renew(self, failed: str | None, fetch: Callable[[], Awaitable[AccessToken]]) -> str:
        """A token other than `failed`. Calls `fetch` only when nobody else has renewed it meanwhile.

        Raises what `fetch` raises, and TryLater.
        """
        ...


@frozen_dataclass
class CheckResult:
    """What a check of a vendor found, for `zhiban doctor` and the desk's health page.

    `name`, `said` and `cure` are translatable texts with holes for `values`; `problem` is the sentence of an error.
    `step` is the key of the set-up step that the check looked at: those before it which only the vendor can prove work.
    `link` is a page of the vendor where it is mended.
    """

    name: str
    level: Literal["ok", "warn", "fail", "skip"]
    said: str = ""
    problem: str = ""
    cure: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    step: str = ""
    link: str = ""


class Vendor(Protocol):
    """One set of credentials at one vendor, and the accounts behind it."""

    def namespace(self, kind: str) -> tuple[str, str]:
        """Whose ids the people in a channel of this kind have: a name for the kind of ids, and who gave them out."""
        ...

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge | ReplyPoll:
        """Pure and quick. Raises InvalidWebhook."""
        ...

    def acknowledge(self, outcome: WebhookOutcome, *, status: int, reason: str = "") -> Acknowledgement:
        """The answer to a webhook. `status` is ours to propose; `reason` says why it was refused."""
        ...

    def account(self, named: str | None) -> VendorAccount:
        """Which account a webhook means; its name may be the id when the vendor did not say."""
        ...

    def channel(self, kind: str, external_id: str) -> Channel:
        """The channel of one account."""
        ...

    async def accounts(self) -> Sequence[VendorAccount]:
        """The accounts we may manage. Raises TryLater or ConnectionBroken."""
        ...

    def checks(self) -> AsyncIterator[CheckResult]:
        """Whether credentials, addresses and permissions work. What does not is a result, not an error."""
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

    async def spend(self, key: str, *, every: float, times: int = 1) -> float:
        """Take one of `times` calls allowed in `every` seconds. Returns 0, or the seconds until there is one."""
        ...


@frozen_dataclass
class Integration:
    """Everything the program knows of a vendor before there is a connection to it.

    `label` is a translatable text. `build` loads what only a connection needs: an installation carries the vendors that
    it uses. `talents`: those of the vendor's Protocols that somebody asks for beforehand: Streams, AcceptsSockets,
    OffersContactWays. `addresses` are webhook paths of its own beside /hooks/{connection}; one without
    `{public_id}` means the vendor's first connection. `member_label` names the account that an agent of ours has at
    the vendor; empty when agents have none there. `environment` answers the values that the settings describe a
    connection with, or None; `operators` what they say of the fields that only the operator sets, for connections that
    agents make; `own_account` the account that a connection with this configuration is by itself.
    """

    name: str
    label: str
    setup: Setup
    kinds: tuple[ChannelKind, ...]
    build: Callable[[Http, Clock, Mapping[str, Any], Mapping[str, Any], TokenStore, Breakers], Vendor]
    talents: tuple[type, ...] = ()
    addresses: tuple[str, ...] = ()
    member_label: str = ""
    environment: Callable[[Settings], Values | None] = field(default=lambda _settings: None)
    operators: Callable[[Settings], Values] = field(default=lambda _settings: {})
    own_account: Callable[[Values], VendorAccount | None] = field(default=lambda _config: None)

"""One AI bot (智能机器人) as a vendor: it has no secret but that of its callback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from zhiban.integrations.wecom.bot import BotChannel
from zhiban.integrations.wecom.bot_callback import BotAuthenticator
from zhiban.integrations.wecom.bot_config import NAME, BotConfig, own_account
from zhiban.integrations.wecom.memory_slots import MemorySlots
from zhiban.integrations.wecom.setup import clock_check
from zhiban.kit.clock import Clock
from zhiban.kit.errors import Misconfigured
from zhiban.kit.http import Http
from zhiban.ports import (
    Acknowledgement,
    Challenge,
    Channel,
    CheckResult,
    InvalidWebhook,
    ReplyPoll,
    ReplySlots,
    VendorAccount,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)


class WeComBot:
    """AnswersInSlots. The bot's name is its account; members' ids are its own."""

    def __init__(self, http: Http, config: BotConfig, clock: Clock) -> None:
        self._http = http
        self._config = config
        self._clock = clock
        self._slots: ReplySlots = MemorySlots(clock)
        self._authenticator: BotAuthenticator | None = None

    def use_slots(self, slots: ReplySlots) -> None:
        self._slots = slots

    def namespace(self, kind: str) -> tuple[str, str]:  # noqa: ARG002
        """Ids are enciphered, unless an administrator made the bot: they are never compared with others."""
        return NAME, self._config.bot

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge | ReplyPoll:
        if self._authenticator is None:
            try:
                self._authenticator = BotAuthenticator(self._config)
            except Misconfigured as error:
                raise InvalidWebhook(error.sentence) from error
        return self._authenticator.authenticate(webhook)

    def acknowledge(self, outcome: WebhookOutcome, *, status: int, reason: str = "") -> Acknowledgement:  # noqa: ARG002
        """Empty: what a message is answered at once is sealed, and comes with the message itself."""
        return Acknowledgement(status)

    def account(self, named: str | None) -> VendorAccount:  # noqa: ARG002
        return own_account(self._config.bot)

    def channel(self, kind: str, external_id: str) -> Channel:  # noqa: ARG002
        return BotChannel(self._http, self._config, self._clock, self._slots)

    async def accounts(self) -> Sequence[VendorAccount]:
        return (self.account(None),)

    async def checks(self) -> AsyncIterator[CheckResult]:
        """Whether WeCom can be reached, and our clocks agree: nothing else can be asked without an access token."""
        result = await clock_check(self._http, self._config.api_base)
        yield CheckResult(
            result.name, result.level, result.said, cure=result.cure, values=result.values, step="address"
        )

"""One gateway as a vendor: nothing calls us, it is listened to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final

from zhiban.integrations.wechaty.channel import WechatyChannel
from zhiban.integrations.wechaty.client import GatewayClient
from zhiban.integrations.wechaty.config import LABEL, NAME, WechatyConfig, own_account
from zhiban.integrations.wechaty.directory import OwnAccount
from zhiban.integrations.wechaty.listening import Listener
from zhiban.kit.clock import Clock
from zhiban.kit.http import Http
from zhiban.kit.i18n import mark
from zhiban.kit.text import clean
from zhiban.ports import (
    Acknowledgement,
    Challenge,
    Channel,
    CheckResult,
    ConnectionBroken,
    InvalidWebhook,
    SendRefused,
    StreamItem,
    TryLater,
    VendorAccount,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)

CHECK_SECONDS: Final = 10.0


class WechatyVendor:
    """Streams. The account that is logged in may change; what was said stays with the gateway."""

    def __init__(self, http: Http, config: WechatyConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        # Sending must not wait behind thousands of messages that are being read, so each has a connection.
        self._client = GatewayClient(config)
        self._account = OwnAccount()
        self._channel = WechatyChannel(self._client, http, config, clock, self._account)

    def namespace(self, kind: str) -> tuple[str, str]:  # noqa: ARG002
        """Not every kind of gateway has WeChat's own ids: those of two gateways are never compared."""
        return NAME, self._config.source

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:  # noqa: ARG002
        raise InvalidWebhook("gateways never call")

    def acknowledge(self, outcome: WebhookOutcome, *, status: int, reason: str = "") -> Acknowledgement:  # noqa: ARG002
        return Acknowledgement(status)

    def account(self, named: str | None) -> VendorAccount:  # noqa: ARG002
        return own_account(self._config.source)

    def channel(self, kind: str, external_id: str) -> Channel:  # noqa: ARG002
        return self._channel

    async def accounts(self) -> Sequence[VendorAccount]:
        return (self.account(None),)

    async def listen(self, after: str = "") -> AsyncGenerator[Sequence[StreamItem], None]:
        """As `Streams` promises."""
        client = GatewayClient(self._config)
        batches = Listener(client, self._config, self._clock, self._account, after).batches()
        try:
            async for batch in batches:
                yield batch
        finally:
            await batches.aclose()  # type: ignore[attr-defined]
            await client.close()

    async def checks(self) -> AsyncIterator[CheckResult]:
        """Whether the gateway answers and takes our token."""
        try:
            answer = await self._client.call("Version", timeout=CHECK_SECONDS)
        except (SendRefused, TryLater, ConnectionBroken) as error:
            cure = mark("检查地址和Token，以及网关是否在运行")
            yield CheckResult(LABEL, "fail", problem=error.sentence, cure=cure, step="gateway")
            return
        if not self._config.tls and self._config.host not in self._config.private_hosts:
            said, cure = mark("Token不加密地经过公网"), mark("让网关用TLS，或放进内网")
            yield CheckResult(LABEL, "warn", said, cure=cure)
        values = {"version": clean(answer.version)[:40]}
        yield CheckResult(LABEL, "ok", mark("网关有应答，版本{version}"), values=values, step="gateway")

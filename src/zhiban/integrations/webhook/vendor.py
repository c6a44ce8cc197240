"""One program as a vendor: its signature, and the one account that it is."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Sequence

from zhiban.integrations.standard_webhooks import verified
from zhiban.integrations.webhook.channel import JSON, WebhookChannel, WebhookConfig
from zhiban.integrations.webhook.kinds import NAME, PROGRAM, own_account
from zhiban.integrations.webhook.reading import parse_event
from zhiban.kit.clock import Clock
from zhiban.kit.errors import Misconfigured
from zhiban.kit.http import Http, encoded
from zhiban.kit.i18n import mark
from zhiban.ports import (
    Acknowledgement,
    Breakers,
    Challenge,
    Channel,
    CheckResult,
    ConnectionBroken,
    InvalidWebhook,
    SendRefused,
    TryLater,
    VendorAccount,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)


class WebhookVendor:
    """One program: its address, its key, and the one account that it is."""

    def __init__(self, http: Http, config: WebhookConfig, clock: Clock, *, breakers: Breakers | None = None) -> None:
        self._http = http
        self._config = config
        self._clock = clock
        self._breakers = breakers

    def namespace(self, kind: str) -> tuple[str, str]:  # noqa: ARG002
        """The program gives out the ids."""
        return NAME, self._config.source

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:
        """Raises InvalidWebhook: 403 for what is not signed, 422 for what is signed and cannot be read."""
        if webhook.method != "POST":
            raise InvalidWebhook("only POST is understood", status=400)
        try:
            keys = self._config.keys(webhook.received_at)
        except Misconfigured as error:
            raise InvalidWebhook(error.sentence) from error
        id_, key = verified(keys, webhook)
        event = parse_event(webhook.body)
        # Keyed, because two programs may count their calls in the same way.
        digest = hmac.digest(key, b"delivery " + id_.encode(), hashlib.sha256)
        stored = {"id": id_, "event": event.model_dump(mode="json", exclude_none=True)}
        return VerifiedWebhook(digest, json.dumps(stored, ensure_ascii=False, separators=(",", ":")))

    def acknowledge(self, outcome: WebhookOutcome, *, status: int, reason: str = "") -> Acknowledgement:
        """JSON; who has proved to be the program is told what to mend, others only that it is refused."""
        shown: dict[str, str] = {"status": outcome.value}
        if outcome is WebhookOutcome.REFUSED and status == 422:
            shown["error"] = reason
        return Acknowledgement(202 if outcome is WebhookOutcome.STORED else status, encoded(shown), JSON)

    def account(self, named: str | None) -> VendorAccount:  # noqa: ARG002
        return own_account(self._config.source)

    def channel(self, kind: str, external_id: str) -> Channel:  # noqa: ARG002
        return WebhookChannel(self._http, self._config, self._clock, breakers=self._breakers)

    async def accounts(self) -> Sequence[VendorAccount]:
        return (self.account(None),)

    async def checks(self) -> AsyncIterator[CheckResult]:
        """A signed ping shows address, network and key in one call."""
        try:
            await WebhookChannel(self._http, self._config, self._clock).ping()
        except (SendRefused, TryLater, ConnectionBroken) as error:
            cure = mark("检查地址和签名密钥；对方要用2xx回答每个请求")
            yield CheckResult(PROGRAM.label, "fail", problem=error.sentence, cure=cure, step="signature")
            return
        yield CheckResult(PROGRAM.label, "ok", mark("对方接受我们的签名"), step="signature")

"""One program as a vendor: its signature, the one account that it is, and how it is connected."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from zhiban.integrations.standard_webhooks import new_secret, parse_secret, verified
from zhiban.integrations.webhook.channel import JSON, NAME, WebhookChannel, WebhookConfig
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
    Integration,
    InvalidWebhook,
    SendRefused,
    Setup,
    SetupField,
    SetupStep,
    TokenStore,
    TryLater,
    UnusableValues,
    Vendor,
    VendorAccount,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)
from zhiban.ports.setup import Values


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
        return _account(self._config.source)

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
            yield CheckResult(WebhookChannel.label, "fail", problem=error.sentence, cure=cure, step="signature")
            return
        yield CheckResult(WebhookChannel.label, "ok", mark("对方接受我们的签名"), step="signature")


def _account(source: str) -> VendorAccount:
    return VendorAccount(NAME, source, source)


def _complete(values: Values) -> Values:
    """Checks the address and the secret; makes a secret where none was given. Raises UnusableValues."""
    given = {**values, "secret": values.get("secret") or new_secret()}
    given["allow_private"] = str(values.get("allow_private") or "").strip().lower() in ("1", "true", "yes", "是")
    try:
        config = WebhookConfig(**given)
    except ValidationError as error:
        raise UnusableValues([str(part) for problem in error.errors() for part in problem["loc"]]) from None
    try:
        parse_secret(config.secret.get_secret_value())
    except Misconfigured as error:
        raise UnusableValues(["secret"], error.sentence) from None
    return {
        "source": config.source,
        "url": config.url,
        "secret": given["secret"],
        "allow_private": config.allow_private,
    }


def _build(
    http: Http,
    clock: Clock,
    config: Mapping[str, Any],
    secrets: Mapping[str, Any],
    _tokens: TokenStore,
    breakers: Breakers,
) -> Vendor:
    return WebhookVendor(http, WebhookConfig(**{**config, **secrets}), clock, breakers=breakers)


WEBHOOK: Final = Integration(
    name=NAME,
    label=WebhookChannel.label,
    setup=Setup(
        fields=(
            SetupField(
                "source", mark("对方的名字"), mark("自己取，例如crm；联系人的编号在它之内不重复"), identifies=True
            ),
            SetupField("url", mark("对方的地址"), mark("我们把回复发到这里，https://…")),
            SetupField(
                "secret",
                mark("签名密钥"),
                mark("whsec_加Base64；留空会自动生成一个"),
                secret=True,
                required=False,
                rotates=True,
            ),
            SetupField(
                "allow_private",
                mark("允许内网地址"),
                required=False,
                default="false",
                yes_no=True,
                operator=True,
            ),
        ),
        steps=(
            SetupStep("values", mark("填对方的名字和地址"), "saved", done=mark("已保存")),
            SetupStep(
                "signature",
                mark("让对方接受我们的签名"),
                "vendor",
                mark("让对方用同一个密钥核对我们发去的签名"),
                mark("对方接受我们的签名"),
            ),
            SetupStep(
                "callback",
                mark("让对方发到我们的地址"),
                "webhook",
                mark("让对方把消息签名后POST到：{callback}"),
                mark("收到了对方的请求"),
            ),
            SetupStep(
                "message",
                mark("发一句话试试"),
                "message",
                mark("在对方那里以联系人的身份说一句“你好”"),
                mark("收到了，也回答了"),
            ),
        ),
        complete=_complete,
        # Whoever set another address or key would read what lies in the private network.
        is_operators=lambda values: bool(values.get("allow_private")),
    ),
    channels=(WebhookChannel,),
    vendor=WebhookVendor,
    build=_build,
    own_account=lambda config: _account(str(config["source"])),
)

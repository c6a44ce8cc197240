"""Any program as an integration: one row of `bootstrap.CHANNELS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from zhiban.integrations.standard_webhooks import new_secret, parse_secret
from zhiban.integrations.webhook.kinds import NAME, PROGRAM, own_account
from zhiban.kit.clock import Clock
from zhiban.kit.errors import Misconfigured
from zhiban.kit.http import Http
from zhiban.kit.i18n import mark
from zhiban.ports import Breakers, Integration, Setup, SetupField, SetupStep, TokenStore, UnusableValues, Vendor
from zhiban.ports.setup import Values


def _complete(values: Values) -> Values:
    """Checks the address and the secret; makes a secret where none was given. Raises UnusableValues."""
    from zhiban.integrations.webhook.channel import WebhookConfig

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
    from zhiban.integrations.webhook.channel import WebhookConfig
    from zhiban.integrations.webhook.vendor import WebhookVendor

    return WebhookVendor(http, WebhookConfig(**{**config, **secrets}), clock, breakers=breakers)


WEBHOOK: Final = Integration(
    name=NAME,
    label=PROGRAM.label,
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
    kinds=(PROGRAM,),
    build=_build,
    own_account=lambda config: own_account(str(config["source"])),
)

"""What an operator fills in to connect one app, what they do in the admin console, and how we see that it works."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final

from pydantic import ValidationError

from zhiban.integrations.wecom.config import WECOM_API, WeComConfig, WeComSettings
from zhiban.kit.errors import Misconfigured, Unavailable
from zhiban.kit.http import Http
from zhiban.kit.i18n import mark
from zhiban.kit.settings import Settings, web_address
from zhiban.ports import (
    CheckResult,
    ConnectionBroken,
    SendRefused,
    Setup,
    SetupField,
    SetupStep,
    UnusableValues,
    VendorAccount,
)
from zhiban.ports.setup import Values

NAME: Final = "wecom"
LABEL: Final = mark("企业微信")

# Callbacks carry a time and are refused when it is far off.
_SKEW_WARN, _SKEW_FAIL = 30, 300  # seconds
_CURES: Final = {
    60020: mark("应用管理 → 自建 → 这个应用 → 企业可信IP：加上上面的地址"),
    40001: mark("应用管理 → 自建 → 这个应用：重新复制Secret"),
    40013: mark("我的企业 → 企业信息：重新复制企业ID"),
    48002: mark("应用管理 → 微信客服 → 可调用接口的应用：加上这个应用"),
    95017: mark("微信客服 → 通过API管理微信客服账号：把账号交给这个应用"),
}


# Which step a refusal stands in the way of. Whoever is refused without a code did not even get there.
_STEPS: Final = {
    **dict.fromkeys((60020,), "address"),
    **dict.fromkeys((48001, 48002, 48004, 60030, 95011, 95012, 95015, 95017, 95023), "accounts"),
}


def _complete(values: Values) -> Values:
    """The values as one app needs them; makes a token and a key where none were given. Raises UnusableValues."""
    given = {name: value for name, value in values.items() if name in WeComConfig.model_fields}
    if "token" not in given and "encoding_aes_key" not in given:
        given |= {"token": secrets.token_hex(16), "encoding_aes_key": new_key()}
    try:
        config = WeComConfig(**given)
    except ValidationError as error:
        raise UnusableValues([str(part) for problem in error.errors() for part in problem["loc"]]) from None
    try:
        web_address(config.api_base)
    except ValueError:
        raise UnusableValues(["api_base"]) from None
    try:
        config.key_pairs()
    except Misconfigured as error:
        raise UnusableValues(["encoding_aes_key"], error.sentence) from None
    return {"agent_id": None, "api_base": WECOM_API, **given}


def new_key() -> str:
    """43 letters and digits, the unused bits of the last one zero, as WeCom's own page makes them."""
    while True:
        key = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        if key.isalnum():
            return key


SETUP: Final = Setup(
    fields=(
        SetupField("corp_id", mark("企业ID"), mark("我的企业 → 企业信息"), identifies=True),
        SetupField(
            "agent_id",
            mark("应用的AgentId"),
            mark("应用管理 → 自建；只用微信客服的话选填"),
            required=False,
            identifies=True,
        ),
        SetupField("secret", mark("应用的Secret"), mark("应用管理 → 自建 → 这个应用"), secret=True),
        SetupField(
            "token",
            mark("回调的Token"),
            mark("接收消息 → 设置API接收；两项都留空会自动生成"),
            secret=True,
            required=False,
            rotates=True,
        ),
        SetupField(
            "encoding_aes_key",
            mark("回调的EncodingAESKey"),
            mark("同一页面，43个字符"),
            secret=True,
            required=False,
            rotates=True,
        ),
        # Whoever answers there is given the secret, and says who signs in.
        SetupField(
            "api_base",
            mark("接口地址"),
            mark("经过代理时才需要改"),
            required=False,
            default=WECOM_API,
            operator=True,
        ),
    ),
    steps=(
        SetupStep("values", mark("填企业ID和密钥"), "vendor", done=mark("能取得凭证")),
        SetupStep(
            "callback",
            mark("把回调地址填到企业微信"),
            "webhook",
            mark("把这个地址填到企业微信的“接收消息 → 设置API接收 → URL”：{callback}"),
            mark("收到验证请求"),
        ),
        SetupStep(
            "address",
            mark("把服务器地址加进可信IP"),
            "vendor",
            mark("应用管理 → 自建 → 这个应用 → 企业可信IP：加上这台服务器的公网地址"),
            mark("企业微信接受这台服务器"),
        ),
        SetupStep(
            "accounts",
            mark("把客服账号交给这个应用"),
            "vendor",
            mark("微信客服 → 通过API管理微信客服账号：把账号交给这个应用"),
            mark("读到了账号"),
        ),
        SetupStep(
            "message",
            mark("用手机发一句话试试"),
            "message",
            mark("拿任意微信打开客服账号的链接，发一句“你好”"),
            mark("收到了，也回答了"),
        ),
    ),
    complete=_complete,
)


def operators(settings: Settings) -> Values:
    """The operator's proxy, for every connection."""
    return {"api_base": settings.part(WeComSettings).wecom_api_base or WECOM_API}


def described(settings: Settings) -> Values | None:
    """The connection that the environment names, or None."""
    found = settings.part(WeComSettings)
    secret = found.wecom_agent_secret.get_secret_value()
    if not (found.wecom_corp_id and secret):
        return None
    return {
        "corp_id": found.wecom_corp_id,
        "agent_id": found.wecom_agent_id or None,
        "secret": secret,
        "token": found.wecom_token.get_secret_value(),
        "encoding_aes_key": found.wecom_encoding_aes_key.get_secret_value(),
        **operators(settings),
    }


async def checks(
    http: Http, base: str, accounts: Callable[[], Awaitable[Sequence[VendorAccount]]]
) -> AsyncIterator[CheckResult]:
    """Listing the accounts proves secret, trusted address and permission in one call."""
    try:
        names = ", ".join(account.name for account in await accounts())
    except (ConnectionBroken, SendRefused, Unavailable) as error:
        code = getattr(error, "code", 0)
        step = _STEPS.get(code, "values")
        yield CheckResult(LABEL, "fail", problem=error.sentence, cure=_CURES.get(code, ""), step=step)
        return
    if names:
        said = mark("能取得凭证，账号{accounts}")
        yield CheckResult(LABEL, "ok", said, values={"accounts": names}, step="accounts")
    else:
        yield CheckResult(
            LABEL,
            "warn",
            mark("能取得凭证，但没有可管理的客服账号"),
            cure=mark("微信客服 → 通过API管理微信客服账号，把账号交给这个应用"),
            step="accounts",
        )
    yield await clock_check(http, base)


async def clock_check(http: Http, base: str) -> CheckResult:
    """How far our clocks are apart, by the Date header of an answer."""
    name: Any = mark("与企业微信的时差")
    try:
        before = time.time()
        answer = await http.request("HEAD", base, timeout=5)
        there = parsedate_to_datetime(answer.headers["date"])
    except (Unavailable, KeyError, ValueError, TypeError):
        return CheckResult(name, "warn", mark("没有答出时间"))
    skew = abs(there.timestamp() - (before + time.time()) / 2)
    level: Any = "fail" if skew > _SKEW_FAIL else "warn" if skew > _SKEW_WARN else "ok"
    cure = mark("开启NTP：timedatectl set-ntp true") if level != "ok" else ""
    return CheckResult(name, level, mark("{seconds}秒"), cure=cure, values={"seconds": f"{skew:.0f}"})

"""What one AI bot (智能机器人) needs to know, and what an operator does to connect it."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from zhiban.integrations.wecom.config import WECOM_API, WeComSettings
from zhiban.integrations.wecom.crypto import KeyPair
from zhiban.integrations.wecom.setup import new_key
from zhiban.kit.errors import Misconfigured
from zhiban.kit.i18n import mark
from zhiban.kit.settings import Settings, web_address
from zhiban.kit.text import clean, size_of
from zhiban.ports import Setup, SetupField, SetupStep, UnusableValues, VendorAccount
from zhiban.ports.setup import Values

NAME: Final = "wecom_bot"
LABEL: Final = mark("企业微信智能机器人")
WAITING: Final = "已收到，稍后在这里回复。"
LONGEST_WORDS: Final = 2000  # bytes of a greeting, and of what is said while nobody has answered


class BotConfig(BaseModel):
    """One bot. Its callbacks are addressed to nobody, so that the key alone tells whose they are."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    bot: str = Field(min_length=1, max_length=40, description="What the bot is called in WeCom")
    token: SecretStr = Field(description="Token of the bot's API page")
    encoding_aes_key: SecretStr = Field(description="EncodingAESKey of the same page")
    previous_token: SecretStr = SecretStr("")
    previous_encoding_aes_key: SecretStr = SecretStr("")
    previous_until: datetime | None = None
    greeting: str = Field(default="", description="Said when a member opens the chat with the bot for the first time")
    waiting: str = Field(default=WAITING, description="Said when nobody had an answer in time")
    api_base: str = Field(default=WECOM_API, description="Address of WeCom's API, or of your proxy to it")
    replay_window: int = Field(default=3600, ge=0, description="Seconds a callback may be old")

    @field_validator("bot", "greeting", "waiting", "token", "encoding_aes_key", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        return clean(value).strip() if isinstance(value, str) else value

    @field_validator("bot")
    @classmethod
    def _without_at(cls, value: str) -> str:
        return value.lstrip("@").strip() or value

    @field_validator("greeting", "waiting")
    @classmethod
    def _short(cls, value: str) -> str:
        if size_of(value) > LONGEST_WORDS:
            raise ValueError("is too long")
        return value

    @field_validator("waiting")
    @classmethod
    def _said(cls, value: str) -> str:
        return value or WAITING  # what the bot shows has to end in some words

    @field_validator("api_base")
    @classmethod
    def _address(cls, value: str) -> str:
        return web_address(value.strip()).rstrip("/")

    def key_pairs(self) -> tuple[KeyPair, ...]:
        """The current pair first, then the one in grace. Raises Misconfigured for an impossible key."""
        pairs = [KeyPair.of(self.token.get_secret_value(), self.encoding_aes_key.get_secret_value())]
        if self.previous_token.get_secret_value() and self.previous_until is not None:
            former = self.previous_token.get_secret_value(), self.previous_encoding_aes_key.get_secret_value()
            pairs.append(KeyPair.of(*former, until=self.previous_until))
        return tuple(pairs)


def _complete(values: Values) -> Values:
    """Checks the values; makes a token and a key where none were given. Raises UnusableValues."""
    given: dict[str, Any] = {name: value for name, value in values.items() if value not in (None, "")}
    if "token" not in given and "encoding_aes_key" not in given:
        given |= {"token": secrets.token_hex(16), "encoding_aes_key": new_key()}
    try:
        config = BotConfig(**given)
    except ValidationError as error:
        raise UnusableValues([str(part) for problem in error.errors() for part in problem["loc"][:1]]) from None
    try:
        config.key_pairs()
    except Misconfigured as error:
        raise UnusableValues(["encoding_aes_key"], error.sentence) from None
    return {
        "bot": config.bot,
        "token": config.token.get_secret_value(),
        "encoding_aes_key": config.encoding_aes_key.get_secret_value(),
        "greeting": config.greeting,
        "waiting": config.waiting,
        "api_base": config.api_base,
    }


def operators(settings: Settings) -> Values:
    """The operator's proxy, for every connection."""
    return {"api_base": settings.part(WeComSettings).wecom_api_base or WECOM_API}


SETUP: Final = Setup(
    fields=(
        SetupField(
            "bot",
            mark("机器人的名字"),
            mark("和企业微信里显示的一样；成员@的就是它"),
            identifies=True,
        ),
        SetupField(
            "token",
            mark("机器人的Token"),
            mark("机器人 → API模式 → 使用URL回调；两项都留空会自动生成"),
            secret=True,
            required=False,
            rotates=True,
        ),
        SetupField(
            "encoding_aes_key",
            mark("机器人的EncodingAESKey"),
            mark("同一页面，43个字符"),
            secret=True,
            required=False,
            rotates=True,
        ),
        SetupField(
            "greeting",
            mark("欢迎语"),
            mark("成员当天第一次打开与机器人的单聊时说；留空不说"),
            required=False,
        ),
        SetupField(
            "waiting",
            mark("没有马上答上来时说的话"),
            mark("40秒内没有回答时，机器人先说这一句，之后的回复另发一条"),
            required=False,
            default=WAITING,
        ),
        # Answers are posted there, and files fetched from it though it be in a private network.
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
        SetupStep(
            "create",
            mark("在企业微信里建机器人"),
            "saved",
            mark("工作台 → 智能机器人 → 创建机器人 → API模式创建 → 使用URL回调"),
            mark("已保存"),
        ),
        SetupStep(
            "callback",
            mark("把回调地址填到机器人"),
            "webhook",
            mark("把这个地址、Token和EncodingAESKey填到机器人的“URL回调”：{callback}"),
            mark("收到验证请求"),
        ),
        SetupStep(
            "address",
            mark("能访问企业微信"),
            "vendor",
            mark("回复要发到企业微信的接口，这台服务器要能访问它"),
            mark("企业微信有应答"),
        ),
        SetupStep(
            "message",
            mark("在群里@它试试"),
            "message",
            mark("把机器人加进一个内部群，@它说一句“帮助”；它只看得到@它的消息和其中引用的消息"),
            mark("收到了，也回答了"),
        ),
    ),
    complete=_complete,
)


def own_account(bot: str) -> VendorAccount:
    """The one account of a bot."""
    return VendorAccount(NAME, bot, bot)

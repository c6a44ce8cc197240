"""What one OneBot connection needs to know, and what an operator is asked for."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from zhiban.kit.i18n import mark
from zhiban.ports import Setup, SetupField, SetupStep, UnusableValues, VendorAccount
from zhiban.ports.setup import READ_ONLY, Values

NAME: Final = "onebot"
LABEL: Final = mark("QQ群（OneBot v11）")
LEAST_TOKEN: Final = 16

_SOURCE = re.compile(r"[A-Za-z0-9._-]{1,40}", re.ASCII)
_TOKEN = re.compile(rf"[!-~]{{{LEAST_TOKEN},200}}", re.ASCII)
_YES = frozenset(("1", "true", "yes", "on", "是"))
_NO = frozenset(("", "0", "false", "no", "off", "否"))


class OneBotConfig(BaseModel):
    """One program that connects to us, and how its account behaves."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    source: str = Field(description="What the connection is called; the ids of its contacts are its own")
    token: SecretStr = Field(description="The access token with which the program connects")
    accept_friends: bool = Field(default=True, description="Whether requests of friendship are accepted")
    accept_invitations: bool = Field(default=True, description="Whether invitations to groups are accepted")
    read_only: bool = Field(default=False, description="Only listen: nothing is sent or accepted")
    previous_token: SecretStr = SecretStr("")
    previous_until: datetime | None = None

    @field_validator("source", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        value = value.strip() if isinstance(value, str) else value
        if not isinstance(value, str) or not _SOURCE.fullmatch(value):
            raise ValueError("must be letters, digits, dots and dashes")
        return value

    @field_validator("token")
    @classmethod
    def _strong(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value().strip()
        if not _TOKEN.fullmatch(text):
            raise ValueError(f"must be a token of at least {LEAST_TOKEN} characters")
        return SecretStr(text)

    @field_validator("accept_friends", "accept_invitations", "read_only", mode="before")
    @classmethod
    def _yes_or_no(cls, value: object) -> object:
        if isinstance(value, str):
            said = value.strip().lower()
            if said not in _YES | _NO:
                raise ValueError("must be true or false")
            return said in _YES
        return value

    def tokens(self, now: datetime) -> list[str]:
        """Those with which the program may connect: the current one, and the former one for a day."""
        former = self.previous_token.get_secret_value()
        known = [self.token.get_secret_value()]
        return [*known, former] if former and self.previous_until and now < self.previous_until else known


def complete(values: Values) -> Mapping[str, Any]:
    """Checks the values; makes a token where none was given. Raises UnusableValues."""
    given = {name: value for name, value in values.items() if value is not None}
    given["token"] = given.get("token") or secrets.token_urlsafe(24)
    try:
        config = OneBotConfig(**given)
    except ValidationError as error:
        raise UnusableValues([str(part) for problem in error.errors() for part in problem["loc"][:1]]) from None
    shown = config.model_dump(exclude={"token", "previous_token", "previous_until"})
    return {**shown, "token": config.token.get_secret_value()}


SETUP: Final = Setup(
    fields=(
        SetupField("source", mark("连接的名字"), mark("自己取，例如qq-1；一个QQ号一个连接"), identifies=True),
        SetupField(
            "token",
            mark("Token"),
            mark("至少16个字符；留空会自动生成一个"),
            secret=True,
            required=False,
            rotates=True,
        ),
        SetupField(
            "accept_friends",
            mark("自动通过好友申请"),
            mark("通过以后发收件箱的欢迎语"),
            required=False,
            default="true",
            yes_no=True,
        ),
        SetupField("accept_invitations", mark("自动接受入群邀请"), required=False, default="true", yes_no=True),
        SetupField(
            READ_ONLY,
            mark("只读模式"),
            mark("只收不发，也不通过任何申请；先这样试几天最稳妥"),
            required=False,
            default="false",
            yes_no=True,
        ),
    ),
    steps=(
        SetupStep("values", mark("给连接取名，得到Token"), "saved", done=mark("已保存")),
        SetupStep(
            "address",
            mark("让OneBot实现连到我们的地址"),
            "webhook",
            mark("在NapCat或Lagrange里新建一个“反向WebSocket（WebSocket客户端）”，填这个地址和Token：{callback}"),
            mark("实现连上来了"),
        ),
        SetupStep(
            "account",
            mark("登录QQ"),
            "vendor",
            mark("连上以后问它登录的是谁、在不在线"),
            mark("账号在线，愿意听我们的调用"),
        ),
        SetupStep(
            "message",
            mark("发一句话试试"),
            "message",
            mark("用另一个QQ号在群里@它说一句“你好”"),
            mark("收到了，也回答了"),
        ),
    ),
    complete=complete,
)


def own_account(source: str) -> VendorAccount:
    """The one account of a connection, whoever is logged in."""
    return VendorAccount(NAME, source, source)

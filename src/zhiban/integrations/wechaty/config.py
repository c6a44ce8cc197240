"""What one connection to a gateway needs to know, and what an operator is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from zhiban.kit.i18n import mark
from zhiban.kit.settings import Settings
from zhiban.ports import Setup, SetupField, SetupStep, UnusableValues, VendorAccount
from zhiban.ports.setup import READ_ONLY, Values

NAME: Final = "wechaty"
LABEL: Final = mark("微信群（Wechaty网关）")
DEFAULT_PORT: Final = 8788

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])", re.ASCII)
_SOURCE = re.compile(r"[A-Za-z0-9._-]{1,40}", re.ASCII)
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_YES = frozenset(("1", "true", "yes", "on", "是"))
_NO = frozenset(("", "0", "false", "no", "off", "否"))


class WechatyConfig(BaseModel):
    """One gateway and how its account behaves."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    source: str = Field(description="What the gateway is called; the ids of its contacts are its own")
    endpoint: str = Field(description="host:port")
    token: SecretStr = Field(description="The token of the puppet service")
    tls: bool = Field(default=False, description="Whether the gateway speaks TLS")
    ca: str = Field(default="", description="The certificate that signed the gateway's, in PEM")
    server_name: str = Field(default="", description="The name in the gateway's certificate")
    accept_friends: bool = Field(default=True, description="Whether requests of friendship are accepted")
    accept_invitations: bool = Field(default=True, description="Whether invitations to groups are accepted")
    read_only: bool = Field(default=False, description="Only listen: nothing is sent or accepted")
    private_hosts: tuple[str, ...] = Field(default=(), description="Hosts in private networks that may be called")

    @field_validator("source", "endpoint", "server_name", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        return value.strip() if isinstance(value, str) else value

    @field_validator("source")
    @classmethod
    def _named(cls, value: str) -> str:
        if not _SOURCE.fullmatch(value):
            raise ValueError("must be letters, digits, dots and dashes")
        return value

    @field_validator("endpoint")
    @classmethod
    def _address(cls, value: str) -> str:
        value = value if value.endswith("]") or ":" in value.rpartition("]")[2] else f"{value}:{DEFAULT_PORT}"
        host, _, port = value.rpartition(":")
        if not _HOST.fullmatch(host) or not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError("must be host:port")
        return value

    @field_validator("token")
    @classmethod
    def _sendable(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value().strip()
        if not re.fullmatch(r"[!-~]{1,500}", text, re.ASCII):
            raise ValueError("must be a token")
        return SecretStr(text)

    @field_validator("tls", "accept_friends", "accept_invitations", "read_only", mode="before")
    @classmethod
    def _yes_or_no(cls, value: object) -> object:
        if isinstance(value, str):
            said = value.strip().lower()
            if said not in _YES | _NO:
                raise ValueError("must be true or false")
            return said in _YES
        return value

    @field_validator("ca")
    @classmethod
    def _certificate(cls, value: str) -> str:
        """A form gives it in one line; its lines are put back."""
        if not value.strip():
            return ""
        found = _CERTIFICATE.findall(value)
        if not found:
            raise ValueError("must be a certificate in PEM")
        lines = ("\n".join(each.split()) for each in found)
        return "".join(f"-----BEGIN CERTIFICATE-----\n{each}\n-----END CERTIFICATE-----\n" for each in lines)

    @field_validator("private_hosts", mode="before")
    @classmethod
    def _hosts(cls, value: object) -> object:
        return tuple(value.split()) if isinstance(value, str) else value

    @property
    def host(self) -> str:
        return self.endpoint.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    @property
    def certified_name(self) -> str:
        """The name that the gateway's certificate has: by Wechaty's custom the token's text before its last `_`."""
        before, found, _ = self.token.get_secret_value().rpartition("_")
        return self.server_name or (before if found and self.ca else "") or self.host


def complete(values: Values) -> Mapping[str, Any]:
    """Checks the values and fills in what was left out. Raises UnusableValues."""
    try:
        config = WechatyConfig(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        raise UnusableValues([str(part) for problem in error.errors() for part in problem["loc"][:1]]) from None
    return {
        **config.model_dump(exclude={"token", "private_hosts"}),
        "private_hosts": " ".join(config.private_hosts),
        "token": config.token.get_secret_value(),
    }


def operators(settings: Settings) -> Values:
    """Which gateways in private networks agents may connect: those that the operator named for all purposes."""
    return {"private_hosts": settings.zhiban_private_hosts}


SETUP: Final = Setup(
    fields=(
        SetupField("source", mark("网关的名字"), mark("自己取，例如wx-1；联系人的编号在它之内不重复"), identifies=True),
        SetupField("endpoint", mark("网关的地址"), mark("主机:端口，例如127.0.0.1:8788；不用Token去查地址")),
        SetupField("token", mark("网关的Token"), mark("启动网关时设的WECHATY_TOKEN"), secret=True),
        SetupField("tls", mark("用TLS加密"), mark("网关在另一台机器上就要用"), required=False, yes_no=True),
        SetupField("ca", mark("签发网关证书的CA"), mark("PEM全文；公开CA签发的不用填"), required=False),
        SetupField(
            "server_name",
            mark("证书里的名字"),
            mark("不填就按Wechaty的习惯：Token里最后一个_之前的部分"),
            required=False,
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
        SetupField(
            "private_hosts",
            mark("允许的内网主机"),
            mark("用空格隔开；网关在内网或本机时要写上它的主机"),
            required=False,
            operator=True,
        ),
    ),
    steps=(
        SetupStep("values", mark("填网关的地址和Token"), "saved", done=mark("已保存")),
        SetupStep(
            "gateway",
            mark("连上网关"),
            "vendor",
            mark("网关在运行，接受我们的Token，而且没有别的程序连着它"),
            mark("网关有应答"),
        ),
        SetupStep(
            "message",
            mark("发一句话试试"),
            "message",
            mark("登录以后，用另一个微信号在群里@它说一句“你好”"),
            mark("收到了，也回答了"),
        ),
    ),
    complete=complete,
)


def own_account(source: str) -> VendorAccount:
    """The one account of a gateway, whoever is logged in."""
    return VendorAccount(NAME, source, source)

"""What one WeCom connection (a self-built app) needs to know."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from zhiban.integrations.wecom.crypto import KeyPair
from zhiban.kit.settings import SettingsPart, web_address

WECOM_API = "https://qyapi.weixin.qq.com/cgi-bin"


class WeComSettings(SettingsPart):
    """The names in the environment that describe one connection, so that one file is enough to run."""

    wecom_corp_id: str = Field("", description="企业 ID: 我的企业 → 企业信息.")
    wecom_agent_id: str = Field("", description="AgentId of the self-built app: 应用管理 → 自建.")
    wecom_agent_secret: SecretStr = Field(SecretStr(""), description="Secret of the same app.")
    wecom_token: SecretStr = Field(SecretStr(""), description="Token of the app's 接收消息 → 设置 API 接收.")
    wecom_encoding_aes_key: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("WECOM_ENCODING_AES_KEY", "WECOM_AES_KEY"),
        description="EncodingAESKey of the same page, 43 characters.",
    )
    wecom_api_base: str = Field(WECOM_API, description="Base address of WeCom's API, when you go through a proxy.")

    _address = field_validator("wecom_api_base")(web_address)


class WeComConfig(BaseModel):
    """One self-built app; its secret serves customer service, customer contact and the app itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    corp_id: str = Field(min_length=1, description="企业 ID")
    agent_id: int | None = Field(default=None, description="AgentId of the app")
    secret: SecretStr = Field(description="Secret of the app")
    token: SecretStr = Field(default=SecretStr(""), description="Token of the callback page")
    encoding_aes_key: SecretStr = Field(default=SecretStr(""), description="EncodingAESKey of the callback page")
    previous_token: SecretStr = Field(default=SecretStr(""), description="The pair before the last change")
    previous_encoding_aes_key: SecretStr = Field(default=SecretStr(""))
    previous_until: datetime | None = Field(default=None, description="When the former pair ceases to be accepted")
    api_base: str = Field(default=WECOM_API, description="Address of WeCom's API, or of your proxy to it")
    replay_window: int = Field(
        default=3600, ge=0, description="Seconds a callback may be old; 0 for hosts without a clock"
    )
    receive_ids: tuple[str, ...] = Field(
        default=(), description="Receivers besides the corp id: a suite id, or '' for AI bots"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        return value.strip() if isinstance(value, str) else value

    @field_validator("agent_id", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("api_base")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @model_validator(mode="after")
    def _grace_ends(self) -> Self:
        if self.previous_token.get_secret_value() and self.previous_until is None:
            raise ValueError("previous_until must say how long the former token is accepted")
        return self

    def key_pairs(self) -> tuple[KeyPair, ...]:
        """The current pair first, then the one in grace. Raises Misconfigured for an impossible key."""
        pairs = []
        if self.token.get_secret_value():
            pairs.append(KeyPair.of(self.token.get_secret_value(), self.encoding_aes_key.get_secret_value()))
        if self.previous_token.get_secret_value():
            pairs.append(
                KeyPair.of(
                    self.previous_token.get_secret_value(),
                    self.previous_encoding_aes_key.get_secret_value(),
                    until=self.previous_until,
                )
            )
        return tuple(pairs)

    def receivers(self) -> tuple[str, ...]:
        """Every id a callback may be addressed to."""
        return (self.corp_id, *self.receive_ids)

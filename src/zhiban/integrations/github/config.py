"""What one GitHub connection needs to know, and what the environment says of it."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from zhiban.kit.settings import SettingsPart, web_address

NAME = "github"
GITHUB_API = "https://api.github.com"


class GitHubSettings(SettingsPart):
    """What only the operator says: where our server calls."""

    github_api_base: str = Field(GITHUB_API, description="Base address of GitHub's API; for GitHub Enterprise Server.")
    github_web_base: str = Field(
        "", description="Base address of GitHub's pages for browsers; found by GITHUB_API_BASE where it is empty."
    )

    _address = field_validator("github_api_base", "github_web_base")(web_address)

    @property
    def pages(self) -> str:
        """Where GitHub shows its pages, as its API's address tells: https://docs.github.com/enterprise-server/rest."""
        if self.github_web_base:
            return self.github_web_base.rstrip("/")
        address = urlsplit(self.github_api_base.rstrip("/").removesuffix("/api/v3"))
        return urlunsplit((address.scheme, address.netloc.removeprefix("api."), address.path, "", ""))


class GitHubConfig(BaseModel):
    """The issues of one user or organisation, reached as an app that is installed there, or with a token."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    account: str = Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})$")
    app_id: str = Field(default="", pattern=r"^(?:\d{1,20}|Iv[0-9A-Za-z.]{8,40})?$")
    private_key: SecretStr = SecretStr("")
    token: SecretStr = SecretStr("")
    webhook_secret: SecretStr = SecretStr("")
    previous_webhook_secret: SecretStr = SecretStr("")
    previous_until: datetime | None = None
    api_base: str = GITHUB_API

    @field_validator("*", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        return value.strip() if isinstance(value, str) else value

    @field_validator("api_base")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @model_validator(mode="after")
    def _proves_who_we_are(self) -> Self:
        if not self.token.get_secret_value() and not (self.app_id and self.private_key.get_secret_value()):
            raise ValueError("give a token, or an app id with its private key")
        return self

    @property
    def is_app(self) -> bool:
        """An app is preferred where both are given: it writes under its own name."""
        return bool(self.app_id and self.private_key.get_secret_value())

    def secrets(self, now: datetime) -> list[bytes]:
        """The webhook's secret, then the one in grace."""
        former = self.previous_webhook_secret.get_secret_value()
        grace = [former] if former and self.previous_until is not None and now < self.previous_until else []
        return [one.encode() for one in (self.webhook_secret.get_secret_value(), *grace) if one]

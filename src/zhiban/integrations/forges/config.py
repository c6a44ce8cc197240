"""What a connection to a forge needs to know, and how its values are checked."""

from __future__ import annotations

import secrets as random
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from zhiban.kit.settings import web_address
from zhiban.ports import UnusableValues
from zhiban.ports.setup import Values


class ForgeConfig(BaseModel):
    """The issues of what belongs to one account, reached with a token."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    account: str = Field(pattern=r"^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,99})$")
    token: SecretStr = Field(min_length=1, max_length=1000)
    webhook_secret: SecretStr = SecretStr("")
    previous_webhook_secret: SecretStr = SecretStr("")
    previous_until: datetime | None = None
    api_base: str = Field(min_length=1)

    @field_validator("*", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        return value.strip() if isinstance(value, str) else value

    _address = field_validator("api_base")(web_address)

    def secrets(self, now: datetime) -> list[bytes]:
        """The webhook's secret, then the one in grace."""
        former = self.previous_webhook_secret.get_secret_value()
        grace = [former] if former and self.previous_until is not None and now < self.previous_until else []
        return [one.encode() for one in (self.webhook_secret.get_secret_value(), *grace) if one]


def new_secret() -> str:
    return random.token_urlsafe(32)


def completing(
    config: type[ForgeConfig], base: str, *, secret: Callable[[], str] = new_secret
) -> Callable[[Values], Values]:
    """Checks what was typed; makes a webhook secret where none was given. The function raises UnusableValues."""

    def complete(values: Values) -> Values:
        given: dict[str, Any] = {name: "" if value is None else value for name, value in values.items()}
        given["webhook_secret"] = given.get("webhook_secret") or secret()
        given["api_base"] = given.get("api_base") or base
        try:
            found = config(**given)
        except ValidationError as error:
            raise UnusableValues([str(part) for problem in error.errors() for part in problem["loc"]]) from None
        return {
            "account": found.account,
            "token": found.token.get_secret_value(),
            "webhook_secret": found.webhook_secret.get_secret_value(),
            "api_base": found.api_base,
        }

    return complete

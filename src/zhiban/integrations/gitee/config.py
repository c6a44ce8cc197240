"""What one Gitee connection needs to know, and what the environment says of it."""

from __future__ import annotations

from typing import Final

from pydantic import Field, field_validator

from zhiban.integrations.forges.config import ForgeConfig
from zhiban.kit.settings import SettingsPart, web_address

NAME: Final = "gitee"
GITEE_API: Final = "https://gitee.com/api/v5"


class GiteeSettings(SettingsPart):
    """What only the operator says: where our server calls."""

    gitee_api_base: str = Field(GITEE_API, description="Base address of Gitee's API; for a Gitee of one's own.")

    _address = field_validator("gitee_api_base")(web_address)


class GiteeConfig(ForgeConfig):
    """The issues of one user, organisation or enterprise: its path in addresses."""

    api_base: str = GITEE_API

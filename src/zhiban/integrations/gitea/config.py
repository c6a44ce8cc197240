"""What one Gitea connection needs to know, and what the environment says of it."""

from __future__ import annotations

from typing import Final

from pydantic import Field, field_validator

from zhiban.integrations.forges.config import ForgeConfig
from zhiban.kit.settings import SettingsPart, web_address

NAME: Final = "gitea"
GITEA_API: Final = "https://gitea.com/api/v1"


class GiteaSettings(SettingsPart):
    """What only the operator says: where our server calls."""

    gitea_api_base: str = Field(GITEA_API, description="Base address of the API of a Gitea or Forgejo of one's own.")

    _address = field_validator("gitea_api_base")(web_address)


class GiteaConfig(ForgeConfig):
    """The issues of one user or organisation."""

    api_base: str = GITEA_API

"""What one GitLab connection needs to know, and what the environment says of it."""

from __future__ import annotations

import base64
import secrets as random
from typing import Final

from pydantic import Field, field_validator

from zhiban.integrations.forges.config import ForgeConfig
from zhiban.kit.settings import SettingsPart, web_address

NAME: Final = "gitlab"
GITLAB_API: Final = "https://gitlab.com/api/v4"


class GitLabSettings(SettingsPart):
    """What only the operator says: where our server calls."""

    gitlab_api_base: str = Field(GITLAB_API, description="Base address of GitLab's API; for a GitLab of one's own.")

    _address = field_validator("gitlab_api_base")(web_address)


class GitLabConfig(ForgeConfig):
    """The issues of one user, group or project: its path, in which groups may lie in groups."""

    account: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}(?:/[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}){0,20}$")
    api_base: str = GITLAB_API


def new_secret() -> str:
    """One that serves as secret token and as signing token."""
    return "whsec_" + base64.b64encode(random.token_bytes(32)).decode()

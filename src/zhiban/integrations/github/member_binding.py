"""Members who write under their own account: how GitHub lets them say so, by a code that they type in at its site.

https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-user-access-token-for-a-github-app
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from zhiban.integrations.forges.client import TIMEOUT
from zhiban.integrations.github import parts
from zhiban.integrations.github.client import GitHubClient
from zhiban.integrations.github.config import GITHUB_API, GitHubConfig
from zhiban.kit.http import Http, MaybeDone, NotJson, Unreachable
from zhiban.ports import DeviceCode, FeatureOff, MemberBindingEnded, MemberGrant, TryLater

SITE: Final = "https://github.com"
SLOWER: Final = 5.0  # seconds that GitHub adds where it does not say how many
_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_EARLY: Final = 300.0  # seconds before a token's end at which it is not used any more


class MemberBinding:
    """The device flow of one connection that is an app; a token's connection has none."""

    def __init__(self, http: Http, config: GitHubConfig, client: GitHubClient) -> None:
        self._http = http
        self._config = config
        self._client = client
        self._client_id = ""

    async def begin(self) -> DeviceCode:
        """Raises FeatureOff, TryLater."""
        said = await self._ask("/login/device/code", {"client_id": await self._app()})
        code, typed = parts.words(said, "device_code"), parts.words(said, "user_code")
        if not code or not typed:
            raise _off(parts.words(said, "error"))
        return DeviceCode(
            code,
            typed,
            parts.words(said, "verification_uri") or f"{self._site}/login/device",
            float(parts.number(said, "expires_in") or 900),
            float(parts.number(said, "interval") or SLOWER),
        )

    async def finish(self, code: str, *, interval: float) -> MemberGrant | float:
        """Raises MemberBindingEnded, FeatureOff, TryLater."""
        asked = {"client_id": await self._app(), "device_code": code, "grant_type": _GRANT}
        said = await self._ask("/login/oauth/access_token", asked)
        match parts.words(said, "error"):
            case "":
                return _granted(said)
            case "authorization_pending":
                return interval
            case "slow_down":
                return max(float(parts.number(said, "interval")), interval + SLOWER)
            case "access_denied":
                raise MemberBindingEnded("denied")
            case "expired_token" | "incorrect_device_code":
                raise MemberBindingEnded("expired")
            case other:
                raise _off(other)

    async def renew(self, refresh: str) -> MemberGrant:
        """By client id alone: what came from a typed code needs no secret. Raises MemberBindingEnded, TryLater."""
        asked = {"client_id": await self._app(), "grant_type": "refresh_token", "refresh_token": refresh}
        said = await self._ask("/login/oauth/access_token", asked)
        if parts.words(said, "error"):
            raise MemberBindingEnded("revoked")
        return _granted(said)

    async def name_of(self, token: str) -> str:
        """Whose token this is. Raises TryLater."""
        login = parts.words(await self._client.send_as(token, "/user"), "login")
        if not login:
            raise TryLater("GitHub does not say whose token it is.", after=5)
        return login

    async def _app(self) -> str:
        """The client id of our app."""
        if not self._config.is_app:
            raise FeatureOff("Members bind their accounts only where an app is connected, not a token")
        if not self._client_id:
            self._client_id = parts.words(await self._client.get("/app", as_app=True), "client_id")
        return self._client_id

    @property
    def _site(self) -> str:
        """Where people sign in; of an Enterprise Server, the host of its API."""
        return SITE if self._config.api_base == GITHUB_API else self._config.api_base.removesuffix("/api/v3")

    async def _ask(self, path: str, values: Mapping[str, str]) -> Mapping[str, Any]:
        """Refusals come as 200, too; they are read by whoever asks."""
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        try:
            answer = await self._http.request(
                "POST", self._site + path, data=urlencode(values).encode(), headers=headers, timeout=TIMEOUT
            )
            said = parts.part(answer.json())
        except (Unreachable, MaybeDone, NotJson) as error:
            raise TryLater("GitHub cannot be reached.", after=5) from error
        if answer.status == 404:
            raise _off("device_flow_disabled")
        if answer.status >= 400 and not parts.words(said, "error"):
            raise TryLater("GitHub does not answer properly now.", after=30, code=answer.status)
        return said


def _granted(said: Mapping[str, Any]) -> MemberGrant:
    token, seconds = parts.words(said, "access_token"), parts.number(said, "expires_in")
    if not token:
        raise TryLater("GitHub gave us no token.", after=5)
    life = max(float(seconds) - _EARLY, 60.0) if seconds else None
    return MemberGrant(token, life, parts.words(said, "refresh_token"))


def _off(error: str) -> FeatureOff:
    return FeatureOff(f"The app's settings do not let members sign in by a code: {error or 'unknown'}")

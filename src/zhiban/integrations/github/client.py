"""Calls of GitHub's REST API: who we are, how often we may write, and what an answer means."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from zhiban.integrations.forges.client import ForgeClient, JsonBody
from zhiban.integrations.github.config import GitHubConfig
from zhiban.integrations.github.errors import refusal, wait_asked
from zhiban.kit.clock import Clock
from zhiban.kit.errors import Misconfigured
from zhiban.kit.http import Http, HttpResponse, Method
from zhiban.ports import AccessToken, Breakers, ConnectionBroken, TokenStore, TrackerRefused, TryLater

VERSION: Final = "2022-11-28"


class GitHubClient(ForgeClient):
    """One connection's way to the API. `as_app` calls speak as the app, all others as its installation or the token."""

    vendor = "GitHub"
    # https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
    writes_an_hour = 500

    def __init__(
        self, http: Http, clock: Clock, config: GitHubConfig, tokens: TokenStore, breakers: Breakers, account: str = ""
    ) -> None:
        super().__init__(http, clock, config.api_base, breakers, account)
        self._config = config
        self._tokens = tokens
        self._installation: int | None = None
        self._key: Any = None  # joserfc's; checking a key takes a tenth of a second

    async def _answer(
        self,
        method: Method,
        path: str,
        params: Mapping[str, str] | None,
        body: JsonBody,
        *,
        as_app: bool,
    ) -> HttpResponse:
        """One call; where our token is refused, once more with a new one."""
        failed: str | None = None
        for _ in range(2):
            token = self._jwt() if as_app else await self._token(failed)
            answer = await self._send(method, path, _headers(token), params, body)
            if answer.status != 401 or as_app or not self._config.is_app:
                break
            failed = token
        return answer

    async def send_as(self, token: str, path: str) -> Any:
        """What somebody else's token reads there. Raises TryLater."""
        answer = await self._send("GET", path, _headers(token), None, None)
        if answer.status != 200:
            raise TryLater("GitHub does not take the new token yet.", after=5, code=answer.status)
        return self._json(answer)

    def _wait_asked(self, answer: HttpResponse, now: datetime) -> float | None:
        return wait_asked(answer, now)

    def _refusal(self, answer: HttpResponse, *, writes: bool) -> Exception:
        return refusal(answer, writes=writes)

    # ------------------------------------------------------------------------------------------------ who we are

    async def _token(self, failed: str | None) -> str:
        if not self._config.is_app:
            return self._config.token.get_secret_value()
        current = await self._tokens.current()
        if current is not None and current != failed:
            return current
        return await self._tokens.renew(failed, self._new_token)

    async def _new_token(self) -> AccessToken:
        """A token of the installation, which holds for an hour."""
        path = f"/app/installations/{await self.installation()}/access_tokens"
        answer = await self._send("POST", path, _headers(self._jwt()), None, None)
        if answer.status != 201:
            raise _as_connection(answer, self._clock.now())
        token = answer.json().get("token")
        if not isinstance(token, str):
            raise TryLater("GitHub gave us no token.", after=5)
        return AccessToken(token, 3600 - 300)

    async def installation(self) -> int:
        """The installation of our app at the account. Raises ConnectionBroken when it is not installed there."""
        if self._installation is None:
            for owner in ("orgs", "users"):  # GitHub does not say which of them the account is
                path = f"/{owner}/{self._config.account}/installation"
                answer = await self._send("GET", path, _headers(self._jwt()), None, None)
                if answer.status != 404:
                    break
            if answer.status != 200:
                raise _as_connection(answer, self._clock.now())
            self._installation = int(answer.json()["id"])
        return self._installation

    def _jwt(self) -> str:
        """Proves for nine minutes that we are the app; dated back a minute for clocks that differ.

        https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app
        """
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import RSAKey

        now = self._clock.now()
        claims = {
            "iss": self._config.app_id,
            "iat": int((now - timedelta(seconds=60)).timestamp()),
            "exp": int((now + timedelta(minutes=9)).timestamp()),
        }
        try:
            if self._key is None:
                self._key = RSAKey.import_key(self._config.private_key.get_secret_value())
            return jwt.encode({"alg": "RS256"}, claims, self._key)
        except (JoseError, ValueError) as error:
            raise Misconfigured(
                "The private key of the GitHub app cannot be read: paste the whole .pem file."
            ) from error


def _as_connection(answer: HttpResponse, now: Any) -> Exception:
    """Why we get no token: whatever it is, nothing works until it is mended or over."""
    asked = wait_asked(answer, now)
    if asked is not None:
        return TryLater("GitHub asked us to pause.", after=asked)
    error = refusal(answer, writes=False)
    if isinstance(error, TrackerRefused):
        return ConnectionBroken("The app is not installed for this account", code=answer.status, hint=error.hint)
    return error


def _headers(token: str) -> Mapping[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": VERSION,
    }

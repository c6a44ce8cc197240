"""Calls of GitHub's REST API: who we are, how often we may write, and what an answer means."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any, Final

from zhiban.integrations.github.config import GitHubConfig
from zhiban.integrations.github.errors import LEAST_PAUSE, LONGEST_PAUSE, refusal, wait_asked
from zhiban.kit.breaker import Paused, Pauses
from zhiban.kit.clock import Clock
from zhiban.kit.errors import Misconfigured
from zhiban.kit.http import Http, HttpResponse, MaybeDone, Method, NotJson, Unreachable
from zhiban.ports import AccessToken, Breakers, ConnectionBroken, TokenStore, TrackerRefused, TryLater

VERSION: Final = "2022-11-28"
TIMEOUT: Final = 20.0
PAGES: Final = 100  # of a hundred entries; a list is never followed further
WRITE_EVERY: Final = 1.0  # seconds between two writes, by GitHub's own advice
WRITE: Final = "write"
CALL: Final = "call"
PAUSES: Final = Pauses(first=LEAST_PAUSE, longest=LONGEST_PAUSE, spread=2.0)
SHORT_WAIT: Final = 2.0

_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')


class GitHubClient:
    """One connection's way to the API. `jwt` calls speak as the app, all others as its installation or the token."""

    def __init__(self, http: Http, clock: Clock, config: GitHubConfig, tokens: TokenStore, breakers: Breakers) -> None:
        self._http = http
        self._clock = clock
        self._config = config
        self._tokens = tokens
        self._breakers = breakers
        self._installation: int | None = None
        self._key: Any = None  # joserfc's; checking a key takes a tenth of a second

    async def get(self, path: str, params: Mapping[str, str] | None = None, *, as_app: bool = False) -> Any:
        """The JSON of an answer. Raises TrackerRefused, Moved, TryLater, ConnectionBroken."""
        return _json(await self._call("GET", path, params=params, as_app=as_app))

    async def pages(
        self, path: str, params: Mapping[str, str] | None = None, *, as_app: bool = False
    ) -> AsyncIterator[Any]:
        """The pages of a list, as GitHub links them. Raises as `get`."""
        here: str | None = path
        given = {"per_page": "100", **(params or {})}
        for _ in range(PAGES):
            answer = await self._call("GET", here or "", params=given, as_app=as_app)
            yield _json(answer)
            found = _NEXT.search(answer.headers.get("link", ""))
            if found is None or not found[1].startswith(self._config.api_base + "/"):
                return
            here, given = found[1].removeprefix(self._config.api_base), {}

    async def write(self, method: Method, path: str, body: Mapping[str, Any] | None, *, as_app: bool = False) -> Any:
        """Write, at most once a second for all processes together. Raises as `get`; TryLater says whether it may have
        been carried out."""
        await self._spend()
        answer = await self._call(method, path, body=body, as_app=as_app)
        return None if answer.status == 204 or not answer.body else _json(answer)

    async def _spend(self) -> None:
        left = await self._breakers.spend(WRITE, every=WRITE_EVERY)
        if 0 < left <= SHORT_WAIT:
            await asyncio.sleep(left)
            left = await self._breakers.spend(WRITE, every=WRITE_EVERY)
        if left > 0:
            raise TryLater("Writes to GitHub are a second apart.", after=left)

    async def _call(
        self,
        method: Method,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        as_app: bool = False,
    ) -> HttpResponse:
        """One call; where our token is refused, once more with a new one."""
        try:
            await self._breakers.admit(CALL, PAUSES)
        except Paused as error:
            raise TryLater("GitHub asked us to pause.", after=error.after) from error
        failed: str | None = None
        for _ in range(2):
            token = self._jwt() if as_app else await self._token(failed)
            answer = await self._send(method, path, token, params, body)
            if answer.status != 401 or as_app or not self._config.is_app:
                break
            failed = token
        now = self._clock.now()
        asked = wait_asked(answer, now)
        if asked is not None:
            after = await self._breakers.failed(CALL, PAUSES, asked=asked, reason="rate limit")
            raise TryLater("GitHub asked us to pause.", after=max(after, asked), code=answer.status)
        await self._breakers.succeeded(CALL)
        if 200 <= answer.status < 300:
            return answer
        raise refusal(answer, writes=method != "GET")

    async def _send(
        self,
        method: Method,
        path: str,
        token: str,
        params: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
    ) -> HttpResponse:
        try:
            return await self._http.request(
                method,
                self._config.api_base + path,
                json=body,
                params=params,
                headers={
                    "Authorization": f"Bearer {token}",
                    "Accept": "application/vnd.github+json",
                    "X-GitHub-Api-Version": VERSION,
                },
                timeout=TIMEOUT,
            )
        except Unreachable as error:
            raise TryLater("GitHub cannot be reached.", after=5) from error
        except MaybeDone as error:
            raise TryLater("GitHub did not answer.", after=5, unknown=method != "GET") from error

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
        answer = await self._send("POST", path, self._jwt(), None, None)
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
                answer = await self._send("GET", path, self._jwt(), None, None)
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


def _json(answer: HttpResponse) -> Any:
    try:
        return answer.json()
    except NotJson as error:
        raise TryLater("GitHub does not answer properly now.", after=5, unknown=True) from error

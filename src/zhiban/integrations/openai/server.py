"""One OpenAI-compatible server: its address and key, its errors in words, and trying again."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr

from zhiban.kit.breaker import LocalBreakers, Paused, Pauses
from zhiban.kit.errors import Unavailable
from zhiban.kit.http import Http, HttpResponse, Unreachable
from zhiban.ports import Breakers, ModelPaused, ModelTooSlow, ModelUnavailable

LIMIT = 8 << 20
_RETRIED = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529))
_PAUSING = frozenset((401, 402, 403, 429))  # refusals that meet every question, not only this one
_LONGEST_ASKED = 3600.0  # seconds of pause that a server may ask for
_LONGEST_WAIT = 8.0  # seconds between two tries; a server that asks for more is out of reach for a chat


class ModelConfig(BaseModel):
    """One server and model. `timeout` is the time for all tries together, in seconds."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    base: str
    model: str
    key: SecretStr = SecretStr("")
    timeout: float = 20.0
    tries: int = 3
    temperature: float | None = 0.2


class RequestRefused(ModelUnavailable):
    """The server answered with an error that repeating does not cure."""

    def __init__(self, reason: str, *, status: int, body: str) -> None:
        super().__init__(reason)
        self.status = status
        self.body = body


class _Passing(ModelUnavailable):
    """The server failed in a way that may pass. `after`: how long it asked us to wait."""

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class ModelServer:
    """One server: address, key, tries. Shared by both ports.

    A server that hangs, is down, limits us or refuses the key is left alone for a while: whoever asks meanwhile goes on
    without it at once, and one question now and then finds out whether it is back.
    """

    def __init__(
        self,
        config: ModelConfig,
        http: Http,
        pause: Callable[[float], Awaitable[None]],
        breakers: Breakers | None = None,
    ) -> None:
        self.config = config
        self._http = http
        self._pause = pause
        self._breakers: Breakers = breakers if breakers is not None else LocalBreakers()
        self._pauses = Pauses(first=10.0, longest=300.0, probe=config.timeout + 5)
        self._answered = 0
        self._waiting: dict[asyncio.Timeout, bool] = {}  # calls under way, and whether they were cut off

    async def post(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        expects: str,
        timeout: float | None = None,
        seconds: float | None = None,
    ) -> dict[str, Any]:
        """The answer's JSON object, which has `expects`. Tries again what may pass, for `seconds` at most; with
        `timeout` asks only once.

        Raises ModelUnavailable: ModelTooSlow after the time allowed, ModelPaused without having asked.
        """
        key = f"{path}:{self.config.model}{'' if timeout is None else '/quick'}"
        try:
            probe = await self._breakers.admit(key, self._pauses)
        except Paused as paused:
            raise ModelPaused(f"The model {self.config.model} is left alone for a while: {paused.reason}") from None
        tries = 1 if probe or timeout is not None else self.config.tries
        before = self._answered
        try:
            answer = await self._timed(path, body, expects, tries, timeout or seconds or self.config.timeout)
        except ModelPaused:
            raise
        except ModelUnavailable as error:
            # Where others were answered meanwhile, it was this question and not the server.
            lonely = probe or self._answered == before
            await self._learn(key, error, lonely=lonely)
            raise
        except BaseException:
            await self._breakers.abandoned(key)
            raise
        self._answered += 1
        await self._breakers.succeeded(key)
        return answer

    async def _timed(
        self, path: str, body: Mapping[str, Any], expects: str, tries: int, seconds: float
    ) -> dict[str, Any]:
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                self._waiting[deadline] = False
                return await self._repeated(path, body, expects, tries)
        except TimeoutError:
            if self._waiting[deadline]:
                raise ModelPaused(f"The model {self.config.model} hangs, and others have waited for it.") from None
            raise ModelTooSlow(f"The model {self.config.model} did not answer within {seconds:g} seconds.") from None
        finally:
            self._waiting.pop(deadline, None)

    async def _learn(self, key: str, error: ModelUnavailable, *, lonely: bool) -> None:
        if isinstance(error, RequestRefused) and error.status not in _PAUSING:
            await self._breakers.succeeded(key)  # it is there; it only does not like this question
            return
        asked = min(error.after, _LONGEST_ASKED) if isinstance(error, _Passing) and error.after else None
        if not lonely and asked is None and not isinstance(error, RequestRefused):
            return
        asked = max(asked, self._pauses.first) if asked is not None else None
        paused = await self._breakers.failed(key, self._pauses, asked=asked, reason=error.sentence)
        if paused and isinstance(error, ModelTooSlow):
            for deadline in [*self._waiting]:
                self._waiting[deadline] = True
                deadline.reschedule(asyncio.get_running_loop().time())

    async def _repeated(self, path: str, body: Mapping[str, Any], expects: str, tries: int) -> dict[str, Any]:
        for attempt in range(1, tries + 1):
            try:
                return self._read(await self._once(path, body), expects)
            except _Passing as error:
                wait = error.after if error.after is not None else backoff(attempt)
                if attempt == tries or wait > _LONGEST_WAIT:
                    raise
            await self._pause(wait)
        raise ModelUnavailable("The model was not asked.")

    async def _once(self, path: str, body: Mapping[str, Any]) -> HttpResponse:
        try:
            return await self._http.request(
                "POST",
                self.address(path),
                json=body,
                headers=self.headers(),
                timeout=self.config.timeout,
                limit=LIMIT,
            )
        except Unreachable as error:
            raise _Passing(f"The model cannot be reached: {self.hidden(error.sentence)}") from None
        except Unavailable as error:
            raise _Passing(f"The model broke off: {self.hidden(error.sentence)}") from None

    def _read(self, answer: HttpResponse, expects: str) -> dict[str, Any]:
        self.raise_for(answer)
        try:
            value = json.loads(answer.body.decode("utf-8-sig", "replace"), strict=False)
        except (ValueError, RecursionError):
            raise _Passing("The model's server answered with something that is not JSON.") from None
        if not isinstance(value, dict) or (expects not in value and "error" not in value):
            raise _Passing("The model's server answered with JSON of another form.")
        if expects not in value:
            # Some gateways say 200 and put the error into the body.
            raise _Passing(f"The model's server reports an error: {self.hidden(error_message(value))}")
        return value

    def raise_for(self, answer: HttpResponse) -> None:
        """Raises for any status but 2xx."""
        if 200 <= answer.status < 300:
            return
        body = answer.text
        said = self.hidden(error_message(json_object(body)) or _first_words(body))
        reason = (
            f"The model's server answered {answer.status}: {said}" if said else f"The server answered {answer.status}."
        )
        if answer.status in _RETRIED and not _out_of_quota(body):
            raise _Passing(reason, after=retry_after(answer.headers))
        if answer.status in (401, 403):
            reason = f"The model's server refuses the key ({answer.status}). Check LLM_API_KEY and its rights."
        raise RequestRefused(reason, status=answer.status, body=body)

    def address(self, path: str) -> str:
        return f"{self.config.base.rstrip('/')}/{path}"

    def headers(self) -> dict[str, str]:
        key = self.config.key.get_secret_value()
        return {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def hidden(self, text: str) -> str:
        """The text without the key, also when the server repeats a part of it, as some do."""
        key = self.config.key.get_secret_value()
        if len(key) >= 4:
            text = text.replace(key, "…")
        return re.sub(r"\b(?:sk|key|Bearer)[-_ ][A-Za-z0-9*_.\-]{4,}", "…", text)[:300]


def backoff(attempt: int) -> float:
    """Seconds before the next try: growing, and scattered so that many waiters do not come back at once."""
    return random.uniform(0.5, 1.0) * min(_LONGEST_WAIT, 0.5 * 2.0 ** (attempt - 1))  # noqa: S311 - scatter, no secret


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks us to wait (a number, or a date), None when it does not say."""
    said = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    if not said:
        return None
    if re.fullmatch(r"\d{1,9}(?:\.\d+)?", said, re.ASCII):
        return float(said)
    try:
        moment = parsedate_to_datetime(said)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _out_of_quota(body: str) -> bool:
    """A 429 that no waiting cures."""
    return any(word in body for word in ("insufficient_quota", "exceeded_current_quota", "Arrearage", "balance"))


def json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def error_message(value: Mapping[str, Any] | None) -> str:
    error = (value or {}).get("error", (value or {}).get("message"))
    if isinstance(error, dict):
        error = error.get("message") or error.get("code") or error.get("type")
    return " ".join(str(error).split()) if error else ""


def _first_words(body: str) -> str:
    """What a proxy's page says, without its tags."""
    return " ".join(re.sub(r"(?s)<(script|style).*?</\1>|<[^>]*>", " ", body[:20_000]).split())[:120]

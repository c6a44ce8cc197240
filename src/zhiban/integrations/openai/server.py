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

from zhiban.kit.errors import Unavailable
from zhiban.kit.http import Http, HttpResponse, Unreachable
from zhiban.ports import ModelUnavailable

LIMIT = 8 << 20
_RETRIED = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529))
_LONGEST_WAIT = 8.0  # seconds between two tries; a server that asks for more is out of reach for a chat


class ModelConfig(BaseModel):
    """One server and model. `timeout` is the time for all tries together, in seconds."""

    model_config = ConfigDict(frozen=True)

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
    """One server: address, key, tries. Shared by both ports."""

    def __init__(self, config: ModelConfig, http: Http, pause: Callable[[float], Awaitable[None]]) -> None:
        self.config = config
        self._http = http
        self._pause = pause

    async def post(self, path: str, body: Mapping[str, Any], *, expects: str) -> dict[str, Any]:
        """The answer's JSON object, which has `expects`. Tries again what may pass. Raises ModelUnavailable."""
        try:
            async with asyncio.timeout(self.config.timeout):
                return await self._repeated(path, body, expects)
        except TimeoutError:
            raise ModelUnavailable(
                f"The model {self.config.model} did not answer within {self.config.timeout:g} seconds."
            ) from None

    async def _repeated(self, path: str, body: Mapping[str, Any], expects: str) -> dict[str, Any]:
        for attempt in range(1, self.config.tries + 1):
            try:
                return self._read(await self._once(path, body), expects)
            except _Passing as error:
                wait = error.after if error.after is not None else backoff(attempt)
                if attempt == self.config.tries or wait > _LONGEST_WAIT:
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

"""ChatModel over /chat/completions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any

from zhiban.integrations.openai.reading import text_of
from zhiban.integrations.openai.server import ModelConfig, ModelServer, RequestRefused
from zhiban.kit.http import Http
from zhiban.ports import Breakers, ChatTurn, Completion


class _Form(IntEnum):
    """How a JSON answer is asked for, from the best to what every server understands."""

    SCHEMA = 0
    OBJECT = 1
    PLAIN = 2


class OpenAIChat:
    """A ChatModel."""

    def __init__(
        self,
        config: ModelConfig,
        http: Http,
        *,
        breakers: Breakers | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = config.model
        self._config = config
        self._server = ModelServer(config, http, pause, breakers)
        self._http = http
        self._form = _Form.SCHEMA  # the best form this server has not refused
        self._dropped: set[str] = set()  # options that it does not know

    async def complete(
        self,
        turns: Sequence[ChatTurn],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int = 800,
        seconds: float | None = None,
    ) -> Completion:
        """One completion. With `schema` the best form that this server understands is asked for, and remembered."""
        started = time.monotonic()
        allowed = min(self._config.timeout, seconds) if seconds is not None else self._config.timeout
        answer = await self._asked(turns, schema, max_tokens, until=started + allowed)
        text = text_of(answer)
        usage = answer.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        model = answer.get("model")
        return Completion(
            text=text,
            model=model if isinstance(model, str) and model else self.name,
            input_tokens=_count(counts.get("prompt_tokens")),
            output_tokens=_count(counts.get("completion_tokens")),
            seconds=time.monotonic() - started,
        )

    async def _asked(
        self, turns: Sequence[ChatTurn], schema: Mapping[str, Any] | None, max_tokens: int, *, until: float
    ) -> dict[str, Any]:
        form = self._form if schema is not None else _Form.PLAIN
        while True:
            body = self._body(turns, schema, form, max_tokens)
            try:
                left = max(until - time.monotonic(), 0.001)
                answer = await self._server.post("chat/completions", body, expects="choices", seconds=left)
            except RequestRefused as error:
                simpler = self._simpler(error, form, body)
                if simpler is None:
                    raise
                form = simpler
            else:
                if schema is not None:
                    self._form = form
                return answer

    def _simpler(self, error: RequestRefused, form: _Form, body: Mapping[str, Any]) -> _Form | None:
        """The form to try after a refusal of something that the server may not know; None when none is left."""
        if error.status not in (400, 404, 415, 422, 501):
            return None
        said = error.body.lower()
        for option in ("temperature", "max_tokens"):
            if option in said and option in body and option not in self._dropped:
                self._dropped.add(option)
                return form
        about_form = any(word in said for word in ("response_format", "json", "schema", "format"))
        if form is _Form.PLAIN or not (about_form or error.status in (400, 422)):
            return None
        return _Form(form + 1)

    def _body(
        self, turns: Sequence[ChatTurn], schema: Mapping[str, Any] | None, form: _Form, max_tokens: int
    ) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._config.model,
            "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
        }
        # Newer models of OpenAI refuse max_tokens and want this name.
        body["max_completion_tokens" if "max_tokens" in self._dropped else "max_tokens"] = max_tokens
        if self._config.temperature is not None and "temperature" not in self._dropped:
            body["temperature"] = self._config.temperature
        if schema is not None and form is _Form.SCHEMA:
            inner = {"name": str(schema.get("title", "answer")), "schema": dict(schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": inner}
        elif schema is not None and form is _Form.OBJECT:
            body["response_format"] = {"type": "json_object"}
        return body


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

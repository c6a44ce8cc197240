"""The language models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from zhiban.kit.errors import Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass


@frozen_dataclass
class ChatTurn:
    """One entry of what a model is shown: our instructions, what somebody asked, or what it said before."""

    role: Literal["system", "user", "assistant"]
    content: str


@frozen_dataclass
class Completion:
    """What a model wrote, and what it cost. Tokens are 0 when the server does not count."""

    text: str
    model: str
    input_tokens: int
    output_tokens: int
    seconds: float


class ModelUnavailable(Unavailable):
    """The model is down, slow, out of quota, or answered something that is no answer."""


class ModelTooSlow(ModelUnavailable):
    """The model did not answer within the time allowed."""


class ModelPaused(ModelUnavailable):
    """The model failed a moment ago and is left alone for a while: nothing was asked, and nobody waited."""


class ChatModel(Protocol):
    """A language model that goes on with a conversation. `name` is the server's name for it."""

    name: str

    async def complete(
        self,
        turns: Sequence[ChatTurn],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int = 800,
        seconds: float | None = None,
    ) -> Completion:
        """One completion; with `schema` (JSON Schema) the text is JSON asked for in that shape, unchecked.

        Raises ModelUnavailable after its own timeouts and retries, at the latest after `seconds`.
        """
        ...


class Embedder(Protocol):
    """Turns texts into vectors of length one, near each other where the texts mean nearly the same.

    `name` tells vectors of different models apart, which must never be compared; `dimensions` is 0 until the first
    answer where only that tells it.
    """

    name: str
    dimensions: int

    async def embed(
        self, texts: Sequence[str], *, purpose: Literal["query", "passage"] = "passage"
    ) -> Sequence[Sequence[float]]:
        """One vector a text, in order, of `dimensions` floats each. Raises ModelUnavailable."""
        ...

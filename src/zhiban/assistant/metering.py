"""Counts what the language model is asked and what it costs, also for turns that are thrown away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from zhiban.kit import metrics
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports import ChatModel, ChatTurn, Completion, ModelPaused, ModelTooSlow, ModelUnavailable


@frozen_dataclass
class Prices:
    """Of a million tokens, in the currency of LLM_PRICE_*."""

    input: float
    output: float

    def cost(self, completion: Completion) -> float:
        return (completion.input_tokens * self.input + completion.output_tokens * self.output) / 1_000_000


class MeteredModel:
    """A ChatModel whose every call shows in the metrics, however it ends."""

    def __init__(self, model: ChatModel, prices: Prices) -> None:
        self.name = model.name
        self._model = model
        self._prices = prices

    async def complete(
        self,
        turns: Sequence[ChatTurn],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int = 800,
        seconds: float | None = None,
    ) -> Completion:
        """As the model does. Raises ModelUnavailable."""
        try:
            completion = await self._model.complete(turns, schema=schema, max_tokens=max_tokens, seconds=seconds)
        except ModelPaused:
            metrics.llm("paused")
            raise
        except ModelTooSlow:
            metrics.llm("timeout")
            raise
        except ModelUnavailable:
            metrics.llm("failed")
            raise
        except asyncio.CancelledError:
            # The contact wrote again or a person took over; what the server had begun it may charge nevertheless.
            metrics.llm("cancelled")
            raise
        metrics.llm(
            "answered",
            read=completion.input_tokens,
            written=completion.output_tokens,
            cost=self._prices.cost(completion),
        )
        return completion

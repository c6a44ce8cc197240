"""What /metrics shows: counters and times of this process, in Prometheus' words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

_QUICK = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

MESSAGES = Counter("zhiban_messages", "Messages by direction and channel.", ("direction", "channel"), registry=REGISTRY)
DELIVERIES = Counter(
    "zhiban_deliveries", "Webhook calls by channel and outcome.", ("channel", "outcome"), registry=REGISTRY
)
SENDS = Counter("zhiban_sends", "Outgoing messages by channel and outcome.", ("channel", "outcome"), registry=REGISTRY)
ANSWERS = Counter("zhiban_answers", "Turns of the assistant by zone.", ("zone",), registry=REGISTRY)
HANDOFFS = Counter("zhiban_handoffs", "Conversations handed to people, by reason.", ("reason",), registry=REGISTRY)
STAGES = Histogram(
    "zhiban_stage_seconds",
    "Time of one stage on a message's path: acknowledge, pull, send; `answer` is from thinking to the sent answer.",
    ("stage",),
    buckets=_QUICK,
    registry=REGISTRY,
)
API_REFUSALS = Counter("zhiban_api_refusals", "Refused calls of the API with a token.", ("reason",), registry=REGISTRY)
QUEUE = Gauge("zhiban_queue_depth", "Work that waits, by queue.", ("queue",), registry=REGISTRY)
DEAD = Gauge("zhiban_dead_letters", "Jobs that failed for good and wait for a person.", registry=REGISTRY)
TOKENS = Counter("zhiban_llm_tokens", "Tokens of the language model by kind.", ("kind",), registry=REGISTRY)
COST = Counter("zhiban_llm_cost", "Cost of the language model, in the currency of LLM_PRICE_*.", registry=REGISTRY)
CALLS = Counter("zhiban_llm_calls", "Calls of the language model by outcome.", ("outcome",), registry=REGISTRY)

PAUSES = Counter("zhiban_call_pauses", "Circuits that opened, by what is called.", ("call",), registry=REGISTRY)


def message(direction: Literal["incoming", "outgoing"], channel: str, count: int = 1) -> None:
    MESSAGES.labels(direction, channel).inc(count)


def delivery(channel: str, outcome: Literal["stored", "duplicate", "refused", "unavailable"], count: int = 1) -> None:
    DELIVERIES.labels(channel, outcome).inc(count)


def send(channel: str, outcome: Literal["sent", "refused", "delayed"]) -> None:
    SENDS.labels(channel, outcome).inc()


def answer(zone: Literal["answer", "suggest", "handoff", "command", "silent"]) -> None:
    ANSWERS.labels(zone).inc()


def handoff(reason: str) -> None:
    HANDOFFS.labels(reason).inc()


def api_refusal(reason: str) -> None:
    """`reason` is unknown, revoked, expired or scope."""
    API_REFUSALS.labels(reason).inc()


def took(stage: str, seconds: float) -> None:
    STAGES.labels(stage).observe(seconds)


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Observe how long the block takes, also when it fails."""
    began = time.perf_counter()
    try:
        yield
    finally:
        took(stage, time.perf_counter() - began)


def queue_depth(queue: str, waiting: int) -> None:
    QUEUE.labels(queue).set(waiting)


def dead_letters(count: int) -> None:
    DEAD.set(count)


def llm(
    outcome: Literal["answered", "failed", "timeout", "paused", "cancelled"],
    *,
    read: int = 0,
    written: int = 0,
    cost: float = 0,
) -> None:
    """One call: `read` and `written` are tokens."""
    CALLS.labels(outcome).inc()
    TOKENS.labels("input").inc(read)
    TOKENS.labels("output").inc(written)
    COST.inc(cost)


def call_paused(key: str) -> None:
    """A circuit opened. Accounts are left out: `call` is the part of the key before a colon."""
    PAUSES.labels(key.partition(":")[0]).inc()


def render() -> tuple[bytes, str]:
    """The page for Prometheus and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST

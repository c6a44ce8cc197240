"""What one turn of the assistant knows and decides, and what it works with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from zhiban.assistant.answering import AnswerOutcome
from zhiban.assistant.decide import Facts, Pending, TurnDecision
from zhiban.assistant.finding import Found, Plan
from zhiban.assistant.queries import Chosen, Memory
from zhiban.assistant.searching import BegunSearch
from zhiban.channels.policy import Policy
from zhiban.conversations.responder import ConversationSnapshot
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.retrieval import SearchResult
from zhiban.knowledge.vectors import Embedders
from zhiban.ports import ChatModel, Choice, Completion


@frozen_dataclass
class AssistantDeps:
    """What the assistant works with on this installation."""

    model: ChatModel | None
    embedders: Embedders
    top_k: int
    threshold: float | None
    model_seconds: float  # what one turn waits for the model at most, whatever it is asked
    price_input: float  # of a million tokens
    price_output: float

    def cost(self, completion: Completion) -> float:
        return (completion.input_tokens * self.price_input + completion.output_tokens * self.price_output) / 1_000_000


@dataclass(slots=True, kw_only=True)
class AnswerContext:
    """What is known and decided about one question on its way to an answer, whoever asks it."""

    workspace_id: int
    contact_name: str = ""
    policy: Policy
    pending: tuple[Pending, ...]
    question: str
    started_at: datetime
    facts: Facts
    memory: Memory | None = None
    base_id: int = 0
    plans: tuple[Plan, ...] = ()  # how each question is looked up
    unread: tuple[str, ...] = ()  # questions too many for one reply
    begun: BegunSearch | None = None  # the search, while vectors are being made
    each: tuple[Found, ...] = ()  # what was found for each question
    found: SearchResult | None = None  # for all of them together
    chosen: Chosen | None = None  # what stands behind the menu entry that was chosen
    outcome: AnswerOutcome | None = None  # of a model that has read what we were unsure of
    model_until: float | None = None  # the event loop's time up to which this turn may wait for the model
    decision: TurnDecision | None = None
    reply: str = ""
    choices: tuple[Choice, ...] = ()
    listed: bool = False  # the choices stand in the reply itself, by number
    citations: list[dict[str, Any]] = field(default_factory=list)
    detail: str = ""
    tx: Transaction | None = None  # the worker's transaction, during `prepare`
    completions: list[Completion] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_menu(self) -> bool:
        return bool(self.choices) and not self.listed

    @property
    def tx_for_reading(self) -> Transaction:
        if self.tx is None:
            raise RuntimeError("This step reads, and its transaction is over.")
        return self.tx


@dataclass(slots=True, kw_only=True)
class TurnContext(AnswerContext):
    """What the steps of one turn know and decide."""

    conversation: ConversationSnapshot


@frozen_dataclass
class TurnStep:
    """A named step of a turn."""

    name: str
    run: Callable[[TurnContext], Awaitable[None]]

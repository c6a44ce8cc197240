"""The search of one turn: by words at once, with vectors when they are there, as the inbox's policy judges it."""

from __future__ import annotations

from collections.abc import Sequence

from zhiban.assistant import finding
from zhiban.assistant.finding import SUGGESTED, Found, LookUp, Plan
from zhiban.channels.policy import Policy
from zhiban.kit.db import Transaction, Transactions
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import retrieval
from zhiban.knowledge.retrieval import ConfidenceBand, Lookup, SearchResult
from zhiban.knowledge.vectors import Embedders, QueryVectors


@frozen_dataclass
class BegunSearch:
    """A search whose vectors are being made. `first` is what the words of the first text found meanwhile."""

    base_id: int
    plans: tuple[Plan, ...]
    first: Lookup

    @property
    def waits(self) -> bool:
        """Whether vectors are still on their way, which nobody waits for inside a transaction."""
        return self.first.waits

    async def vectors(self) -> QueryVectors | None:
        return await self.first.vectors()


class Searcher:
    """Looks questions up in a base."""

    def __init__(self, embedders: Embedders, *, top_k: int, threshold: float | None) -> None:
        self._embedders = embedders
        self._top_k = max(top_k, SUGGESTED)
        self._threshold = threshold

    async def begin(self, tx: Transaction, base_id: int, plans: Sequence[Plan]) -> BegunSearch:
        """Have the vectors made of every text that may be looked up. Raises NotFound when there is no such base."""
        texts = list(dict.fromkeys(text for plan in plans for text in plan.texts))
        first = await retrieval.look_up(tx, base_id, texts[0], embedders=self._embedders, also=texts[1:])
        return BegunSearch(base_id, tuple(plans), first)

    async def find(
        self, tx: Transaction, begun: BegunSearch, vectors: QueryVectors | None, policy: Policy
    ) -> tuple[Found, ...]:
        """What is found for each question. Raises NotFound when the base is gone."""
        zones, known = policy.zones, dict[str, SearchResult]()
        threshold = zones.answer if zones else self._threshold

        async def search(text: str) -> SearchResult:
            if text not in known:
                same = text == begun.first.asked
                lookup = begun.first if same else await retrieval.look_up(tx, begun.base_id, text)
                known[text] = await retrieval.judge(tx, lookup, vectors, top_k=self._top_k, threshold=threshold)
            return known[text]

        def zone_of(result: SearchResult) -> ConfidenceBand:
            if zones and result.zone is not ConfidenceBand.ANSWER:
                return ConfidenceBand.SUGGEST if result.confidence >= zones.suggest else ConfidenceBand.HANDOFF
            return result.zone

        look = LookUp(search, zone_of, strict=threshold is not None)
        found: list[Found] = []
        for plan in begun.plans:
            found.append(await finding.find(plan, look, before=found[-1] if found else None))
        return tuple(found)

    async def search(
        self, transaction: Transactions, base_id: int, plans: Sequence[Plan], policy: Policy
    ) -> tuple[Found, ...]:
        """`begin` and `find`, in transactions of their own: none is open while vectors are waited for.

        Raises NotFound when there is no such base.
        """
        async with transaction() as tx:
            begun = await self.begin(tx, base_id, plans)
        vectors = await begun.vectors()
        async with transaction() as tx:
            return await self.find(tx, begun, vectors, policy)

"""The search of one turn: vectors for everything that is looked up, then the base, as the inbox's policy judges it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from zhiban.assistant import finding
from zhiban.assistant.finding import SUGGESTED, Found, LookUp, Plan
from zhiban.channels.policy import Policy
from zhiban.kit.db import Transaction
from zhiban.knowledge import retrieval
from zhiban.knowledge.retrieval import ConfidenceBand, SearchResult
from zhiban.ports import Embedder, ModelUnavailable

log = logging.getLogger(__name__)

EMBED_SECONDS = 3.0  # what a contact waits for vectors at most

Vectors = Mapping[str, Sequence[float]]


class Searcher:
    """Looks questions up in a base."""

    def __init__(self, embedder: Embedder | None, *, top_k: int, threshold: float | None) -> None:
        self._embedder = embedder
        self._top_k = max(top_k, SUGGESTED)
        self._threshold = threshold

    @property
    def embeds(self) -> bool:
        """Whether a search waits for an embedder, which it should not do inside a transaction."""
        return self._embedder is not None

    async def vectors(self, plans: Sequence[Plan]) -> Vectors:
        """The vector of every text that may be looked up; none when the embedder is late or down."""
        texts = list(dict.fromkeys(text for plan in plans for text in plan.texts))
        if self._embedder is None or not texts:
            return {}
        try:
            async with asyncio.timeout(EMBED_SECONDS):
                found = await self._embedder.embed(texts, purpose="query")
        except (ModelUnavailable, TimeoutError) as error:
            log.warning("Searching by words only: %s", error or "the embedder is too slow")
            return {}
        return dict(zip(texts, found, strict=True))

    async def find(
        self, tx: Transaction, base_id: int, plans: Sequence[Plan], vectors: Vectors, policy: Policy
    ) -> tuple[Found, ...]:
        """What is found for each question. Raises NotFound when there is no such base."""
        zones, known = policy.zones, dict[str, SearchResult]()
        threshold = zones.answer if zones else self._threshold

        async def search(text: str) -> SearchResult:
            if text not in known:
                known[text] = await retrieval.search(
                    tx,
                    base_id,
                    text,
                    top_k=self._top_k,
                    embedder_vector=vectors.get(text),
                    threshold=threshold,
                )
            return known[text]

        def zone_of(result: SearchResult) -> ConfidenceBand:
            if zones and result.zone is not ConfidenceBand.ANSWER:
                return ConfidenceBand.SUGGEST if result.confidence >= zones.suggest else ConfidenceBand.HANDOFF
            return result.zone

        look = LookUp(search, zone_of, strict=threshold is not None)
        found: list[Found] = []
        for plan in plans:
            found.append(await finding.find(plan, look, before=found[-1] if found else None))
        return tuple(found)

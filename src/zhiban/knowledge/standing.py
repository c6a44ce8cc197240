"""Why a base does or does not answer by itself, in numbers, and what would change it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import queries
from zhiban.knowledge.precision import FEWEST_DOCUMENT_ANSWERS, FEWEST_PEOPLE, FEWEST_SAMPLES

FEW_SIMILAR = 3.0  # similar questions an entry, below which more of them help most
CONFUSED_FROM = 2  # times that two entries are taken for each other before they are named


class Standing(StrEnum):
    """Whether a base answers by itself, and if not, why."""

    ANSWERS = "answers"
    EMPTY = "empty"
    UNCALIBRATED = "uncalibrated"  # filled, and not measured yet
    DOCUMENTS = "documents"  # nothing but documents, of which too little is confirmed
    FEW = "few"  # too few entries to learn from
    ALIKE = "alike"  # its entries are taken for each other
    WRONG = "wrong"  # people said that too much of what it answered was no answer


@frozen_dataclass
class Confused:
    """Two entries that are taken for each other, by title, and how often that happened."""

    one: str
    other: str
    times: int


@frozen_dataclass
class Advice:
    """What would let a base answer more; each is None or empty where it is no trouble."""

    phrasings: int | None  # that it has, of FEWEST_SAMPLES
    similar_per_entry: float | None  # below FEW_SIMILAR
    without_vectors: bool
    documents_confirmed: int | None  # of FEWEST_DOCUMENT_ANSWERS
    documents_people: int | None  # of FEWEST_PEOPLE
    confused: tuple[Confused, ...]


@frozen_dataclass
class Stats:
    slug: str
    name: str
    sources: int
    articles: int
    documents: int  # of the articles
    phrasings: int
    chunks: int
    vectors: int
    embedder: str | None
    next_vectors: int  # of an embedder that takes over once it has made all
    next_embedder: str | None
    answer_at: float | None
    answer_at_with_vectors: float | None
    calibration: dict[str, Any]
    calibrated_at: datetime | None

    @property
    def learnt(self) -> dict[str, Any]:
        """What was learnt for the way in which the base is searched: with vectors, or by words alone."""
        return self.calibration if self.vectors else self.calibration.get("words") or self.calibration

    @property
    def documents_answer_at(self) -> float | None:
        at: float | None = (self.calibration.get("documents") or {}).get("answer_at")
        return at

    @property
    def answers_at(self) -> float | None:
        """From which confidence on the base answers by itself, with what it has; None: it does not."""
        if not self.phrasings:
            return self.documents_answer_at
        return self.answer_at_with_vectors if self.vectors else self.answer_at

    @property
    def standing(self) -> Standing:
        if not self.articles:
            return Standing.EMPTY
        if self.calibrated_at is None:
            return Standing.UNCALIBRATED
        if self.answers_at is not None:
            return Standing.ANSWERS
        if not self.phrasings:
            return Standing.DOCUMENTS
        return Standing(self.learnt.get("reason") or Standing.FEW)

    def advice(self, titles: dict[int, str]) -> Advice:
        similar = float(self.learnt.get("similar_per_article") or 0.0)
        evidence = self.calibration.get("documents") or {}
        lacking = bool(self.documents) and self.documents_answer_at is None
        return Advice(
            self.phrasings if self.phrasings < FEWEST_SAMPLES and self.articles > self.documents else None,
            round(similar, 1) if self.articles > self.documents and similar < FEW_SIMILAR else None,
            bool(self.phrasings and not self.vectors),
            int(evidence.get("confirmed") or 0) if lacking else None,
            int(evidence.get("people") or 0) if lacking else None,
            tuple(
                Confused(titles[pair["article"]], titles[pair["other"]], pair["times"])
                for pair in self.calibration.get("confused") or ()
                if pair["times"] >= CONFUSED_FROM and {pair["article"], pair["other"]} <= titles.keys()
            ),
        )


NEEDED = {
    "phrasings": FEWEST_SAMPLES,
    "similar_per_entry": FEW_SIMILAR,
    "documents_confirmed": FEWEST_DOCUMENT_ANSWERS,
    "documents_people": FEWEST_PEOPLE,
}


async def advice(tx: Transaction, base: Stats) -> Advice:
    """What would let the base answer more, with the titles of entries that are taken for each other."""
    pairs = base.calibration.get("confused") or ()
    return base.advice(await queries.titles(tx, [pair[one] for pair in pairs for one in ("article", "other")]))


async def stats(tx: Transaction) -> list[Stats]:
    """What each base of the workspace holds."""
    return await tx.objects(
        Stats,
        """
        select b.slug, b.name,
               (select count(*) from source s where s.workspace_id = b.workspace_id and s.base_id = b.id) as sources,
               (select count(*) from article a where a.workspace_id = b.workspace_id and a.base_id = b.id) as articles,
               (select count(*) from article a where a.workspace_id = b.workspace_id and a.base_id = b.id
                 and a.kind = 'document') as documents,
               b.phrasings, b.bodies as chunks,
               (select count(*) from phrasing_vector p where p.workspace_id = b.workspace_id and p.set_id = v.id)
                 as vectors,
               v.embedder,
               (select count(*) from phrasing_vector p where p.workspace_id = b.workspace_id and p.set_id = n.id)
                 as next_vectors,
               n.embedder as next_embedder, b.answer_at, b.answer_at_with_vectors, b.calibration, b.calibrated_at
          from knowledge_base b
          left join vector_set v on v.workspace_id = b.workspace_id and v.base_id = b.id and v.serving
          left join lateral (select id, embedder from vector_set s where s.workspace_id = b.workspace_id
            and s.base_id = b.id and not s.serving order by s.id desc limit 1) n on true
         order by b.id
        """,
    )

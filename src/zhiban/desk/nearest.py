"""Articles that may be what is asked, said differently."""

from __future__ import annotations

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import retrieval
from zhiban.knowledge.retrieval import ConfidenceBand

NEAREST = 3  # articles that are shown
NEAR = 0.4  # of the score of the likeliest
LOOKED_AT = 10  # passages, of which several may be of one article


@frozen_dataclass
class Pick:
    """An article that may be meant. `answers`: it is what contacts who ask like this are told already."""

    id: int
    title: str
    answers: bool = False


async def nearest_articles(tx: Transaction, base_id: int | None, question: str) -> list[Pick]:
    """Articles that could learn this wording, the likeliest first; by words alone, as nobody waits for a model here."""
    if base_id is None or not question.strip():
        return []
    result = await retrieval.search(tx, base_id, question, top_k=LOOKED_AT)
    found = result.passages
    near = [one for one in found if one.answer is not None and one.score >= NEAR * found[0].score]
    picks: dict[int, Pick] = {}
    for one in near:
        answers = result.zone is ConfidenceBand.ANSWER and one is found[0]
        picks.setdefault(one.article_id, Pick(one.article_id, one.title, answers))
    return list(picks.values())[:NEAREST]

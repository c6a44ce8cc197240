"""Contacts' own questions with what people have confirmed of them, as a base is measured and calibrated by them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import evidence
from zhiban.knowledge.evidence import ConfirmedOutcome

MOST = 300  # the newest questions


@frozen_dataclass
class ConfirmedQuestion:
    """A question and whether this article is its answer. `chunk_id` is the article's first."""

    question: str
    article_id: int
    chunk_id: int
    kind: str
    right: bool


def settle(outcomes: Sequence[ConfirmedOutcome]) -> list[tuple[str, int, bool]]:
    """What most people say about each question and article; what as many deny as say it is left out. Oldest first."""
    ahead: dict[tuple[str, int], int] = defaultdict(int)
    for outcome in outcomes:
        voices = outcome.contacts + outcome.agents
        ahead[outcome.question, outcome.article_id] += voices if outcome.right else -voices
    return [(question, article, more > 0) for (question, article), more in ahead.items() if more]


async def confirmed_questions(
    tx: Transaction, base_id: int, *, since: datetime | None = None
) -> list[ConfirmedQuestion]:
    """The newest questions of a base that people spoke about, whose articles are still there."""
    settled = settle(await evidence.outcomes(tx, base_id, since=since))[-MOST:]
    articles = await tx.objects(
        _Article,
        "select a.id, a.kind, min(c.id) as chunk_id from article a join chunk c on c.workspace_id = a.workspace_id "
        "and c.article_id = a.id where a.base_id = %(base)s and a.id = any(%(ids)b::bigint[]) group by a.id, a.kind",
        base=base_id,
        ids=list({article for _, article, _ in settled}),
    )
    known = {article.id: article for article in articles}
    return [
        ConfirmedQuestion(question, article, known[article].chunk_id, known[article].kind, right)
        for question, article, right in settled
        if article in known
    ]


@frozen_dataclass
class _Article:
    id: int
    kind: str
    chunk_id: int


async def people(tx: Transaction, base_id: int, *, kind: str | None = None) -> int:
    """How many different people spoke for an entry of the base, or for one of this kind."""
    found: int = await tx.value(
        "select count(distinct (e.contact_id, e.agent_id)) from phrasing_evidence e join phrasing_candidate c "
        "on c.workspace_id = e.workspace_id and c.id = e.candidate_id join article a "
        "on a.workspace_id = c.workspace_id and a.id = c.article_id "
        "where c.base_id = %(base)s and (%(kind)s::text is null or a.kind = %(kind)s::text) and e.supports",
        base=base_id,
        kind=kind,
    )
    return found

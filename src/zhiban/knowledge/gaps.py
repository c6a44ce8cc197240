"""Questions that nothing answered, gathered so that a person writes the missing article once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from zhiban.events import ASSISTANT, SYSTEM, Actor, GapClosed, GapRecorded
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.knowledge.corpus_stats import term_priors
from zhiban.knowledge.document import clean
from zhiban.knowledge.models import GapStatus
from zhiban.knowledge.tokenizer import terms

SAME = 0.5  # shared weight over all weight, from which two questions ask the same
CONSIDERED = 500


def alike(one: Iterable[int], other: Iterable[int]) -> float:
    """How much of their telling terms two questions share, from 0 to 1. What is everywhere tells nothing."""
    first, second = frozenset(one), frozenset(other)
    rarity = term_priors().rarity
    together = sum(rarity(term) ** 2 for term in first | second)
    return sum(rarity(term) ** 2 for term in first & second) / together if together else 0.0


async def record_gap(
    tx: Transaction,
    question: str,
    *,
    conversation_id: int | None = None,
    message_id: int | None = None,
    now: datetime,
) -> int:
    """Note that a question found no answer, beside those that ask the same. Returns the gap's id.

    A message is counted once, however often it is recorded.
    """
    if message_id is not None:
        known: int | None = await tx.value(
            "select gap_id from gap_question where message_id = %(message)s", message=message_id
        )
        if known is not None:
            return known
    await tx.value("select pg_advisory_xact_lock(hashtextextended('gap', %(workspace)s))", workspace=tx.workspace_id)
    asked = clean(question).strip()[:500]
    own = sorted(set(terms(asked)))
    gap_id = await _same(tx, own)
    if gap_id is None:
        gap_id = await tx.value(
            "insert into gap (workspace_id, question, terms, times, first_at, last_at) "
            "values (%(workspace)s, %(question)s, %(terms)s, 0, %(now)s, %(now)s) returning id",
            workspace=tx.workspace_id,
            question=asked,
            terms=own,
            now=now,
        )
    added = await tx.run(
        "insert into gap_question (workspace_id, gap_id, text, conversation_id, message_id, asked_at) "
        "values (%(workspace)s, %(gap)s, %(text)s, %(conversation)s, %(message)s, %(now)s) on conflict do nothing",
        workspace=tx.workspace_id,
        gap=gap_id,
        text=asked,
        conversation=conversation_id,
        message=message_id,
        now=now,
    )
    await tx.run(
        "update gap set times = times + %(added)s, last_at = greatest(last_at, %(now)s) where id = %(gap)s",
        added=added,
        now=now,
        gap=gap_id,
    )
    assert gap_id is not None
    if added:
        await event_log.append(tx, GapRecorded(actor=ASSISTANT, at=now, gap_id=gap_id, conversation_id=conversation_id))
    return gap_id


@dataclass(frozen=True, slots=True)
class _OpenGap:
    id: int
    terms: list[int]


async def _same(tx: Transaction, own: list[int]) -> int | None:
    open_gaps = await tx.objects(
        _OpenGap,
        "select id, terms from gap where status = 'open' order by last_at desc limit %(limit)s",
        limit=CONSIDERED,
    )
    best, like = None, SAME
    for gap in open_gaps:
        found = alike(own, gap.terms)
        if found >= like:
            best, like = gap.id, found
    return best


async def close_gap(
    tx: Transaction,
    gap_id: int,
    status: GapStatus,
    *,
    article_id: int | None = None,
    by: Actor = SYSTEM,
    now: datetime,
) -> bool:
    """Mark an open gap as answered (by an article) or dismissed. False when it is not open."""
    closed = await tx.run(
        "update gap set status = %(status)s, article_id = %(article)s where id = %(id)s and status = 'open'",
        status=str(status),
        article=article_id,
        id=gap_id,
    )
    if closed:
        await event_log.append(tx, GapClosed(actor=by, at=now, gap_id=gap_id, status=str(status)))
    return closed > 0

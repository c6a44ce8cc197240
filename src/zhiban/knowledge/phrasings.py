"""The ways of asking that an article gets after it was written, one at a time: added, and taken away again."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from zhiban.events import SYSTEM, Actor, PhrasingAdded, PhrasingRemoved
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.jobs import Job, enqueue
from zhiban.knowledge import articles, maintenance, queries
from zhiban.knowledge.calibrating import CALIBRATE, SETTLED
from zhiban.knowledge.document import clean
from zhiban.knowledge.embedding import EMBED
from zhiban.knowledge.models import ArticleKind, Origin
from zhiban.knowledge.tokenizer import counts

# Lets waiting phrasings be found. A large base is busy for minutes; an hour of patience costs a look every half minute.
INDEX_PHRASINGS = Job("index_phrasings", attempts=120, wait=1.0, longest=30.0)
MOST_PHRASINGS = 200  # of one article
LONGEST_PHRASING = 200  # characters


async def add_phrasing(
    tx: Transaction, article_id: int, text: str, *, source: Origin | str, by: Actor = SYSTEM, now: datetime
) -> int | None:
    """Let an FAQ article also be found by this wording. Returns the phrasing's id. Raises NotFound.

    None when the article knows the wording already, has too many, or is a document. Never waits for an import or a
    rebuild of the base: then the wording is kept, and a job lets it be found later.
    """
    article = await queries.article(tx, article_id)
    wording = clean(text).strip()[:LONGEST_PHRASING]
    if article.kind != ArticleKind.FAQ or not wording:
        return None
    await tx.value("select pg_advisory_xact_lock(hashtextextended('phrasing', %(article)s))", article=article_id)
    known = await queries.phrasings(tx, [article_id])
    if len(known) >= MOST_PHRASINGS or counts(wording) in [counts(row.text) for row in known]:
        return None
    origin = str(Origin(source))
    phrasing_id: int = await tx.value(
        "insert into phrasing (workspace_id, article_id, text, origin, indexed, created_at) "
        "values (%(workspace)s, %(article)s, %(text)s, %(origin)s, false, %(now)s) returning id",
        workspace=tx.workspace_id,
        article=article_id,
        text=wording,
        origin=origin,
        now=now,
    )
    await _index(tx, article.base_id, article_id, now=now)
    await event_log.append(tx, PhrasingAdded(actor=by, at=now, article_id=article_id, phrasing=wording, origin=origin))
    return phrasing_id


async def knows(tx: Transaction, article_id: int, text: str) -> bool:
    """Whether the article has this wording among its phrasings, whatever its politeness and punctuation."""
    own = counts(text)
    return any(counts(row.text) == own for row in await queries.phrasings(tx, [article_id]))


async def retire_phrasing(
    tx: Transaction, phrasing_id: int, *, reason: Literal["rejected", "doubted"], by: Actor = SYSTEM, now: datetime
) -> bool:
    """Take a phrasing away from its article. False when it is gone already.

    Never waits for an import or a rebuild of the base: then a job takes it out of the index. Its vector goes with the
    next embedding; searches pass over it from now on.
    """
    article_id: int | None = await tx.value(
        "update phrasing set retired = true where id = %(id)s and not retired returning article_id", id=phrasing_id
    )
    if article_id is None:
        return False
    text: str = await tx.value("select text from phrasing where id = %(id)s", id=phrasing_id)
    article = await queries.article(tx, article_id)
    await _index(tx, article.base_id, article_id, now=now)
    await event_log.append(tx, PhrasingRemoved(actor=by, at=now, article_id=article_id, phrasing=text, reason=reason))
    return True


async def _index(tx: Transaction, base_id: int, article_id: int, *, now: datetime) -> None:
    base = await maintenance.locked_now(tx, base_id)
    if base is None:
        await enqueue(tx, INDEX_PHRASINGS.of(key=str(base_id), base_id=base_id))
    else:
        await articles.index_phrasings(tx, base, [article_id])
    await follow_change(tx, base_id, now=now)


async def follow_change(tx: Transaction, base_id: int, *, now: datetime) -> None:
    """Have the vectors made that the base lacks now, and its thresholds learnt anew in a while."""
    key = str(base_id)
    await enqueue(tx, EMBED.of(key=key, base_id=base_id), CALIBRATE.of(key=key, at=now + SETTLED, base_id=base_id))

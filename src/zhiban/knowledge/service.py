"""The verbs of knowledge. Importing, rebuilding and calibrating open transactions of their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.channels import configuring
from zhiban.events import SYSTEM, Actor, ArticleChanged, ArticlesRemoved, DataExported
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.spreadsheets import csv_text
from zhiban.knowledge import articles, gap_queries, maintenance, queries
from zhiban.knowledge.articles import Changes
from zhiban.knowledge.calibration import calibrate
from zhiban.knowledge.document import Faq, Location, clean
from zhiban.knowledge.embedding import embed_base, forget_vectors
from zhiban.knowledge.evidence import record_evidence
from zhiban.knowledge.gaps import close_gap, record_gap, reopen_gap
from zhiban.knowledge.importing import (
    ConfirmRemoval,
    Failure,
    ImportReport,
    Progress,
    Removal,
    RemovalRefused,
    import_paths,
)
from zhiban.knowledge.learning import approve_phrasing, reject_phrasing, remove_phrasing
from zhiban.knowledge.maintenance import ensure_base, rebuild, set_synonyms
from zhiban.knowledge.models import ArticleKind, GapStatus, Origin, SavedFrom
from zhiban.knowledge.phrasings import INDEX_PHRASINGS, MOST_PHRASINGS, add_phrasing, follow_change, knows
from zhiban.knowledge.precision import Calibration
from zhiban.knowledge.queries import DEFAULT_BASE, BaseRow
from zhiban.knowledge.standing import Stats, stats
from zhiban.knowledge.versions import Saving, version

__all__ = [
    "INDEX_PHRASINGS",
    "Calibration",
    "ConfirmRemoval",
    "Failure",
    "ImportReport",
    "Progress",
    "Removal",
    "RemovalRefused",
    "Stats",
    "add_phrasing",
    "answer_gap",
    "approve_phrasing",
    "base_for",
    "base_of_inbox",
    "calibrate",
    "change_faq",
    "close_gap",
    "embed_base",
    "ensure_base",
    "export",
    "follow_change",
    "import_paths",
    "join_gap",
    "put_faq",
    "rebuild",
    "record_evidence",
    "record_gap",
    "reject_phrasing",
    "remove",
    "remove_base",
    "remove_phrasing",
    "reopen_gap",
    "restore_version",
    "set_synonyms",
    "stats",
    "teach",
]

MOST_FROM_GAP = 30  # wordings of a gap that its article learns
DEFAULT_NAME = "知识库"


async def base_for(tx: Transaction, inbox_id: int | None = None, *, chosen: int | None = None) -> int:
    """The base that answers in an inbox: the `chosen` one while it is there, as groups choose theirs; else the inbox's
    own, or the default one, which is made when it does not exist."""
    own = None if inbox_id is None else await _own_base(tx, inbox_id, chosen)
    return await ensure_base(tx, DEFAULT_BASE, DEFAULT_NAME) if own is None else own


async def base_of_inbox(tx: Transaction, inbox_id: int, *, chosen: int | None = None) -> BaseRow | None:
    """The base that answers in an inbox, as `base_for` finds it; None while there is none, and none is made."""
    own = await _own_base(tx, inbox_id, chosen)
    return await queries.base_by_slug(tx, DEFAULT_BASE) if own is None else await queries.base(tx, own)


async def _own_base(tx: Transaction, inbox_id: int, chosen: int | None) -> int | None:
    own: int | None = await tx.value(
        "select coalesce((select id from knowledge_base where id = %(chosen)s), "
        "(select base_id from inbox where id = %(id)s))",
        id=inbox_id,
        chosen=chosen,
    )
    return own


async def put_faq(
    tx: Transaction,
    base_id: int,
    *,
    question: str,
    answer: str,
    similar: tuple[str, ...] = (),
    category: str | None = None,
    origin: SavedFrom = SavedFrom.EDITOR,
    by: Actor = SYSTEM,
    now: datetime,
) -> int:
    """Write an FAQ article that comes from no file. Returns its id. Raises Conflict (a text is empty), BaseBusy."""
    asked, told = clean(question).strip(), clean(answer).strip()
    if not asked or not told:
        raise Conflict("An article needs a question and an answer.")
    base = await maintenance.locked_soon(tx, base_id)
    others = tuple(filter(None, (clean(text).strip() for text in similar)))
    faq = Faq(asked, others, told, category, Location("row", 1))
    article = articles.faq_article(faq, category=category)
    entries = await articles.insert(tx, base_id, [(None, article)], saving=Saving(by, origin, now))
    await articles.index(tx, base, entries)
    await follow_change(tx, base_id, now=now)
    article_id: int = await tx.value("select article_id from chunk where id = %(id)s", id=entries[0].chunk_id)
    await event_log.append(tx, ArticleChanged(actor=by, at=now, base_id=base_id, article_id=article_id))
    return article_id


async def change_faq(
    tx: Transaction,
    article_id: int,
    *,
    question: str,
    answer: str,
    similar: tuple[str, ...],
    category: str | None,
    seen: bytes,
    origin: SavedFrom = SavedFrom.EDITOR,
    by: Actor = SYSTEM,
    now: datetime,
) -> None:
    """Change an FAQ article by hand. `similar` are the written ways of asking; what people taught it stays.

    `seen` is the digest of the article that was shown to whoever changes it. An article of a file follows the file
    again when that changes. Raises NotFound, BaseBusy, Conflict (a text is empty, there are too many ways of asking, it
    is a document, or somebody changed it meanwhile).
    """
    asked, told = clean(question).strip(), clean(answer).strip()
    if not asked or not told:
        raise Conflict("An article needs a question and an answer.")
    base = await maintenance.locked_soon(tx, (await queries.article(tx, article_id)).base_id)
    article = await queries.article(tx, article_id)
    if article.kind != ArticleKind.FAQ:
        raise Conflict("A document is changed in its file, which is imported again.")
    if article.digest != seen:
        raise Conflict("Somebody changed this article meanwhile. Look at it again.")
    others = tuple(filter(None, (clean(text).strip() for text in similar)))
    if len(others) >= MOST_PHRASINGS:
        raise Conflict(f"The article has {MOST_PHRASINGS} phrasings, and no more are kept.")
    (chunk,) = await queries.chunks(tx, [article_id])
    faq = Faq(asked, others, told, category, Location(chunk.unit, chunk.number), tuple(chunk.heading_path))
    new = articles.faq_article(faq, category=category, key=article.key)
    if new.digest == article.digest:
        return
    entries, _ = await articles.replace_article(tx, base, article, new, saving=Saving(by, origin, now))
    await articles.index(tx, base, entries)
    await follow_change(tx, base.id, now=now)
    await event_log.append(tx, ArticleChanged(actor=by, at=now, base_id=base.id, article_id=article_id))


async def restore_version(
    tx: Transaction, article_id: int, version_id: int, *, seen: bytes, by: Actor = SYSTEM, now: datetime
) -> None:
    """Let an article say again what it said then; what it says now becomes a version. Raises as `change_faq`, NotFound
    also where there is no such version."""
    then = await version(tx, article_id, version_id)
    await change_faq(
        tx,
        article_id,
        question=then.title,
        answer=then.answer,
        similar=tuple(then.similar_questions),
        category=then.category,
        seen=seen,
        origin=SavedFrom.RESTORED,
        by=by,
        now=now,
    )


async def answer_gap(
    tx: Transaction,
    gap_id: int,
    base_id: int,
    *,
    answer: str,
    question: str | None = None,
    similar: tuple[str, ...] = (),
    category: str | None = None,
    learns_wordings: bool = True,
    origin: SavedFrom = SavedFrom.GAP,
    by: Actor = SYSTEM,
    now: datetime,
) -> int:
    """Close an open gap by writing its article, which is found by the contacts' own wordings from then on, besides
    those of `similar`; not where `learns_wordings` is false.

    Returns the article's id. Raises NotFound (no open gap), Conflict (a text is empty, or the gap was closed or merged
    meanwhile), BaseBusy. Whoever records gaps does not wait while this waits for the base.
    """
    gap = await gap_queries.open_gap(tx, gap_id)
    title = question or gap.question
    asked = await gap_queries.phrasings_for(tx, gap_id, title, most=MOST_FROM_GAP) if learns_wordings else ()
    article_id = await put_faq(
        tx,
        base_id,
        question=title,
        answer=answer,
        similar=(*similar, *asked),
        category=category,
        origin=origin,
        by=by,
        now=now,
    )
    if not await close_gap(tx, gap_id, GapStatus.ANSWERED, article_id=article_id, by=by, now=now):
        raise Conflict("The gap was closed or merged meanwhile. Look at it again.")
    return article_id


async def join_gap(
    tx: Transaction,
    gap_id: int,
    article_id: int,
    *,
    learns_wordings: bool = True,
    by: Actor = SYSTEM,
    now: datetime,
) -> None:
    """Close an open gap because an article answers it already: the article learns the contacts' wordings, if it is to.

    Raises NotFound (no open gap, no article), Conflict (the article is a document, has as many phrasings as it may, or
    the gap was closed or merged meanwhile).
    """
    await gap_queries.open_gap(tx, gap_id)
    article = await queries.article(tx, article_id)
    asked = await gap_queries.phrasings_for(tx, gap_id, article.title, most=MOST_FROM_GAP) if learns_wordings else ()
    await teach(tx, article_id, asked, by=by, now=now)
    if not await close_gap(tx, gap_id, GapStatus.ANSWERED, article_id=article_id, by=by, now=now):
        raise Conflict("The gap was closed or merged meanwhile. Look at it again.")


async def teach(
    tx: Transaction, article_id: int, wordings: Sequence[str], *, by: Actor = SYSTEM, now: datetime
) -> None:
    """Let an article also be found by these wordings; those that it knows change nothing.

    Raises NotFound, Conflict (it is a document, or has as many phrasings as it may).
    """
    if (await queries.article(tx, article_id)).kind != ArticleKind.FAQ:
        raise Conflict("Only an article with a question and an answer can learn wordings.")
    learnt = [await add_phrasing(tx, article_id, text, source=Origin.AGENT, by=by, now=now) for text in wordings]
    if wordings and not any(learnt) and not await knows(tx, article_id, wordings[0]):
        raise Conflict(f"The article has {MOST_PHRASINGS} phrasings, and no more are kept.")


async def remove(
    tx: Transaction,
    base_id: int,
    *,
    source: str | None = None,
    article_id: int | None = None,
    by: Actor = SYSTEM,
    now: datetime,
) -> Changes:
    """Take one file (by its name) or one article out of a base. Raises NotFound, BaseBusy."""
    if source is not None:
        await maintenance.locked_soon(tx, base_id)
        row = next((row for row in await queries.sources(tx, base_id) if row.name == source), None)
        if row is None:
            raise NotFound(f"The knowledge base holds no file named {source}.")
        changes = await maintenance.remove_source(tx, base_id, row.id)
    else:
        if article_id is None or (await queries.article(tx, article_id)).base_id != base_id:
            raise NotFound("There is no such article.")
        base = await maintenance.locked_soon(tx, base_id)
        changes = Changes(articles_removed=1, chunks_removed=await articles.remove(tx, base, [article_id]))
    await follow_change(tx, base_id, now=now)
    await event_log.append(tx, ArticlesRemoved(actor=by, at=now, base_id=base_id, count=changes.articles_removed))
    return changes


async def remove_base(tx: Transaction, base_id: int, *, by: Actor = SYSTEM, now: datetime) -> None:
    """Take a base out with everything in it. Inboxes that answered from it have the default one. Raises NotFound."""
    await maintenance.locked(tx, base_id)
    count = int(await tx.value("select count(*) from article where base_id = %(base)s", base=base_id))
    await configuring.leave_base(tx, base_id, by=by, now=now)
    await forget_vectors(tx, base_id)
    await maintenance.remove_base(tx, base_id)
    await event_log.append(tx, ArticlesRemoved(actor=by, at=now, base_id=base_id, count=count))


async def export(tx: Transaction, base_id: int, *, by: Actor = SYSTEM, now: datetime) -> str:
    """The FAQ articles of a base as CSV that `kb import` reads again, with everything it learnt.

    Cells that a spreadsheet would run as formulas are guarded, see `kit.spreadsheets`.
    """
    rows: list[tuple[str, ...]] = [("question", "similar_questions", "answer", "category")]
    after = 0
    while page := await queries.articles(tx, base_id, after=after, limit=500):
        after = page[-1].id
        asked: dict[int, list[str]] = {}
        for row in await queries.phrasings(tx, [article.id for article in page]):
            asked.setdefault(row.article_id, []).append(row.text)
        for article in page:
            if article.kind == ArticleKind.FAQ:
                similar = [text for text in asked.get(article.id, []) if text != article.title]
                rows.append((article.title, "\n".join(similar), article.answer or "", article.category or ""))
    await event_log.append(tx, DataExported(actor=by, at=now, what=f"knowledge base {base_id}", rows=len(rows) - 1))
    return csv_text(rows)

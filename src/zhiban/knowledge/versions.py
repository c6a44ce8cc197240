"""What an article said before each save, kept for good. Documents are files, whose versions their owner keeps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from zhiban.events import Actor, ArticleVersionRemoved
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import queries
from zhiban.knowledge.models import LEARNT, ArticleKind, SavedFrom
from zhiban.knowledge.queries import ArticleRow

CURRENT = 0  # the id of what the article says now


@frozen_dataclass
class Saving:
    """Who saves an article, from where, and when."""

    by: Actor
    origin: SavedFrom
    at: datetime

    @property
    def columns(self) -> dict[str, Any]:
        """The values of an article's columns, by name."""
        return {
            "saved_from": str(self.origin),
            "actor_kind": self.by.kind,
            "actor_id": self.by.id,
            "actor_ref": self.by.ref,
            "now": self.at,
        }


@frozen_dataclass
class ArticleVersion:
    """An article as it was saved once. `actor_kind` is None where nobody wrote down who did."""

    id: int
    title: str
    answer: str
    category: str | None
    similar_questions: list[str]
    saved_from: str
    file: str | None
    actor_kind: str | None
    actor_id: int | None
    actor_ref: str | None
    saved_at: datetime


async def keep_version(tx: Transaction, article: ArticleRow, asked: Sequence[str]) -> None:
    """Keep what the article says now, before it is overwritten. `asked` are its written ways of asking."""
    if article.kind != ArticleKind.FAQ:
        return
    await tx.run(
        "insert into article_version (workspace_id, article_id, title, answer, category, similar_questions, "
        "saved_from, file, actor_kind, actor_id, actor_ref, saved_at) values (%(workspace)s, %(article)s, %(title)s, "
        "%(answer)s, %(category)s, %(similar)b::text[], %(saved_from)s, %(file)s, %(actor_kind)s, "
        "%(actor_id)s, %(actor_ref)s, %(saved_at)s)",
        workspace=tx.workspace_id,
        article=article.id,
        title=article.title,
        answer=article.answer or "",
        category=article.category,
        similar=[text for text in asked if text != article.title],
        saved_from=article.saved_from,
        file=article.source_name if article.saved_from == SavedFrom.IMPORT else None,
        actor_kind=article.actor_kind,
        actor_id=article.actor_id,
        actor_ref=article.actor_ref,
        saved_at=article.updated_at,
    )


_VERSIONS = """
select id, title, answer, category, similar_questions, saved_from, file, actor_kind, actor_id, actor_ref, saved_at
  from article_version where article_id = %(article)s
"""


async def current_version(tx: Transaction, article: ArticleRow) -> ArticleVersion:
    """What the article says now."""
    asked = [row.text for row in await queries.phrasings(tx, [article.id]) if row.origin not in LEARNT]
    return ArticleVersion(
        id=CURRENT,
        title=article.title,
        answer=article.answer or "",
        category=article.category,
        similar_questions=[text for text in asked if text != article.title],
        saved_from=article.saved_from,
        file=article.source_name if article.saved_from == SavedFrom.IMPORT else None,
        actor_kind=article.actor_kind,
        actor_id=article.actor_id,
        actor_ref=article.actor_ref,
        saved_at=article.updated_at,
    )


async def versions(tx: Transaction, article_id: int, *, before: int | None = None, limit: int) -> list[ArticleVersion]:
    """What it said before, the newest first."""
    return await tx.objects(
        ArticleVersion,
        _VERSIONS + " and (%(before)s::bigint is null or id < %(before)s) order by id desc limit %(limit)s",
        article=article_id,
        before=before,
        limit=limit,
    )


async def version(tx: Transaction, article_id: int, version_id: int) -> ArticleVersion:
    """Raises NotFound."""
    found = await tx.object(ArticleVersion, _VERSIONS + " and id = %(id)s", article=article_id, id=version_id)
    if found is None:
        raise NotFound("There is no such version.")
    return found


async def count_versions(tx: Transaction, article_ids: Sequence[int]) -> int:
    """How many there are besides what these articles say now."""
    if not article_ids:
        return 0
    return int(
        await tx.value(
            "select count(*) from article_version where workspace_id = %(workspace)s "
            "and article_id = any(%(ids)b::bigint[])",
            workspace=tx.workspace_id,
            ids=list(article_ids),
        )
    )


async def remove_version(tx: Transaction, article_id: int, version_id: int, *, by: Actor, now: datetime) -> None:
    """Take one old version away for good. Raises NotFound."""
    row = await queries.article(tx, article_id)
    removed = await tx.run(
        "delete from article_version where article_id = %(article)s and id = %(id)s", article=article_id, id=version_id
    )
    if not removed:
        raise NotFound("There is no such version.")
    fact = ArticleVersionRemoved(actor=by, at=now, base_id=row.base_id, article_id=article_id, version_id=version_id)
    await event_log.append(tx, fact)

"""Reads for people who look through knowledge: bases with their sizes, and their articles a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass

PAGE = 50


@frozen_dataclass
class BaseLine:
    """A base in a list."""

    id: int
    slug: str
    name: str
    articles: int


@frozen_dataclass
class ArticleLine:
    """An article in a list. `phrasings` counts the ways of asking, `waiting` the wordings that wait for a colleague."""

    id: int
    kind: str
    title: str
    category: str | None
    source_name: str | None
    updated_at: datetime
    phrasings: int
    waiting: int


@frozen_dataclass
class Outline:
    """What is to be done about knowledge, in numbers: open gaps, wordings that wait, and files of one base."""

    gaps: int
    waiting: int
    files: int


async def base_lines(tx: Transaction) -> list[BaseLine]:
    """Every base of the workspace, the first one first."""
    return await tx.objects(
        BaseLine,
        "select b.id, b.slug, b.name, (select count(*) from article a where a.workspace_id = b.workspace_id "
        "and a.base_id = b.id) as articles from knowledge_base b order by b.id",
    )


async def outline(tx: Transaction, base_id: int | None) -> Outline:
    """The numbers beside the sections of the page."""
    found = await tx.object(
        Outline,
        "select (select count(*) from gap where status = 'open') as gaps, "
        "(select count(*) from phrasing_candidate c where c.status = 'waiting' and exists (select from "
        " phrasing_evidence e where e.workspace_id = c.workspace_id and e.candidate_id = c.id and e.supports)) "
        "as waiting, (select count(*) from source where base_id = %(base)s) as files",
        base=base_id,
    )
    assert found is not None
    return found


# An article is found by its title and by every way of asking for it.
_LINES = """
select a.id, a.kind, a.title, a.category, s.name as source_name, a.updated_at,
       (select count(*) from phrasing p where p.workspace_id = a.workspace_id and p.article_id = a.id
         and not p.retired) as phrasings,
       (select count(*) from phrasing_candidate c where c.workspace_id = a.workspace_id and c.article_id = a.id
         and c.status = 'waiting' and exists (select from phrasing_evidence e where e.workspace_id = c.workspace_id
           and e.candidate_id = c.id and e.supports)) as waiting
  from article a left join source s on s.workspace_id = a.workspace_id and s.id = a.source_id
 where a.workspace_id = %(workspace)s and a.base_id = %(base)s and (%(before)s::bigint is null or a.id < %(before)s)
"""
_HOLDING = """
   and (strpos(lower(a.title), lower(%(text)s::text)) > 0 or a.id in (
     select p.article_id from phrasing p where p.workspace_id = %(workspace)s and not p.retired
       and strpos(lower(p.text), lower(%(text)s::text)) > 0))
"""


async def article_lines(
    tx: Transaction, base_id: int, *, text: str = "", before: int | None = None, limit: int = PAGE
) -> list[ArticleLine]:
    """Articles of a base, the newest first; `text` narrows to those with a wording that holds it."""
    return await tx.objects(
        ArticleLine,
        _LINES + (_HOLDING if text else "") + " order by a.id desc limit %(limit)s",
        workspace=tx.workspace_id,
        base=base_id,
        text=text,
        before=before,
        limit=limit,
    )


@frozen_dataclass
class ArticleOpening:
    """How an article begins: the answer, or the first section of a document."""

    article_id: int
    chunk_id: int
    title: str
    text: str
    source_name: str | None


async def openings(tx: Transaction, article_ids: Sequence[int]) -> list[ArticleOpening]:
    """How these articles begin, in the order of their ids as given; those that are gone are left out."""
    found = await tx.objects(
        ArticleOpening,
        "select a.id as article_id, c.id as chunk_id, a.title, coalesce(a.answer, c.text) as text, "
        "s.name as source_name from article a left join source s on s.workspace_id = a.workspace_id "
        "and s.id = a.source_id join lateral (select c.id, c.text from chunk c where c.workspace_id = a.workspace_id "
        "and c.article_id = a.id order by c.ordinal limit 1) c on true "
        "where a.workspace_id = %(workspace)s and a.id = any(%(ids)b::bigint[])",
        workspace=tx.workspace_id,
        ids=list(article_ids),
    )
    places = {article_id: place for place, article_id in enumerate(article_ids)}
    return sorted(found, key=lambda one: places[one.article_id])


@frozen_dataclass
class SourceLine:
    """A file in a list, with how many articles came from it."""

    id: int
    name: str
    folder: str
    kind: str
    articles: int
    imported_at: datetime


async def source_lines(tx: Transaction, base_id: int, *, after: str = "", limit: int) -> list[SourceLine]:
    """The files of a base by name."""
    return await tx.objects(
        SourceLine,
        "select s.id, s.name, s.folder, s.kind, s.imported_at, (select count(*) from article a "
        "where a.workspace_id = s.workspace_id and a.source_id = s.id) as articles from source s "
        "where s.workspace_id = %(workspace)s and s.base_id = %(base)s and s.name > %(after)s "
        "order by s.name limit %(limit)s",
        workspace=tx.workspace_id,
        base=base_id,
        after=after,
        limit=limit,
    )

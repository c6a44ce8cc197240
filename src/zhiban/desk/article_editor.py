"""The editor of an article, with the list of its base beside it: as it is, or as it was typed and refused."""

from __future__ import annotations

from typing import Any

from fastapi.responses import Response

from zhiban.assistant.answering import readable
from zhiban.desk.knowledge_page import KnowledgePage, KnowledgeRail
from zhiban.desk.page import known
from zhiban.desk.pages.learnt import learnt_views
from zhiban.desk.savers import saver
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.text import clean
from zhiban.knowledge import queries
from zhiban.knowledge.article_lists import PAGE, article_lines
from zhiban.knowledge.learnt import learnt_of_article
from zhiban.knowledge.models import LEARNT, ArticleKind
from zhiban.knowledge.versions import count_versions
from zhiban.people.agents import agent_rows

MOST_WAITING = 10  # wordings that wait, beside their article


@frozen_dataclass
class ArticleDraft:
    """An article as it stands in the form. `similar` has one way of asking a line; `seen` names what was shown."""

    question: str = ""
    answer: str = ""
    similar: str = ""
    category: str = ""
    seen: str = ""

    @property
    def wordings(self) -> tuple[str, ...]:
        return tuple(filter(None, (line.strip() for line in clean(self.similar).split("\n"))))


async def listed(tx: Transaction, rail: KnowledgeRail, text: str, before: int | None) -> dict[str, Any]:
    """A page of the articles of a base, as the list beside an article shows it."""
    lines = await article_lines(tx, rail.base.id, text=text, before=before) if rail.base is not None else []
    return {"lines": lines, "text": text, "before": before, "next": lines[-1].id if len(lines) == PAGE else None}


async def show_editor(
    page: KnowledgePage,
    *,
    article_id: int | None = None,
    draft: ArticleDraft | None = None,
    trouble: str = "",
    text: str = "",
    before: int | None = None,
    **more: Any,
) -> Response:
    """An article with the list around it: as it is, or as it was typed and refused. `more` is what else is shown."""
    async with page.auth.database.page_transaction(page.agent.workspace_id) as tx:
        article = await queries.article(tx, known(article_id)) if article_id is not None else None
        rail = await page.rail(tx, base_id=article.base_id if article else None)
        beside = await listed(tx, rail, clean(text).strip(), before)
        asked = await queries.phrasings(tx, [article.id]) if article else []
        chunks = await queries.chunks(tx, [article.id]) if article else []
        found = await learnt_of_article(tx, article.id, limit=MOST_WAITING) if article else []
        waiting = await learnt_views(tx, page, found)
        count = await count_versions(tx, [article.id]) if article and page.writes else 0
        names = {one.id: one.name for one in await agent_rows(tx)} if article and article.actor_id else {}
    if draft is None and article is not None:
        written = [row.text for row in asked if row.origin not in LEARNT and row.text != article.title]
        draft = ArticleDraft(
            article.title, article.answer or "", "\n".join(written), article.category or "", article.digest.hex()
        )
    draft = draft or ArticleDraft()
    return await page.show(
        "knowledge/article.html",
        "articles",
        rail,
        status=422 if trouble else 200,
        article=article,
        document=article is not None and article.kind == ArticleKind.DOCUMENT,
        saved_by=saver(article.actor_kind, article.actor_id, article.actor_ref, names, page.texts) if article else "",
        versions=count,
        draft=draft,
        seen_as=readable(draft.answer),
        taught=[row for row in asked if row.origin in LEARNT],
        waiting=waiting,
        chunks=chunks,
        trouble=trouble,
        opened=True,
        **beside,
        **{"reply": None, **more},
    )

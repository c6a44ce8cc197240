"""What an article said before: who saved what and when, what each save changed, and going back to one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import Response

from zhiban.desk.difference import Difference, differences
from zhiban.desk.knowledge_page import HERE, KnowledgePage
from zhiban.desk.labels import SAVED_FROM
from zhiban.desk.page import known
from zhiban.desk.savers import saver
from zhiban.kit.errors import Conflict, NotFound, Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.knowledge import queries, service
from zhiban.knowledge.models import ArticleKind
from zhiban.knowledge.versions import (
    CURRENT,
    ArticleVersion,
    count_versions,
    current_version,
    remove_version,
    version,
    versions,
)
from zhiban.people.agents import agent_rows
from zhiban.people.auth import CurrentAgent
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

PATH = HERE + "/articles/{article_id}/versions"
PAGE = 50

Against = Literal["before", "now"]


@frozen_dataclass
class VersionLine:
    """A version in the list."""

    id: int
    who: str
    what: str
    row: ArticleVersion


@frozen_dataclass
class FieldDifference:
    """What became of one part of an article."""

    label: str
    pieces: tuple[Difference, ...]

    @property
    def changed(self) -> bool:
        return any(piece.what in ("added", "removed") for piece in self.pieces)


def _line(row: ArticleVersion, names: Mapping[int, str], texts: Texts) -> VersionLine:
    what = texts(SAVED_FROM[row.saved_from])
    who = saver(row.actor_kind, row.actor_id, row.actor_ref, names, texts)
    return VersionLine(row.id, who, f"{what} {row.file}" if row.file else what, row)


def _compared(before: ArticleVersion | None, after: ArticleVersion, texts: Texts) -> list[FieldDifference]:
    def similar(row: ArticleVersion | None) -> str:
        return "".join(f"{text}\n" for text in row.similar_questions) if row is not None else ""

    return [
        FieldDifference(texts("问题"), differences(before.title if before else "", after.title)),
        FieldDifference(texts("答案"), differences(before.answer if before else "", after.answer)),
        FieldDifference(texts("相似问题"), differences(similar(before), similar(after))),
        FieldDifference(texts("分类"), differences((before.category if before else None) or "", after.category or "")),
    ]


async def _show(
    page: KnowledgePage,
    article_id: int,
    *,
    chosen: int | None = None,
    against: Against = "before",
    before: int | None = None,
    trouble: str = "",
) -> Response:
    page.check_writes()
    async with page.auth.database.page_transaction(page.agent.workspace_id) as tx:
        article = await queries.article(tx, known(article_id))
        if article.kind != ArticleKind.FAQ:
            raise NotFound("There is no such article.")
        rail = await page.rail(tx, base_id=article.base_id)
        now = await current_version(tx, article)
        older = await versions(tx, article_id, before=before, limit=PAGE + 1)
        shown = now if not chosen else await version(tx, article_id, known(chosen))
        earlier = await versions(tx, article_id, before=shown.id or None, limit=1)
        count = await count_versions(tx, [article_id])
        names = {one.id: one.name for one in await agent_rows(tx)}
    rows = [*([now] if before is None else []), *older[:PAGE]]
    with_now = against == "now" and shown.id != CURRENT
    pair = (shown, now) if with_now else (earlier[0] if earlier else None, shown)
    fields = await asyncio.to_thread(_compared, *pair, page.texts)
    return await page.show(
        "knowledge/versions.html",
        "articles",
        rail,
        status=422 if trouble else 200,
        article=article,
        rows=[_line(row, names, page.texts) for row in rows],
        chosen=_line(shown, names, page.texts),
        first=not earlier,
        fields=[field for field in fields if field.changed],
        with_now=with_now,
        count=count,
        before=before,
        next=older[PAGE - 1].id if len(older) > PAGE else None,
        trouble=trouble,
        opened=chosen is not None,
    )


@router.get(PATH)
async def show(
    request: Request,
    agent: CurrentAgent,
    article_id: int,
    version: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    against: Against = "before",
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> Response:
    """The versions of an article, the newest first, and what one of them changed; or how it differs from now."""
    return await _show(KnowledgePage(request, agent), article_id, chosen=version, against=against, before=before)


@router.post(PATH + "/{version_id}/restore")
async def restore(
    request: Request,
    agent: CurrentAgent,
    article_id: int,
    version_id: int,
    seen: Annotated[str, Form(pattern="^[0-9a-f]*$", max_length=128)] = "",
) -> Response:
    """Let the article say again what it said then, which is one more version."""
    page = KnowledgePage(request, agent)
    try:
        page.check_writes()
        async with page.auth.database.page_transaction(agent.workspace_id) as tx:
            await service.restore_version(
                tx,
                known(article_id),
                known(version_id),
                seen=bytes.fromhex(seen if len(seen) % 2 == 0 else ""),
                by=page.actor,
                now=page.now,
            )
    except (Conflict, Unavailable) as error:
        return await _show(page, article_id, chosen=version_id, against="now", trouble=page.words(error))
    return page.back(f"{HERE}/articles/{article_id}")


@router.post(PATH + "/{version_id}/remove")
async def remove(request: Request, agent: CurrentAgent, article_id: int, version_id: int) -> Response:
    """Take an old version away for good, as when it holds a telephone number."""
    page = KnowledgePage(request, agent)
    try:
        page.check_writes()
        async with page.auth.database.page_transaction(agent.workspace_id) as tx:
            await remove_version(tx, known(article_id), known(version_id), by=page.actor, now=page.now)
    except Conflict as error:
        return await _show(page, article_id, chosen=version_id, trouble=page.words(error))
    return page.back(PATH.format(article_id=article_id))

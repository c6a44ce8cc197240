"""Gaps at the desk: what contacts asked in vain, ranked, and the three ways to close one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import Response

from zhiban.assistant.answering import readable
from zhiban.assistant.gap_answers import gap_detail
from zhiban.desk.knowledge_page import HERE, KnowledgePage, base_to_write
from zhiban.desk.labels import GAP_ORIGINS, GAP_STATES
from zhiban.desk.nearest import Pick, nearest_articles
from zhiban.desk.page import known
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound, Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.kit.text import clean
from zhiban.knowledge import gap_queries, queries, service
from zhiban.knowledge.article_lists import ArticleLine, article_lines
from zhiban.knowledge.models import ArticleKind, GapStatus
from zhiban.people.auth import CurrentAgent
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

GAPS = HERE + "/gaps"
CLOSED = mark("这个缺口刚刚有人处理过，请再看一眼")
PAGE = 50
FOUND = 8  # articles of a search for one


@frozen_dataclass
class AnswerDraft:
    """The article that closes a gap, as it stands in the form."""

    question: str = ""
    answer: str = ""
    category: str = ""


def _picks(lines: list[ArticleLine]) -> list[Pick]:
    return [Pick(one.id, one.title) for one in lines if one.kind == ArticleKind.FAQ][:FOUND]


async def _show(
    page: KnowledgePage,
    *,
    gap_id: int | None = None,
    draft: AnswerDraft | None = None,
    trouble: str = "",
    dismissed: bool = False,
    after: int = 0,
    text: str = "",
) -> Response:
    """The ranked list with one gap opened: this one, or the first."""
    async with page.auth.database.page_transaction(page.agent.workspace_id) as tx:
        rail = await page.rail(tx)
        rows = (
            await gap_queries.dismissed_gaps(tx, limit=PAGE)
            if dismissed
            else await gap_queries.open_gaps(tx, after=after, limit=PAGE)
        )
        chosen = known(gap_id) if gap_id is not None else rows[0].id if rows else None
        more = await _opened(tx, page, chosen, rail.base.id if rail.base else None, draft, text)
    return await page.show(
        "knowledge/gaps.html",
        "gaps",
        rail,
        status=422 if trouble else 200,
        rows=rows,
        dismissed=dismissed,
        after=after,
        next=after + PAGE if len(rows) == PAGE and not dismissed else None,
        origins=GAP_ORIGINS,
        states=GAP_STATES,
        trouble=trouble,
        opened=gap_id is not None,
        text=text,
        **more,
    )


async def _opened(
    tx: Transaction, page: KnowledgePage, gap_id: int | None, base_id: int | None, draft: AnswerDraft | None, text: str
) -> dict[str, Any]:
    """One gap with what is needed to close it. Who asked and what people wrote is for those who may write."""
    if gap_id is None:
        return {"gap": None}
    gap = await gap_queries.gap(tx, gap_id)
    detail = await gap_detail(tx, gap_id, access=page.agent.access) if page.writes else None
    answers = detail.answers if detail is not None else []
    shown = draft or AnswerDraft(gap.question, answers[0].text if answers else "")
    nearest = await nearest_articles(tx, base_id, gap.question) if gap.status == GapStatus.OPEN else []
    found = _picks(await article_lines(tx, base_id, text=text)) if text and base_id is not None else []
    return {
        "gap": gap,
        "wordings": detail.wordings if detail is not None else await gap_queries.wordings(tx, gap_id),
        "askers": detail.askers if detail is not None else [],
        "answers": answers,
        "draft": shown,
        "unsent": draft.answer if draft is not None and gap.status != GapStatus.OPEN else "",
        "seen_as": readable(shown.answer),
        "nearest": nearest,
        "found": found,
        "article": await queries.titles(tx, [gap.article_id]) if gap.article_id is not None else {},
    }


@router.get(GAPS)
async def gaps(
    request: Request,
    agent: CurrentAgent,
    base: Annotated[str, Query(max_length=100)] = "",
    status: Annotated[str, Query(max_length=20)] = "",
    after: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Response:
    return await _show(KnowledgePage(request, agent, base), dismissed=status == "dismissed", after=after)


@router.get(GAPS + "/{gap_id}")
async def gap(
    request: Request,
    agent: CurrentAgent,
    gap_id: int,
    base: Annotated[str, Query(max_length=100)] = "",
    after: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    text: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    page = KnowledgePage(request, agent, base)
    async with page.auth.database.page_transaction(agent.workspace_id) as tx:
        dismissed = (await gap_queries.gap(tx, known(gap_id))).status == GapStatus.DISMISSED
    return await _show(page, gap_id=gap_id, dismissed=dismissed, after=after, text=clean(text).strip())


@router.get(GAPS + "/{gap_id}/articles")
async def articles(
    request: Request,
    agent: CurrentAgent,
    gap_id: int,
    base: Annotated[str, Query(max_length=100)] = "",
    text: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Articles that hold these words, to choose what the gap means."""
    page = KnowledgePage(request, agent, base)
    wanted = clean(text).strip()
    async with page.auth.database.page_transaction(agent.workspace_id) as tx:
        await gap_queries.gap(tx, known(gap_id))
        chosen = (await page.rail(tx)).base
        found = _picks(await article_lines(tx, chosen.id, text=wanted)) if chosen is not None and wanted else []
    return page.part(
        "knowledge/picks.html", found=found, text=wanted, gap_id=gap_id, base=page.slug, writes=page.writes
    )


@router.post(GAPS + "/{gap_id}/answer")
async def answer(
    request: Request,
    agent: CurrentAgent,
    gap_id: int,
    answer: Annotated[str, Form(max_length=20_000)] = "",
    question: Annotated[str, Form(max_length=500)] = "",
    category: Annotated[str, Form(max_length=100)] = "",
    base: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Write the missing article; contacts' wordings go into it."""
    page, draft = KnowledgePage(request, agent, base), AnswerDraft(question, answer, category)
    try:
        page.check_writes()
        async with page.auth.database.page_transaction(agent.workspace_id) as tx:
            await service.answer_gap(
                tx,
                known(gap_id),
                await base_to_write(tx, base),
                answer=answer,
                question=clean(question).strip() or None,
                category=clean(category).strip() or None,
                by=page.actor,
                now=page.now,
            )
    except (Conflict, Unavailable) as error:
        return await _show(page, gap_id=gap_id, draft=draft, trouble=page.words(error))
    except NotFound:  # closed by somebody else, or there is none at all
        return await _show(page, gap_id=gap_id, draft=draft, trouble=page.texts(CLOSED))
    return page.back(f"{GAPS}/{gap_id}")


@router.post(GAPS + "/{gap_id}/join")
async def join(
    request: Request,
    agent: CurrentAgent,
    gap_id: int,
    article_id: Annotated[int, Form()],
    base: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """It is an article that is there, said differently."""
    page = KnowledgePage(request, agent, base)
    try:
        page.check_writes()
        async with page.auth.database.page_transaction(agent.workspace_id) as tx:
            await service.join_gap(tx, known(gap_id), known(article_id), by=page.actor, now=page.now)
    except (Conflict, Unavailable) as error:
        return await _show(page, gap_id=gap_id, trouble=page.words(error))
    except NotFound:  # closed by somebody else, or the article is gone
        return await _show(page, gap_id=gap_id, trouble=page.texts(CLOSED))
    return page.back(f"{GAPS}/{gap_id}")


@router.post(GAPS + "/{gap_id}/{verb}")
async def act(
    request: Request,
    agent: CurrentAgent,
    gap_id: int,
    verb: str,
    base: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Dismiss it, or open it again."""
    page = KnowledgePage(request, agent, base)
    try:
        page.check_writes()
        async with page.auth.database.page_transaction(agent.workspace_id) as tx:
            await gap_queries.gap(tx, known(gap_id))
            match verb:
                case "dismiss":
                    done = await service.close_gap(tx, gap_id, GapStatus.DISMISSED, by=page.actor, now=page.now)
                case "reopen":
                    done = await service.reopen_gap(tx, gap_id, by=page.actor, now=page.now)
                case _:
                    return Response(status_code=404)
    except Conflict as error:
        return await _show(page, gap_id=gap_id, trouble=page.words(error))
    if not done:
        return await _show(page, gap_id=gap_id, trouble=page.texts(CLOSED))
    return page.back(f"{GAPS}/{gap_id}")

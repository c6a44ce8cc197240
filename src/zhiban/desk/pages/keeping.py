"""An agent's reply becomes knowledge: the editor with what was asked and answered, and the way back to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import Response

from zhiban.assistant import keeping
from zhiban.assistant.keeping import ReplyToKeep, access_reply, gap_of
from zhiban.conversations import groups
from zhiban.desk.article_editor import ArticleDraft, show_editor
from zhiban.desk.knowledge_page import HERE, KnowledgePage, base_to_write
from zhiban.desk.nearest import nearest_articles
from zhiban.desk.page import DeskPage, known
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, Unavailable
from zhiban.kit.text import clean
from zhiban.knowledge import queries, service
from zhiban.knowledge.kept_replies import KeptAlready, articles_of_replies
from zhiban.people.auth import CurrentAgent
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

REPLIES = HERE + "/replies"

BaseField = Annotated[str, Form(max_length=100)]
Question = Annotated[str, Form(max_length=500)]
Similar = Annotated[str, Form(max_length=60_000)]
GapField = Annotated[int, Form(ge=0, le=2**62)]  # the gap that was shown
Write = Callable[[Transaction, KnowledgePage, ReplyToKeep], Awaitable[None]]


async def _show(
    page: KnowledgePage, reply_id: int, *, draft: ArticleDraft | None = None, trouble: str = ""
) -> Response:
    """The editor: as the conversation fills it, or as it was typed and refused."""
    page.check_writes()
    async with page.auth.database.page_transaction(page.agent.workspace_id) as tx:
        reply = await access_reply(tx, page.access, known(reply_id))
        kept = (await articles_of_replies(tx, [reply_id])).get(reply_id)
        if kept is not None:
            return DeskPage.back(page, f"{HERE}/articles/{kept}")
        if not page.slug:
            chosen = await groups.base_of(tx, reply.conversation_id)
            page.slug = (await queries.base(tx, await service.base_for(tx, reply.inbox_id, chosen=chosen))).slug
        base_id = await base_to_write(tx, page.slug)
        filled = draft or ArticleDraft(reply.question, reply.answer, "\n".join(reply.similar))
        nearest = await nearest_articles(tx, base_id, filled.question)
        gap = await gap_of(tx, reply, (filled.question, *filled.wordings))
        if draft is None:
            shown = await keeping.wordings_to_show(tx, reply, gap)
            filled = ArticleDraft(reply.question, reply.answer, "\n".join(shown))
    return await show_editor(page, draft=filled, trouble=trouble, reply=reply, nearest=nearest, gap=gap)


@router.get(REPLIES + "/{reply_id}")
async def open_reply(
    request: Request, agent: CurrentAgent, reply_id: int, base: Annotated[str, Query(max_length=100)] = ""
) -> Response:
    """The editor, or the article where the reply is in the knowledge already."""
    return await _show(KnowledgePage(request, agent, base), reply_id)


@router.post(REPLIES + "/{reply_id}/nearest")
async def nearest(
    request: Request,
    agent: CurrentAgent,
    reply_id: int,
    question: Question = "",
    similar: Similar = "",
    base: BaseField = "",
) -> Response:
    """What of the chosen base may be the same, and the gap that is answered, for what is typed."""
    page = KnowledgePage(request, agent, base)
    page.check_writes()
    async with page.auth.database.page_transaction(agent.workspace_id) as tx:
        reply = await access_reply(tx, page.access, known(reply_id))
        asked = clean(question).strip()
        found = await nearest_articles(tx, await base_to_write(tx, base), asked)
        gap = await gap_of(tx, reply, (asked, *ArticleDraft(similar=similar).wordings))
    return page.part("knowledge/nearest.html", reply=reply, nearest=found, gap=gap)


@router.post(REPLIES + "/{reply_id}")
async def keep(
    request: Request,
    agent: CurrentAgent,
    reply_id: int,
    question: Question = "",
    answer: Annotated[str, Form(max_length=20_000)] = "",
    similar: Similar = "",
    category: Annotated[str, Form(max_length=100)] = "",
    base: BaseField = "",
    gap: GapField = 0,
) -> Response:
    """Write the article, and go back to the conversation."""
    draft = ArticleDraft(question, answer, similar, category)

    async def write(tx: Transaction, page: KnowledgePage, reply: ReplyToKeep) -> None:
        await keeping.keep_as_article(
            tx,
            reply,
            await base_to_write(tx, base),
            question=clean(question).strip(),
            answer=answer,
            similar=draft.wordings,
            category=clean(category).strip() or None,
            gap_id=gap,
            by=page.actor,
            now=page.now,
        )

    return await _do(KnowledgePage(request, agent, base), reply_id, draft, write)


@router.post(REPLIES + "/{reply_id}/join")
async def join(
    request: Request,
    agent: CurrentAgent,
    reply_id: int,
    article_id: Annotated[int, Form()],
    question: Question = "",
    answer: Annotated[str, Form(max_length=20_000)] = "",
    similar: Similar = "",
    category: Annotated[str, Form(max_length=100)] = "",
    base: BaseField = "",
    gap: GapField = 0,
) -> Response:
    """It is an article that is there, said differently: that learns how this contact asked."""
    draft = ArticleDraft(question, answer, similar, category)

    async def write(tx: Transaction, page: KnowledgePage, reply: ReplyToKeep) -> None:
        wordings = tuple(filter(None, (clean(question).strip(), *draft.wordings)))
        if not wordings:
            raise Conflict("Write how it is asked.")
        await keeping.keep_as_wordings(tx, reply, known(article_id), wordings, gap_id=gap, by=page.actor, now=page.now)

    return await _do(KnowledgePage(request, agent, base), reply_id, draft, write)


async def _do(page: KnowledgePage, reply_id: int, draft: ArticleDraft, write: Write) -> Response:
    try:
        page.check_writes()
        async with page.auth.database.page_transaction(page.agent.workspace_id) as tx:
            reply = await access_reply(tx, page.access, known(reply_id))
            await write(tx, page, reply)
    except KeptAlready as error:
        return DeskPage.back(page, f"{HERE}/articles/{error.article_id}")
    except (Conflict, Unavailable) as error:
        return await _show(page, reply_id, draft=draft, trouble=page.words(error))
    return DeskPage.back(page, f"/conversations/{reply.conversation_id}", message=str(reply.message_id))

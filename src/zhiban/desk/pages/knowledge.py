"""Knowledge at the desk: what each base holds and whether it answers by itself, its articles, and trying a question."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Form, Query, Request
from fastapi.responses import Response

from zhiban.assistant.answering import readable
from zhiban.assistant.trying import LONGEST, Trials
from zhiban.desk.article_editor import ArticleDraft, listed, show_editor
from zhiban.desk.knowledge_page import HERE, KnowledgePage, base_to_write
from zhiban.desk.page import known
from zhiban.desk.pages import gaps, keeping, learnt, sources, versions
from zhiban.desk.standing_words import explain
from zhiban.desk.trial_view import trial_view
from zhiban.kit.errors import Conflict, NotFound, Unavailable
from zhiban.kit.file_store import FileStore
from zhiban.kit.text import clean
from zhiban.knowledge import queries, service, standing
from zhiban.knowledge.synonyms import groups_of, synonyms, want_synonyms
from zhiban.people.auth import CurrentAgent
from zhiban.web.render import wants_part
from zhiban.web.routers import add_routes
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

ARTICLES = HERE + "/articles"

Slug = Annotated[str, Query(max_length=100)]
BaseField = Annotated[str, Form(max_length=100)]
Search = Annotated[str, Query(max_length=200)]
Before = Annotated[int | None, Query(ge=1, le=2**62)]
Question = Annotated[str, Form(max_length=500)]
Answer = Annotated[str, Form(max_length=20_000)]
Similar = Annotated[str, Form(max_length=60_000)]
Category = Annotated[str, Form(max_length=100)]


def install(app: FastAPI, trials: Trials, files: FileStore) -> None:
    """Serve the pages about knowledge. `trials` ask as contacts would, `files` keep what is sent until it is read."""
    app.state.trials = trials
    app.state.knowledge_files = files
    for each in (router, gaps.router, keeping.router, learnt.router, sources.router, versions.router):
        add_routes(app, each)


async def _overview(page: KnowledgePage, *, text: str = "", before: int | None = None, **more: Any) -> Response:
    async with page.auth.database.page_transaction(page.agent.workspace_id) as tx:
        rail = await page.rail(tx)
        beside = await listed(tx, rail, clean(text).strip(), before)
        stats = next((one for one in await service.stats(tx) if rail.base and one.slug == rail.base.slug), None)
        said = explain(stats, await standing.advice(tx, stats), page.texts) if stats is not None else []
        same = await synonyms(tx, rail.base.id) if rail.base is not None else None
    shown = {"typed": None, "stats": stats, "said": said, "same": same, **beside, **more}
    return await page.show(
        "knowledge/overview.html", "articles", rail, status=422 if more.get("trouble") else 200, **shown
    )


@router.get(HERE)
async def overview(
    request: Request,
    agent: CurrentAgent,
    base: Slug = "",
    text: Search = "",
    before: Before = None,
    about: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """The articles beside what the base can do; narrow screens show that instead of the list when it is asked for."""
    return await _overview(KnowledgePage(request, agent, base), text=text, before=before, opened=bool(about))


@router.post(HERE + "/try")
async def try_question(
    request: Request, agent: CurrentAgent, question: Annotated[str, Form(max_length=LONGEST)] = "", base: BaseField = ""
) -> Response:
    """What a contact would be told who asks this. Nothing is stored."""
    page = KnowledgePage(request, agent, base)
    trials: Trials = request.app.state.trials
    trial = None
    if question.strip():
        async with page.auth.database.page_transaction(agent.workspace_id) as tx:
            chosen = (await page.rail(tx)).base
        if chosen is not None:
            found = await trials.ask(agent.workspace_id, clean(question), base=chosen.slug)
            trial = trial_view(found, page.texts)
    if wants_part(request):
        return page.part("knowledge/trial.html", trial=trial)
    return await _overview(page, trial=trial)


@router.post(HERE + "/synonyms")
async def put_synonyms(request: Request, agent: CurrentAgent, words: Similar = "", base: BaseField = "") -> Response:
    """Let other words mean the same; a job indexes the base anew."""
    page = KnowledgePage(request, agent, base)
    try:
        page.check_writes()
        groups = groups_of(words)
        async with page.auth.database.page_transaction(agent.workspace_id) as tx:
            await want_synonyms(tx, await base_to_write(tx, base), groups, by=page.actor, now=page.now)
    except (Conflict, Unavailable) as error:
        return await _overview(page, trouble=page.words(error), typed=words, opened=True)
    return page.back(HERE, about="base")


@router.post(HERE + "/preview")
async def preview(request: Request, agent: CurrentAgent, answer: Answer = "") -> Response:
    """An answer as contacts read it."""
    return KnowledgePage(request, agent).part("knowledge/preview.html", answer=readable(clean(answer)))


# --------------------------------------------------------------------------------------------------- articles


@router.get(ARTICLES + "/new")
async def new_article(request: Request, agent: CurrentAgent, base: Slug = "", question: Search = "") -> Response:
    return await show_editor(KnowledgePage(request, agent, base), draft=ArticleDraft(question=question))


@router.get(ARTICLES + "/{article_id}")
async def article(
    request: Request, agent: CurrentAgent, article_id: int, text: Search = "", before: Before = None
) -> Response:
    return await show_editor(KnowledgePage(request, agent), article_id=article_id, text=text, before=before)


@router.post(ARTICLES)
async def create(
    request: Request,
    agent: CurrentAgent,
    question: Question = "",
    answer: Answer = "",
    similar: Similar = "",
    category: Category = "",
    base: BaseField = "",
) -> Response:
    page, draft = KnowledgePage(request, agent, base), ArticleDraft(question, answer, similar, category)
    try:
        page.check_writes()
        async with page.auth.database.page_transaction(agent.workspace_id) as tx:
            article_id = await service.put_faq(
                tx,
                await base_to_write(tx, base),
                question=question,
                answer=answer,
                similar=draft.wordings,
                category=clean(category).strip() or None,
                by=page.actor,
                now=page.now,
            )
    except (Conflict, Unavailable) as error:
        return await show_editor(page, draft=draft, trouble=page.words(error))
    return page.back(f"{ARTICLES}/{article_id}")


@router.post(ARTICLES + "/{article_id}")
async def save(
    request: Request,
    agent: CurrentAgent,
    article_id: int,
    question: Question = "",
    answer: Answer = "",
    similar: Similar = "",
    category: Category = "",
    seen: Annotated[str, Form(pattern="^[0-9a-f]*$", max_length=128)] = "",
) -> Response:
    page, draft = KnowledgePage(request, agent), ArticleDraft(question, answer, similar, category, seen)
    try:
        page.check_writes()
        async with page.auth.database.page_transaction(agent.workspace_id) as tx:
            await service.change_faq(
                tx,
                known(article_id),
                question=question,
                answer=answer,
                similar=draft.wordings,
                category=clean(category).strip() or None,
                seen=bytes.fromhex(seen if len(seen) % 2 == 0 else ""),
                by=page.actor,
                now=page.now,
            )
    except (Conflict, Unavailable) as error:
        return await show_editor(page, article_id=article_id, draft=draft, trouble=page.words(error))
    return page.back(f"{ARTICLES}/{article_id}")


@router.post(ARTICLES + "/{article_id}/remove")
async def remove(request: Request, agent: CurrentAgent, article_id: int) -> Response:
    page = KnowledgePage(request, agent)
    try:
        page.check_writes()
        async with page.auth.database.page_transaction(agent.workspace_id) as tx:
            found = await queries.article(tx, known(article_id))
            page.slug = (await queries.base(tx, found.base_id)).slug
            await service.remove(tx, found.base_id, article_id=found.id, by=page.actor, now=page.now)
    except (Conflict, Unavailable) as error:
        return await show_editor(page, article_id=article_id, trouble=page.words(error))
    return page.back(HERE)


@router.post(ARTICLES + "/{article_id}/phrasings/{phrasing_id}/remove")
async def remove_phrasing(request: Request, agent: CurrentAgent, article_id: int, phrasing_id: int) -> Response:
    """Take a wording away that the article was taught."""
    page = KnowledgePage(request, agent)
    try:
        page.check_writes()
        async with page.auth.database.page_transaction(agent.workspace_id) as tx:
            if (await queries.phrasing(tx, known(phrasing_id))).article_id != article_id:
                raise NotFound("There is no such phrasing.")
            await service.remove_phrasing(tx, phrasing_id, by=page.actor, now=page.now)
    except (Conflict, Unavailable) as error:
        return await show_editor(page, article_id=article_id, trouble=page.words(error))
    return page.back(f"{ARTICLES}/{article_id}")

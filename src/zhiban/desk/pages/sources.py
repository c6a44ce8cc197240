"""Files of a base: sent from the browser, read by a job with its progress, replaced and removed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from zhiban.desk.import_view import SENDABLE, STAGES, import_view
from zhiban.desk.knowledge_page import HERE, KnowledgePage, base_to_write
from zhiban.desk.page import known
from zhiban.kit.errors import Conflict, Unavailable
from zhiban.kit.file_store import FileStore, FileTooLarge, pieces_of, spooled
from zhiban.kit.file_types import HEAD
from zhiban.knowledge import queries, service
from zhiban.knowledge.article_lists import source_lines
from zhiban.knowledge.document import MOST_BYTES, Unreadable
from zhiban.knowledge.importing import Failure
from zhiban.knowledge.uploads import (
    MOST_FILES,
    UploadedFile,
    decide_import,
    file_name,
    import_row,
    imports,
    request_import,
)
from zhiban.people.agents import agent_rows
from zhiban.people.auth import CurrentAgent
from zhiban.web.file_response import csv_response
from zhiban.web.limits import MIB
from zhiban.web.render import wants_part
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

SOURCES = HERE + "/sources"
UPLOADS = HERE + "/uploads"
MOST_AT_ONCE = 256 * MIB  # of one upload with all its files
PAGE = 200

Slug = Annotated[str, Query(max_length=100)]
BaseField = Annotated[str, Form(max_length=100)]


async def _imports(page: KnowledgePage, base_id: int | None) -> dict[str, Any]:
    async with page.auth.database.page_transaction(page.agent.workspace_id) as tx:
        rows = await imports(tx, base_id) if base_id is not None else []
        names = {one.id: one.name for one in await agent_rows(tx)} if rows else {}
    views = [import_view(row, names, page.texts) for row in rows]
    return {"imports": views, "active": any(view.active for view in views), "stages": STAGES}


async def _show(page: KnowledgePage, *, after: str = "", trouble: str = "") -> Response:
    async with page.auth.database.page_transaction(page.agent.workspace_id) as tx:
        rail = await page.rail(tx)
        files = await source_lines(tx, rail.base.id, after=after, limit=PAGE) if rail.base is not None else []
    return await page.show(
        "knowledge/sources.html",
        "sources",
        rail,
        status=422 if trouble else 200,
        files=files,
        after=after,
        next=files[-1].name if len(files) == PAGE else None,
        sendable=",".join(SENDABLE),
        most=MOST_AT_ONCE,
        trouble=trouble,
        **await _imports(page, rail.base.id if rail.base else None),
    )


@router.get(SOURCES)
async def show(
    request: Request, agent: CurrentAgent, base: Slug = "", after: Annotated[str, Query(max_length=500)] = ""
) -> Response:
    return await _show(KnowledgePage(request, agent, base), after=after)


@router.get(HERE + "/imports")
async def progress(request: Request, agent: CurrentAgent, base: Slug = "") -> Response:
    """The last imports as they are now."""
    page = KnowledgePage(request, agent, base)
    if not wants_part(request):
        return page.back(SOURCES)
    async with page.auth.database.page_transaction(agent.workspace_id) as tx:
        rail = await page.rail(tx)
    shown = await _imports(page, rail.base.id if rail.base else None)
    return page.part("knowledge/imports.html", rail=rail, writes=page.writes, **shown)


@router.post(UPLOADS)
async def upload(request: Request, agent: CurrentAgent) -> Response:
    """Keep the files that are sent, and have them read. The form is read only once we know who sends it."""
    page = KnowledgePage(request, agent)
    try:
        page.check_writes()
    except Conflict as error:
        return await _show(page, trouble=page.words(error))
    # Each file waits on disk beyond a megabyte, and is counted while it comes: see `web.limits`.
    try:
        form = await request.form(max_files=MOST_FILES, max_fields=5)
    except HTTPException:
        return await _show(page, trouble=page.texts("一次最多{n}个文件，请分几次放", n=MOST_FILES))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(form.close)
        page.slug = str(form.get("base", ""))[:100]
        sent = [one for one in form.getlist("files") if isinstance(one, UploadFile) and one.filename]
        if not sent:
            return await _show(page, trouble=page.texts("先选文件"))
        files, refused = await _keep(request.app.state.knowledge_files, agent.workspace_id, sent)
    async with page.auth.database.page_transaction(agent.workspace_id) as tx:
        base_id = await base_to_write(tx, page.slug)
        await request_import(tx, base_id, files, refused, by=page.actor, now=page.now)
    return page.back(SOURCES)


async def _keep(
    store: FileStore, workspace_id: int, sent: Sequence[UploadFile]
) -> tuple[list[UploadedFile], list[Failure]]:
    """What of it goes into the store, and why the rest does not."""
    kept: dict[str, UploadedFile] = {}
    refused: list[Failure] = []
    for one in sent:
        name = one.filename or ""
        try:
            name = file_name(name)
            async with spooled(pieces_of(one.file), limit=MOST_BYTES, head=HEAD) as spool:
                await store.keep(workspace_id, spool)
                kept[name] = UploadedFile(name, spool.sha256, spool.size)
        except FileTooLarge:
            refused.append(Failure(name, f"The file is larger than {MOST_BYTES // 1_048_576} MB."))
        except Unreadable as error:
            refused.append(Failure(name[-200:], error.sentence))
    return list(kept.values()), refused


@router.post(HERE + "/imports/{import_id}/{verb}")
async def decide(request: Request, agent: CurrentAgent, import_id: int, verb: str) -> Response:
    """Go on with an import that would remove more than it brings, or leave it."""
    page = KnowledgePage(request, agent)
    try:
        page.check_writes()
        if verb not in ("confirm", "cancel"):
            return Response(status_code=404)
        async with page.auth.database.page_transaction(agent.workspace_id) as tx:
            found = await import_row(tx, known(import_id))
            page.slug = (await queries.base(tx, found.base_id)).slug
            await decide_import(tx, import_id, go_on=verb == "confirm", by=page.actor, now=page.now)
    except Conflict as error:
        return await _show(page, trouble=page.words(error))
    return page.back(SOURCES)


@router.post(SOURCES + "/{source_id}/remove")
async def remove(request: Request, agent: CurrentAgent, source_id: int) -> Response:
    page = KnowledgePage(request, agent)
    try:
        page.check_writes()
        async with page.auth.database.page_transaction(agent.workspace_id) as tx:
            found = await queries.source(tx, known(source_id))
            page.slug = (await queries.base(tx, found.base_id)).slug
            await service.remove(tx, found.base_id, source=found.name, by=page.actor, now=page.now)
    except (Conflict, Unavailable) as error:
        return await _show(page, trouble=page.words(error))
    return page.back(SOURCES)


@router.post(HERE + "/export")
async def export(request: Request, agent: CurrentAgent, base: BaseField = "") -> Response:
    """Every question with its answer as CSV, which can be imported again."""
    page = KnowledgePage(request, agent, base)
    try:
        page.check_writes()
    except Conflict as error:
        return await _show(page, trouble=page.words(error))
    async with page.auth.database.page_transaction(agent.workspace_id) as tx:
        chosen = (await page.rail(tx)).base
        text = await service.export(tx, chosen.id, by=page.actor, now=page.now) if chosen is not None else ""
    return csv_response(text, "knowledge.csv")

"""Files that rules and macros send: they come one by one into an editor, and are looked at there."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from zhiban.automation.attached_files import access_attached
from zhiban.conversations.action_files import add_action_file
from zhiban.conversations.draft_files import LARGEST, FileNotTaken, StoredContent, too_large
from zhiban.desk.editor_page import ACTION_FILES, EditorFiles
from zhiban.desk.page import DeskPage, known
from zhiban.desk.pages.attachments import stored_file_response
from zhiban.kit.file_store import FileStore, FileTooLarge, spooled
from zhiban.kit.file_types import HEAD
from zhiban.people.auth import CurrentAgent
from zhiban.people.permissions import Permission
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)


@router.post(ACTION_FILES)
async def add(
    request: Request,
    agent: CurrentAgent,
    name: Annotated[str, Query(max_length=1000)] = "",
    field: Annotated[str, Query(pattern=r"^a\.\d{1,3}\.files$")] = "a.0.files",
) -> Response:
    """Keep the body as a file that actions may send. Answers its tick, for the `field` of an editor."""
    page = DeskPage(request, agent)
    page.access.check(Permission.ANSWER)
    files: FileStore = request.app.state.desk.files
    try:
        async with spooled(request.stream(), limit=LARGEST, head=HEAD) as spool:
            await files.keep(agent.workspace_id, spool)
            content = StoredContent(spool.sha256, spool.size, spool.head, name, request.headers.get("content-type"))
    except ClientDisconnect:
        return Response(status_code=400)  # whoever changed their mind reads nothing
    except FileTooLarge:
        raise FileNotTaken(too_large(LARGEST)) from None
    async with page.transaction() as tx:
        file = await add_action_file(tx, content, by=agent.id, now=page.now)
        shown = await EditorFiles.read(tx, [file], page)
    return page.part("rules/file.html", field=field, file=shown.of(file.id))


@router.api_route(ACTION_FILES + "/{file_id}", methods=["GET", "HEAD"])
async def show(request: Request, agent: CurrentAgent, file_id: int) -> Response:
    """The file as it will be sent."""
    async with DeskPage(request, agent).transaction() as tx:
        found = await access_attached(tx, known(file_id), agent_id=agent.id)
    return await stored_file_response(
        request,
        agent.workspace_id,
        found.sha256,
        size=found.size,
        filename=found.filename,
        content_type=found.content_type,
        inline=found.inline,
    )

"""Files beside a reply: they come one by one while an agent writes, are looked at, and go out with the reply."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from zhiban.conversations.draft_files import access_draft_file, remove_draft_file
from zhiban.conversations.draft_uploads import DraftUploads
from zhiban.desk.labels import KIND_ICONS
from zhiban.desk.pages.attachments import stored_file_response
from zhiban.desk.request import DeskSettings
from zhiban.events import Actor
from zhiban.people.auth import CurrentAgent, auth_of
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

FILES = "/desk/files"


@router.post(FILES + "/{conversation_id}")
async def add(
    request: Request,
    agent: CurrentAgent,
    conversation_id: int,
    name: Annotated[str, Query(max_length=1000)] = "",
) -> Response:
    """Keep the body as a file beside the reply. It is read only once we know who sends it, and where to."""
    auth, desk = auth_of(request), _settings(request)
    try:
        file = await DraftUploads(auth.database, desk.files, desk.limits_of).receive(
            request.stream(),
            workspace_id=agent.workspace_id,
            access=agent.access,
            conversation_id=conversation_id,
            by=Actor("agent", agent.id),
            name=name,
            claimed_type=request.headers.get("content-type"),
            now=auth.clock.now(),
        )
    except ClientDisconnect:
        return Response(status_code=400)  # whoever changed their mind reads nothing
    return auth.renderer.answer("desk/file.html", auth.viewer(request, agent), file=file, kind_icons=KIND_ICONS)


@router.api_route(FILES + "/{file_id}", methods=["GET", "HEAD"])
async def show(request: Request, agent: CurrentAgent, file_id: int) -> Response:
    """The file as it will be sent, for whoever put it there."""
    async with auth_of(request).database.page_transaction(agent.workspace_id) as tx:
        found = await access_draft_file(tx, file_id, Actor("agent", agent.id))
    return await stored_file_response(
        request,
        agent.workspace_id,
        found.sha256,
        size=found.size,
        filename=found.filename,
        content_type=found.content_type,
        inline=found.inline,
    )


@router.post(FILES + "/{file_id}/remove")
async def remove(request: Request, agent: CurrentAgent, file_id: int) -> Response:
    """Take it away again."""
    async with auth_of(request).database.page_transaction(agent.workspace_id) as tx:
        await remove_draft_file(tx, file_id, Actor("agent", agent.id))
    return Response(status_code=204)


def _settings(request: Request) -> DeskSettings:
    settings: DeskSettings = request.app.state.desk
    return settings

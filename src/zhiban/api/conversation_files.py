"""The JSON API of files beside a reply: a program puts them there one by one, then names them in what it says."""

from __future__ import annotations

from functools import cache
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Path, Query, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from zhiban.api.auth import ConversationWriter
from zhiban.api.calls import transaction_of
from zhiban.api.conversation_models import DraftFileOut, DraftFilesOut
from zhiban.api.knowledge import TROUBLES, CleanText, Now, Rows, Trouble
from zhiban.api.ticket_models import LARGEST_ID
from zhiban.conversations.access import access_conversation_to_answer
from zhiban.conversations.draft_files import draft_files, remove_draft_file
from zhiban.conversations.draft_uploads import DraftUploads
from zhiban.kit.errors import NotFound
from zhiban.kit.i18n import mark
from zhiban.web.routers import add_routes

FILES = "/api/files"

ConversationId = Annotated[
    int, Query(ge=1, le=LARGEST_ID, description=mark("The conversation of the reply."), examples=[1])
]


@cache  # see `conversations.router`
def router() -> APIRouter:
    """The endpoints."""
    routes = APIRouter(prefix="/api", tags=["conversations"], responses=TROUBLES)
    _install(routes)
    return routes


def install(app: FastAPI, uploads: DraftUploads) -> None:
    """Let the endpoints of `app` take files."""
    app.state.draft_uploads = uploads
    add_routes(app, router())


def _uploads(request: Request) -> DraftUploads:
    uploads: DraftUploads = request.app.state.draft_uploads
    return uploads


def _install(routes: APIRouter) -> None:
    @routes.post(
        "/files",
        status_code=201,
        responses={
            409: {"model": Trouble, "description": mark("The channel does not take such a file, or too many wait.")}
        },
        summary=mark("Put a file beside a reply"),
        description=mark(
            "The body is the file as it is. Name the `id` that comes back in `files` of a reply. What is not sent "
            "within 30 days is forgotten; at most 10 wait in a conversation."
        ),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def add_file(
        request: Request,
        caller: ConversationWriter,
        uploads: Annotated[DraftUploads, Depends(_uploads)],
        now: Now,
        conversation_id: ConversationId,
        name: Annotated[
            CleanText,
            Query(max_length=1000, description=mark("What the contact sees it called."), examples=["contract.pdf"]),
        ] = "",
        content_type: Annotated[str | None, Header(include_in_schema=False)] = None,
    ) -> DraftFileOut:
        try:
            file = await uploads.receive(
                request.stream(),
                workspace_id=caller.workspace_id,
                access=caller.access,
                conversation_id=conversation_id,
                by=caller.actor,
                name=name,
                claimed_type=content_type,
                now=now,
            )
        except NotFound as error:
            raise HTTPException(404, error.sentence) from error
        except ClientDisconnect:
            raise HTTPException(400) from None  # whoever changed their mind reads nothing
        return DraftFileOut.of(file)

    @routes.get(
        "/files",
        summary=mark("List the files beside a reply"),
        description=mark("Your own that wait in this conversation, in the order in which they came."),
    )
    async def list_files(caller: ConversationWriter, database: Rows, conversation_id: ConversationId) -> DraftFilesOut:
        async with transaction_of(database, caller) as tx:
            await access_conversation_to_answer(tx, caller.access, conversation_id)
            found = await draft_files(tx, conversation_id, caller.actor)
        return DraftFilesOut(files=[DraftFileOut.of(one) for one in found])

    @routes.delete(
        "/files/{file_id}",
        status_code=204,
        summary=mark("Take a file away again"),
        description=mark("One of your own that was not sent yet."),
    )
    async def remove_file(
        file_id: Annotated[int, Path(description=mark("The file's id."), examples=[1])],
        caller: ConversationWriter,
        database: Rows,
    ) -> Response:
        async with transaction_of(database, caller) as tx:
            if not 0 < file_id <= LARGEST_ID:
                raise NotFound("There is no such file.")
            await remove_draft_file(tx, file_id, caller.actor)
        return Response(status_code=204)

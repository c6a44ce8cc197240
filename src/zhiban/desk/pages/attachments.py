"""Files of messages, for agents of the workspace that the conversation belongs to."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import Response

from zhiban.conversations.attachments import PLAYBACK_TYPE, access_attachment, record_download
from zhiban.kit.errors import NotFound
from zhiban.kit.file_store import FileStore
from zhiban.people.auth import CurrentAgent, auth_of
from zhiban.web.file_response import file_response

router = APIRouter(include_in_schema=False)


@router.api_route("/attachments/{attachment_id}", methods=["GET", "HEAD"])
async def attachment(request: Request, agent: CurrentAgent, attachment_id: int, download: bool = False) -> Response:
    """The file as it was sent. Pictures, sound and films that carry no scripts are shown in the browser."""
    auth = auth_of(request)
    saved = download or request.headers.get("sec-fetch-dest") == "document"
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        found = await access_attachment(tx, agent.access, attachment_id)
        # What a conversation shows by itself is no download; a file that is saved in pieces is one.
        if request.method == "GET" and (saved or not found.inline) and _begins(request):
            await record_download(tx, found, by=agent.id, now=auth.clock.now())
    return await stored_file_response(
        request,
        agent.workspace_id,
        found.sha256 or "",
        size=found.size or 0,
        filename=found.filename or f"{found.kind}-{found.id}",
        content_type=found.content_type or "application/octet-stream",
        inline=found.inline and not download,
    )


@router.api_route("/attachments/{attachment_id}/playback", methods=["GET", "HEAD"])
async def playback(request: Request, agent: CurrentAgent, attachment_id: int) -> Response:
    """A voice message in the format that browsers play."""
    async with auth_of(request).database.page_transaction(agent.workspace_id) as tx:
        found = await access_attachment(tx, agent.access, attachment_id)
    if found.playback_sha256 is None:
        raise NotFound("There is no such file.")
    return await stored_file_response(
        request,
        agent.workspace_id,
        found.playback_sha256,
        size=found.playback_size or 0,
        filename=f"{found.kind}-{found.id}.mp3",
        content_type=PLAYBACK_TYPE,
        inline=True,
    )


def _begins(request: Request) -> bool:
    return request.headers.get("range", "bytes=0-").startswith("bytes=0-")


async def stored_file_response(
    request: Request, workspace_id: int, sha256: str, *, size: int, filename: str, content_type: str, inline: bool
) -> Response:
    """A file of the store, made harmless."""
    files: FileStore = request.app.state.desk.files

    def read(start: int, end: int) -> AsyncIterator[bytes]:
        return files.read(workspace_id, sha256, start=start, end=end)

    return await file_response(
        request, read, size=size, filename=filename, content_type=content_type, inline=inline, etag=sha256
    )

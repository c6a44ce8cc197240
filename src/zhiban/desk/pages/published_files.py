"""Pictures and files that stand at issues, for whoever has the address: no sign-in, no cookie, nothing that runs."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from zhiban.conversations.published_files import PATH, public_copy, read_token
from zhiban.desk.request import DeskSettings
from zhiban.kit.errors import Gone, NotFound, ZhibanError
from zhiban.kit.file_types import INLINE
from zhiban.people.auth import auth_of
from zhiban.people.throttle import network_of
from zhiban.web.errors import status_of
from zhiban.web.file_response import file_response
from zhiban.web.request_rate import RequestRate, TooManyRequests

router = APIRouter(include_in_schema=False)

MOST, SECONDS = 600, 60.0  # requests of one address, GitHub's proxy of pictures among them
# A page of another site may show it; whoever keeps a copy has to ask each time whether it was taken back.
HEADERS = {
    "cache-control": "no-cache",
    "cross-origin-resource-policy": "cross-origin",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow, noarchive, noimageindex",
}
_RATE = RequestRate(MOST, SECONDS)


@router.api_route(PATH + "/{token}", methods=["GET", "HEAD"])
async def published_file(request: Request, token: str) -> Response:
    """A picture, shown; any other file, to be saved. 410 once it was taken back."""
    try:
        _RATE.count(network_of(request.client.host if request.client else None) or "", now=time.monotonic())
        return await _answer(request, token)
    except TooManyRequests as error:
        return _refusal(error, 429, {"retry-after": str(round(SECONDS))})
    except (Gone, NotFound) as error:
        return _refusal(error, status_of(error), {})


async def _answer(request: Request, token: str) -> Response:
    workspace_id, file_id, secret = read_token(token)
    async with auth_of(request).database.page_transaction(workspace_id) as tx:
        copy = await public_copy(tx, file_id, secret)
    settings: DeskSettings = request.app.state.desk
    response = await file_response(
        request,
        lambda start, end: settings.files.read(workspace_id, copy.sha256, start=start, end=end),
        size=copy.size,
        filename=copy.name,
        content_type=copy.content_type,
        inline=copy.content_type.startswith("image/") and copy.content_type in INLINE,
        etag=copy.sha256,
    )
    response.headers.update(HEADERS)
    return response


def _refusal(error: ZhibanError, status: int, headers: dict[str, str]) -> Response:
    """In English for everybody: it is mostly programs that read it."""
    return PlainTextResponse(error.sentence, status_code=status, headers={**HEADERS, **headers})

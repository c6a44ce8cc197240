"""The address of the live stream: who may open one, and from which event on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from zhiban.desk.sse_broker import SseBroker
from zhiban.people import service
from zhiban.people.auth import COOKIE, CurrentAgent, auth_of
from zhiban.people.permissions import Access

router = APIRouter(include_in_schema=False)


@router.get("/stream")
async def stream(request: Request, agent: CurrentAgent, after: Annotated[int | None, Query(ge=0)] = None) -> Response:
    """The live stream of one tab. `Last-Event-ID` wins over `after`, which a tab that slept sends itself."""
    broker: SseBroker = request.app.state.broker
    auth = auth_of(request)
    if not broker.has_room(agent.workspace_id, agent.id):
        return Response(status_code=429, headers={"retry-after": "60", "cache-control": "no-store"})
    token = request.cookies.get(COOKIE, "")

    async def lives() -> Access | None:
        return await service.session_access(auth.database, token, now=auth.clock.now())

    known = request.headers.get("last-event-id", "")
    since = int(known) if known.isascii() and known.isdecimal() and len(known) < 19 else after
    return StreamingResponse(
        broker.follow(agent.workspace_id, agent.access, since, lives=lives),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )

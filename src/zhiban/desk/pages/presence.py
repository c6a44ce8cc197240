"""The heartbeat of an open desk, and the switch by which an agent says whether they are there."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from zhiban.people import presence, service
from zhiban.people.auth import COOKIE, CurrentAgent, auth_of, inside
from zhiban.people.presence import AVAILABILITY_LABELS, Availability
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)


@router.post("/presence/beat")
async def beat(request: Request) -> Response:
    """A page is open. It beats by itself, so that is no use of the session which would prolong it."""
    auth = auth_of(request)
    lives = await service.beat(auth.database, request.cookies.get(COOKIE, ""), now=auth.clock.now())
    return Response(status_code=204 if lives else 401)


@router.get("/presence")
async def everybody(request: Request, agent: CurrentAgent) -> Response:
    """What others see of each agent: by id the word for programs and the one for people."""
    auth = auth_of(request)
    texts = auth.viewer(request, agent).texts
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        found = await presence.availabilities(tx)
    return JSONResponse(
        {id_: [status.value, texts(AVAILABILITY_LABELS[status])] for id_, status in found.items()},
        headers={"cache-control": "no-store"},
    )


@router.post("/presence")
async def choose(
    request: Request,
    agent: CurrentAgent,
    status: Annotated[Availability, Form()],
    back: Annotated[str, Form(max_length=500)] = "/",
) -> Response:
    """The page sends it without leaving; a form without a script comes back to where it was."""
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        await presence.choose(tx, agent.id, status, now=auth.clock.now())
    if request.headers.get("accept") == "application/json":
        return Response(status_code=204)
    return RedirectResponse(inside(back), status_code=303)

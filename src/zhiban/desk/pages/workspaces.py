"""Going from one workspace to another, for a person who is in several."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from zhiban.desk.checks import chrome_of
from zhiban.people.auth import CurrentAgent, auth_of, set_session_cookie
from zhiban.people.models import ROLE_LABELS, Role
from zhiban.people.other_sessions import other_session, other_sessions, set_others
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/workspaces"


@router.get(HERE)
async def page(request: Request, agent: CurrentAgent) -> Response:
    """Where this browser is signed in, for whoever is at it."""
    auth = auth_of(request)
    others = await other_sessions(request, agent.email)
    return auth.renderer.answer(
        "workspaces.html",
        auth.viewer(request, agent),
        chrome=await chrome_of(request, agent, "me"),
        agent=agent,
        others=sorted(others.values(), key=lambda one: one.workspace),
        roles={role.value: ROLE_LABELS[role] for role in Role},
    )


@router.post(HERE + "/{workspace_id}")
async def go(request: Request, agent: CurrentAgent, workspace_id: int) -> Response:
    """Work there from now on."""
    chosen, kept = await other_session(request, agent, workspace_id)
    response = set_session_cookie(request, chosen, "/")
    set_others(request, response, kept)
    return response

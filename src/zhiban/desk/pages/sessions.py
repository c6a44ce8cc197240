"""Where colleagues are signed in, and ending what should not be."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from zhiban.desk.page import DeskPage
from zhiban.people import agents as colleagues
from zhiban.people import sessions
from zhiban.people.auth import COOKIE, CurrentAgent
from zhiban.people.permissions import Permission
from zhiban.people.service import digest
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/sessions"


class SessionsPage(DeskPage):
    section = "sessions"


async def _managing(request: Request, agent: CurrentAgent) -> SessionsPage:
    """Raises NotAllowed."""
    agent.access.check(Permission.MANAGE_PEOPLE)
    return SessionsPage(request, agent)


ManagingPeople = Annotated[SessionsPage, Depends(_managing)]


@router.get(HERE)
async def show(page: ManagingPeople) -> Response:
    async with page.transaction() as tx:
        rows = await sessions.all_sessions(tx, now=page.now)
        people = {row.id: row for row in await colleagues.agent_rows(tx)}
    return await page.whole(
        "settings/sessions.html",
        rows=rows,
        own=digest(page.request.cookies.get(COOKIE, "")).hex(),
        ends={id_ for id_, row in people.items() if colleagues.may_change(page.agent, row)},
        most=sessions.MOST_SESSIONS,
    )


@router.post(HERE + "/{session_id}/end")
async def end(page: ManagingPeople, session_id: str) -> Response:
    """Sign a colleague out in one browser, if their account may be changed."""
    async with page.transaction() as tx:
        one = await sessions.access_session(tx, session_id[:100], now=page.now)
        await colleagues.to_change(tx, page.agent, one.agent_id)
        await sessions.end_session(tx, one.agent_id, one.id, by=page.actor, now=page.now)
    return page.back(HERE)

"""The page where the labels of a workspace are made, renamed and removed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from zhiban.conversations import labels
from zhiban.desk.checks import chrome_of
from zhiban.events import Actor
from zhiban.kit.errors import Conflict
from zhiban.people.auth import CurrentAgent, auth_of
from zhiban.people.permissions import Permission
from zhiban.people.service import SignedInAgent
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/labels"

Name = Annotated[str, Form(max_length=200)]
Color = Annotated[int, Form()]


async def _page(request: Request, agent: SignedInAgent, *, status: int = 200, **values: Any) -> Response:
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        rows = await labels.labels(tx)
    shown = {"trouble": "", "typed": "", **values}
    return auth.renderer.answer(
        "labels.html",
        auth.viewer(request, agent),
        status=status,
        chrome=await chrome_of(request, agent, "labels"),
        rows=rows,
        colors=labels.COLORS,
        longest=labels.LONGEST,
        manages=agent.access.may(Permission.MANAGE_LABELS),
        next_color=labels.COLORS[len(rows) % len(labels.COLORS)],
        **shown,
    )


async def _refused(request: Request, agent: SignedInAgent, error: Conflict, **values: Any) -> Response:
    texts = auth_of(request).viewer(request, agent).texts
    return await _page(request, agent, status=422, trouble=texts.error(error.sentence), **values)


@router.get(HERE)
async def show(request: Request, agent: CurrentAgent) -> Response:
    return await _page(request, agent)


@router.post(HERE)
async def add(request: Request, agent: CurrentAgent, name: Name, color: Color = 1) -> Response:
    auth = auth_of(request)
    agent.access.check(Permission.MANAGE_LABELS)
    try:
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            await labels.add_label(tx, name=name, color=color, by=Actor("agent", agent.id), now=auth.clock.now())
    except Conflict as error:
        return await _refused(request, agent, error, typed=name)
    return RedirectResponse(HERE, status_code=303)


@router.post(HERE + "/{label_id}")
async def change(request: Request, agent: CurrentAgent, label_id: int, name: Name, color: Color) -> Response:
    auth, by = auth_of(request), Actor("agent", agent.id)
    agent.access.check(Permission.MANAGE_LABELS)
    try:
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            await labels.change_label(tx, label_id, name=name, color=color, by=by, now=auth.clock.now())
    except Conflict as error:
        return await _refused(request, agent, error)
    return RedirectResponse(HERE, status_code=303)


@router.post(HERE + "/{label_id}/remove")
async def remove(request: Request, agent: CurrentAgent, label_id: int) -> Response:
    auth = auth_of(request)
    agent.access.check(Permission.MANAGE_LABELS)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        await labels.remove_label(tx, label_id, by=Actor("agent", agent.id), now=auth.clock.now())
    return RedirectResponse(HERE, status_code=303)

"""The page where the labels of a workspace are made, renamed and removed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response

from zhiban.conversations import labels
from zhiban.desk.page import FormPage
from zhiban.kit.errors import Conflict
from zhiban.people.auth import CurrentAgent
from zhiban.people.permissions import Permission
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/labels"

Name = Annotated[str, Form(max_length=200)]
Color = Annotated[int, Form()]


class _LabelsPage(FormPage):
    section = "labels"

    async def show(self, *, status: int = 200, trouble: str = "", **values: Any) -> Response:
        async with self.transaction() as tx:
            rows = await labels.labels(tx)
        return await self.whole(
            "labels.html",
            status=status,
            rows=rows,
            colors=labels.COLORS,
            longest=labels.LONGEST,
            manages=self.access.may(Permission.MANAGE_LABELS),
            next_color=labels.COLORS[len(rows) % len(labels.COLORS)],
            trouble=trouble,
            **{"typed": "", **values},
        )


@router.get(HERE)
async def show(request: Request, agent: CurrentAgent) -> Response:
    return await _LabelsPage(request, agent).show()


@router.post(HERE)
async def add(request: Request, agent: CurrentAgent, name: Name, color: Color = 1) -> Response:
    page = _LabelsPage(request, agent)
    page.access.check(Permission.MANAGE_LABELS)
    try:
        async with page.transaction() as tx:
            await labels.add_label(tx, name=name, color=color, by=page.actor, now=page.now)
    except Conflict as error:
        return await page.refused(error, typed=name)
    return page.back(HERE)


@router.post(HERE + "/{label_id}")
async def change(request: Request, agent: CurrentAgent, label_id: int, name: Name, color: Color) -> Response:
    page = _LabelsPage(request, agent)
    page.access.check(Permission.MANAGE_LABELS)
    try:
        async with page.transaction() as tx:
            await labels.change_label(tx, label_id, name=name, color=color, by=page.actor, now=page.now)
    except Conflict as error:
        return await page.refused(error)
    return page.back(HERE)


@router.post(HERE + "/{label_id}/remove")
async def remove(request: Request, agent: CurrentAgent, label_id: int) -> Response:
    page = _LabelsPage(request, agent)
    page.access.check(Permission.MANAGE_LABELS)
    async with page.transaction() as tx:
        await labels.remove_label(tx, label_id, by=page.actor, now=page.now)
    return page.back(HERE)

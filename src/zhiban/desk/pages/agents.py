"""The page about colleagues, and the one where a newcomer chooses a password."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from zhiban.kit.db import Work
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import mark
from zhiban.people import agents as colleagues
from zhiban.people import service
from zhiban.people.agents import JoinLinkSpent
from zhiban.people.auth import Signed, gate_of, let_in
from zhiban.people.models import Role
from zhiban.people.service import Member
from zhiban.web.render import reader_of
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

ROLES = {Role.OWNER: mark("负责人"), Role.ADMIN: mark("管理员"), Role.AGENT: mark("客服")}
HERE = "/settings/people"
NOTHING_TYPED = {"email": "", "name": "", "role": Role.AGENT, "wecom_userid": ""}

Email = Annotated[str, Form(max_length=320)]
Name = Annotated[str, Form(max_length=80)]
WeComId = Annotated[str, Form(max_length=64)]


async def _page(request: Request, member: Member, *, status: int = 200, **values: Any) -> Response:
    gate = gate_of(request)
    async with gate.database.session(member.workspace_id) as work:
        rows = await colleagues.colleagues(work)
    shown = {"trouble": "", "link": "", "link_for": "", "typed": NOTHING_TYPED, **values}
    return gate.renderer.answer(
        "people.html",
        gate.reader(request, member),
        status=status,
        frame=gate.frame(member, "people", troubles=await gate.troubles(member)),
        rows=rows,
        me=member.id,
        manages=colleagues.manages(member),
        changeable={row.id for row in rows if colleagues.may_change(member, row)},
        roles=ROLES,
        invited_as=colleagues.INVITED_AS,
        **shown,
    )


async def _refused(request: Request, member: Member, error: Conflict, **values: Any) -> Response:
    texts = gate_of(request).reader(request, member).texts
    return await _page(request, member, status=422, trouble=texts.error(error.sentence), **values)


def _link(request: Request, token: str) -> str:
    return f"{gate_of(request).url or str(request.base_url).rstrip('/')}/join/{token}"


@router.get(HERE)
async def people(request: Request, member: Signed) -> Response:
    return await _page(request, member)


@router.post(HERE)
async def invite(
    request: Request,
    member: Signed,
    email: Email,
    name: Name,
    role: Annotated[Role, Form()] = Role.AGENT,
    wecom_userid: WeComId = "",
) -> Response:
    gate = gate_of(request)
    try:
        colleagues.check_manages(member)
        async with gate.database.session(member.workspace_id) as work:
            _, token = await colleagues.invite(
                work,
                email=email,
                name=name,
                role=role,
                wecom_userid=wecom_userid.strip() or None,
                locale=member.locale,
                now=gate.clock.now(),
            )
    except Conflict as error:
        typed = {"email": email, "name": name, "role": role, "wecom_userid": wecom_userid}
        return await _refused(request, member, error, typed=typed)
    return await _page(request, member, link=_link(request, token), link_for=name.strip())


@router.post(HERE + "/{agent_id}/link")
async def new_link(request: Request, member: Signed, agent_id: int) -> Response:
    gate = gate_of(request)
    try:
        async with gate.database.session(member.workspace_id) as work:
            row = await colleagues.to_change(work, member, agent_id)
            token = await colleagues.new_join_link(work, row.id, now=gate.clock.now())
    except Conflict as error:
        return await _refused(request, member, error)
    return await _page(request, member, link=_link(request, token), link_for=row.name)


async def _changed(
    request: Request, member: Member, agent_id: int, act: Callable[[Work], Coroutine[Any, Any, None]]
) -> Response:
    """Do it when they may, and show the page again."""
    try:
        async with gate_of(request).database.session(member.workspace_id) as work:
            await colleagues.to_change(work, member, agent_id)
            await act(work)
    except Conflict as error:
        return await _refused(request, member, error)
    return RedirectResponse(HERE, status_code=303)


@router.post(HERE + "/{agent_id}")
async def change(
    request: Request,
    member: Signed,
    agent_id: int,
    name: Name,
    wecom_userid: WeComId = "",
    role: Annotated[Role | None, Form()] = None,
) -> Response:
    async def act(work: Work) -> None:
        if role is not None and agent_id == member.id and role != member.role:
            raise Conflict("You cannot change your own role.")
        await colleagues.change(work, agent_id, name=name, role=role, wecom_userid=wecom_userid)

    return await _changed(request, member, agent_id, act)


@router.post(HERE + "/{agent_id}/disable")
async def disable(request: Request, member: Signed, agent_id: int) -> Response:
    async def act(work: Work) -> None:
        if agent_id == member.id:
            raise Conflict("You cannot disable yourself.")
        await colleagues.disable(work, agent_id, now=gate_of(request).clock.now())

    return await _changed(request, member, agent_id, act)


@router.post(HERE + "/{agent_id}/enable")
async def enable(request: Request, member: Signed, agent_id: int) -> Response:
    async def act(work: Work) -> None:
        await colleagues.enable(work, agent_id)

    return await _changed(request, member, agent_id, act)


# --------------------------------------------------------------------------------------------------------- joining


@router.get("/join/{token}")
async def joining(request: Request, token: str) -> Response:
    gate = gate_of(request)
    reader = reader_of(request)
    try:
        async with gate.database.session(service.workspace_of(token)) as work:
            joiner = await colleagues.check_join_link(work, token, now=gate.clock.now())
    except JoinLinkSpent as error:
        return gate.renderer.answer(
            "error.html", reader, status=410, heading=reader.texts("链接不能用了"), sentence=_said(request, error)
        )
    return gate.renderer.answer("join.html", reader, joiner=joiner, trouble="", here=request.url.path)


def _said(request: Request, error: JoinLinkSpent | Conflict) -> str:
    return reader_of(request).texts.error(error.sentence)


@router.post("/join/{token}")
async def join(request: Request, token: str, password: Annotated[str, Form(max_length=1000)]) -> Response:
    gate = gate_of(request)
    reader = reader_of(request)
    now = gate.clock.now()
    async with gate.database.session(service.workspace_of(token)) as work:
        joiner = await colleagues.check_join_link(work, token, now=now)
    try:
        hashed = await service.hash_password(password)
    except Conflict as error:
        return gate.renderer.answer(
            "join.html", reader, status=422, joiner=joiner, trouble=_said(request, error), here=request.url.path
        )
    async with gate.database.session(service.workspace_of(token)) as work:
        agent_id = await colleagues.join(work, token, password_hash=hashed, locale=reader.texts.locale, now=now)
        session = await service.open_session(
            work, agent_id=agent_id, now=now, hint=request.headers.get("user-agent", "")
        )
    return let_in(request, session, "/")

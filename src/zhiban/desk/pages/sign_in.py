"""Signing in and out, the first set-up, and an agent's own settings."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from zhiban.kit.db import NOBODY
from zhiban.kit.errors import Conflict
from zhiban.people import service
from zhiban.people.auth import COOKIE, Gate, Signed, gate_of, inside, let_in
from zhiban.web.render import LOCALE_COOKIE, THEME_COOKIE, reader_of
from zhiban.web.security import same_origin

YEAR = 365 * 24 * 3600

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)


async def _sole_workspace(gate: Gate) -> str:
    """The name to greet with, when there is only one workspace here."""
    ids = await gate.database.workspaces()
    if len(ids) != 1:
        return ""
    async with gate.database.session(ids[0]) as work:
        return str(await work.value("select name from workspace where workspace_id = %(id)s", id=ids[0]) or "")


async def _login_page(request: Request, *, status: int = 200, **values: Any) -> HTMLResponse:
    gate = gate_of(request)
    shown = {"trouble": "", "email": "", "next": "/", "here": str(request.url.path), **values}
    return gate.renderer.answer(
        "login.html", reader_of(request), status=status, workspace=await _sole_workspace(gate), **shown
    )


@router.get("/login")
async def login(request: Request, next: str = "/") -> Response:  # noqa: A002 - the query parameter's name
    gate = gate_of(request)
    token = request.cookies.get(COOKIE, "")
    if token and await service.member_of(gate.database, token, now=gate.clock.now()):
        return RedirectResponse(inside(next), status_code=303)
    return await _login_page(request, next=inside(next))


@router.post("/login")
async def sign_in(
    request: Request,
    email: Annotated[str, Form(max_length=320)],
    password: Annotated[str, Form(max_length=1000)],
    next: Annotated[str, Form()] = "/",  # noqa: A002 - the field's name
) -> Response:
    gate = gate_of(request)
    texts = reader_of(request).texts
    now = gate.clock.now()
    names = (f"account {email.strip().lower()}", f"address {request.client.host if request.client else ''}")
    try:
        gate.keeper.check(*names, now=now)
        token = await service.sign_in(
            gate.database, email=email, password=password, now=now, hint=request.headers.get("user-agent", "")
        )
    except service.TooManyAttempts as error:
        return await _login_page(request, status=429, trouble=texts.error(error.sentence), email=email, next=next)
    except service.WrongPassword as error:
        gate.keeper.failed(*names, now=now)
        return await _login_page(request, status=401, trouble=texts.error(error.sentence), email=email, next=next)
    gate.keeper.succeeded(*names)
    return let_in(request, token, next)


@router.post("/logout")
async def logout(request: Request) -> Response:
    gate = gate_of(request)
    token = request.cookies.get(COOKIE, "")
    workspace_id = service.workspace_of(token)
    if workspace_id != NOBODY:
        async with gate.database.session(workspace_id) as work:
            await service.sign_out(work, token)
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(COOKIE, path="/")
    return response


@router.post("/preferences")
async def preferences(
    request: Request,
    back: Annotated[str, Form()] = "/",
    locale: Annotated[str | None, Form(pattern="^(zh|en)$")] = None,
    theme: Annotated[str | None, Form(pattern="^(auto|light|dark)$")] = None,
) -> Response:
    gate = gate_of(request)
    response = RedirectResponse(inside(back), status_code=303)
    for name, value in ((LOCALE_COOKIE, locale), (THEME_COOKIE, theme)):
        if value is not None:
            response.set_cookie(name, value, max_age=YEAR, samesite="lax", path="/")
    token = request.cookies.get(COOKIE, "")
    member = await service.member_of(gate.database, token, now=gate.clock.now()) if token else None
    if member is not None:
        async with gate.database.session(member.workspace_id) as work:
            await service.set_looks(work, member.id, locale=locale, theme=theme)
    return response


@router.get("/me")
async def me(request: Request, member: Signed) -> Response:
    gate = gate_of(request)
    return gate.renderer.answer(
        "me.html",
        gate.reader(request, member),
        frame=gate.frame(member, "me", troubles=await gate.troubles(member)),
        agent=member,
        workspace=member.workspace,
    )


@router.get("/setup/{token}")
async def setup(request: Request, token: str) -> Response:
    gate = gate_of(request)
    async with gate.database.session(service.workspace_of(token)) as work:
        name = await service.check_setup_link(work, token, now=gate.clock.now())
    return gate.renderer.answer(
        "setup.html", reader_of(request), workspace=name, name="", email="", trouble="", here=request.url.path
    )


@router.post("/setup/{token}")
async def create_owner(
    request: Request,
    token: str,
    workspace: Annotated[str, Form(max_length=80)],
    name: Annotated[str, Form(max_length=80)],
    email: Annotated[str, Form(max_length=320)],
    password: Annotated[str, Form(max_length=1000)],
) -> Response:
    gate = gate_of(request)
    reader = reader_of(request)
    now = gate.clock.now()
    try:
        async with gate.database.session(service.workspace_of(token)) as work:
            await service.check_setup_link(work, token, now=now)
        hashed = await service.hash_password(password)
        async with gate.database.session(service.workspace_of(token)) as work:
            agent_id = await service.set_up(
                work,
                token,
                workspace=workspace,
                name=name,
                email=email,
                password_hash=hashed,
                locale=reader.texts.locale,
                now=now,
            )
            session = await service.open_session(
                work, agent_id=agent_id, now=now, hint=request.headers.get("user-agent", "")
            )
    except Conflict as error:
        return gate.renderer.answer(
            "setup.html",
            reader,
            status=422,
            workspace=workspace,
            name=name,
            email=email,
            trouble=reader.texts.error(error.sentence),
            here=request.url.path,
        )
    return let_in(request, session, "/")

"""Signing in and out, the first set-up, and an agent's own settings."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from zhiban.kit.db import NO_WORKSPACE
from zhiban.kit.errors import Conflict
from zhiban.people import service
from zhiban.people.auth import COOKIE, Auth, CurrentAgent, auth_of, inside, set_session_cookie
from zhiban.web.render import LOCALE_COOKIE, THEME_COOKIE, viewer_of
from zhiban.web.security import same_origin

YEAR = 365 * 24 * 3600

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)


async def _sole_workspace(auth: Auth) -> str:
    """The name to greet with, when there is only one workspace here."""
    ids = await auth.database.workspaces()
    if len(ids) != 1:
        return ""
    async with auth.database.page_transaction(ids[0]) as tx:
        return str(await tx.value("select name from workspace where workspace_id = %(id)s", id=ids[0]) or "")


async def _login_page(request: Request, *, status: int = 200, **values: Any) -> HTMLResponse:
    auth = auth_of(request)
    shown = {"trouble": "", "email": "", "next": "/", "here": str(request.url.path), **values}
    return auth.renderer.answer(
        "login.html", viewer_of(request), status=status, workspace=await _sole_workspace(auth), **shown
    )


@router.get("/login")
async def login(request: Request, next: str = "/") -> Response:  # noqa: A002 - the query parameter's name
    auth = auth_of(request)
    token = request.cookies.get(COOKIE, "")
    if token and await service.signed_in_agent(auth.database, token, now=auth.clock.now()):
        return RedirectResponse(inside(next), status_code=303)
    return await _login_page(request, next=inside(next))


@router.post("/login")
async def sign_in(
    request: Request,
    email: Annotated[str, Form(max_length=320)],
    password: Annotated[str, Form(max_length=1000)],
    next: Annotated[str, Form()] = "/",  # noqa: A002 - the field's name
) -> Response:
    auth = auth_of(request)
    texts = viewer_of(request).texts
    now = auth.clock.now()
    names = (f"account {email.strip().lower()}", f"address {request.client.host if request.client else ''}")
    try:
        auth.throttle.check(*names, now=now)
        token = await service.sign_in(
            auth.database, email=email, password=password, now=now, hint=request.headers.get("user-agent", "")
        )
    except service.TooManyAttempts as error:
        return await _login_page(request, status=429, trouble=texts.error(error.sentence), email=email, next=next)
    except service.WrongPassword as error:
        auth.throttle.failed(*names, now=now)
        return await _login_page(request, status=401, trouble=texts.error(error.sentence), email=email, next=next)
    auth.throttle.succeeded(*names)
    return set_session_cookie(request, token, next)


@router.post("/logout")
async def logout(request: Request) -> Response:
    auth = auth_of(request)
    token = request.cookies.get(COOKIE, "")
    workspace_id = service.workspace_of(token)
    if workspace_id != NO_WORKSPACE:
        async with auth.database.page_transaction(workspace_id) as tx:
            await service.sign_out(tx, token)
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
    auth = auth_of(request)
    response = RedirectResponse(inside(back), status_code=303)
    for name, value in ((LOCALE_COOKIE, locale), (THEME_COOKIE, theme)):
        if value is not None:
            response.set_cookie(name, value, max_age=YEAR, samesite="lax", path="/")
    token = request.cookies.get(COOKIE, "")
    agent = await service.signed_in_agent(auth.database, token, now=auth.clock.now()) if token else None
    if agent is not None:
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            await service.set_looks(tx, agent.id, locale=locale, theme=theme)
    return response


@router.get("/me")
async def me(request: Request, agent: CurrentAgent) -> Response:
    auth = auth_of(request)
    return auth.renderer.answer(
        "me.html",
        auth.viewer(request, agent),
        chrome=auth.chrome(agent, "me", troubles=await auth.troubles(agent)),
        agent=agent,
        workspace=agent.workspace,
    )


@router.get("/setup/{token}")
async def setup(request: Request, token: str) -> Response:
    auth = auth_of(request)
    async with auth.database.page_transaction(service.workspace_of(token)) as tx:
        name = await service.check_setup_link(tx, token, now=auth.clock.now())
    return auth.renderer.answer(
        "setup.html", viewer_of(request), workspace=name, name="", email="", trouble="", here=request.url.path
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
    auth = auth_of(request)
    viewer = viewer_of(request)
    now = auth.clock.now()
    try:
        async with auth.database.page_transaction(service.workspace_of(token)) as tx:
            await service.check_setup_link(tx, token, now=now)
        hashed = await service.hash_password(password)
        async with auth.database.page_transaction(service.workspace_of(token)) as tx:
            agent_id = await service.set_up(
                tx,
                token,
                workspace=workspace,
                name=name,
                email=email,
                password_hash=hashed,
                locale=viewer.texts.locale,
                now=now,
            )
            session = await service.open_session(
                tx, agent_id=agent_id, now=now, hint=request.headers.get("user-agent", "")
            )
    except Conflict as error:
        return auth.renderer.answer(
            "setup.html",
            viewer,
            status=422,
            workspace=workspace,
            name=name,
            email=email,
            trouble=viewer.texts.error(error.sentence),
            here=request.url.path,
        )
    return set_session_cookie(request, session, "/")

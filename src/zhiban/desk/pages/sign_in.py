"""Signing in and out, the first set-up, and an agent's own settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from zhiban.desk.checks import chrome_of
from zhiban.events import Actor
from zhiban.kit.db import NO_WORKSPACE
from zhiban.kit.errors import Conflict, ZhibanError
from zhiban.people import agents, first_owner, second_factor, service
from zhiban.people import sessions as own
from zhiban.people.auth import (
    COOKIE,
    Auth,
    CurrentAgent,
    attempt_of,
    auth_of,
    inside,
    remember_device,
    set_session_cookie,
)
from zhiban.people.other_sessions import OTHERS, keep_others, sign_out_elsewhere
from zhiban.people.passwords import HashQueueFull
from zhiban.people.service import SignedInAgent
from zhiban.people.sign_in_providers import ProviderKind, ProviderRow, linked_providers, providers
from zhiban.people.throttle import TooManyAttempts
from zhiban.people.workspaces import workspace_called
from zhiban.web.render import LOCALE_COOKIE, THEME_COOKIE, viewer_of
from zhiban.web.security import same_origin

YEAR = 365 * 24 * 3600

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)


async def _meant_workspace(auth: Auth, slug: str) -> tuple[str, Sequence[ProviderRow], int]:
    """The name to greet with, the ways to sign in, and the id of the workspace: the named one, or the only one here."""
    ids = [await workspace_called(auth.database, slug)] if slug else await auth.database.workspaces()
    if len(ids) != 1 or ids[0] == NO_WORKSPACE:
        return "", (), NO_WORKSPACE
    async with auth.database.page_transaction(ids[0]) as tx:
        name = str(await tx.value("select name from workspace where workspace_id = %(id)s", id=ids[0]) or "")
        return name, await providers(tx), ids[0]


async def login_page(request: Request, *, status: int = 200, **values: Any) -> HTMLResponse:
    """The page where one signs in, with what went wrong if anything did."""
    auth = auth_of(request)
    shown = {"trouble": "", "email": "", "next": "/", "choices": {}, "here": str(request.url.path), **values}
    name, ways, workspace_id = await _meant_workspace(auth, request.query_params.get("workspace", "")[:100])
    return auth.renderer.answer(
        "login.html",
        viewer_of(request),
        status=status,
        workspace=name,
        workspace_id=workspace_id,
        ways=ways,
        **shown,
    )


@router.get("/login")
async def login(
    request: Request,
    next: str = "/",  # noqa: A002 - the query parameter's name
    another: bool = False,
) -> Response:
    """Whoever is signed in goes on, unless they want to sign in to another workspace as well."""
    auth = auth_of(request)
    token = request.cookies.get(COOKIE, "")
    agent = await service.signed_in_agent(auth.database, token, now=auth.clock.now()) if token else None
    if agent is not None and another:
        return await login_page(request, next="/", email=agent.email)
    if agent is not None:
        return RedirectResponse(inside(next), status_code=303)
    return await login_page(request, next=inside(next))


@router.post("/login")
async def sign_in(
    request: Request,
    email: Annotated[str, Form(max_length=320)],
    password: Annotated[str, Form(max_length=1000)],
    next: Annotated[str, Form()] = "/",  # noqa: A002 - the field's name
    workspace: Annotated[int | None, Form(ge=1, lt=2**63)] = None,
) -> Response:
    auth = auth_of(request)
    now = auth.clock.now()
    attempt = attempt_of(request, email)
    try:
        await auth.throttle.reserve(attempt, now=now)
        session = await service.sign_in(
            auth.database,
            auth.passwords,
            email=email,
            password=password,
            now=now,
            hint=request.headers.get("user-agent", ""),
            workspace_id=workspace,
        )
    except (TooManyAttempts, service.WrongPassword, HashQueueFull, service.WorkspaceUnclear) as error:
        return await _login_refused(request, error, email=email, next=next)
    await auth.throttle.succeeded(attempt)
    if session.awaits_code:  # a browser is known once it was signed in
        response = set_session_cookie(request, session.token, code_page(next))
        await keep_others(request, response, session.token, email)
        return response
    response = set_session_cookie(request, session.token, next)
    await keep_others(request, response, session.token, email)
    remember_device(request, response, email)
    return response


def code_page(target: str) -> str:
    """Where the code is asked for, to go on to `target` then."""
    return "/login/code" + (f"?next={quote(inside(target), safe='/')}" if target != "/" else "")


async def _code_page(request: Request, *, target: str, status: int = 200, trouble: str = "") -> HTMLResponse:
    return auth_of(request).renderer.answer(
        "login_code.html", viewer_of(request), status=status, next=inside(target), trouble=trouble, here="/login/code"
    )


@router.get("/login/code")
async def code(request: Request, next: str = "/") -> Response:  # noqa: A002 - the query parameter's name
    auth = auth_of(request)
    token = request.cookies.get(COOKIE, "")
    if await second_factor.awaiting(auth.database, token, now=auth.clock.now()) is None:
        return RedirectResponse("/login", status_code=303)
    return await _code_page(request, target=next)


@router.post("/login/code")
async def sign_in_with_code(
    request: Request,
    code: Annotated[str, Form(max_length=100)],
    next: Annotated[str, Form()] = "/",  # noqa: A002 - the field's name
) -> Response:
    auth, now = auth_of(request), auth_of(request).clock.now()
    token = request.cookies.get(COOKIE, "")
    who = await second_factor.awaiting(auth.database, token, now=now)
    if who is None:
        return RedirectResponse("/login", status_code=303)
    attempt = attempt_of(request, who.email, step="code")
    try:
        await auth.throttle.reserve(attempt, now=now)
        fresh = await second_factor.complete_sign_in(
            auth.database, auth.vault, token, code, now=now, hint=request.headers.get("user-agent", "")
        )
    except second_factor.SignInOver as error:
        return await _login_refused(request, error, email=who.email, next=next)
    except (second_factor.WrongCode, TooManyAttempts) as error:
        status = 429 if isinstance(error, TooManyAttempts) else 401
        trouble = viewer_of(request).texts.error(error.sentence)
        return await _code_page(request, target=next, status=status, trouble=trouble)
    await auth.throttle.succeeded(attempt)
    response = set_session_cookie(request, fresh, next)
    await keep_others(request, response, fresh, who.email)
    remember_device(request, response, who.email)
    return response


async def _login_refused(request: Request, error: ZhibanError, **typed: str) -> Response:
    trouble = viewer_of(request).texts.error(error.sentence)
    match error:
        case TooManyAttempts():
            return await login_page(request, status=429, trouble=trouble, **typed)
        case HashQueueFull():
            return await login_page(request, status=503, trouble=trouble, **typed)
        case service.WorkspaceUnclear():
            return await login_page(request, status=409, trouble=trouble, choices=error.choices, **typed)
        case _:
            return await login_page(request, status=401, trouble=trouble, **typed)


@router.post("/logout")
async def logout(request: Request) -> Response:
    auth = auth_of(request)
    token = request.cookies.get(COOKIE, "")
    workspace_id = service.workspace_of(token)
    if workspace_id != NO_WORKSPACE:
        async with auth.database.page_transaction(workspace_id) as tx:
            await service.sign_out(tx, token, now=auth.clock.now())
    await sign_out_elsewhere(request)
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(COOKIE, path="/")
    response.delete_cookie(OTHERS, path="/")
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


async def _me_page(
    request: Request, agent: SignedInAgent, *, status: int = 200, trouble: str = "", name_trouble: str = ""
) -> Response:
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        token = request.cookies.get(COOKIE, "")
        found = await own.sessions(tx, agent.id, token=token, now=auth.clock.now())
        factor = await second_factor.factor_state(tx, agent.id)
        ways = [one for one in await providers(tx) if one.kind == ProviderKind.OIDC]
        linked = await linked_providers(tx, agent.id)
    return auth.renderer.answer(
        "me.html",
        auth.viewer(request, agent),
        status=status,
        chrome=await chrome_of(request, agent, "me"),
        agent=agent,
        workspace=agent.workspace,
        sessions=found,
        factor=factor,
        ways=ways,
        linked=linked,
        trouble=trouble,
        name_trouble=name_trouble,
    )


@router.get("/me")
async def me(request: Request, agent: CurrentAgent) -> Response:
    return await _me_page(request, agent)


@router.post("/me/name")
async def change_name(
    request: Request, agent: CurrentAgent, name: Annotated[str, Form(max_length=80)] = ""
) -> Response:
    """What colleagues and contacts read; the name in what was done before changes along."""
    auth = auth_of(request)
    if not name.strip():
        trouble = auth.viewer(request, agent).texts("名字不能空着。")
        return await _me_page(request, agent, status=422, name_trouble=trouble)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        await agents.change(tx, agent.id, name=name, by=Actor("agent", agent.id), now=auth.clock.now())
    return RedirectResponse("/me", status_code=303)


@router.post("/me/password")
async def change_password(
    request: Request,
    agent: CurrentAgent,
    current: Annotated[str, Form(max_length=1000)],
    new: Annotated[str, Form(max_length=1000)],
) -> Response:
    """Whoever found an open browser knows no password, and guesses no faster here than at sign-in."""
    auth = auth_of(request)
    now = auth.clock.now()
    attempt = attempt_of(request, agent.email)
    try:
        await auth.throttle.reserve(attempt, now=now)
        token = await own.change_password(
            auth.database,
            auth.passwords,
            agent,
            current=current,
            new=new,
            hint=request.headers.get("user-agent", ""),
            now=now,
        )
    except (TooManyAttempts, service.WrongPassword, HashQueueFull, Conflict) as error:
        trouble = auth.viewer(request, agent).texts.error(error.sentence)
        return await _me_page(request, agent, status=422, trouble=trouble)
    await auth.throttle.succeeded(attempt)
    return set_session_cookie(request, token, "/me")


@router.post("/me/sessions/end")
async def end_others(request: Request, agent: CurrentAgent) -> Response:
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        token = request.cookies.get(COOKIE, "")
        await own.end_other_sessions(tx, agent.id, token=token, now=auth.clock.now())
    return RedirectResponse("/me", status_code=303)


@router.post("/me/sessions/{session_id}/end")
async def end_one(request: Request, agent: CurrentAgent, session_id: str) -> Response:
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        await own.end_session(tx, agent.id, session_id, now=auth.clock.now())
    return RedirectResponse("/me", status_code=303)


@router.get("/setup/{token}")
async def setup(request: Request, token: str) -> Response:
    auth = auth_of(request)
    async with auth.database.page_transaction(service.workspace_of(token)) as tx:
        name = await first_owner.check_setup_link(tx, token, now=auth.clock.now())
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
            await first_owner.check_setup_link(tx, token, now=now)
        hashed = await auth.passwords.hash(password, about=(name, email, workspace))
        async with auth.database.page_transaction(service.workspace_of(token)) as tx:
            agent_id = await first_owner.set_up(
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

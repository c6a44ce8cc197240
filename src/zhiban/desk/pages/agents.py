"""The page about colleagues, and the one where a newcomer chooses a password."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from zhiban.channels.inboxes import inbox_names
from zhiban.desk.checks import chrome_of
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import mark
from zhiban.people import agents as colleagues
from zhiban.people import invitations, second_factor, service
from zhiban.people.auth import CurrentAgent, auth_of, set_session_cookie
from zhiban.people.models import ROLE_LABELS, Role
from zhiban.people.permissions import Permission, gives, outranks
from zhiban.people.presence import AVAILABILITY_LABELS
from zhiban.people.service import SignedInAgent
from zhiban.people.workspaces import rename_workspace
from zhiban.web.render import viewer_of
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

ROLE_HINTS = {
    Role.OWNER: mark("什么都可以，包括给别人负责人的角色"),
    Role.ADMIN: mark("同事、接入、规则和所有会话"),
    Role.SUPERVISOR: mark("会话、标签、知识、报表；看全部收件箱的还可以改规则"),
    Role.AGENT: mark("看和回复自己收件箱里的会话"),
    Role.READ_ONLY: mark("只看，不能回复也不能改动"),
}
HERE = "/settings/people"
NOTHING_TYPED: dict[str, Any] = {"email": "", "name": "", "role": Role.AGENT, "inbox_ids": None, "accounts": {}}
ACCOUNT = "account."  # with the vendor's name: the form's fields for an agent's ids at vendors

Email = Annotated[str, Form(max_length=320)]
Name = Annotated[str, Form(max_length=80)]


async def _accounts(request: Request) -> dict[str, str]:
    """What was typed as the agent's id at each vendor."""
    form = await request.form()
    labels: Mapping[str, str] = request.app.state.member_labels
    return {vendor: str(form[ACCOUNT + vendor])[:200] for vendor in labels if ACCOUNT + vendor in form}


Accounts = Annotated[dict[str, str], Depends(_accounts)]


async def chosen_inboxes(request: Request, unsaid: str) -> list[int] | None:
    """The inboxes that were ticked; None: every one. `unsaid`: "all" or "some", where a form does not say."""
    form = await request.form()
    if form.get("sees", unsaid) == "all":
        return None
    return [int(text) for one in form.getlist("inbox") if (text := str(one)).isdecimal() and len(text) < 19]


async def _inboxes(request: Request) -> list[int] | None:
    return await chosen_inboxes(request, "all")


Inboxes = Annotated[list[int] | None, Depends(_inboxes)]


async def _page(request: Request, agent: SignedInAgent, *, status: int = 200, **values: Any) -> Response:
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        rows = await colleagues.agent_rows(tx)
        places = await inbox_names(tx)
        required = await second_factor.is_required(tx)
    own = Role(agent.role)
    shown = {"trouble": "", "link": "", "link_for": "", "typed": NOTHING_TYPED, **values}
    return auth.renderer.answer(
        "people.html",
        auth.viewer(request, agent),
        status=status,
        chrome=await chrome_of(request, agent, "people"),
        rows=rows,
        me=agent.id,
        manages=agent.access.may(Permission.MANAGE_PEOPLE),
        changeable={row.id for row in rows if colleagues.may_change(agent, row)},
        roles=ROLE_LABELS,
        hints=ROLE_HINTS,
        inboxes=places,
        required=required,
        availability_words=AVAILABILITY_LABELS,
        given=gives(own),
        role_changeable={row.id for row in rows if row.id != agent.id and not outranks(Role(row.role), own)},
        member_labels=request.app.state.member_labels,
        **shown,
    )


async def _refused(request: Request, agent: SignedInAgent, error: Conflict, **values: Any) -> Response:
    texts = auth_of(request).viewer(request, agent).texts
    return await _page(request, agent, status=422, trouble=texts.error(error.sentence), **values)


def _link(request: Request, token: str) -> str:
    return f"{auth_of(request).url or str(request.base_url).rstrip('/')}/join/{token}"


@router.get(HERE)
async def people(request: Request, agent: CurrentAgent) -> Response:
    return await _page(request, agent)


@router.post(HERE)
async def invite(
    request: Request,
    agent: CurrentAgent,
    email: Email,
    name: Name,
    role: Annotated[Role, Form()] = Role.AGENT,
    *,
    inbox_ids: Inboxes,
    accounts: Accounts,
) -> Response:
    auth = auth_of(request)
    try:
        agent.access.check(Permission.MANAGE_PEOPLE)
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            _, token = await invitations.invite(
                tx,
                email=email,
                name=name,
                role=role,
                inbox_ids=inbox_ids,
                accounts=accounts,
                giver=Role(agent.role),
                locale=agent.locale,
                by=Actor("agent", agent.id),
                now=auth.clock.now(),
            )
    except Conflict as error:
        typed = {"email": email, "name": name, "role": role, "inbox_ids": inbox_ids, "accounts": accounts}
        return await _refused(request, agent, error, typed=typed)
    return await _page(request, agent, link=_link(request, token), link_for=name.strip())


@router.post("/settings/workspace")
async def rename(request: Request, agent: CurrentAgent, name: Annotated[str, Form(max_length=200)]) -> Response:
    """What the organisation is called, here and in what it sends."""
    auth = auth_of(request)
    try:
        agent.access.check(Permission.MANAGE_PEOPLE)
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            await rename_workspace(tx, name, by=Actor("agent", agent.id), now=auth.clock.now())
    except Conflict as error:
        return await _refused(request, agent, error)
    return RedirectResponse(HERE, status_code=303)


@router.post(HERE + "/{agent_id}/link")
async def new_link(request: Request, agent: CurrentAgent, agent_id: int) -> Response:
    auth = auth_of(request)
    try:
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            row = await colleagues.to_change(tx, agent, agent_id)
            token = await invitations.new_join_link(tx, row.id, by=Actor("agent", agent.id), now=auth.clock.now())
    except Conflict as error:
        return await _refused(request, agent, error)
    return await _page(request, agent, link=_link(request, token), link_for=row.name)


Act = Coroutine[Any, Any, None]


async def _changed(
    request: Request, agent: SignedInAgent, agent_id: int, act: Callable[[Transaction, Actor, datetime], Act]
) -> Response:
    """Do it when they may, and show the page again."""
    auth = auth_of(request)
    try:
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            await colleagues.to_change(tx, agent, agent_id)
            await act(tx, Actor("agent", agent.id), auth.clock.now())
    except Conflict as error:
        return await _refused(request, agent, error)
    return RedirectResponse(HERE, status_code=303)


@router.post(HERE + "/{agent_id}")
async def change(
    request: Request,
    agent: CurrentAgent,
    agent_id: int,
    name: Name,
    accounts: Accounts,
    inbox_ids: Inboxes,
    role: Annotated[Role | None, Form()] = None,
) -> Response:
    """Without a role, only name and accounts."""

    async def act(tx: Transaction, by: Actor, now: datetime) -> None:
        if role is not None and agent_id == agent.id:
            raise Conflict("You cannot change your own role.")
        await colleagues.change(tx, agent_id, name=name, accounts=accounts, by=by, now=now)
        if role is not None:
            await colleagues.set_access(
                tx, agent_id, role=role, inbox_ids=inbox_ids, giver=Role(agent.role), by=by, now=now
            )

    return await _changed(request, agent, agent_id, act)


@router.post(HERE + "/{agent_id}/disable")
async def disable(request: Request, agent: CurrentAgent, agent_id: int) -> Response:
    async def act(tx: Transaction, by: Actor, now: datetime) -> None:
        if agent_id == agent.id:
            raise Conflict("You cannot disable yourself.")
        await colleagues.disable(tx, agent_id, by=by, now=now)

    return await _changed(request, agent, agent_id, act)


@router.post(HERE + "/{agent_id}/enable")
async def enable(request: Request, agent: CurrentAgent, agent_id: int) -> Response:
    async def act(tx: Transaction, by: Actor, now: datetime) -> None:
        await colleagues.enable(tx, agent_id, by=by, now=now)

    return await _changed(request, agent, agent_id, act)


# --------------------------------------------------------------------------------------------------------- joining


@router.get("/join/{token}")
async def joining(request: Request, token: str) -> Response:
    auth = auth_of(request)
    viewer = viewer_of(request)
    async with auth.database.page_transaction(service.workspace_of(token)) as tx:
        joiner = await invitations.check_join_link(tx, token, now=auth.clock.now())
    return auth.renderer.answer("join.html", viewer, joiner=joiner, trouble="", here=request.url.path)


def _said(request: Request, error: Conflict) -> str:
    return viewer_of(request).texts.error(error.sentence)


@router.post("/join/{token}")
async def join(request: Request, token: str, password: Annotated[str, Form(max_length=1000)]) -> Response:
    auth = auth_of(request)
    viewer = viewer_of(request)
    now = auth.clock.now()
    async with auth.database.page_transaction(service.workspace_of(token)) as tx:
        joiner = await invitations.check_join_link(tx, token, now=now)
    try:
        hashed = await auth.passwords.hash(password, about=(joiner.name, joiner.email, joiner.workspace))
    except Conflict as error:
        return auth.renderer.answer(
            "join.html", viewer, status=422, joiner=joiner, trouble=_said(request, error), here=request.url.path
        )
    async with auth.database.page_transaction(service.workspace_of(token)) as tx:
        agent_id = await invitations.join(tx, token, password_hash=hashed, locale=viewer.texts.locale, now=now)
        # A link gives a new password, not a new phone.
        session = await service.session_after_password(
            tx, agent_id=agent_id, now=now, hint=request.headers.get("user-agent", "")
        )
    return set_session_cookie(request, session.token, "/login/code" if session.awaits_code else "/")

"""The page where an agent sets up, renews and removes their second factor, and the switch that asks it of everybody."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from zhiban.desk.checks import chrome_of
from zhiban.events import Actor
from zhiban.kit.errors import Conflict, ZhibanError
from zhiban.people import agents as colleagues
from zhiban.people import second_factor, totp
from zhiban.people import sessions as own
from zhiban.people.auth import COOKIE, ENROLMENT, CurrentAgent, attempt_of, auth_of
from zhiban.people.passwords import HashQueueFull
from zhiban.people.permissions import Permission
from zhiban.people.second_factor import WrongCode
from zhiban.people.service import SignedInAgent, WrongPassword
from zhiban.people.throttle import TooManyAttempts
from zhiban.web.qr import qr_code
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

ISSUER = "Zhiban"
TROUBLES = (TooManyAttempts, WrongPassword, WrongCode, HashQueueFull, Conflict)

Password = Annotated[str, Form(max_length=1000)]
Code = Annotated[str, Form(max_length=100)]


async def _page(
    request: Request, agent: SignedInAgent, *, status: int = 200, trouble: str = "", codes: tuple[str, ...] = ()
) -> Response:
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        state = await second_factor.factor_state(tx, agent.id)
        secret = await second_factor.secret_begun(tx, auth.vault, agent.id, now=auth.clock.now())
    shown: dict[str, Any] = {"picture": "", "secret": ""}
    if secret is not None:
        uri = totp.enrolment_uri(secret, account=agent.email, issuer=f"{ISSUER} {agent.workspace}")
        shown = {"picture": qr_code(uri), "secret": " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))}
    return auth.renderer.answer(
        "second_factor.html",
        auth.viewer(request, agent),
        status=status,
        headers={"cache-control": "no-store"},
        chrome=await chrome_of(request, agent, "me"),
        agent=agent,
        state=state,
        codes=codes,
        trouble=trouble,
        **shown,
    )


async def _refused(request: Request, agent: SignedInAgent, error: ZhibanError) -> Response:
    trouble = auth_of(request).viewer(request, agent).texts.error(error.sentence)
    return await _page(request, agent, status=422, trouble=trouble)


async def _check_password(request: Request, agent: SignedInAgent, password: str) -> None:
    """Whoever found an open browser changes nothing here. Raises TooManyAttempts, WrongPassword, HashQueueFull."""
    auth = auth_of(request)
    attempt = attempt_of(request, agent.email)
    await auth.throttle.reserve(attempt, now=auth.clock.now())
    await own.check_password(auth.database, auth.passwords, agent, password)
    await auth.throttle.succeeded(attempt)


@router.get(ENROLMENT)
async def show(request: Request, agent: CurrentAgent) -> Response:
    return await _page(request, agent)


@router.post(ENROLMENT + "/begin")
async def begin(request: Request, agent: CurrentAgent, password: Password) -> Response:
    auth = auth_of(request)
    try:
        await _check_password(request, agent, password)
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            await second_factor.begin(tx, auth.vault, agent.id, now=auth.clock.now())
    except TROUBLES as error:
        return await _refused(request, agent, error)
    return RedirectResponse(ENROLMENT, status_code=303)


@router.post(ENROLMENT)
async def confirm(request: Request, agent: CurrentAgent, code: Code) -> Response:
    """The first code. The answer shows the recovery codes, this once."""
    auth, now = auth_of(request), auth_of(request).clock.now()
    attempt = attempt_of(request, agent.email, step="code")
    token = request.cookies.get(COOKIE, "")
    try:
        await auth.throttle.reserve(attempt, now=now)
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            codes = await second_factor.confirm(tx, auth.vault, agent.id, code, token=token, now=now)
    except TROUBLES as error:
        return await _refused(request, agent, error)
    await auth.throttle.succeeded(attempt)
    return await _page(request, agent, codes=codes)


@router.post(ENROLMENT + "/codes")
async def renew(request: Request, agent: CurrentAgent, password: Password) -> Response:
    """New recovery codes, shown this once."""
    auth = auth_of(request)
    try:
        await _check_password(request, agent, password)
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            codes = await second_factor.renew_codes(tx, agent.id, now=auth.clock.now())
    except TROUBLES as error:
        return await _refused(request, agent, error)
    return await _page(request, agent, codes=codes)


@router.post(ENROLMENT + "/remove")
async def remove(request: Request, agent: CurrentAgent, password: Password, code: Code) -> Response:
    """With the password and a code, as at sign-in."""
    auth, now = auth_of(request), auth_of(request).clock.now()
    attempt = attempt_of(request, agent.email, step="code")
    try:
        await _check_password(request, agent, password)
        await auth.throttle.reserve(attempt, now=now)
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            right = await second_factor.check(tx, auth.vault, agent.id, code, now=now)
            if right:
                await second_factor.remove(tx, agent.id, by=Actor("agent", agent.id), now=now)
        if not right:
            raise WrongCode("The code is not right, or was used already.")
    except TROUBLES as error:
        return await _refused(request, agent, error)
    await auth.throttle.succeeded(attempt)
    return RedirectResponse(ENROLMENT, status_code=303)


# ------------------------------------------------------------------------------------------------------ of others


@router.post("/settings/people/{agent_id}/second-factor/remove")
async def remove_of_other(request: Request, agent: CurrentAgent, agent_id: int) -> Response:
    """A colleague lost their phone."""
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        row = await colleagues.to_change(tx, agent, agent_id)
        if row.id == agent.id:
            raise Conflict("Remove your own second factor in your settings.")
        await second_factor.remove(tx, row.id, by=Actor("agent", agent.id), now=auth.clock.now())
    return RedirectResponse("/settings/people", status_code=303)


@router.post("/settings/second-factor")
async def require(request: Request, agent: CurrentAgent, required: Annotated[bool, Form()]) -> Response:
    """Whether everybody needs one."""
    auth = auth_of(request)
    agent.access.check(Permission.MANAGE_PEOPLE)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        await second_factor.require(tx, required, by=Actor("agent", agent.id), now=auth.clock.now())
    return RedirectResponse("/settings/people", status_code=303)

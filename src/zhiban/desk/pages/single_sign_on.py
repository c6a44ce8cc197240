"""Signing in by an identity provider or as a vendor's member, and the page where an owner sets that up."""

from __future__ import annotations

import logging
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, FastAPI, Form, Request
from fastapi.responses import RedirectResponse, Response

from zhiban.channels.inboxes import inbox_names
from zhiban.desk import identities
from zhiban.desk.checks import chrome_of
from zhiban.desk.identities import COOKIE, LIFE, Identities, NoSuchRequest, PendingSignIn
from zhiban.desk.pages.agents import chosen_inboxes
from zhiban.desk.pages.sign_in import code_page, login_page
from zhiban.events import Actor
from zhiban.kit.errors import Conflict, NotFound, Unavailable, ZhibanError
from zhiban.kit.i18n import mark
from zhiban.people import sign_in_providers
from zhiban.people.auth import COOKIE as SESSION
from zhiban.people.auth import Auth, CurrentAgent, auth_of, inside, remember_device, set_session_cookie
from zhiban.people.models import ROLE_LABELS, Role
from zhiban.people.other_sessions import keep_others
from zhiban.people.permissions import Permission
from zhiban.people.service import SignedInAgent, signed_in_agent
from zhiban.people.sign_in_providers import JOIN_ROLES, ProviderKind, ProviderSettings, UnknownLogin
from zhiban.people.workspaces import slug_of
from zhiban.web.render import viewer_of
from zhiban.web.security import same_origin

log = logging.getLogger(__name__)

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

WAY = "/login/sso"
CALLBACK = WAY + "/callback"
HERE = "/settings/sign-in"
OWN = "/me"
NOT_NOW = mark("This way to sign in does not work now. Try again later, or use a password.")


def install(app: FastAPI, ways: Identities) -> None:
    """Let `app` ask these providers."""
    app.state.identities = ways


def _ways(request: Request) -> Identities:
    found: Identities = request.app.state.identities
    return found


def callback_address(request: Request, auth: Auth) -> str:
    """Where providers send browsers back to, as it is entered there."""
    return (auth.url or str(request.base_url)).rstrip("/") + CALLBACK


async def _refused(request: Request, sentence: str, *, status: int = 401) -> Response:
    response = await login_page(request, status=status, trouble=viewer_of(request).texts.error(sentence), here="/login")
    response.delete_cookie(COOKIE, path=WAY)
    return response


async def _go(request: Request, workspace_id: int, provider_id: int, *, target: str, agent_id: int = 0) -> Response:
    """To the provider, with what proves the answer in the browser's cookie."""
    auth = auth_of(request)
    way = identities.begun(
        workspace_id,
        provider_id,
        redirect_uri=callback_address(request, auth),
        target=inside(target),
        agent_id=agent_id,
        now=auth.clock.now(),
    )
    try:
        async with auth.database.page_transaction(workspace_id) as tx:
            asked = await _ways(request).provider(tx, provider_id)
        address = await _ways(request).address(workspace_id, asked, way.request)
    except NotFound:
        raise
    except ZhibanError as error:
        log.warning("Provider %s of workspace %s cannot be asked: %s", provider_id, workspace_id, error)
        return await _refused(request, NOT_NOW)
    response = RedirectResponse(address, status_code=303)
    response.set_cookie(
        COOKIE,
        way.sealed(auth.vault),
        max_age=int(LIFE.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=auth.is_secure(request),
        path=WAY,
    )
    return response


@router.get(CALLBACK)
async def back(request: Request, state: str = "", code: str = "", error: str = "", iss: str = "") -> Response:
    """A browser comes back from a provider. Whatever is wrong, nobody is signed in, and it cannot be tried again."""
    return await _back(request, state, code, error, iss)


@router.post(CALLBACK)
async def replace(
    request: Request,
    state: Annotated[str, Form(max_length=500)],
    code: Annotated[str, Form(max_length=8000)],
    iss: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    """The same answer, after whoever is signed in has said that another may take their place."""
    return await _back(request, state, code, "", iss, replaces=True)


async def _back(request: Request, state: str, code: str, error: str, iss: str, *, replaces: bool = False) -> Response:
    auth = auth_of(request)
    now = auth.clock.now()
    try:
        way = identities.pending(auth.vault, request.cookies.get(COOKIE, ""), state, now=now)
    except NoSuchRequest as refused:
        return await _refused(request, refused.sentence)
    if error or not code:
        return await _refused(request, mark("The provider did not sign you in."))
    agent = await signed_in_agent(auth.database, request.cookies.get(SESSION, ""), now=now)
    if agent is not None and not way.agent_id and not replaces:
        return await _asked_before(request, way, agent, {"state": state, "code": code, "iss": iss})
    try:
        async with auth.database.page_transaction(way.workspace_id) as tx:
            asked = await _ways(request).provider(tx, way.provider_id)
        identity = await _ways(request).identity(way.workspace_id, asked, way.request, code=code, issuer=iss)
        if way.agent_id:
            return await _linked(request, way, identity.subject)
        async with auth.database.page_transaction(way.workspace_id) as tx:
            provider = await sign_in_providers.access_provider(tx, way.provider_id)  # it may have gone meanwhile
            hint = request.headers.get("user-agent", "")
            session = await sign_in_providers.sign_in_by(tx, provider, identity, now=now, hint=hint)
    except (UnknownLogin, Conflict, NotFound) as refused:
        return await _refused(request, refused.sentence)
    except Unavailable as failed:
        log.warning("Provider %s of workspace %s does not answer: %s", way.provider_id, way.workspace_id, failed)
        return await _refused(request, NOT_NOW)
    except ZhibanError as failed:
        log.warning("Signing in by provider %s of workspace %s: %s", way.provider_id, way.workspace_id, failed)
        return await _refused(request, mark("The provider's answer was not valid. Begin again."))
    target = code_page(way.target) if session.awaits_code else way.target
    response = set_session_cookie(request, session.token, target)
    response.delete_cookie(COOKIE, path=WAY)
    agent = None if session.awaits_code else await signed_in_agent(auth.database, session.token, now=now)
    if agent is not None:
        await keep_others(request, response, session.token, agent.email)
        remember_device(request, response, agent.email)
    return response


async def _asked_before(request: Request, way: PendingSignIn, agent: SignedInAgent, answer: dict[str, str]) -> Response:
    """Nobody's session gives way to another's unasked: a link from anywhere may have begun this.

    The answer is kept by the page, and the provider has not been told of it yet.
    """
    auth = auth_of(request)
    async with auth.database.page_transaction(way.workspace_id) as tx:
        provider = await sign_in_providers.access_provider(tx, way.provider_id)
    return auth.renderer.answer(
        "login_replace.html",
        auth.viewer(request, agent),
        agent=agent,
        way=provider.name,
        answer=answer,
        trouble="",
        here="/login",
    )


async def _linked(request: Request, way: PendingSignIn, subject: str) -> Response:
    """The account belongs to whoever began, who must still be the one at this browser. Raises Conflict, NotFound."""
    auth = auth_of(request)
    now = auth.clock.now()
    agent = await signed_in_agent(auth.database, request.cookies.get(SESSION, ""), now=now)
    if agent is None or (agent.workspace_id, agent.id) != (way.workspace_id, way.agent_id):
        raise Conflict("You are not signed in as the one who began. Begin again.")
    async with auth.database.page_transaction(way.workspace_id) as tx:
        provider = await sign_in_providers.access_provider(tx, way.provider_id)
        if provider.kind == ProviderKind.MEMBERS:
            raise Conflict("Accounts of members are entered under the team.")
        await sign_in_providers.link(tx, provider, subject, agent.id, now=now)
    response = RedirectResponse(OWN, status_code=303)
    response.delete_cookie(COOKIE, path=WAY)
    return response


def _from_our_page(request: Request) -> bool:
    """Whether a link of ours led here; a form could not lead on to another site."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("referer", "").startswith(f"{request.url.scheme}://{request.headers.get('host', '')}/")


@router.get(WAY + "/{workspace_id}/{provider_id}")
async def go(request: Request, workspace_id: int, provider_id: int, next: str = "/") -> Response:  # noqa: A002
    """Sign in by this provider of this workspace: at once from our own page, else by way of it.

    Otherwise a link from anywhere could sign somebody in as another, who would then read what they write.
    """
    if not 0 < workspace_id < 1 << 63 or not 0 < provider_id < 1 << 63:
        raise NotFound("There is no such way to sign in.")
    if not _from_our_page(request):
        async with auth_of(request).database.page_transaction(workspace_id) as tx:
            await sign_in_providers.access_provider(tx, provider_id)
            asked = urlencode({"workspace": await slug_of(tx), "next": inside(next)})
        return RedirectResponse(f"/login?{asked}", status_code=303)
    return await _go(request, workspace_id, provider_id, target=next)


# --------------------------------------------------------------------------------------------------- one's own


@router.get("/me/logins/{provider_id}")
async def link_own(request: Request, agent: CurrentAgent, provider_id: int) -> Response:
    """Prove an account at a provider, to sign in by it from now on.

    From our own page alone: another site that has signed this browser in elsewhere would make its own account theirs.
    """
    async with auth_of(request).database.page_transaction(agent.workspace_id) as tx:
        await sign_in_providers.access_provider(tx, provider_id)
    if not _from_our_page(request):
        return RedirectResponse(OWN, status_code=303)
    return await _go(request, agent.workspace_id, provider_id, target=OWN, agent_id=agent.id)


@router.post("/me/logins/{provider_id}/remove")
async def unlink_own(request: Request, agent: CurrentAgent, provider_id: int) -> Response:
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        await sign_in_providers.access_provider(tx, provider_id)
        by = Actor("agent", agent.id)
        await sign_in_providers.unlink(tx, provider_id, agent.id, by=by, now=auth.clock.now())
    return RedirectResponse(OWN, status_code=303)


# --------------------------------------------------------------------------------------------------- settings


async def _page(
    request: Request, agent: SignedInAgent, *, status: int = 200, trouble: str = "", typed: dict[str, Any] | None = None
) -> Response:
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        rows = await sign_in_providers.providers(tx)
        there = {row.connection_id for row in rows}
        inboxes = await inbox_names(tx)
        offers = [one for one in await _ways(request).offers(tx) if one[0] not in there]
    return auth.renderer.answer(
        "settings/sign_in.html",
        auth.viewer(request, agent),
        status=status,
        chrome=await chrome_of(request, agent, "sign-in"),
        rows=rows,
        inboxes=inboxes,
        roles={role: ROLE_LABELS[role] for role in JOIN_ROLES},
        callback=callback_address(request, auth),
        offers=offers,
        members=request.app.state.member_labels,
        trouble=trouble,
        typed=typed or {},
    )


@router.get(HERE)
async def page(request: Request, agent: CurrentAgent) -> Response:
    agent.access.check(Permission.MANAGE_SIGN_IN)
    return await _page(request, agent)


Short = Annotated[str, Form(max_length=500)]


async def _given(
    request: Request,
    name: Short = "",
    issuer: Short = "",
    client_id: Short = "",
    client_secret: Annotated[str, Form(max_length=2000)] = "",
    links: Annotated[bool, Form()] = False,
    joins: Annotated[str, Form(max_length=20)] = "",
    domains: Annotated[str, Form(max_length=4000)] = "",
) -> ProviderSettings:
    seen = await chosen_inboxes(request, "some")  # nobody comes to see everything because nobody thought of it
    return ProviderSettings(
        name=name,
        issuer=issuer,
        client_id=client_id,
        client_secret=client_secret,
        links_by_email=links,
        joins_as=Role(joins) if joins in set(Role) else None,
        domains=tuple(domains.replace(",", " ").replace("，", " ").split()),
        joins_inboxes=None if seen is None else tuple(seen),
    )


Given = Annotated[ProviderSettings, Depends(_given)]


@router.post(HERE)
async def add(request: Request, agent: CurrentAgent, given: Given) -> Response:
    auth = auth_of(request)
    agent.access.check(Permission.MANAGE_SIGN_IN)
    try:
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            await sign_in_providers.add_provider(
                tx, auth.vault, given, by=Actor("agent", agent.id), now=auth.clock.now()
            )
    except Conflict as error:
        texts = auth.viewer(request, agent).texts
        return await _page(request, agent, status=422, trouble=texts.error(error.sentence), typed={"new": given})
    return RedirectResponse(HERE, status_code=303)


@router.post(HERE + "/members")
async def add_members(request: Request, agent: CurrentAgent, connection: Annotated[int, Form()]) -> Response:
    """Members of a vendor sign in by scanning, through this connection."""
    auth = auth_of(request)
    agent.access.check(Permission.MANAGE_SIGN_IN)
    labels = request.app.state.member_labels
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        vendor = dict(await _ways(request).offers(tx)).get(connection)
        if vendor is None:
            raise NotFound("There is no such connection.")
        name = auth.viewer(request, agent).texts(labels.get(vendor, vendor))
        by, now = Actor("agent", agent.id), auth.clock.now()
        await sign_in_providers.add_members(tx, connection_id=connection, vendor=vendor, name=name, by=by, now=now)
    return RedirectResponse(HERE, status_code=303)


@router.post(HERE + "/{provider_id}")
async def change(request: Request, agent: CurrentAgent, provider_id: int, given: Given) -> Response:
    auth = auth_of(request)
    agent.access.check(Permission.MANAGE_SIGN_IN)
    try:
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            provider = await sign_in_providers.access_provider(tx, provider_id)
            await sign_in_providers.change_provider(
                tx, auth.vault, provider, given, by=Actor("agent", agent.id), now=auth.clock.now()
            )
    except Conflict as error:
        return await _page(request, agent, status=422, trouble=auth.viewer(request, agent).texts.error(error.sentence))
    return RedirectResponse(HERE, status_code=303)


@router.post(HERE + "/{provider_id}/remove")
async def remove(request: Request, agent: CurrentAgent, provider_id: int) -> Response:
    auth = auth_of(request)
    agent.access.check(Permission.MANAGE_SIGN_IN)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        provider = await sign_in_providers.access_provider(tx, provider_id)
        await sign_in_providers.remove_provider(tx, provider, by=Actor("agent", agent.id), now=auth.clock.now())
    return RedirectResponse(HERE, status_code=303)

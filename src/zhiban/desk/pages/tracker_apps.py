"""Registering an app at a tracker: the form that the browser takes there, the code that comes back, what follows."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import Response

from zhiban.channels import inboxes, service
from zhiban.channels.service import Connected
from zhiban.desk import pending_apps
from zhiban.desk.pages.trackers import HERE, Name, show_form, show_one
from zhiban.desk.pending_apps import COOKIE, LIFE, NoSuchApp, PendingApp
from zhiban.desk.settings_page import ManagingTrackers, TrackersPage
from zhiban.desk.setup_form import missing, mistakes, typed_values
from zhiban.kit.errors import Conflict, NotFound, Unavailable, ZhibanError
from zhiban.people.auth import COOKIE as SESSION
from zhiban.ports import AppAddresses, AppCreator, TrackerIntegration, TrackerRefused, TryLater, UnusableValues
from zhiban.ports.setup import Values
from zhiban.web.security import policy_with_form, same_origin

log = logging.getLogger(__name__)

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

APP = HERE + "/app"
SECONDS = 30.0  # for as long a browser waits until the tracker has answered

Code = Annotated[str, Query(max_length=500)]
TypedCode = Annotated[str, Form(max_length=500)]


def _creator(page: TrackersPage, integration: TrackerIntegration) -> AppCreator:
    """Raises NotFound."""
    if integration.app_creator is None:
        raise NotFound("No app can be registered there.")
    return integration.app_creator(page.setup.http, page.setup.settings)


@router.post(APP + "/new")
async def begin(
    page: ManagingTrackers,
    vendor: Annotated[str, Form(max_length=40)],
    owner: Annotated[str, Form(max_length=40)] = "",
    name: Name = "",
) -> Response:
    """What will be registered, and the form that the browser takes there."""
    integration = page.tracker(vendor)
    creator = _creator(page, integration)
    typed = await typed_values(page, creator.fields)
    if errors := missing(page, creator.fields, typed):
        return await show_form(page, integration, app_errors=errors, app_typed=typed, name=name)
    operators = integration.operators(page.setup.settings)
    async with page.transaction() as tx:
        rows = [one for one in await inboxes.connections(tx, part="tracker") if one.vendor == vendor]
        public_id = await service.address_of(tx, integration, typed) or service.new_public_id()
    if any(
        one.public_id == public_id
        and one.removed_at is None
        and service.is_operators_alone(integration, one.config, operators)
        for one in rows
    ):
        reason = page.words(service.OperatorsAlone())
        return await show_form(page, integration, trouble=reason, app_typed=typed, name=name)
    session = page.request.cookies.get(SESSION, "")
    way = pending_apps.begun(
        page.agent.workspace_id,
        session,
        vendor,
        typed,
        name=name.strip(),
        public_id=public_id,
        now=page.now,
    )
    addresses = AppAddresses(
        home=page.address,
        webhook=page.address_of(integration, public_id),
        back=page.address + APP,
        installed=f"{page.address}{APP}/installed/{public_id}",
    )
    try:
        form = creator.form(typed, owner, addresses, state=way.state)
    except UnusableValues as error:
        return await show_form(page, integration, app_errors=mistakes(page, error), app_typed=typed, name=name)
    answer = await page.whole(
        "settings/tracker_app.html",
        headers={"content-security-policy": policy_with_form(form.origin)},
        place=page.place,
        integration=integration,
        form=form,
        asks=creator.asks,
        webhook=addresses.webhook,
        public=bool(page.auth.url),
    )
    return _with_cookie(page, answer, way)


def _with_cookie(page: TrackersPage, answer: Response, way: PendingApp) -> Response:
    answer.set_cookie(
        COOKIE,
        way.sealed(page.setup.vault),
        max_age=int(LIFE.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=page.auth.is_secure(page.request),
        path=APP,
    )
    return answer


@router.get(APP)
async def back(page: ManagingTrackers, state: Code = "", code: Code = "") -> Response:
    """A browser comes back from the tracker."""
    return await _back(page, state, code)


@router.post(APP)
async def again(page: ManagingTrackers, state: TypedCode, code: TypedCode) -> Response:
    """The same code, where the tracker could not be reached before."""
    return await _back(page, state, code)


async def _back(page: TrackersPage, state: str, code: str) -> Response:
    try:
        way = await pending_apps.taken(
            page.setup.vault,
            page.setup.breakers,
            workspace_id=page.agent.workspace_id,
            session=page.request.cookies.get(SESSION, ""),
            cookie=page.request.cookies.get(COOKIE, ""),
            state=state,
            now=page.now,
        )
    except NoSuchApp as error:
        return await _refused(page, error)
    integration = page.tracker(way.vendor)
    try:
        async with asyncio.timeout(SECONDS):
            found = await _creator(page, integration).credentials(way.values, code)
        done = await _connected(page, integration, way, found)
    except TimeoutError:
        return await _refused(page, TryLater("The tracker does not answer in time.", unknown=True))
    except TrackerRefused as error:
        return await _refused(page, error)
    except Unavailable as error:
        log.warning("An app could not be registered: %s", error)
        # What was not sent may be sent again; what may have been carried out has used the code up.
        sent = getattr(error, "unknown", True)
        return await _refused(page, error, way=None if sent else way.again(), code=code)
    except ZhibanError as error:
        return await _refused(page, error)
    page.checks.forget(page.agent.workspace_id, done.id)
    answer = await show_one(page, done.id, made_up=done.made_up) if done.made_up else page.back(f"{HERE}/{done.id}")
    answer.delete_cookie(COOKIE, path=APP)
    return answer


async def _connected(page: TrackersPage, integration: TrackerIntegration, way: PendingApp, found: Values) -> Connected:
    """Keep the app's credentials. Raises Misconfigured, Conflict."""
    async with page.transaction() as tx:
        if await service.address_of(tx, integration, found) not in (None, way.public_id):
            raise Conflict("This account was connected in another way meanwhile: delete the new app at the tracker.")
        return await service.connect(
            tx,
            page.setup.vault,
            integration,
            {name: value for name, value in found.items() if value},
            name=way.name or None,
            operators=integration.operators(page.setup.settings),
            public_id=way.public_id,
            by=page.actor,
            now=page.now,
        )


async def _refused(
    page: TrackersPage, error: ZhibanError, *, way: PendingApp | None = None, code: str = ""
) -> Response:
    """Why nothing came of it; with `way` it can be tried once more."""
    hint = getattr(error, "hint", "")
    answer = await page.whole(
        "settings/tracker_app_failed.html",
        status=409,
        place=page.place,
        trouble=page.texts.error(hint) if hint else page.words(error),
        state=way.state if way is not None else "",
        code=code if way is not None else "",
    )
    if way is not None:
        return _with_cookie(page, answer, way)
    answer.delete_cookie(COOKIE, path=APP)
    return answer


@router.get(APP + "/installed/{public_id}")
async def installed(page: ManagingTrackers, public_id: str) -> Response:
    """A browser comes back from installing the app. Nothing of what it brings is believed: the tracker is asked."""
    async with page.transaction() as tx:
        rows = await inboxes.connections(tx, part="tracker")
    row = next((one for one in rows if one.public_id == public_id and one.removed_at is None), None)
    if row is None:
        raise NotFound("There is no such connection.")
    page.checks.forget(page.agent.workspace_id, row.id)
    return page.back(f"{HERE}/{row.id}")

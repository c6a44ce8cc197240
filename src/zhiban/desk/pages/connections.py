"""Connecting a vendor step by step: what to fill in, what to do there, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import Response
from markupsafe import Markup

from zhiban.channels import gateways, inboxes, service, withdrawing
from zhiban.channels.accounts import find_accounts, take_accounts
from zhiban.channels.connecting import checks_of, is_in_environment, told
from zhiban.channels.gateways import Gateway, ListeningGap
from zhiban.channels.inboxes import ConnectionRow, InboxConfig
from zhiban.channels.setup_progress import SetupFacts, StepProgress, remaining, setup_progress
from zhiban.conversations.queries import last_exchange
from zhiban.desk.page import known
from zhiban.desk.settings_page import CHANNEL_PLACE, InboxesPage, ManagingInboxes
from zhiban.desk.setup_form import LONGEST_NAME, missing, mistakes, plain, shown_again, typed_values, written
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Misconfigured, NotFound, Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.text import size_of
from zhiban.ports import (
    AcceptsSockets,
    ConnectionBroken,
    Integration,
    OffersContactLinks,
    OffersContactWays,
    Streams,
    UnusableValues,
)
from zhiban.web.qr import qr_code
from zhiban.web.render import wants_part
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = CHANNEL_PLACE.home
CONNECTIONS = CHANNEL_PLACE.at
MOST_ACCOUNTS = 100
MOST_SCANNED = 2_000  # bytes that a QR code holds, and a phone still reads

Accounts = Annotated[str, Form(max_length=10_000)]
Name = Annotated[str, Form(max_length=LONGEST_NAME)]


@frozen_dataclass
class _Opened:
    """A connection as its page shows it."""

    row: ConnectionRow
    integration: Integration
    inboxes: list[InboxConfig]
    steps: list[StepProgress]
    link: str = ""  # that opens a chat with one of its accounts
    gateway: Gateway | None = None  # how it stands, where it is listened to
    gaps: Sequence[ListeningGap] = ()
    dials: bool = False  # its program connects to us, and not we to it

    @property
    def left(self) -> int:
        return remaining(self.steps)

    @property
    def tries_again(self) -> bool:
        """Whether asking the vendor again may help without anybody changing a value: the first step is about these."""
        stuck = next((one for one in self.steps if one.step.proof == "vendor" and one.status != "done"), None)
        return stuck is not None and stuck.check is not None and stuck.number > 1


def _integration(page: InboxesPage, vendor: str) -> Integration:
    found = page.integration(vendor)
    if found is None:
        raise NotFound("There is no such channel.")
    return found


# ------------------------------------------------------------------------------------------------------------ new


@router.get(HERE + "/new")
async def new(page: ManagingInboxes, vendor: Annotated[str, Query(max_length=40)] = "") -> Response:
    """Which channel, and then what it needs."""
    if not vendor:
        return await page.whole(
            "settings/channels.html",
            place=page.place,
            choices=[
                (one, one.kinds[0].icon, [page.texts(kind.label) for kind in one.kinds])
                for one in page.setup.integrations.values()
            ],
        )
    return await _form(page, _integration(page, vendor))


async def _form(
    page: InboxesPage,
    integration: Integration,
    *,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    trouble: str = "",
    name: str = "",
    accounts: str = "",
) -> Response:
    return await page.whole(
        "settings/connect.html",
        status=422 if errors or trouble else 200,
        place=page.place,
        integration=integration,
        typed=shown_again(integration.setup.agents_fields, typed or {}),
        errors=errors or {},
        trouble=trouble,
        name=name,
        accounts=accounts,
    )


@router.post(HERE + "/new")
async def connect(
    page: ManagingInboxes, vendor: Annotated[str, Form(max_length=40)], name: Name = "", accounts: Accounts = ""
) -> Response:
    """Store the values, and show the steps. What was made up for it is shown this once."""
    integration = _integration(page, vendor)
    typed = await typed_values(page, integration.setup.agents_fields)
    only = list(dict.fromkeys(accounts.split()))[:MOST_ACCOUNTS]
    again: dict[str, Any] = {"typed": typed, "name": name, "accounts": accounts}
    if errors := missing(page, integration.setup.agents_fields, typed):
        return await _form(page, integration, errors=errors, **again)
    try:
        async with page.transaction() as tx:
            done = await service.connect(
                tx,
                page.setup.vault,
                integration,
                typed,
                name=name.strip() or None,
                operators=integration.operators(page.setup.settings),
                by=page.actor,
                now=page.now,
            )
            if done.changed:
                await page.check_may_change(tx, done.id)
            await service.restrict(tx, done.id, only, by=page.actor, now=page.now)
    except UnusableValues as error:
        return await _form(page, integration, errors=mistakes(page, error), **again)
    except Misconfigured as error:
        return await _form(page, integration, trouble=page.words(error), **again)
    page.checks.forget(page.agent.workspace_id, done.id)
    if not done.made_up:
        return page.back(f"{CONNECTIONS}/{done.id}")
    return await _show(page, done.id, made_up=done.made_up)


# ------------------------------------------------------------------------------------------------------ one of them


async def _opened(page: InboxesPage, tx: Transaction, connection_id: int) -> _Opened:
    """Raises NotFound."""
    row = await inboxes.access_connection(tx, known(connection_id))
    integration = _integration(page, row.vendor)
    if row.verified_at is None:
        await inboxes.note_called(tx, [row])
        row = await inboxes.access_connection(tx, row.id)
    there = await inboxes.inbox_configs(tx, row.id)
    exchange = await last_exchange(tx, [one.id for one in there])
    asked = page.checks.get(page.agent.workspace_id, row.id)
    facts = SetupFacts(
        verified_at=row.verified_at,
        checks=asked[1] if asked else None,
        checked_at=asked[0] if asked else None,
        received_at=exchange.received_at if exchange else None,
        answered_at=exchange.answered_at if exchange else None,
    )
    dials = AcceptsSockets in integration.talents
    stands = await gateways.gateway(tx, row.id) if dials or Streams in integration.talents else None
    gaps = await gateways.gaps(tx, row.id, now=page.now) if stands is not None else ()
    steps = setup_progress(integration.setup, facts)
    return _Opened(row, integration, there, steps, gateway=stands, gaps=gaps, dials=dials)


def _steps(page: InboxesPage, found: _Opened) -> dict[str, Any]:
    return {
        "place": page.place,
        "one": found,
        "callback": page.callback(found.row),
        "said": lambda check: told(check, page.texts),
        "asked": page.checks.get(page.agent.workspace_id, found.row.id) is not None,
        "public": bool(page.auth.url),
        "login_code": _login_code(found.gateway),
    }


def _login_code(gateway: Gateway | None) -> Markup | None:
    """What has to be scanned, while the gateway waits for that."""
    if gateway is None or gateway.state != "scan" or size_of(gateway.qr_code) > MOST_SCANNED:
        return None
    return qr_code(gateway.qr_code)


async def _show(
    page: InboxesPage,
    connection_id: int,
    *,
    made_up: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    typed: Mapping[str, str] | None = None,
    trouble: str = "",
) -> Response:
    async with page.transaction() as tx:
        found = await _opened(page, tx, connection_id)
        may_change = await page.may_change(tx, found.row.id)
    fields = found.integration.setup.fields
    operators = found.integration.operators(page.setup.settings)
    is_operators = service.is_operators_alone(found.integration, found.row.config, operators)
    config = {key: written(value) for key, value in found.row.config.items() if value not in (None, "")}
    return await page.whole(
        "settings/connection.html",
        status=422 if errors or trouble else 200,
        made_up=[(field, made_up[field.name]) for field in fields if made_up and field.name in made_up],
        shown={**config, **(typed or {})},
        fixed={field.name for field in fields if field.identifies and field.name in config},
        may_change=may_change,
        is_operators=is_operators,
        accounts="\n".join(map(str, found.row.config.get("only_accounts") or ())),
        errors=errors or {},
        trouble=trouble,
        knows_friends=OffersContactWays in found.integration.talents,
        in_environment=is_in_environment(found.integration, page.setup.settings, found.row),
        **_steps(page, found),
    )


@router.get(CONNECTIONS + "/{connection_id}")
async def show(page: ManagingInboxes, connection_id: int) -> Response:
    return await _show(page, connection_id)


@router.get(CONNECTIONS + "/{connection_id}/steps")
async def steps(page: ManagingInboxes, connection_id: int) -> Response:
    """The steps as they are now; nobody is asked anything for it."""
    async with page.transaction() as tx:
        found = await _opened(page, tx, connection_id)
    if not wants_part(page.request):
        return page.back(f"{CONNECTIONS}/{found.row.id}")
    return page.part("settings/steps.html", **_steps(page, found))


@router.post(CONNECTIONS + "/{connection_id}/check")
async def check(page: ManagingInboxes, connection_id: int) -> Response:
    """Ask the vendor, and make an inbox of each account that it lets us manage."""
    workspace_id = page.agent.workspace_id
    async with page.transaction() as tx:
        row = await inboxes.access_connection(tx, known(connection_id))
    results = [one async for one in checks_of(page.setup.connections, workspace_id, row)]
    page.checks.put(workspace_id, row.id, results, at=page.now)
    link = ""
    if not any(one.level == "fail" for one in results):
        link = await _took_over(page, row)
    if not wants_part(page.request):
        return page.back(f"{CONNECTIONS}/{row.id}")
    async with page.transaction() as tx:
        found = await _opened(page, tx, row.id)
    return page.part("settings/steps.html", link=link, picture=qr_code(link) if link else "", **_steps(page, found))


async def _took_over(page: InboxesPage, row: ConnectionRow) -> str:
    """Its accounts become inboxes. A link that opens the chat with one of them, where the channel has links."""
    connections, workspace_id = page.setup.connections, page.agent.workspace_id
    try:
        link = await connections.connection(workspace_id, row.id)
        async with page.transaction() as tx:
            ids = await inboxes.inboxes_of(tx, row.id)
        if not ids:  # it is in use, and nothing of it is: what was removed before is wanted again
            await take_accounts(page.auth.database, link, row.config.get("only_accounts") or (), now=page.now)
        await find_accounts(page.auth.database, link, now=page.now)
        async with page.transaction() as tx:
            ids = await inboxes.inboxes_of(tx, row.id)
        for inbox_id in ids:
            channel = (await connections.inbox(workspace_id, inbox_id)).channel
            if isinstance(channel, OffersContactLinks):
                return await channel.contact_link()
    except (Misconfigured, Unavailable, ConnectionBroken, NotFound):
        return ""  # the next check says it
    return ""


@router.post(CONNECTIONS + "/{connection_id}")
async def change(page: ManagingInboxes, connection_id: int, accounts: Accounts = "") -> Response:
    """Take new values over; what was left empty stays. What tells the connection from others cannot be changed."""
    async with page.transaction() as tx:
        row = await inboxes.access_connection(tx, known(connection_id))
    integration = _integration(page, row.vendor)
    typed = await typed_values(page, integration.setup.agents_fields)
    identity = {field.name: row.config.get(field.name) for field in integration.setup.fields if field.identifies}
    values = {**typed, **{name: value for name, value in identity.items() if value not in (None, "")}}
    only = list(dict.fromkeys(accounts.split()))[:MOST_ACCOUNTS]
    again = plain(integration.setup.fields, typed)
    operators = integration.operators(page.setup.settings)
    try:
        async with page.transaction() as tx:
            done = await service.connect(
                tx, page.setup.vault, integration, values, operators=operators, by=page.actor, now=page.now
            )
            if done.changed:
                await page.check_may_change(tx, done.id)
            await service.restrict(tx, done.id, only, by=page.actor, now=page.now)
    except UnusableValues as error:
        return await _show(page, row.id, errors=mistakes(page, error), typed=again)
    except Misconfigured as error:
        return await _show(page, row.id, trouble=page.words(error), typed=again)
    page.checks.forget(page.agent.workspace_id, done.id)
    return page.back(f"{CONNECTIONS}/{done.id}")


@router.post(CONNECTIONS + "/{connection_id}/remove")
async def remove(page: ManagingInboxes, connection_id: int) -> Response:
    """Take it and all its inboxes out of use, and forget its credentials."""
    async with page.transaction() as tx:
        row = await inboxes.access_connection(tx, known(connection_id))
        await page.check_may_change(tx, row.id)
        await withdrawing.disconnect(tx, page.setup.vault, row.id, by=page.actor, now=page.now)
    page.checks.forget(page.agent.workspace_id, row.id)
    return page.back(HERE)

"""Connecting a vendor step by step: what to fill in, what to do there, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import Response
from markupsafe import Markup

from zhiban.channels import gateways, inboxes, service
from zhiban.channels.accounts import find_accounts, take_accounts
from zhiban.channels.connecting import checks_of, is_in_environment, told
from zhiban.channels.gateways import Gateway
from zhiban.channels.inboxes import ConnectionRow, InboxConfig
from zhiban.channels.setup_progress import SetupFacts, StepProgress, remaining, setup_progress
from zhiban.conversations.queries import last_exchange
from zhiban.desk.page import known
from zhiban.desk.settings_page import InboxesPage, ManagingInboxes
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Misconfigured, NotFound, Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.text import size_of
from zhiban.ports import (
    ConnectionBroken,
    Integration,
    OffersContactLinks,
    OffersContactWays,
    SetupField,
    Streams,
    UnusableValues,
)
from zhiban.web.qr import qr_code
from zhiban.web.render import wants_part
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/inboxes"
CONNECTIONS = "/settings/connections"
LONGEST_VALUE = 2_000
VALUE = "v."  # with its name: the form's field for a value of the vendor
MOST_ACCOUNTS = 100
MOST_SCANNED = 2_000  # bytes that a QR code holds, and a phone still reads

Accounts = Annotated[str, Form(max_length=10_000)]
Name = Annotated[str, Form(max_length=60)]


@frozen_dataclass
class _Opened:
    """A connection as its page shows it."""

    row: ConnectionRow
    integration: Integration
    inboxes: list[InboxConfig]
    steps: list[StepProgress]
    link: str = ""  # that opens a chat with one of its accounts
    gateway: Gateway | None = None  # how it stands, where it is listened to

    @property
    def left(self) -> int:
        return remaining(self.steps)

    @property
    def tries_again(self) -> bool:
        """Whether asking the vendor again may help without anybody changing a value: the first step is about these."""
        stuck = next((one for one in self.steps if one.step.proof == "vendor" and one.status != "done"), None)
        return stuck is not None and stuck.check is not None and stuck.number > 1


async def _typed(page: InboxesPage, integration: Integration) -> dict[str, str]:
    """What was typed into the fields of the vendor; an empty one was not given."""
    form = dict(await page.form())
    fields = integration.setup.agents_fields
    typed = {field.name: form.get(VALUE + field.name, "").strip()[:LONGEST_VALUE] for field in fields}
    return {name: value for name, value in typed.items() if value}


def _missing(page: InboxesPage, integration: Integration, typed: Mapping[str, str]) -> dict[str, str]:
    """What stands beside each field that has to be filled in."""
    return {
        field.name: page.texts("这一项要填")
        for field in integration.setup.agents_fields
        if field.required and not typed.get(field.name)
    }


def _mistakes(page: InboxesPage, error: UnusableValues) -> dict[str, str]:
    said = page.words(error) if len(error.fields) == 1 and not str(error).startswith("These") else ""
    return {name: said or page.texts("这样写不能用") for name in error.fields}


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
        return await page.whole("settings/channels.html", integrations=list(page.setup.integrations.values()))
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
    # What was typed as a secret does not come back into the page.
    shown = {field.name: field.default for field in integration.setup.agents_fields}
    shown |= {
        field.name: typed[field.name]
        for field in integration.setup.agents_fields
        if typed and field.name in typed and not field.secret
    }
    return await page.whole(
        "settings/connect.html",
        status=422 if errors or trouble else 200,
        integration=integration,
        typed=shown,
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
    typed = await _typed(page, integration)
    only = list(dict.fromkeys(accounts.split()))[:MOST_ACCOUNTS]
    again: dict[str, Any] = {"typed": typed, "name": name, "accounts": accounts}
    if errors := _missing(page, integration, typed):
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
        return await _form(page, integration, errors=_mistakes(page, error), **again)
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
    listened = await gateways.gateway(tx, row.id) if issubclass(integration.vendor, Streams) else None
    return _Opened(row, integration, there, setup_progress(integration.setup, facts), gateway=listened)


def _steps(page: InboxesPage, found: _Opened) -> dict[str, Any]:
    return {
        "one": found,
        "callback": page.callback(found.row),
        "said": lambda check: told(check, page.texts),
        "asked": page.checks.get(page.agent.workspace_id, found.row.id) is not None,
        "public": bool(page.auth.url),
        "login_code": _login_code(found.gateway),
    }


def _written(value: object) -> object:
    """A value as it is typed in."""
    return str(value).lower() if isinstance(value, bool) else value


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
    is_operators = found.integration.setup.is_operators(found.row.config)
    config = {key: _written(value) for key, value in found.row.config.items() if value not in (None, "")}
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
        knows_friends=issubclass(found.integration.vendor, OffersContactWays),
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
    typed = await _typed(page, integration)
    identity = {field.name: row.config.get(field.name) for field in integration.setup.fields if field.identifies}
    values = {**typed, **{name: value for name, value in identity.items() if value not in (None, "")}}
    only = list(dict.fromkeys(accounts.split()))[:MOST_ACCOUNTS]
    plain = _plain(integration.setup.fields, typed)
    try:
        async with page.transaction() as tx:
            done = await service.connect(tx, page.setup.vault, integration, values, by=page.actor, now=page.now)
            if done.changed:
                await page.check_may_change(tx, done.id)
            await service.restrict(tx, done.id, only, by=page.actor, now=page.now)
    except UnusableValues as error:
        return await _show(page, row.id, errors=_mistakes(page, error), typed=plain)
    except Misconfigured as error:
        return await _show(page, row.id, trouble=page.words(error), typed=plain)
    page.checks.forget(page.agent.workspace_id, done.id)
    return page.back(f"{CONNECTIONS}/{done.id}")


def _plain(fields: Sequence[SetupField], typed: Mapping[str, str]) -> dict[str, str]:
    return {field.name: typed[field.name] for field in fields if not field.secret and field.name in typed}


@router.post(CONNECTIONS + "/{connection_id}/remove")
async def remove(page: ManagingInboxes, connection_id: int) -> Response:
    """Take it and all its inboxes out of use, and forget its credentials."""
    async with page.transaction() as tx:
        row = await inboxes.access_connection(tx, known(connection_id))
        await page.check_may_change(tx, row.id)
        await service.disconnect(tx, page.setup.vault, row.id, by=page.actor, now=page.now)
    page.checks.forget(page.agent.workspace_id, row.id)
    return page.back(HERE)

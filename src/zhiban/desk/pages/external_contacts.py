"""Friends of our members at a vendor: what new ones are told and called, and the QR codes by which they come."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from fastapi.responses import Response

from zhiban.channels import configuring, contact_ways, inboxes
from zhiban.channels.contact_ways import ContactWayRow
from zhiban.channels.inboxes import ConnectionRow
from zhiban.conversations.jobs import CONTACT_WELCOME
from zhiban.desk.page import known
from zhiban.desk.pages.connections import CONNECTIONS
from zhiban.desk.settings_page import InboxesPage, ManagingInboxes
from zhiban.kit.errors import Misconfigured, NotFound, Unavailable
from zhiban.kit.text import clean
from zhiban.ports import ConnectionBroken, ManagesExternalContacts, OffersContactWays, SendRefused, Vendor
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = CONNECTIONS + "/{connection_id}/contacts"
TROUBLES = (Misconfigured, SendRefused, Unavailable, ConnectionBroken)
_MEMBERS = re.compile(r"[\s,，、;；]+")

Words = Annotated[str, Form(max_length=5_000)]
Short = Annotated[str, Form(max_length=100)]


async def _opened(page: InboxesPage, connection_id: int) -> tuple[ConnectionRow, Vendor]:
    """Raises NotFound, also where the vendor knows no friends; Misconfigured where it cannot be opened."""
    async with page.transaction() as tx:
        row = await inboxes.access_connection(tx, known(connection_id))
    integration = page.integration(row.vendor)
    if integration is None or OffersContactWays not in integration.talents:
        raise NotFound("There is no such connection.")
    return row, (await page.setup.connections.connection(page.agent.workspace_id, row.id)).vendor


async def _show(page: InboxesPage, row: ConnectionRow, *, trouble: str = "", **typed: Any) -> Response:
    async with page.transaction() as tx:
        row = await inboxes.access_connection(tx, row.id)
        ways = await contact_ways.kept(tx, row.id)
    texts = configuring.contact_texts(row)
    sources = sorted({**texts.welcome_by_source, **texts.remark_by_source})
    usual = (CONTACT_WELCOME if texts.welcome is None else texts.welcome, texts.remark or "")
    shown: list[tuple[str, str, str]] = [("", *usual)]
    shown += [
        (one, texts.welcome_by_source.get(one, usual[0]), texts.remark_by_source.get(one, usual[1])) for one in sources
    ]
    return await page.whole(
        "settings/external_contacts.html",
        status=422 if trouble else 200,
        row=row,
        texts_of=shown,
        decided=texts.welcome is not None or texts.remark is not None,
        ways=ways,
        trouble=trouble,
        typed={"members": "", "state": "", "remark": "", **typed},
    )


@router.get(HERE)
async def show(page: ManagingInboxes, connection_id: int) -> Response:
    row, _vendor = await _opened(page, connection_id)
    return await _show(page, row)


@router.post(HERE)
async def decide(
    page: ManagingInboxes,
    connection_id: int,
    welcome: Words = "",
    remark: Words = "",
    source: Short = "",
    forget: Annotated[str, Form(max_length=5)] = "",
) -> Response:
    """What new friends of one source, or all, are told and called; with `forget` as if nothing had been decided."""
    row, vendor = await _opened(page, connection_id)
    if not isinstance(vendor, ManagesExternalContacts):
        raise NotFound("There is no such connection.")
    try:
        async with page.transaction() as tx:
            await configuring.set_contact_texts(
                tx,
                row.id,
                welcome=None if forget else welcome.replace("\r\n", "\n"),
                remark=None if forget else remark,
                source=clean(source).strip() or None,
                forget=bool(forget),
                limit=vendor.contact_welcome_bytes,
                by=page.actor,
                now=page.now,
            )
    except Misconfigured as error:
        return await _show(page, row, trouble=page.words(error))
    return page.back(HERE.format(connection_id=row.id))


@router.post(HERE + "/ways")
async def make_way(
    page: ManagingInboxes,
    connection_id: int,
    members: Words = "",
    state: Short = "",
    remark: Short = "",
    verify: Annotated[str, Form(max_length=5)] = "",
) -> Response:
    """A new QR code that leads to these members."""
    row, vendor = await _opened(page, connection_id)
    named = [one for one in _MEMBERS.split(clean(members)) if one]
    typed = {"members": members, "state": state, "remark": remark}
    if not isinstance(vendor, OffersContactWays):
        raise NotFound("There is no such connection.")
    if not named:
        return await _show(page, row, trouble=page.texts("先写要加谁为好友"), **typed)
    try:
        id_, picture = await vendor.contact_way(
            named, state=state.strip(), remark=remark.strip(), skip_verify=not verify
        )
    except TROUBLES as error:
        return await _show(page, row, trouble=page.words(error), **typed)
    way = ContactWayRow(id_, picture, named, state.strip(), remark.strip(), not verify, page.now)
    async with page.transaction() as tx:
        await contact_ways.keep(tx, row.id, way, by=page.actor)
    return page.back(HERE.format(connection_id=row.id))


@router.post(HERE + "/ways/remove")
async def remove_way(
    page: ManagingInboxes, connection_id: int, way: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    """Let the QR code lead nowhere; one that we did not make is left alone."""
    row, vendor = await _opened(page, connection_id)
    async with page.transaction() as tx:
        ours = {one.id for one in await contact_ways.kept(tx, row.id)}
    if way not in ours or not isinstance(vendor, OffersContactWays):
        raise NotFound("There is no such QR code.")
    try:
        await vendor.remove_contact_way(way)
    except TROUBLES as error:
        return await _show(page, row, trouble=page.words(error))
    async with page.transaction() as tx:
        await contact_ways.forget(tx, row.id, way, by=page.actor, now=page.now)
    return page.back(HERE.format(connection_id=row.id))

"""The inboxes: whether they work, which knowledge base answers, pausing, and taking them out of use."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from fastapi.responses import Response

from zhiban.channels import configuring, inboxes, withdrawing
from zhiban.channels.connecting import inbox_state, is_in_environment
from zhiban.desk.page import known
from zhiban.desk.pages.connections import HERE
from zhiban.desk.settings_page import InboxesPage, ManagingInboxes
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, Misconfigured, NotFound, Unavailable
from zhiban.kit.vault import SealBroken
from zhiban.knowledge import queries as knowledge
from zhiban.knowledge.maintenance import add_base
from zhiban.ports import ConnectionBroken, OffersContactLinks, SendRefused
from zhiban.web.qr import qr_code
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

NEW_BASE = "new"  # chosen instead of a base that exists

Name = Annotated[str, Form(max_length=200)]


@router.get(HERE)
async def overview(page: ManagingInboxes) -> Response:
    async with page.transaction() as tx:
        await inboxes.note_called(tx, await inboxes.connections(tx))
        places = [row for row in await inboxes.connections(tx) if row.removed_at is None]
        rows = await inboxes.inboxes(tx)
    links = {row.id: row for row in places}
    return await page.whole(
        "settings/inboxes.html",
        places=[(row, page.integration(row.vendor)) for row in places],
        links=links,
        of=lambda row: [one for one in rows if one.connection_id == row.id and one.archived_at is None],
        gone=[one for one in rows if one.removed_at is not None],
        state=lambda row: inbox_state(row, links[row.connection_id]),
        callback=page.callback,
    )


async def _opened(page: InboxesPage, tx: Transaction, inbox_id: int, **more: Any) -> dict[str, Any]:
    row = await inboxes.access_inbox(tx, known(inbox_id))
    connection = await inboxes.access_connection(tx, row.connection_id)
    others = [one for one in await inboxes.inboxes_of(tx, connection.id) if one != row.id]
    return {
        "row": row,
        "counts": await inboxes.inbox_counts(tx, row.id),
        "connection": connection,
        "integration": page.integration(connection.vendor),
        "state": inbox_state(row, connection),
        "bases": await knowledge.bases(tx),
        "last": not others,
        "in_environment": is_in_environment(page.integration(connection.vendor), page.setup.settings, connection),
        "trouble": "",
        "typed": row.name,
        "has_links": _has_links(page, row.kind, connection.vendor),
        "link": "",
        "picture": "",
        **more,
    }


def _has_links(page: InboxesPage, kind: str, vendor: str) -> bool:
    integration = page.integration(vendor)
    kinds = integration.kinds if integration else ()
    return any(one.kind == kind and OffersContactLinks in one.talents for one in kinds)


async def _show(page: InboxesPage, inbox_id: int, *, status: int = 200, **more: Any) -> Response:
    async with page.transaction() as tx:
        shown = await _opened(page, tx, inbox_id, **more)
    return await page.whole("settings/inbox.html", status=status, **shown)


@router.get(HERE + "/{inbox_id}")
async def show(page: ManagingInboxes, inbox_id: int) -> Response:
    return await _show(page, inbox_id)


@router.post(HERE + "/{inbox_id}")
async def change(
    page: ManagingInboxes,
    inbox_id: int,
    name: Name,
    base: Annotated[str, Form(max_length=200)] = "",
    new_base: Name = "",
) -> Response:
    """What it is called, and which base answers: one that exists, a new one, or the default one."""
    try:
        async with page.transaction() as tx:
            row = await inboxes.access_inbox(tx, known(inbox_id))
            base_id = await _base(page, tx, base, new_base)
            await configuring.rename(tx, row.id, name, by=page.actor, now=page.now)
            await configuring.set_base(tx, row.id, base_id, by=page.actor, now=page.now)
    except Conflict as error:
        return await _show(page, inbox_id, status=422, trouble=page.words(error), typed=name)
    return page.back(f"{HERE}/{inbox_id}")


async def _base(page: InboxesPage, tx: Transaction, slug: str, name: str) -> int | None:
    if slug == NEW_BASE:
        return await add_base(tx, name, by=page.actor, now=page.now)
    if not slug:
        return None
    found = await knowledge.base_by_slug(tx, slug)
    if found is None:
        raise NotFound("There is no such knowledge base.")
    return found.id


@router.post(HERE + "/{inbox_id}/link")
async def link(page: ManagingInboxes, inbox_id: int, scene: Annotated[str, Form(max_length=32)] = "") -> Response:
    """A link that opens the chat; where it came from comes back with everybody who used it."""
    async with page.transaction() as tx:
        row = await inboxes.access_inbox(tx, known(inbox_id))
        connection = await inboxes.access_connection(tx, row.connection_id)
    if not _has_links(page, row.kind, connection.vendor):
        raise NotFound("This inbox has no links of its own.")
    try:
        channel = (await page.setup.connections.inbox(page.agent.workspace_id, row.id)).channel
        if not isinstance(channel, OffersContactLinks):
            raise NotFound("This inbox has no links of its own.")
        url = await channel.contact_link(scene=scene.strip())
    except (Misconfigured, SealBroken, SendRefused, Unavailable, ConnectionBroken) as error:
        return await _show(page, inbox_id, status=422, trouble=page.words(error))
    return await _show(page, inbox_id, link=url, picture=qr_code(url))


@router.post(HERE + "/{inbox_id}/pause")
async def pause(page: ManagingInboxes, inbox_id: int) -> Response:
    async with page.transaction() as tx:
        row = await inboxes.access_inbox(tx, known(inbox_id))
        await withdrawing.pause(tx, row.id, by=page.actor, now=page.now)
    return page.back(f"{HERE}/{row.id}")


@router.post(HERE + "/{inbox_id}/resume")
async def resume(page: ManagingInboxes, inbox_id: int) -> Response:
    async with page.transaction() as tx:
        row = await inboxes.access_inbox(tx, known(inbox_id))
        await withdrawing.resume(tx, row.id, by=page.actor, now=page.now)
    return page.back(f"{HERE}/{row.id}")


@router.post(HERE + "/{inbox_id}/restore")
async def restore(page: ManagingInboxes, inbox_id: int) -> Response:
    """Take it into use again."""
    async with page.transaction() as tx:
        await withdrawing.restore(tx, known(inbox_id), by=page.actor, now=page.now)
    return page.back(f"{HERE}/{inbox_id}")


@router.post(HERE + "/{inbox_id}/remove")
async def remove(page: ManagingInboxes, inbox_id: int) -> Response:
    async with page.transaction() as tx:
        row = await inboxes.access_inbox(tx, known(inbox_id))
        if await withdrawing.remove(tx, page.setup.vault, row.id, by=page.actor, now=page.now):
            await page.check_may_change(tx, row.connection_id)
    return page.back(HERE)

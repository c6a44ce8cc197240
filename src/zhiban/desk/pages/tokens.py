"""API tokens: what programs call the API with. Shown once, known afterwards by name, scopes and last use."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from fastapi.responses import Response

from zhiban.channels.inboxes import inbox_names
from zhiban.desk.page import known
from zhiban.desk.pages.agents import Inboxes
from zhiban.desk.settings_page import InboxesPage, ManagingInboxes
from zhiban.kit.errors import Conflict, NotFound
from zhiban.people import tokens
from zhiban.people.tokens import SCOPE_LABELS, STATE_LABELS, Scope
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/tokens"

Name = Annotated[str, Form(max_length=200)]
Until = Annotated[str, Form(max_length=20)]
Scopes = Annotated[list[Scope], Form()]


async def _show(
    page: InboxesPage,
    *,
    made: str = "",
    trouble: str = "",
    name: str = "",
    until: str = "",
    chosen: tuple[Scope, ...] = tokens.LEAST,
    inbox_ids: Collection[int] | None = None,
) -> Response:
    now = page.now
    async with page.transaction() as tx:
        rows = await tokens.tokens(tx)
        places = await inbox_names(tx)
    return await page.whole(
        "settings/tokens.html",
        here="tokens",
        status=422 if trouble else 200,
        rows=[(row, row.state(now)) for row in rows],
        scopes=SCOPE_LABELS,
        states=STATE_LABELS,
        longest=tokens.LONGEST_NAME,
        tomorrow=(now.astimezone(page.texts.zone).date() + timedelta(days=1)).isoformat(),
        made=made,
        trouble=trouble,
        name=name,
        until=until,
        chosen=chosen,
        inboxes=places,
        inbox_ids=inbox_ids,
    )


@router.get(HERE)
async def show(page: ManagingInboxes) -> Response:
    return await _show(page)


@router.post(HERE)
async def create(
    page: ManagingInboxes,
    name: Name,
    inbox_ids: Inboxes,
    scopes: Scopes = [],  # noqa: B006
    until: Until = "",
) -> Response:
    """Make one and show it: this answer is the only place where it ever stands."""
    try:
        ends = _end_of(page, until)
        async with page.transaction() as tx:
            _, text = await tokens.create(
                tx, name, scopes=scopes, inbox_ids=inbox_ids, expires_at=ends, by=page.agent.id, now=page.now
            )
    except (Conflict, NotFound) as error:
        trouble = page.words(error)
        return await _show(page, trouble=trouble, name=name, until=until, chosen=tuple(scopes), inbox_ids=inbox_ids)
    return await _show(page, made=text, name=name)


def _end_of(page: InboxesPage, until: str) -> datetime | None:
    """The end of a day, as its reader counts days. Raises Conflict."""
    if not until.strip():
        return None
    try:
        day = date.fromisoformat(until.strip())
        return datetime.combine(day + timedelta(days=1), time(), page.texts.zone)
    except (ValueError, OverflowError):
        raise Conflict("A day is written as 2027-01-31.") from None


@router.post(HERE + "/{token_id}/revoke")
async def revoke(page: ManagingInboxes, token_id: int) -> Response:
    """From now on it is worth nothing; twice is once."""
    async with page.transaction() as tx:
        one = await tokens.access_token(tx, known(token_id))
        if one.revoked_at is None:
            await tokens.revoke(tx, one.name, by=page.actor, now=page.now)
    return page.back(HERE)

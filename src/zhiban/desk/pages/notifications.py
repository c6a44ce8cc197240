"""What an agent is told: the list behind the bell, its news for open pages, and how they want to hear of it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from zhiban.desk.checks import chrome_of
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import Texts
from zhiban.kit.jobs import enqueue
from zhiban.notifications import preferences, queries, service
from zhiban.notifications.models import KIND_LABELS, WAY_LABELS, NotificationKind, NotificationRow, Way
from zhiban.notifications.personal import MEMBER, TRY_PERSONAL, check_personal
from zhiban.notifications.wording import line_of, title_of
from zhiban.people.agents import agent_row
from zhiban.people.auth import CurrentAgent, auth_of
from zhiban.people.service import SignedInAgent
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/notifications"
SETTINGS = "/me/notifications"
NEWS = timedelta(minutes=10)  # what is older is no news, and makes no sound

Id = Annotated[int | None, Query(ge=0, lt=1 << 63)]


@router.get(HERE)
async def page(request: Request, agent: CurrentAgent, before: Id = None, unread: bool = False) -> Response:
    auth = auth_of(request)
    viewer = auth.viewer(request, agent)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        rows = await queries.notifications(tx, agent.access, unread=unread, before=before, limit=queries.ROWS + 1)
    shown, more = rows[: queries.ROWS], len(rows) > queries.ROWS
    return auth.renderer.answer(
        "notifications/list.html",
        viewer,
        chrome=await chrome_of(request, agent, "notifications"),
        rows=[(row, title_of(row, viewer.texts), line_of(row, viewer.texts)) for row in shown],
        unread=unread,
        older=shown[-1].id if more else None,
        until=shown[0].id if shown and before is None else None,
    )


@router.get(HERE + "/news")
async def news(request: Request, agent: CurrentAgent, after: Id = None) -> Response:
    """How many are unread, and what an open page does not know yet, as its words and by which ways."""
    auth = auth_of(request)
    texts = auth.viewer(request, agent).texts
    since = auth.clock.now() - NEWS
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        found = await queries.news(tx, agent.access, after=after, since=since)
    told = {"unread": found.unread, "latest": found.latest, "news": [_news(row, texts) for row in found.rows]}
    return JSONResponse(told, headers={"cache-control": "no-store"})


def _news(row: NotificationRow, texts: Texts) -> dict[str, Any]:
    return {
        "id": row.id,
        "conversation": None if row.ticket_id else row.conversation_id,
        "url": row.path,
        "title": title_of(row, texts),
        "text": line_of(row, texts),
        "ways": row.ways,
    }


@router.post(HERE + "/read")
async def read(
    request: Request,
    agent: CurrentAgent,
    conversation: Annotated[int | None, Form(ge=0, lt=1 << 63)] = None,
    until: Annotated[int | None, Form(ge=0, lt=1 << 63)] = None,
) -> Response:
    """What is about the conversation that is looked at is read, or everything up to one."""
    auth = auth_of(request)
    now = auth.clock.now()
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        if conversation is not None:
            await service.read_about(tx, agent.id, conversation, now=now)
        if until is not None:
            await service.read_all(tx, agent.id, until=until, now=now)
    if request.headers.get("accept") == "application/json":
        return Response(status_code=204)
    return RedirectResponse(HERE, status_code=303)


@router.post(HERE + "/{notification_id}")
async def set_read(
    request: Request, agent: CurrentAgent, notification_id: int, read: Annotated[bool, Form()]
) -> Response:
    """One is read, or unread again."""
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        await service.set_read(tx, agent.id, notification_id, read=read, now=auth.clock.now())
    return RedirectResponse(HERE, status_code=303)


# ------------------------------------------------------------------------------------------------------- choosing


async def _settings(
    request: Request, agent: SignedInAgent, *, status: int = 200, trouble: str = "", sent: bool = False
) -> Response:
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        chosen = await preferences.settings_of(tx, agent.id)
        accounts = (await agent_row(tx, agent.id)).accounts
    labels: Mapping[str, str] = request.app.state.member_labels
    return auth.renderer.answer(
        "notifications/settings.html",
        auth.viewer(request, agent),
        status=status,
        chrome=await chrome_of(request, agent, "me"),
        chosen=chosen,
        kinds=KIND_LABELS,
        ways=WAY_LABELS,
        members=[(MEMBER + vendor, labels[vendor], id_) for vendor, id_ in accounts.items() if vendor in labels],
        telegram=chosen.address.partition(":")[2] if chosen.address.startswith("telegram:") else "",
        trouble=trouble,
        sent=sent,
    )


@router.get(SETTINGS)
async def settings(request: Request, agent: CurrentAgent, sent: bool = False) -> Response:
    return await _settings(request, agent, sent=sent)


@router.post(SETTINGS)
async def choose(
    request: Request,
    agent: CurrentAgent,
    minutes: Annotated[int, Form()],
    by: Annotated[str, Form(max_length=80)] = "",
    telegram: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    """By which ways, and where without the desk: `by` is nothing, telegram, or an account of theirs."""
    auth = auth_of(request)
    form = await request.form()
    ways = {kind: [way for way in Way if f"{kind}.{way}" in form] for kind in NotificationKind}
    try:
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            address = f"telegram:{telegram.strip()}" if by == "telegram" else by
            address = check_personal(address, (await agent_row(tx, agent.id)).accounts)
            now = auth.clock.now()
            await preferences.choose(tx, agent.id, ways=ways, address=address, waiting_minutes=minutes, now=now)
    except Conflict as error:
        trouble = auth.viewer(request, agent).texts.error(error.sentence)
        return await _settings(request, agent, status=422, trouble=trouble)
    return RedirectResponse(SETTINGS, status_code=303)


@router.post(SETTINGS + "/try")
async def try_it(request: Request, agent: CurrentAgent) -> Response:
    """A word to where they are reached without the desk."""
    auth = auth_of(request)
    try:
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            chosen = await preferences.settings_of(tx, agent.id)
            if chosen.address:
                await preferences.note_trial(tx, agent.id, now=auth.clock.now())
                key = f"try-{agent.id}-{secrets.token_hex(8)}"
                await enqueue(tx, TRY_PERSONAL.of(key=str(agent.id), agent_id=agent.id, notice_key=key))
    except Conflict as error:
        return await _settings(
            request, agent, status=422, trouble=auth.viewer(request, agent).texts.error(error.sentence)
        )
    return RedirectResponse(SETTINGS + ("?sent=true" if chosen.address else ""), status_code=303)

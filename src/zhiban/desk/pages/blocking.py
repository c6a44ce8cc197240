"""Contacts blocked and unblocked, beside a conversation with them and on their own page."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from zhiban.conversations.access import access_conversation_to_answer
from zhiban.conversations.blocking import block_contact, unblock_contact, undo_block
from zhiban.conversations.service import unblock
from zhiban.desk.request import CurrentRequest, Toast
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import mark
from zhiban.people.auth import CurrentAgent, auth_of
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

A_GROUP = mark("A group cannot be blocked; block one of its members on their page.")


@router.post("/conversations/{conversation_id}/block")
async def block_here(desk: CurrentRequest, conversation_id: int) -> Response:
    """Block the contact; the next waiting conversation opens in its place, as after resolving."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        head = await access_conversation_to_answer(tx, desk.access, conversation_id)
        if head.contact_id is None:
            raise Conflict(A_GROUP)
        await block_contact(tx, desk.access, head.contact_id, now=desk.auth.clock.now())
    return await desk.next(
        conversation_id, Toast(desk.texts("已屏蔽，会话已解决"), f"/conversations/{conversation_id}/undo-block")
    )


@router.post("/conversations/{conversation_id}/unblock")
async def unblock_here(desk: CurrentRequest, conversation_id: int) -> Response:
    """What the contact writes calls somebody again; also what is written in a group that calls nobody."""
    now = desk.auth.clock.now()
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        head = await access_conversation_to_answer(tx, desk.access, conversation_id)
        if head.contact_id is None:
            await unblock(tx, conversation_id, by=desk.actor(), now=now)
        else:
            await unblock_contact(tx, desk.access, head.contact_id, now=now)
    return await desk.live(conversation_id, toast=Toast(desk.texts("已取消屏蔽")))


@router.post("/conversations/{conversation_id}/undo-block")
async def undo_block_here(desk: CurrentRequest, conversation_id: int) -> Response:
    """Everything as it was before; the page goes back to it."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        head = await access_conversation_to_answer(tx, desk.access, conversation_id)
        if head.contact_id is None:
            raise Conflict(A_GROUP)
        await undo_block(tx, desk.access, head.contact_id, now=desk.auth.clock.now())
    return Response(status_code=204, headers={"hx-redirect": f"/conversations/{conversation_id}?{desk.address}"})


@router.post("/contacts/{contact_id}/block")
async def block_there(request: Request, agent: CurrentAgent, contact_id: int) -> Response:
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        await block_contact(tx, agent.access, contact_id, now=auth.clock.now())
    return RedirectResponse(f"/contacts/{contact_id}#h-block", status_code=303)


@router.post("/contacts/{contact_id}/unblock")
async def unblock_there(request: Request, agent: CurrentAgent, contact_id: int) -> Response:
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        await unblock_contact(tx, agent.access, contact_id, now=auth.clock.now())
    return RedirectResponse(f"/contacts/{contact_id}#h-block", status_code=303)

"""Who else has the open conversation before them; its page says every 20 seconds that it is open."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from zhiban.conversations import viewers
from zhiban.conversations.access import access_conversation
from zhiban.desk.request import CurrentRequest
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)


@router.post("/conversations/{conversation_id}/viewing")
async def viewing(desk: CurrentRequest, conversation_id: int) -> Response:
    """It is open here. Answers with the others who have it open, drawn."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation(tx, desk.access, conversation_id)
        now = desk.auth.clock.now()
        others = await viewers.view(tx, conversation_id, agent_id=desk.agent.id, now=now)
    return await desk.answer("desk/viewers.html", viewers=others)


@router.post("/conversations/{conversation_id}/left")
async def left(desk: CurrentRequest, conversation_id: int) -> Response:
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation(tx, desk.access, conversation_id)
        await viewers.leave(tx, conversation_id, agent_id=desk.agent.id)
    return Response(status_code=204)

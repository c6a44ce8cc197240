"""Help with what an agent writes: put differently, translated, or what the conversation is about."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form
from fastapi.responses import JSONResponse, Response

from zhiban.assistant.drafting import LONGEST, DraftAssistant, Style
from zhiban.conversations.access import access_conversation_to_answer
from zhiban.desk.request import CurrentRequest, DeskRequest
from zhiban.kit.errors import Conflict
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)


def _drafting(desk: DeskRequest) -> DraftAssistant:
    if desk.settings.drafting is None:
        raise Conflict("Nobody helps with drafts here.")
    return desk.settings.drafting


@router.post("/conversations/{conversation_id}/drafts/rewritten")
async def rewritten(
    desk: CurrentRequest,
    conversation_id: int,
    style: Annotated[Style, Form()],
    text: Annotated[str, Form(max_length=LONGEST * 5)] = "",
) -> Response:
    """The draft in another style or language. Nothing is stored or sent."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
    return JSONResponse({"text": await _drafting(desk).rewrite(text, style)})


@router.post("/conversations/{conversation_id}/messages/{message_id}/translation")
async def translation(desk: CurrentRequest, conversation_id: int, message_id: int) -> Response:
    """A message of the contact in the reader's language, shown beneath it from now on. Nothing is sent."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
    if desk.settings.translator is None:
        raise Conflict("Nobody translates here.")
    await desk.settings.translator.translate(
        desk.agent.workspace_id, conversation_id, message_id, desk.texts.locale, by=desk.actor()
    )
    return await desk.live(conversation_id)


@router.post("/conversations/{conversation_id}/summary")
async def summary(desk: CurrentRequest, conversation_id: int) -> Response:
    """What the conversation is about, for a note. Nothing is stored."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
    text = await _drafting(desk).summarise(desk.agent.workspace_id, conversation_id, desk.texts)
    return JSONResponse({"text": text})

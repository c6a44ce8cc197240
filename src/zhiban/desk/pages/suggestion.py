"""What the assistant suggests to the agent who has the conversation, why, and that an agent says it is the answer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form
from fastapi.responses import Response

from zhiban.assistant import learning
from zhiban.assistant.learning import SuggestionRef
from zhiban.conversations.access import access_conversation, access_conversation_to_answer
from zhiban.desk.request import CurrentRequest, Toast
from zhiban.desk.suggestion_view import suggestion_view
from zhiban.kit.errors import Conflict
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)


@router.get("/conversations/{conversation_id}/suggestion")
async def suggestion(desk: CurrentRequest, conversation_id: int) -> Response:
    """What the assistant would say. Asked for after the thread is on the screen, because it may take a while."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation(tx, desk.access, conversation_id)
    found = await desk.settings.suggest(desk.agent.workspace_id, conversation_id) if desk.settings.suggest else None
    return await desk.answer("desk/suggestion.html", suggestion=found, conversation_id=conversation_id)


@router.get("/conversations/{conversation_id}/suggestion/why")
async def why(desk: CurrentRequest, conversation_id: int) -> Response:
    """Why it was suggested, or nothing was, and why it was not sent by itself. Looks once more; no model is asked."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        head = await access_conversation(tx, desk.access, conversation_id)
    if desk.settings.explain is None:
        raise Conflict("Nothing is suggested here.")
    reasons = await desk.settings.explain(desk.agent.workspace_id, conversation_id)
    model = desk.settings.drafting is not None and desk.settings.drafting.rewrites
    shown = suggestion_view(reasons, head, desk.texts, model=model)
    return await desk.answer("desk/why.html", why=shown)


@router.post("/conversations/{conversation_id}/suggestion/confirm")
async def confirm_suggestion(
    desk: CurrentRequest, conversation_id: int, ref: Annotated[str, Form(max_length=40)]
) -> Response:
    """The suggestion is the answer, whether or not it is sent."""
    suggested = SuggestionRef.parse(ref)
    if suggested is None:
        raise Conflict("This is no suggestion of ours.")
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        kept = await learning.confirm_suggestion(
            tx, conversation_id, suggested, agent_id=desk.agent.id, now=desk.auth.clock.now()
        )
    words = desk.texts("已记下：这就是答案") if kept else desk.texts("没有新的可记：已经记下，或离开上文说不清")
    return await desk.live(conversation_id, toast=Toast(words))

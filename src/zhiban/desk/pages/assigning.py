"""Whose turn it is, changed at the desk: to an agent, to nobody, to the assistant, to a team; and taken back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from fastapi.responses import Response

from zhiban.conversations import assignment, queries, service
from zhiban.conversations.access import access_conversation_to_answer
from zhiban.conversations.bulk_undo import ASSISTANT, NOBODY
from zhiban.conversations.queries import ThreadHead
from zhiban.conversations.transitions import lock
from zhiban.desk.request import CurrentRequest, DeskRequest, Toast
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import mark
from zhiban.people.permissions import check_may_answer
from zhiban.people.teams import access_team
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)


@router.post("/conversations/{conversation_id}/assign")
async def assign(
    desk: CurrentRequest,
    conversation_id: int,
    to: Annotated[str, Form(max_length=18)],
    was: Annotated[str, Form(max_length=18)] = "",
) -> Response:
    """To me, to a colleague, to nobody, or back to the assistant. `was`: only if it is still theirs, to undo that."""
    now = desk.auth.clock.now()
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        await lock(tx, conversation_id)  # whose it is stays so until it is given
        before = await queries.head(tx, conversation_id)
        if was and was != _holder(before):
            raise Conflict(mark("Somebody has assigned it anew already."))
        if was and before.status not in ("open", "pending"):
            raise Conflict(mark("Somebody has taken it up again already."))
        if (was, to) == (ASSISTANT, NOBODY):
            reason = "reopened"  # as it was before the assistant had it: open, and nobody's
            await service.open_for_people(tx, conversation_id, actor=desk.actor(), now=now, reason=reason)
        words = await _assign(desk, tx, conversation_id, to, now=now)
        after = await queries.head(tx, conversation_id)
    return await desk.live(conversation_id, toast=None if was else _undone(desk, words, before, after))


def _holder(head: ThreadHead) -> str:
    """Who has it, in the words of `assign`."""
    return ASSISTANT if head.status == "pending" else str(head.assignee_id or NOBODY)


def _undone(desk: DeskRequest, words: str, before: ThreadHead, after: ThreadHead) -> Toast:
    """A word about it, and how to give it back; what was resolved or snoozed before has its own way back."""
    there, here = _holder(before), _holder(after)
    if before.status not in ("open", "pending") or there == here:
        return Toast(words)
    mine = there == str(desk.agent.id)
    return Toast(words, f"/conversations/{before.id}/assign", {"to": "me" if mine else there, "was": here})


async def _assign(desk: DeskRequest, tx: Transaction, conversation_id: int, to: str, *, now: Any) -> str:
    match to:
        case "me":
            await service.take(tx, conversation_id, by=desk.agent.id, now=now)
            return desk.texts("由您处理") + await _over(desk, tx, conversation_id, desk.agent.id)
        case _ if to == NOBODY:
            await service.assign(tx, conversation_id, to=None, by=desk.actor(), now=now)
            return desk.texts("已取消分配")
        case _ if to == ASSISTANT:
            await service.return_to_assistant(tx, conversation_id, by=desk.actor(), now=now)
            return desk.texts("已交回值班助手")
    if not to.isdecimal():
        raise Conflict("Choose who is to have the conversation.")
    held = await queries.head(tx, conversation_id)
    name = await check_may_answer(tx, int(to), held.inbox_id)
    await service.give(tx, conversation_id, to=int(to), by=desk.actor(), now=now)
    return desk.texts("已分配给{name}", name=name) + await _over(desk, tx, conversation_id, int(to))


async def _over(desk: DeskRequest, tx: Transaction, conversation_id: int, agent_id: int) -> str:
    """A warning, where the agent has more in hand now than the inbox's policy would give them."""
    inbox_id = (await queries.head(tx, conversation_id)).inbox_id
    over = await assignment.overload(tx, agent_id, inbox_id)
    return desk.texts("，超出了上限：手上{open}个，上限{limit}个", open=over.open, limit=over.limit) if over else ""


@router.post("/conversations/{conversation_id}/team")
async def assign_team(
    desk: CurrentRequest,
    conversation_id: int,
    to: Annotated[str, Form(max_length=18)],
    was: Annotated[str, Form(max_length=18)] = "",
) -> Response:
    """To a team, or to none. The assignee stays. `was`: only if it is still theirs, to undo that."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        before = str((await lock(tx, conversation_id)).team_id or "none")
        if was and was != before:
            raise Conflict(mark("Somebody has assigned it anew already."))
        if to != "none" and not to.isdecimal():
            raise Conflict("Choose which team is to have the conversation.")
        team_id = None if to == "none" else int(to)
        words = desk.texts("不再属于小组")
        if team_id is not None:
            words = desk.texts("已交给小组{name}", name=await access_team(tx, team_id))
        await service.assign_team(tx, conversation_id, to=team_id, by=desk.actor(), now=desk.auth.clock.now())
    if was or to == before:
        return await desk.live(conversation_id, toast=None if was else Toast(words))
    undo = Toast(words, f"/conversations/{conversation_id}/team", {"to": before, "was": to})
    return await desk.live(conversation_id, toast=undo)

"""A group beside its messages: how we behave in it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from fastapi.responses import Response
from pydantic import ValidationError

from zhiban.conversations import groups
from zhiban.conversations.access import access_conversation
from zhiban.conversations.group_policy import WELCOME_SIZE, GroupPolicy
from zhiban.desk.request import CurrentRequest, Toast
from zhiban.kit.errors import Conflict
from zhiban.knowledge import queries as knowledge
from zhiban.people.permissions import Permission
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

Word = Annotated[str, Form(max_length=20)]


@router.post("/conversations/{conversation_id}/group")
async def configure(
    desk: CurrentRequest,
    conversation_id: int,
    answers: Word = "mentioned",
    files: Word = "all",
    replies: Word = "all",
    changes: Word = "admins",
    files_at_once: Word = "",
    files_per_member: Word = "5",
    files_per_group: Word = "50",
    signature: Word = "alias",
    publish_files: Word = "never",
    quiet_from: Word = "",
    quiet_to: Word = "",
    welcome: Annotated[str, Form(max_length=2 * WELCOME_SIZE)] = "",
    welcome_minutes: Word = "5",
    read_only: Word = "",
    news_as: Word = "",
    base: Annotated[str | None, Form(max_length=18)] = None,
) -> Response:
    """Say when the assistant answers there and from which base, who may do what, how speakers are named, what
    everybody may see, whom to greet."""
    values: dict[str, Any] = {
        "answers": answers,
        "files": files,
        "replies": replies,
        "changes": changes,
        "files_at_once": bool(files_at_once),
        "files_per_member": files_per_member,
        "files_per_group": files_per_group,
        "signature": signature,
        "publish_files": publish_files,
        "quiet": f"{quiet_from}-{quiet_to}" if quiet_from and quiet_to else None,
        "welcome": welcome.replace("\r\n", "\n"),
        "welcome_minutes": welcome_minutes,
        "read_only": bool(read_only),
        "timezone": str(desk.texts.zone),
    }
    if news_as:  # asked only where the channel has cards
        values["news_cards"] = news_as == "card"
    if base is not None:  # asked only where there are several
        values["base_id"] = None if base == "inbox" else base
    now = desk.auth.clock.now()
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation(tx, desk.access, conversation_id)
        desk.access.check(Permission.MANAGE_INBOXES)
        # What the form does not ask for stays as it is.
        kept = (await groups.chat_of(tx, conversation_id)).policy.model_dump(mode="json")
        try:
            policy = GroupPolicy.model_validate({**kept, **values})
        except ValidationError:
            raise Conflict("One of these settings is none that a group can have.") from None
        if policy.base_id is not None and policy.base_id != kept["base_id"]:
            await knowledge.base(tx, policy.base_id)
        changed = await groups.configure(tx, conversation_id, policy, by=desk.actor(), now=now)
    words = desk.texts("已保存") if changed else desk.texts("没有变化")
    return await desk.live(conversation_id, toast=Toast(words))

"""What is filled in of conversations: the fields in the settings, and their values beside the open conversation."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response

from zhiban.conversations import attributes
from zhiban.conversations.access import access_conversation_to_answer
from zhiban.desk.labels import FIELD_KIND_LABELS
from zhiban.desk.page import FormPage, known
from zhiban.desk.request import CurrentRequest
from zhiban.kit.errors import Conflict
from zhiban.people import contact_fields
from zhiban.people.auth import CurrentAgent
from zhiban.people.permissions import Permission
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

FIELDS = "/settings/conversation-fields"
# Before a field's name: what is typed; that its checkbox stands in the form; what stood there when it was drawn.
VALUE, SHOWN, WAS = "field.", "shown.", "was."

Words = Annotated[str, Form(max_length=1000)]


class FieldsPage(FormPage):
    section = "conversation-fields"

    async def show(self, *, status: int = 200, trouble: str = "", **values: Any) -> Response:
        async with self.transaction() as tx:
            rows = await attributes.conversation_fields(tx)
        return await self.whole(
            "contact/fields.html",
            status=status,
            trouble=trouble,
            typed=values.get("typed", {}),
            address=FIELDS,
            title=self.texts("会话资料项"),
            intro=self.texts("在会话旁边填，只有同事看得到。规则、宏和视图可以用它们。"),
            rows=rows,
            kinds=FIELD_KIND_LABELS,
            longest=contact_fields.LONGEST_NAME,
            manages=self.access.may(Permission.MANAGE_LABELS),
        )


async def _signed_in(request: Request, agent: CurrentAgent) -> FieldsPage:
    return FieldsPage(request, agent)


CurrentFields = Annotated[FieldsPage, Depends(_signed_in)]


@router.get(FIELDS)
async def show(page: CurrentFields) -> Response:
    return await page.show()


@router.post(FIELDS)
async def add(
    page: CurrentFields,
    name: Words,
    kind: Annotated[str, Form(max_length=20)],
    choices: Annotated[str, Form(max_length=30_000)] = "",
) -> Response:
    page.access.check(Permission.MANAGE_LABELS)
    try:
        async with page.transaction() as tx:
            lines = choices.splitlines()
            await attributes.add_conversation_field(
                tx, name=name, kind=kind, choices=lines, by=page.actor, now=page.now
            )
    except Conflict as error:
        return await page.refused(error, typed={"name": name, "kind": kind, "choices": choices})
    return page.back(FIELDS)


@router.post(FIELDS + "/{field_id}/remove")
async def remove(page: CurrentFields, field_id: int) -> Response:
    page.access.check(Permission.MANAGE_LABELS)
    async with page.transaction() as tx:
        await attributes.remove_conversation_field(tx, known(field_id), by=page.actor, now=page.now)
    return page.back(FIELDS)


@router.post("/conversations/{conversation_id}/attributes")
async def fill_in(desk: CurrentRequest, conversation_id: int) -> Response:
    """What is typed beside the conversation; fields that the form does not hold stay as they are."""
    form = {key: value for key, value in (await desk.request.form()).items() if isinstance(value, str)}
    values = {name.removeprefix(SHOWN): "" for name in form if name.startswith(SHOWN)}
    values |= {name.removeprefix(VALUE): value[:1000] for name, value in form.items() if name.startswith(VALUE)}
    was = {name.removeprefix(WAS): value for name, value in form.items() if name.startswith(WAS)}
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        await attributes.fill_in(tx, conversation_id, values, was, by=desk.actor(), now=desk.auth.clock.now())
    return await desk.live(conversation_id)

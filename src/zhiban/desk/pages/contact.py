"""The page of a contact: what we know of them, their conversations, and making them one with another."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from zhiban.automation.wording import CONTACT_FIELD_LABELS
from zhiban.conversations.contact_labels import contact_labels, label_contact
from zhiban.conversations.labels import labels
from zhiban.conversations.merging import access_contact, conversations_with, merge_contacts
from zhiban.conversations.message_search import search_contacts
from zhiban.conversations.surveys import ratings_of
from zhiban.desk import found
from zhiban.desk.checks import chrome_of
from zhiban.desk.labels import FIELD_KIND_LABELS, WORDS
from zhiban.events import Actor
from zhiban.kit import word_search
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import Texts
from zhiban.people import contact_fields
from zhiban.people.auth import CurrentAgent, auth_of
from zhiban.people.contact_card import ContactChangedMeanwhile, ShownContact, change_contact
from zhiban.people.contact_fields import YES
from zhiban.people.permissions import Permission
from zhiban.people.service import SignedInAgent
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

FIELDS = "/settings/contact-fields"
FOUND = 6

Words = Annotated[str, Form(max_length=1000)]


async def _page(
    request: Request, agent: SignedInAgent, contact_id: int, *, q: str = "", status: int = 200, **values: Any
) -> Response:
    auth = auth_of(request)
    asked = word_search.query(q)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        card = await access_contact(tx, agent.access, contact_id)
        if card.merged_into is not None:
            return RedirectResponse(f"/contacts/{card.merged_into}", status_code=303)
        fields = (*contact_fields.STANDARD, *await contact_fields.contact_fields(tx))
        conversations = await conversations_with(tx, agent.access, contact_id)
        ratings = await ratings_of(tx, contact_id, agent.access, limit=20)
        others = await search_contacts(tx, asked, access=agent.access, most=FOUND + 1)
        all_labels, borne = await labels(tx), await contact_labels(tx, contact_id)
    shown = {"trouble": "", "name_typed": card.name, "remark_typed": card.remark, **values}
    typed = shown.pop("typed", {})
    return auth.renderer.answer(
        "contact/contact.html",
        auth.viewer(request, agent),
        status=status,
        chrome=await chrome_of(request, agent, "contact"),
        card=card,
        fields=fields,
        values={one.name: typed.get(one.name, str(card.attributes.get(one.name) or "")) for one in fields},
        own={key: value for key, value in card.attributes.items() if key not in {one.name for one in fields}},
        conversations=conversations,
        ratings=ratings,
        q=q,
        others=[found.contact_view(one, asked) for one in others if one.contact.id != contact_id][:FOUND],
        labels=all_labels,
        borne=borne,
        may_change=agent.access.may(Permission.ANSWER),
        **WORDS,
        **shown,
    )


@router.get("/contacts/{contact_id}")
async def show(
    request: Request, agent: CurrentAgent, contact_id: int, q: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    return await _page(request, agent, contact_id, q=q)


@router.post("/contacts/{contact_id}")
async def change(
    request: Request, agent: CurrentAgent, contact_id: int, name: Words = "", remark: Words = ""
) -> Response:
    """Fields of the contact are called `field.` and their name; a box that is not ticked comes as `shown.` alone."""
    auth = auth_of(request)
    form = {key: str(value) for key, value in (await request.form()).items()}
    values = {key.removeprefix("shown."): "" for key in form if key.startswith("shown.")}
    values |= {key.removeprefix("field."): value for key, value in form.items() if key.startswith("field.")}
    was = {key.removeprefix("was."): value for key, value in form.items() if key.startswith("was.")}
    shown = ShownContact(form["name_was"], form.get("remark_was", ""), was) if "name_was" in form else None
    agent.access.check(Permission.ANSWER)
    try:
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            await access_contact(tx, agent.access, contact_id)
            by = Actor("agent", agent.id)
            now = auth.clock.now()
            await change_contact(tx, contact_id, name=name, remark=remark, values=values, by=by, now=now, shown=shown)
    except Conflict as error:
        texts = auth.viewer(request, agent).texts
        trouble = texts.error(error.sentence)
        if isinstance(error, ContactChangedMeanwhile):
            trouble = f"{trouble} {_there_now(error, texts)}"
        return await _page(
            request, agent, contact_id, status=422, trouble=trouble, **_typed(shown, name, remark, values)
        )
    return RedirectResponse(f"/contacts/{contact_id}", status_code=303)


def _typed(shown: ShownContact | None, name: str, remark: str, values: dict[str, str]) -> dict[str, Any]:
    """What was typed stays, and saving again takes it; what was left alone is shown as it is by now."""
    if shown is None:
        return {"name_typed": name, "remark_typed": remark, "typed": values}
    typed: dict[str, Any] = {"typed": {key: value for key, value in values.items() if shown.values.get(key) != value}}
    if name != shown.name:
        typed["name_typed"] = name
    if remark != shown.remark:
        typed["remark_typed"] = remark
    return typed


def _there_now(error: ContactChangedMeanwhile, texts: Texts) -> str:
    """What somebody else wrote there, field by field."""
    said = [(texts("名字"), error.name), (texts("备注名"), error.remark)]
    said += [(texts(CONTACT_FIELD_LABELS.get(key, key)), value) for key, value in error.values.items()]
    told = [
        texts("{field}：{value}", field=field, value=texts("是") if value == YES else value or texts("空"))
        for field, value in said
        if value is not None
    ]
    return texts("现在写着：{what}", what=texts("；").join(told))


@router.post("/contacts/{contact_id}/labels")
async def label(
    request: Request,
    agent: CurrentAgent,
    contact_id: int,
    add: Annotated[int | None, Form(ge=1, lt=1 << 63)] = None,
    remove: Annotated[int | None, Form(ge=1, lt=1 << 63)] = None,
) -> Response:
    """Put a label on, or take one off."""
    auth = auth_of(request)
    agent.access.check(Permission.ANSWER)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        await access_contact(tx, agent.access, contact_id)
        await label_contact(
            tx,
            agent.access,
            contact_id,
            add=() if add is None else (add,),
            remove=() if remove is None else (remove,),
            by=Actor("agent", agent.id),
            now=auth.clock.now(),
        )
    return RedirectResponse(f"/contacts/{contact_id}#h-labels", status_code=303)


@router.post("/contacts/{contact_id}/merge")
async def merge(
    request: Request, agent: CurrentAgent, contact_id: int, other: Annotated[int, Form(ge=1, lt=2**62)]
) -> Response:
    """The other becomes this one."""
    auth = auth_of(request)
    agent.access.check(Permission.ANSWER)
    try:
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            by = Actor("agent", agent.id)
            await merge_contacts(tx, agent.access, contact_id, other, by=by, now=auth.clock.now())
    except Conflict as error:
        trouble = auth.viewer(request, agent).texts.error(error.sentence)
        return await _page(request, agent, contact_id, status=422, trouble=trouble)
    return RedirectResponse(f"/contacts/{contact_id}", status_code=303)


# ------------------------------------------------------------------------------------- what there is to fill in


async def _fields_page(request: Request, agent: SignedInAgent, *, status: int = 200, **values: Any) -> Response:
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        rows = await contact_fields.contact_fields(tx)
    shown = {"trouble": "", "typed": {}, **values}
    viewer = auth.viewer(request, agent)
    return auth.renderer.answer(
        "contact/fields.html",
        viewer,
        status=status,
        chrome=await chrome_of(request, agent, "contact-fields"),
        address=FIELDS,
        title=viewer.texts("联系人资料项"),
        intro=viewer.texts("每个联系人都能填名字、电话、邮箱、公司和备忘。还要记别的，在这里加。"),
        rows=rows,
        kinds=FIELD_KIND_LABELS,
        longest=contact_fields.LONGEST_NAME,
        manages=agent.access.may(Permission.MANAGE_LABELS),
        **shown,
    )


@router.get(FIELDS)
async def show_fields(request: Request, agent: CurrentAgent) -> Response:
    return await _fields_page(request, agent)


@router.post(FIELDS)
async def add_field(
    request: Request,
    agent: CurrentAgent,
    name: Words,
    kind: Annotated[str, Form(max_length=20)],
    choices: Annotated[str, Form(max_length=30_000)] = "",
) -> Response:
    auth = auth_of(request)
    agent.access.check(Permission.MANAGE_LABELS)
    try:
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            by = Actor("agent", agent.id)
            await contact_fields.add_contact_field(
                tx, name=name, kind=kind, choices=choices.splitlines(), by=by, now=auth.clock.now()
            )
    except Conflict as error:
        trouble = auth.viewer(request, agent).texts.error(error.sentence)
        typed = {"name": name, "kind": kind, "choices": choices}
        return await _fields_page(request, agent, status=422, trouble=trouble, typed=typed)
    return RedirectResponse(FIELDS, status_code=303)


@router.post(FIELDS + "/{field_id}/remove")
async def remove_field(request: Request, agent: CurrentAgent, field_id: int) -> Response:
    auth = auth_of(request)
    agent.access.check(Permission.MANAGE_LABELS)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        by = Actor("agent", agent.id)
        await contact_fields.remove_contact_field(tx, field_id, by=by, now=auth.clock.now())
    return RedirectResponse(FIELDS, status_code=303)

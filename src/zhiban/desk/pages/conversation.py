"""The desk: the conversation list and the open conversation, and one endpoint for each verb of an agent."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Form
from fastapi.responses import JSONResponse, RedirectResponse, Response

from zhiban.assistant import learning
from zhiban.assistant.learning import SuggestionRef
from zhiban.conversations import followers, queries, replies, service
from zhiban.conversations.access import access_conversation, access_conversation_to_answer
from zhiban.conversations.bulk_undo import check_priority
from zhiban.conversations.contact_labels import contact_labels, label_contact_of
from zhiban.conversations.draft_files import MOST_FILES
from zhiban.conversations.drafts import Mode, save_draft
from zhiban.conversations.labels import access_label, label_names, labels
from zhiban.conversations.list_models import ROWS
from zhiban.conversations.models import Priority
from zhiban.conversations.seen import SeenMessage
from zhiban.conversations.transitions import lock
from zhiban.desk.first_steps import first_steps
from zhiban.desk.labels import PRIORITY_LABELS
from zhiban.desk.pages import (
    action_files,
    assigning,
    attachments,
    attributes,
    blocking,
    command,
    contact,
    draft_files,
    drafting,
    entries,
    group,
    health,
    suggestion,
    ticket_drafts,
    transcript,
    viewers,
    workspaces,
)
from zhiban.desk.pages import bulk as bulk_pages
from zhiban.desk.pages import flows as flow_pages
from zhiban.desk.pages import labels as label_pages
from zhiban.desk.pages import macros as macro_pages
from zhiban.desk.pages import notifications as notification_pages
from zhiban.desk.pages import published_files as published_files_page
from zhiban.desk.pages import search as search_pages
from zhiban.desk.pages import snippets as snippet_pages
from zhiban.desk.pages import survey as survey_page
from zhiban.desk.pages import views as view_pages
from zhiban.desk.request import CurrentRequest, DeskSettings, Limited, Toast
from zhiban.desk.snooze_menu import snooze_until
from zhiban.kit import rich_text
from zhiban.kit.errors import NotFound
from zhiban.notifications.service import read_about
from zhiban.people.agents import close_steps
from zhiban.web.render import wants_part
from zhiban.web.routers import add_routes
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)


def install(app: FastAPI, settings: DeskSettings) -> None:
    """Let `app` serve the desk."""
    app.state.desk = settings
    add_routes(app, router)
    add_routes(app, assigning.router)
    add_routes(app, attachments.router)
    add_routes(app, attributes.router)
    add_routes(app, draft_files.router)
    add_routes(app, action_files.router)
    add_routes(app, group.router)
    add_routes(app, drafting.router)
    add_routes(app, suggestion.router)
    add_routes(app, entries.router)
    add_routes(app, survey_page.router)
    add_routes(app, published_files_page.router)
    add_routes(app, health.router)
    add_routes(app, label_pages.router)
    add_routes(app, snippet_pages.router)
    add_routes(app, macro_pages.router)
    add_routes(app, flow_pages.router)
    add_routes(app, search_pages.router)
    add_routes(app, bulk_pages.router)
    add_routes(app, command.router)
    add_routes(app, view_pages.router)
    add_routes(app, contact.router)
    add_routes(app, blocking.router)
    add_routes(app, transcript.router)
    add_routes(app, viewers.router)
    add_routes(app, ticket_drafts.router)
    add_routes(app, notification_pages.router)
    add_routes(app, workspaces.router)


# ------------------------------------------------------------------------------------------------- reading


@router.get("/")
async def desk_page(desk: CurrentRequest, limit: Limited = ROWS) -> Response:
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        shown = await desk.list(tx, limit=limit)
        steps = await first_steps(tx, desk.access)
    return await desk.answer("desk/desk.html", list=shown, first_steps=steps)


@router.post("/first-steps/close")
async def close_first_steps(desk: CurrentRequest) -> Response:
    """Show this agent no more what is left to do at first. Whoever never sees it has nothing to close."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await close_steps(tx, desk.agent.id, now=desk.auth.clock.now())
    return RedirectResponse("/", status_code=303)


@router.get("/desk/list")
async def list_part(desk: CurrentRequest, limit: Limited = ROWS, live: bool = False) -> Response:
    """Another queue or tab; with `live`, the same one as it is now."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        shown = await desk.list(tx, limit=limit)
    if live:
        return await desk.answer("desk/live_list.html", list=shown)
    # An order is chosen in a field, which cannot say where its list stands.
    headers = {"HX-Push-Url": f"/?{desk.address}"} if "sort" in desk.request.query_params else None
    return await desk.answer("desk/list_part.html", list=shown, headers=headers)


@router.get("/desk/rows")
async def rows_part(desk: CurrentRequest, limit: Limited = ROWS) -> Response:
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        shown = await desk.list(tx, limit=limit)
    return await desk.answer("desk/rows_part.html", list=shown)


@router.get("/conversations/{conversation_id}")
async def open_conversation(desk: CurrentRequest, conversation_id: int, message: int | None = None) -> Response:
    """The page for a visit, the thread for a click on a row; from a little before `message` on. Opening is reading."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        first = None if message is None else await queries.page_with(tx, conversation_id, message)
        thread = await desk.thread(tx, conversation_id, first=first)
        await desk.reads(tx, thread)
        part = wants_part(desk.request)
        shown = await desk.list_beside(tx) if part else await desk.list(tx, current=conversation_id)
    return await desk.answer("desk/open_thread.html" if part else "desk/desk.html", list=shown, thread=thread)


@router.get("/conversations/{conversation_id}/live")
async def live_conversation(
    desk: CurrentRequest,
    conversation_id: int,
    first: int | None = None,
    older_than: int | None = None,
    unread_after: int | None = None,
) -> Response:
    """The open conversation as it is now, part by part, for morphing into the page."""
    return await desk.live(conversation_id, first=first, older_than=older_than, unread_after=unread_after)


# -------------------------------------------------------------------------------------------------- acting


@router.post("/conversations/{conversation_id}/replies")
async def reply(
    desk: CurrentRequest,
    conversation_id: int,
    key: Annotated[str, Form(max_length=64)],
    text: Annotated[str, Form(max_length=20_000)] = "",
    files: Annotated[tuple[int, ...], Form(max_length=MOST_FILES)] = (),
    reply_to: Annotated[int | None, Form(ge=1, lt=1 << 63)] = None,
    adopted: Annotated[str, Form(max_length=40)] = "",
    formatted: Annotated[bool, Form()] = False,
    seen: Annotated[int | None, Form(ge=0, lt=1 << 63)] = None,
) -> Response:
    """Send a reply with the `files` that wait beside it, to the message `reply_to` if one was chosen.

    `adopted` names the suggestion that it was made of, `seen` the last message read before, if any; `formatted`: its
    marks are meant.
    """
    ref = SuggestionRef.parse(adopted)
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        head = await access_conversation_to_answer(tx, desk.access, conversation_id)
        sent = await replies.reply(
            tx,
            conversation_id,
            text=text,
            by=desk.agent.id,
            limits=desk.settings.limits_of(head.channel),
            now=desk.auth.clock.now(),
            client_key=key,
            seen=seen,
            files=files,
            reply_to=reply_to,
            formatted=formatted,
        )
        await save_draft(
            tx, conversation_id, agent_id=desk.agent.id, mode=Mode.REPLY, text="", now=desk.auth.clock.now()
        )
        if sent and ref is not None:
            now = desk.auth.clock.now()
            await learning.record_adoption(tx, conversation_id, ref, reply=text, agent_id=desk.agent.id, now=now)
    return Response(status_code=204)


@router.post("/conversations/{conversation_id}/notes")
async def add_note(
    desk: CurrentRequest, conversation_id: int, text: Annotated[str, Form(max_length=20_000)]
) -> Response:
    now = desk.auth.clock.now()
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        await replies.add_note(tx, conversation_id, text=text, by=desk.actor(), now=now)
        await save_draft(tx, conversation_id, agent_id=desk.agent.id, mode=Mode.NOTE, text="", now=now)
    return Response(status_code=204)


@router.post("/conversations/{conversation_id}/draft")
async def keep_draft(
    desk: CurrentRequest,
    conversation_id: int,
    text: Annotated[str, Form(max_length=200_000)] = "",
    mode: Annotated[Mode, Form()] = Mode.REPLY,
    formatted: Annotated[bool, Form()] = False,
) -> Response:
    """Keep what was typed, longer than could be sent too. Says how many messages a reply of it would take."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        head = await access_conversation_to_answer(tx, desk.access, conversation_id)
        now = desk.auth.clock.now()
        await save_draft(
            tx, conversation_id, agent_id=desk.agent.id, mode=mode, text=text, formatted=formatted, now=now
        )
    parts = desk.settings.limits_of(head.channel).parts(rich_text.plain(text) if formatted else text.strip())
    return JSONResponse({"parts": len(parts)} if mode is Mode.REPLY else {})


@router.post("/conversations/{conversation_id}/read")
async def mark_read(desk: CurrentRequest, conversation_id: int, message_id: Annotated[int, Form()]) -> Response:
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation(tx, desk.access, conversation_id)
        await replies.mark_read(tx, conversation_id, agent_id=desk.agent.id, message_id=message_id)
        await read_about(tx, desk.agent.id, conversation_id, now=desk.auth.clock.now())
    return Response(status_code=204)


@router.post("/conversations/{conversation_id}/resolve")
async def resolve(
    desk: CurrentRequest,
    conversation_id: int,
    seen: Annotated[int | None, Form(ge=0, lt=1 << 63)] = None,
    stay: Annotated[bool, Form()] = False,
) -> Response:
    """Done; the next waiting conversation of this queue opens in its place, or this one stays before whoever wants to
    `stay`. `seen`: the last message read before."""
    now = desk.auth.clock.now()
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        read = None if seen is None else SeenMessage(seen)
        await service.resolve(tx, conversation_id, by=desk.actor(), now=now, reason="agent", seen=read)
    done = Toast(desk.texts("已解决"), f"/conversations/{conversation_id}/undo-resolve")
    return await (desk.live(conversation_id, toast=done) if stay else desk.next(conversation_id, done))


@router.post("/conversations/{conversation_id}/undo-resolve")
async def undo_resolve(desk: CurrentRequest, conversation_id: int) -> Response:
    """Everything as it was before; the page goes back to it."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        await service.undo_resolve(tx, conversation_id, by=desk.agent.id, now=desk.auth.clock.now())
    return Response(status_code=204, headers={"hx-redirect": f"/conversations/{conversation_id}?{desk.address}"})


@router.post("/conversations/{conversation_id}/reopen")
async def reopen(desk: CurrentRequest, conversation_id: int) -> Response:
    """Take it up again: it is the agent's."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        await service.reopen(tx, conversation_id, by=desk.agent.id, now=desk.auth.clock.now())
    return await desk.live(conversation_id, toast=Toast(desk.texts("已重新打开，由您处理")))


@router.post("/conversations/{conversation_id}/snooze")
async def snooze(
    desk: CurrentRequest,
    conversation_id: int,
    until: Annotated[str, Form(max_length=20)] = "",
    at: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    """Until a time that the menu offers, or `at` a date and time in the workspace's zone."""
    now = desk.auth.clock.now()
    back = snooze_until(until, at, now=now, zone=desk.texts.zone)
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        await service.snooze(tx, conversation_id, until=back, by=desk.actor(), now=now)
    said = desk.texts("搁置到{when}", when=desk.texts.due(back, now))
    return await desk.next(conversation_id, Toast(said, f"/conversations/{conversation_id}/undo-snooze"))


@router.post("/conversations/{conversation_id}/undo-snooze")
async def undo_snooze(desk: CurrentRequest, conversation_id: int) -> Response:
    """Everything as it was before; the page goes back to it."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        await service.undo_snooze(tx, conversation_id, by=desk.agent.id, now=desk.auth.clock.now())
    return Response(status_code=204, headers={"hx-redirect": f"/conversations/{conversation_id}?{desk.address}"})


@router.post("/conversations/{conversation_id}/labels")
async def change_labels(
    desk: CurrentRequest,
    conversation_id: int,
    add: Annotated[int | None, Form()] = None,
    remove: Annotated[int | None, Form()] = None,
    undo: Annotated[bool, Form()] = False,
) -> Response:
    """Put a label on, or take one off. `undo`: that is taken back, of which nothing more is said."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        name = "" if (one := add or remove) is None else (await label_names(tx)).get(one, "")
        if add is not None:
            await access_label(tx, add)
        done = await service.change_labels(
            tx,
            conversation_id,
            add=frozenset(() if add is None else (add,)),
            remove=frozenset(() if remove is None else (remove,)),
            by=desk.actor(),
            now=desk.auth.clock.now(),
        )
    if undo or not done.changed:
        return await desk.live(conversation_id)
    words = desk.texts("已加上{label}", label=name) if add is not None else desk.texts("已去掉{label}", label=name)
    back = {"remove" if add is not None else "add": str(one), "undo": "true"}
    return await desk.live(conversation_id, toast=Toast(words, f"/conversations/{conversation_id}/labels", back))


@router.get("/conversations/{conversation_id}/contact-labels")
async def contact_label_menu(desk: CurrentRequest, conversation_id: int) -> Response:
    """The labels to choose from, and which the contact has."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        head = await access_conversation_to_answer(tx, desk.access, conversation_id)
        offered: dict[str, Any] = {"labels": await labels(tx), "worn": await contact_labels(tx, head.contact_id)}
    return await desk.answer("desk/contact_labels.html", conversation_id=conversation_id, **offered)


@router.post("/conversations/{conversation_id}/contact-labels")
async def change_contact_labels(
    desk: CurrentRequest,
    conversation_id: int,
    add: Annotated[int | None, Form(ge=1, lt=1 << 63)] = None,
    remove: Annotated[int | None, Form(ge=1, lt=1 << 63)] = None,
) -> Response:
    """Put a label on the contact, or take one off."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        await label_contact_of(
            tx,
            conversation_id,
            add=() if add is None else (add,),
            remove=() if remove is None else (remove,),
            by=desk.actor(),
            now=desk.auth.clock.now(),
        )
    return await desk.live(conversation_id)


@router.get("/conversations/{conversation_id}/followers")
async def follower_menu(desk: CurrentRequest, conversation_id: int) -> Response:
    """The colleagues to choose from, and who follows."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        head = await access_conversation_to_answer(tx, desk.access, conversation_id)
        agents = await queries.agent_names(tx, head.inbox_id)
        following = {one.id for one in await followers.followers_of(tx, conversation_id)}
    return await desk.answer(
        "desk/follower_menu.html", conversation_id=conversation_id, agents=agents, following=following
    )


@router.post("/conversations/{conversation_id}/followers")
async def change_followers(
    desk: CurrentRequest,
    conversation_id: int,
    add: Annotated[int | None, Form(ge=1, lt=1 << 63)] = None,
    remove: Annotated[int | None, Form(ge=1, lt=1 << 63)] = None,
) -> Response:
    """Let a colleague, or oneself, follow the conversation, or not any more."""
    by, now = desk.actor(), desk.auth.clock.now()
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        if add is not None:
            await followers.add_followers(tx, conversation_id, [add], by=by, now=now)
        if remove is not None:
            await followers.remove_follower(tx, conversation_id, remove, by=by, now=now)
    return await desk.live(conversation_id)


@router.post("/conversations/{conversation_id}/priority")
async def set_priority(
    desk: CurrentRequest,
    conversation_id: int,
    to: Annotated[int, Form(ge=Priority.NONE, le=Priority.URGENT)],
    was: Annotated[int | None, Form(ge=Priority.NONE, le=Priority.URGENT)] = None,
) -> Response:
    """`was`: only if it still has that one, to undo that, of which nothing more is said."""
    now = desk.auth.clock.now()
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        before = await lock(tx, conversation_id)
        if was is not None:
            check_priority(before, Priority(was))
        await service.set_priority(tx, conversation_id, priority=Priority(to), by=desk.actor(), now=now)
    if was is not None or before.priority == to:
        return await desk.live(conversation_id)
    words = desk.texts("优先级：{priority}", priority=desk.texts(PRIORITY_LABELS[to]))
    back = {"to": str(int(before.priority)), "was": str(to)}
    return await desk.live(conversation_id, toast=Toast(words, f"/conversations/{conversation_id}/priority", back))


@router.post("/messages/{message_id}/again")
async def send_again(desk: CurrentRequest, message_id: int) -> Response:
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        found = await tx.row(
            "select m.conversation_id, i.kind from message m join inbox i on i.id = m.inbox_id where m.id = %(id)s",
            id=message_id,
        )
        if found is None:
            raise NotFound("There is no such message.")
        conversation_id, channel = found
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        await replies.send_again(
            tx,
            message_id,
            limits=desk.settings.limits_of(channel),
            by=desk.actor(),
            now=desk.auth.clock.now(),
        )
    return await desk.live(conversation_id)

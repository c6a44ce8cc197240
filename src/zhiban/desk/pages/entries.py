"""What the composer offers beside what is being written: entries of the knowledge, and emoji."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import JSONResponse, Response

from zhiban.assistant.inserting import LONGEST, EntrySearch, cut
from zhiban.conversations.access import access_conversation_to_answer
from zhiban.conversations.drafts import Mode
from zhiban.desk.channel_limits import reply_allowance
from zhiban.desk.page import known
from zhiban.desk.request import CurrentRequest, DeskRequest
from zhiban.kit.errors import Conflict
from zhiban.kit.rich_text import plain
from zhiban.people.permissions import Permission
from zhiban.ports import Limits
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

_NOTE = Limits(text=20_000)  # as much as a note may hold


def _search(desk: DeskRequest) -> EntrySearch:
    if desk.settings.entries is None:
        raise Conflict("Nothing is suggested here.")
    return desk.settings.entries


@router.get("/desk/emoji")
async def emoji(desk: CurrentRequest) -> Response:
    """The panel that emoji are chosen in; they themselves come from our own files."""
    desk.access.check(Permission.ANSWER)
    return await desk.answer("desk/emoji.html")


@router.get("/desk/rich-bar")
async def rich_bar(desk: CurrentRequest) -> Response:
    """The bar with marks for a formatted reply."""
    desk.access.check(Permission.ANSWER)
    return await desk.answer("desk/rich_bar.html")


@router.post("/conversations/{conversation_id}/draft/preview")
async def preview(
    desk: CurrentRequest, conversation_id: int, text: Annotated[str, Form(max_length=20_000)] = ""
) -> Response:
    """A formatted reply as the contact will see it."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        head = await access_conversation_to_answer(tx, desk.access, conversation_id)
    limits = desk.settings.limits_of(head.channel)
    shown = limits.formats and len(limits.parts(plain(text))) == 1 and limits.size(text) <= limits.text
    return await desk.answer("desk/preview.html", source=text, plain=plain(text), shown=shown, formats=limits.formats)


@router.get("/conversations/{conversation_id}/knowledge")
async def found(
    desk: CurrentRequest,
    conversation_id: int,
    q: Annotated[str | None, Query(max_length=LONGEST)] = None,
    typing: bool = False,
) -> Response:
    """What fits `q`; without one the whole panel, with what fits the contact's question. See `EntrySearch.search`."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        head = await access_conversation_to_answer(tx, desk.access, conversation_id)
    shown = await _search(desk).search(desk.agent.workspace_id, conversation_id, head.inbox_id, q or "", typing=typing)
    template = "desk/entries_panel.html" if q is None else "desk/entries.html"
    writes = desk.access.may(Permission.MANAGE_KNOWLEDGE)
    headers = {"cache-control": "no-store"}
    return await desk.answer(template, found=shown, typed=(q or "").strip(), writes=writes, headers=headers)


@router.get("/conversations/{conversation_id}/knowledge/{article_id}")
async def words(
    desk: CurrentRequest,
    conversation_id: int,
    article_id: int,
    chunk: Annotated[int, Query(ge=0, lt=1 << 63)] = 0,
    mode: Mode = Mode.REPLY,
) -> Response:
    """The words of one entry, as much of them as the channel takes in a few messages."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        head = await access_conversation_to_answer(tx, desk.access, conversation_id)
    one = await _search(desk).entry(
        desk.agent.workspace_id, conversation_id, head.inbox_id, article_id=known(article_id), chunk_id=chunk
    )
    limits, left = _NOTE, None
    if mode is Mode.REPLY:
        limits = desk.settings.limits_of(head.channel)
        left = reply_allowance(head, limits, desk.auth.clock.now()).messages
    text, shortened = cut(one.text, limits, left=left)
    told = desk.texts("“{title}”太长，只放了前{n}个字", title=one.title, n=len(text)) if shortened else ""
    return JSONResponse({"text": text, "ref": one.ref, "told": told}, headers={"cache-control": "no-store"})

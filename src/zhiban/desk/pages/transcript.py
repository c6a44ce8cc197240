"""A conversation as a file – plain text, or a page that stands alone – or sent by mail."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import Response

from zhiban.conversations.access import access_conversation, access_conversation_to_answer
from zhiban.conversations.retention import forgotten_in
from zhiban.conversations.transcript_mails import MAIL_LABELS, contact_address, mail_transcript, mails_of
from zhiban.conversations.transcript_words import gone_words, plain_text, said_in
from zhiban.conversations.transcripts import record_transcript, transcript
from zhiban.desk.request import CurrentRequest, DeskRequest, Toast
from zhiban.kit.errors import Conflict
from zhiban.web.file_response import SANDBOX, disposition
from zhiban.web.security import same_origin

router = APIRouter(include_in_schema=False)

TYPES = {"text": ("txt", "text/plain; charset=utf-8"), "html": ("html", "text/html; charset=utf-8")}


@router.get("/conversations/{conversation_id}/transcript")
async def download(
    desk: CurrentRequest,
    conversation_id: int,
    form: Annotated[Literal["text", "html"], Query()] = "text",
    notes: bool = False,
) -> Response:
    """The file to save; that it was taken stands in the log."""
    now = desk.auth.clock.now()
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        head = await access_conversation(tx, desk.agent.access, conversation_id)
        lines = await transcript(tx, conversation_id, notes=notes)
        forgotten = await forgotten_in(tx, conversation_id)
        await record_transcript(tx, conversation_id, rows=len(lines), notes=notes, by=desk.actor(), now=now)
    texts = desk.texts
    said = said_in(lines, head.tag, texts)
    title = texts("会话记录 #{id}", id=head.id)
    missing = gone_words(forgotten, texts, now) if forgotten is not None else ""
    if form == "html":
        shown = {"title": title, "said": said, "inbox": head.inbox_name, "missing": missing}
        content = desk.auth.renderer.html("desk/transcript.html", desk.viewer, shown)
    else:
        # So that every editor takes it for UTF-8.
        content = "\ufeff" + plain_text(f"{title} · {head.inbox_name} · {texts.stamp(now)}", missing, said, texts)
    ending, content_type = TYPES[form]
    return Response(
        content.replace("\r\n", "\n").replace("\n", "\r\n") if form == "text" else content,
        media_type=content_type,
        headers={
            "content-disposition": disposition(f"{title.replace('#', '')}.{ending}", inline=False),
            "content-security-policy": SANDBOX,
            "cache-control": "no-store",
        },
    )


@router.get("/conversations/{conversation_id}/transcript/mail")
async def show_mail(desk: CurrentRequest, conversation_id: int) -> Response:
    """The form of the menu, with what became of the mails before."""
    return await desk.answer("desk/mail.html", mail=await _form(desk, conversation_id))


async def _form(desk: DeskRequest, conversation_id: int) -> dict[str, Any]:
    """A form that sends one mail."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        address = await contact_address(tx, conversation_id)
        sent = await mails_of(tx, conversation_id)
    return {
        "conversation_id": conversation_id,
        "key": secrets.token_urlsafe(12),
        "address": address,
        "sent": sent,
        "words": MAIL_LABELS,
    }


@router.post("/conversations/{conversation_id}/transcript/mail", dependencies=[Depends(same_origin)])
async def send_mail(
    desk: CurrentRequest,
    conversation_id: int,
    to: Annotated[str, Form(max_length=300)],
    key: Annotated[str, Form(min_length=8, max_length=40)],
) -> Response:
    """Send it; pressed twice, the form sends once."""
    async with desk.auth.database.page_transaction(desk.agent.workspace_id) as tx:
        await access_conversation_to_answer(tx, desk.access, conversation_id)
        if not desk.settings.mails:
            raise Conflict("No mail server is set up (SMTP_HOST).")
        await mail_transcript(
            tx,
            conversation_id,
            to=to,
            language=desk.texts.locale,
            key=f"desk-{desk.agent.id}-{key}",
            by=desk.actor(),
            now=desk.auth.clock.now(),
        )
    toast = Toast(desk.texts("会话记录在排队发送"))
    return await desk.live(conversation_id, toast=toast, mail=await _form(desk, conversation_id))

"""A conversation as a file: plain text, or a page that stands alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response

from zhiban.conversations.access import access_conversation
from zhiban.conversations.queries import ThreadHead
from zhiban.conversations.retention import forgotten_in
from zhiban.conversations.transcripts import TranscriptLine, record_transcript, transcript
from zhiban.desk.labels import KIND_LABELS
from zhiban.desk.request import CurrentRequest
from zhiban.kit.i18n import Texts
from zhiban.web.file_response import SANDBOX, disposition

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
    said = [(who_of(one, head, texts), one, tuple(words_of(one, texts))) for one in lines]
    title = texts("会话记录 #{id}", id=head.id)
    missing = ""
    if forgotten is not None:
        day = texts.day(forgotten.at, now)
        missing = texts.n("这里以前的{n}条消息到了保留期限，已经删除（{when}）", forgotten.messages, when=day)
    if form == "html":
        shown = {"title": title, "said": said, "inbox": head.inbox_name, "missing": missing}
        content = desk.auth.renderer.html("desk/transcript.html", desk.viewer, shown)
    else:
        parts = [f"{title} · {head.inbox_name} · {texts.stamp(now)}"]
        parts += [missing] if missing else []
        parts += [f"[{texts.stamp(one.at)}] {who}\n" + "\n".join(words) for who, one, words in said]
        content = "\ufeff" + "\n\n".join(parts) + "\n"  # so that every editor takes it for UTF-8
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


def who_of(line: TranscriptLine, head: ThreadHead, texts: Texts) -> str:
    """Whose words they are, as everybody may read it."""
    match line.writer:
        case "contact":
            return line.name or texts("联系人{tag}", tag=head.tag)
        case "people":
            return line.name or texts("同事")
        case "note":
            return texts("{name}（备注，对方看不到）", name=line.name or texts("规则"))
        case "assistant":
            return texts("值班助手")


def words_of(line: TranscriptLine, texts: Texts) -> Iterator[str]:
    """What stands below the name, line by line."""
    if line.recalled:
        yield texts("（已撤回）")
        return
    yield from line.text.splitlines()
    for number, choice in enumerate(line.choices, 1):
        yield f"{number}. {choice}"
    kind = texts(KIND_LABELS.get(line.kind, line.kind))
    for name in line.files:
        yield f"[{kind}] {name}".rstrip()
    if not (line.text or line.choices or line.files):
        yield f"[{kind}]"

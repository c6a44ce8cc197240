"""The desk: one door for reading, one for each thing an agent does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, FastAPI, Form, Query, Request
from fastapi.responses import FileResponse, Response

from zhiban.assistant.suggesting import Suggestion
from zhiban.conversations import queries, service
from zhiban.conversations.queries import ListView, Queue, Shelf
from zhiban.desk import views
from zhiban.desk.labels import WORDS
from zhiban.desk.pages import health
from zhiban.desk.views import ThreadView
from zhiban.events import Actor
from zhiban.kit.db import Work
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.i18n import Texts
from zhiban.people.auth import Gate, Signed, gate_of
from zhiban.people.service import Member, access_agent
from zhiban.ports import ReplyWindow
from zhiban.web.render import Reader, wants_part
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

# Shown inside the page; anything else is downloaded, because it may carry scripts.
INLINE = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp", "audio/mpeg", "audio/wav", "audio/amr", "video/mp4"}
)

QUEUES = {queue.value: queue for queue in Queue}
SHELVES = {shelf.value: shelf for shelf in Shelf}

WindowOf = Callable[[str], ReplyWindow | None]
Suggest = Callable[[int, int], Awaitable[Suggestion | None]]  # workspace and conversation


@dataclass(frozen=True, slots=True)
class Desk:
    """What the desk needs to know of the installation: reply windows, where files lie, who suggests answers."""

    window_of: WindowOf
    files: Path
    suggest: Suggest | None = None

    def install(self, app: FastAPI) -> None:
        app.state.desk = self
        app.include_router(router)
        app.include_router(health.router)


@dataclass(frozen=True, slots=True)
class Toast:
    """A word about what was just done, and how to undo it."""

    words: str
    undo: str | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a signed-in agent at the desk."""

    request: Request
    member: Member
    gate: Gate
    desk: Desk
    queue: Queue
    shelf: Shelf

    @property
    def reader(self) -> Reader:
        return self.gate.reader(self.request, self.member)

    @property
    def texts(self) -> Texts:
        return self.reader.texts

    def actor(self) -> Actor:
        return Actor("agent", self.member.id)

    async def list(self, work: Work, *, limit: int = queries.ROWS, current: int | None = None) -> ListView:
        return await queries.conversation_list(
            work, self.member.id, queue=self.queue, shelf=self.shelf, limit=limit, current=current
        )

    async def thread(
        self,
        work: Work,
        conversation_id: int,
        *,
        first: int | None = None,
        older_than: int | None = None,
        unread_after: int | None = None,
    ) -> ThreadView:
        """Everything about one conversation. Raises NotFound."""
        now = self.gate.clock.now()
        head = await queries.head(work, conversation_id)
        part = await queries.stretch(work, conversation_id, first=first, older_than=older_than)
        people = await queries.colleagues(work)
        name = head.name or self.texts("访客{tag}", tag=head.tag)
        names = {one.id: one.name for one in people}
        chosen = {row.choice for row in part.rows if row.choice}
        bubbles, happenings = [], []
        for row in part.rows:
            if row.kind == "activity":
                line = views.happening(row, contact=name, names=names)
                if line is not None:
                    happenings.append(line)
            else:
                bubbles.append(views.bubble(row, name, str(head.id), chosen=chosen))
        after = (
            await queries.read_until(work, conversation_id, self.member.id) if unread_after is None else unread_after
        )
        mode, draft = await queries.draft(work, conversation_id, self.member.id)
        return ThreadView(
            head=head,
            entries=views.entries(bubbles, happenings, unread_after=after, zone=self.texts.zone),
            limit=views.limit_of(head, self.desk.window_of(head.channel), now),
            card=await queries.card(work, head),
            colleagues=people,
            first_id=part.first_id,
            last_id=part.last_id,
            has_older=part.has_older,
            unread_after=after,
            snoozes=views.snooze_times(now, self.texts.zone),
            wants_suggestion=self.desk.suggest is not None and head.status == "open" and head.waiting_since is not None,
            last_incoming=max((row.id for row in part.rows if row.author == "contact"), default=0),
            draft=draft,
            draft_mode="note" if mode == "note" else "reply",
        )

    async def answer(
        self, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
    ) -> Response:
        shown = {"thread": None, "toast": None, **WORDS, **values}
        frame = self.gate.frame(self.member, "desk", troubles=await self.gate.troubles(self.member))
        return self.gate.renderer.answer(template, self.reader, status=status, headers=headers, frame=frame, **shown)


async def visit(
    request: Request,
    member: Signed,
    queue: Annotated[str, Query()] = "mine",
    status: Annotated[str, Query()] = "open",
) -> Visit:
    """The request with the queue and tab it looks at; forms carry them as fields."""
    if request.method == "POST":
        form = await request.form()
        queue, status = str(form.get("queue", queue)), str(form.get("status", status))
    return Visit(
        request,
        member,
        gate_of(request),
        request.app.state.desk,
        QUEUES.get(queue, Queue.MINE),
        SHELVES.get(status, Shelf.OPEN),
    )


Visiting = Annotated[Visit, Depends(visit)]
Limited = Annotated[int, Query(ge=1, le=500)]


# ------------------------------------------------------------------------------------------------- reading


@router.get("/")
async def desk(here: Visiting, limit: Limited = queries.ROWS) -> Response:
    async with here.gate.database.session(here.member.workspace_id) as work:
        shown = await here.list(work, limit=limit)
    return await here.answer("desk/desk.html", list=shown)


@router.get("/desk/list")
async def list_part(here: Visiting, limit: Limited = queries.ROWS, live: bool = False) -> Response:
    """Another queue or tab; with `live`, the same one as it is now."""
    async with here.gate.database.session(here.member.workspace_id) as work:
        shown = await here.list(work, limit=limit)
    return await here.answer("desk/live_list.html" if live else "desk/list_part.html", list=shown)


@router.get("/desk/rows")
async def rows_part(here: Visiting, limit: Limited = queries.ROWS) -> Response:
    async with here.gate.database.session(here.member.workspace_id) as work:
        shown = await here.list(work, limit=limit)
    return await here.answer("desk/rows_part.html", list=shown)


@router.get("/conversations/{conversation_id}")
async def open_conversation(here: Visiting, conversation_id: int) -> Response:
    """The page for a visit, the thread for a click on a row. Opening it is reading it."""
    async with here.gate.database.session(here.member.workspace_id) as work:
        thread = await here.thread(work, conversation_id)
        await service.mark_read(work, conversation_id, agent_id=here.member.id, message_id=thread.last_id)
        shown = await here.list(work, current=conversation_id)
    template = "desk/open_thread.html" if wants_part(here.request) else "desk/desk.html"
    return await here.answer(template, list=shown, thread=thread)


@router.get("/conversations/{conversation_id}/live")
async def live_conversation(
    here: Visiting,
    conversation_id: int,
    first: int | None = None,
    older_than: int | None = None,
    unread_after: int | None = None,
) -> Response:
    """The open conversation as it is now, part by part, for morphing into the page."""
    return await _live(here, conversation_id, first=first, older_than=older_than, unread_after=unread_after)


async def _live(
    here: Visit,
    conversation_id: int,
    *,
    toast: Toast | None = None,
    first: int | None = None,
    older_than: int | None = None,
    unread_after: int | None = None,
) -> Response:
    async with here.gate.database.session(here.member.workspace_id) as work:
        thread = await here.thread(work, conversation_id, first=first, older_than=older_than, unread_after=unread_after)
        shown = await here.list(work, current=conversation_id)
    return await here.answer("desk/live_thread.html", list=shown, thread=thread, toast=toast)


@router.get("/conversations/{conversation_id}/suggestion")
async def suggestion(here: Visiting, conversation_id: int) -> Response:
    """What the assistant would say. Asked for after the thread is on the screen, because it may take a while."""
    async with here.gate.database.session(here.member.workspace_id) as work:
        await queries.head(work, conversation_id)
    found = await here.desk.suggest(here.member.workspace_id, conversation_id) if here.desk.suggest else None
    return await here.answer("desk/suggestion.html", suggestion=found)


@router.get("/attachments/{attachment_id}")
async def attachment(here: Visiting, attachment_id: int) -> Response:
    """A stored file. Only pictures, sound and films that cannot carry scripts are shown in the browser."""
    async with here.gate.database.session(here.member.workspace_id) as work:
        row = await work.row(
            "select path, filename, content_type from attachment where id = %(id)s and state = 'stored'",
            id=attachment_id,
        )
    if row is None or row[0] is None:
        raise NotFound("There is no such file.")
    root = here.desk.files.resolve()
    path = (root / row[0]).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise NotFound("There is no such file.")
    kind = (row[2] or "").split(";")[0].strip().lower()
    inline = kind in INLINE
    return FileResponse(
        path,
        media_type=kind if inline else "application/octet-stream",
        filename=row[1] or f"file-{attachment_id}",
        content_disposition_type="inline" if inline else "attachment",
        headers={"cache-control": "private, max-age=86400", "content-security-policy": "default-src 'none'; sandbox"},
    )


# -------------------------------------------------------------------------------------------------- acting


@router.post("/conversations/{conversation_id}/replies")
async def reply(
    here: Visiting,
    conversation_id: int,
    text: Annotated[str, Form(max_length=20_000)],
    key: Annotated[str, Form(max_length=64)],
) -> Response:
    async with here.gate.database.session(here.member.workspace_id) as work:
        head = await queries.head(work, conversation_id)
        await service.reply(
            work,
            conversation_id,
            text=text,
            by=here.member.id,
            window=here.desk.window_of(head.channel),
            now=here.gate.clock.now(),
            client_key=key,
        )
        await service.save_draft(
            work, conversation_id, agent_id=here.member.id, mode="reply", text="", now=here.gate.clock.now()
        )
    return Response(status_code=204)


@router.post("/conversations/{conversation_id}/notes")
async def add_note(here: Visiting, conversation_id: int, text: Annotated[str, Form(max_length=20_000)]) -> Response:
    now = here.gate.clock.now()
    async with here.gate.database.session(here.member.workspace_id) as work:
        await service.add_note(work, conversation_id, text=text, by=here.member.id, now=now)
        await service.save_draft(work, conversation_id, agent_id=here.member.id, mode="note", text="", now=now)
    return Response(status_code=204)


@router.post("/conversations/{conversation_id}/draft")
async def save_draft(
    here: Visiting,
    conversation_id: int,
    text: Annotated[str, Form(max_length=20_000)] = "",
    mode: Annotated[str, Form(pattern="^(reply|note)$")] = "reply",
) -> Response:
    async with here.gate.database.session(here.member.workspace_id) as work:
        await queries.head(work, conversation_id)
        await service.save_draft(
            work, conversation_id, agent_id=here.member.id, mode=mode, text=text, now=here.gate.clock.now()
        )
    return Response(status_code=204)


@router.post("/conversations/{conversation_id}/read")
async def mark_read(here: Visiting, conversation_id: int, message_id: Annotated[int, Form()]) -> Response:
    async with here.gate.database.session(here.member.workspace_id) as work:
        await service.mark_read(work, conversation_id, agent_id=here.member.id, message_id=message_id)
    return Response(status_code=204)


@router.post("/conversations/{conversation_id}/resolve")
async def resolve(here: Visiting, conversation_id: int) -> Response:
    """Done; the next waiting conversation of this queue opens in its place."""
    now = here.gate.clock.now()
    async with here.gate.database.session(here.member.workspace_id) as work:
        await queries.head(work, conversation_id)
        await service.resolve(work, conversation_id, by=here.actor(), now=now, cause="agent")
    async with here.gate.database.session(here.member.workspace_id) as work:
        following = await queries.next_waiting(work, here.member.id, queue=here.queue, after=conversation_id)
        thread = await here.thread(work, following) if following is not None else None
        if thread is not None:
            await service.mark_read(work, thread.head.id, agent_id=here.member.id, message_id=thread.last_id)
        shown = await here.list(work, current=following)
    where = f"/conversations/{following}" if following is not None else "/"
    toast = Toast(here.texts("已解决"), f"/conversations/{conversation_id}/reopen")
    return await here.answer(
        "desk/open_thread.html",
        list=shown,
        thread=thread,
        toast=toast,
        headers={"HX-Push-Url": f"{where}?{urlencode({'queue': here.queue, 'status': here.shelf})}"},
    )


@router.post("/conversations/{conversation_id}/reopen")
async def reopen(here: Visiting, conversation_id: int, undo: Annotated[str, Form()] = "") -> Response:
    """Take it up again; with `undo`, the page goes back to it."""
    async with here.gate.database.session(here.member.workspace_id) as work:
        await service.reopen(work, conversation_id, by=here.member.id, now=here.gate.clock.now())
    if undo:
        where = f"/conversations/{conversation_id}?{urlencode({'queue': here.queue})}"
        return Response(status_code=204, headers={"hx-redirect": where})
    return await _live(here, conversation_id, toast=Toast(here.texts("已重新打开")))


@router.post("/conversations/{conversation_id}/assign")
async def assign(here: Visiting, conversation_id: int, to: Annotated[str, Form()]) -> Response:
    """To me, to a colleague, to nobody, or back to the assistant."""
    now = here.gate.clock.now()
    async with here.gate.database.session(here.member.workspace_id) as work:
        await queries.head(work, conversation_id)
        words = await _assign(here, work, conversation_id, to, now=now)
    return await _live(here, conversation_id, toast=Toast(words))


async def _assign(here: Visit, work: Work, conversation_id: int, to: str, *, now: Any) -> str:
    match to:
        case "me":
            await service.open_by_hand(work, conversation_id, by=here.member.id, now=now)
            return here.texts("由您处理")
        case "nobody":
            await service.assign(work, conversation_id, to=None, by=here.actor(), now=now)
            return here.texts("已取消分配")
        case "assistant":
            await service.hand_back(work, conversation_id, by=here.member.id, now=now)
            return here.texts("已交回值班助手")
    if not to.isdecimal():
        raise Conflict("Choose who is to have the conversation.")
    name = await access_agent(work, int(to))
    held = await queries.head(work, conversation_id)
    if held.status != "open":
        await service.reopen(work, conversation_id, by=here.member.id, now=now)
    await service.assign(work, conversation_id, to=int(to), by=here.actor(), now=now)
    return here.texts("已分配给{name}", name=name)


@router.post("/conversations/{conversation_id}/snooze")
async def snooze(here: Visiting, conversation_id: int, until: Annotated[str, Form()]) -> Response:
    now = here.gate.clock.now()
    times = {key: at for key, _words, at in views.snooze_times(now, here.texts.zone)}
    if until not in times:
        raise Conflict("The time to come back must lie ahead.")
    async with here.gate.database.session(here.member.workspace_id) as work:
        await service.snooze(work, conversation_id, until=times[until], by=here.member.id, now=now)
    toast = Toast(
        here.texts("搁置到{until}", until=here.texts.stamp(times[until])), f"/conversations/{conversation_id}/reopen"
    )
    return await _live(here, conversation_id, toast=toast)


@router.post("/messages/{message_id}/again")
async def send_again(here: Visiting, message_id: int) -> Response:
    async with here.gate.database.session(here.member.workspace_id) as work:
        row = await work.row(
            "select m.conversation_id, i.kind from message m join inbox i on i.id = m.inbox_id where m.id = %(id)s",
            id=message_id,
        )
        if row is None:
            raise NotFound("There is no such message.")
        await service.send_again(work, message_id, window=here.desk.window_of(row[1]), now=here.gate.clock.now())
    return await _live(here, row[0])

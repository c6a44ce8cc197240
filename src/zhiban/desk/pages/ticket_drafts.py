"""Drafts of tickets: of messages that colleagues picked in a conversation, and those that were begun in its chat."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from zhiban.conversations.access import access_conversation_to_answer
from zhiban.conversations.group_policy import GroupPolicy, PublishFiles
from zhiban.conversations.groups import chat_of, publishes
from zhiban.conversations.models import Priority
from zhiban.conversations.published_files import FileToPublish
from zhiban.conversations.queries import ThreadHead, agent_names
from zhiban.conversations.spoken import spoken, spoken_before
from zhiban.desk.labels import GROUP_PUBLISHES, PRIORITY_LABELS
from zhiban.desk.page import LARGEST_ID, FormPage, known
from zhiban.desk.request import DeskSettings
from zhiban.desk.ticket_form import TicketForm, number_of
from zhiban.desk.ticket_view import STATE_TONES, STATE_WORDS, UNUSABLE_WORDS, ticket_names
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark
from zhiban.kit.text import clean
from zhiban.people.auth import CurrentAgent
from zhiban.people.permissions import Permission
from zhiban.tickets import confirming, drafts, filing, publishing, service
from zhiban.tickets.chat_words import covered_words, published_words
from zhiban.tickets.confirming import Confirmation, TicketRequester
from zhiban.tickets.drafts import DESK_LIFE, Requester, TicketDraft, Wish
from zhiban.tickets.freezing import LOOKED_AT, freeze, may_pick, still_there, unusable
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.issue_search import FoundIssue
from zhiban.tickets.issues import access_issue
from zhiban.tickets.models import Ticket, TicketState
from zhiban.tickets.queries import access_ticket, ticket_numbered, tickets_about, tickets_of_issue
from zhiban.tickets.rendering import hidden, shortened_title, speaker_names
from zhiban.tickets.repositories import access_repository, repositories_of
from zhiban.tickets.titling import DESK_SECONDS, Naming, extracted, proposed
from zhiban.tickets.windows import MOST
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)


@frozen_dataclass
class DraftLine:
    """A message of a draft as it will be read: `text` without secrets, `quoted` likewise."""

    id: int
    speaker: str
    name: str
    text: str
    quoted: str
    sent_at: datetime
    files: tuple[FileToPublish, ...] = ()  # that everybody may see, if somebody wants so


class DraftPage(FormPage):
    """One request about messages that were picked, or about the draft `id` that was made of them or in the chat."""

    section = "tickets"

    def __init__(self, request: Request, agent: CurrentAgent, id_: int = 0) -> None:
        super().__init__(request, agent)
        self.id = id_

    @property
    def path(self) -> str:
        return f"/ticket-drafts/{self.id}"

    async def read(self, tx: Transaction) -> tuple[TicketDraft, ThreadHead]:
        """The draft, and the conversation that it comes from. Raises NotFound for a colleague's."""
        draft = await drafts.access_draft(tx, self.id, self.agent.id)
        return draft, await access_conversation_to_answer(tx, self.access, draft.conversation_id)

    def waits(self, draft: TicketDraft) -> bool:
        return draft.state == "open" and draft.expires_at > self.now

    async def show(self, *, status: int = 200, trouble: str = "", **values: Any) -> Response:
        likely = await self._likely()
        async with self.transaction() as tx:
            draft, head = await self.read(tx)
            if draft.ticket_id is not None:
                return self.back(f"/tickets/{draft.ticket_id}")
            shown = await self._shown(tx, draft, head) if self.waits(draft) else {}
        return await self.whole(
            "tickets/draft.html",
            status=status,
            trouble=trouble,
            draft=draft,
            head=head,
            waits=self.waits(draft),
            priorities=PRIORITY_LABELS,
            ticket_words=STATE_WORDS,
            ticket_tones=STATE_TONES,
            joining="join" in self.request.query_params,
            likely=likely,
            **shown,
            **values,
        )

    async def _likely(self) -> list[FoundIssue]:
        """Issues that it may be about, found in no transaction of the page's."""
        similar = self.request.app.state.desk.similar
        async with self.transaction() as tx:
            draft, head = await self.read(tx)
            repository_id = draft.wish.repository_id
            lines = await still_there(tx, head.id, draft.wish.lines)
        if similar is None or repository_id is None or not self.waits(draft):
            return []
        try:
            return list(await similar.likely(self.transaction, repository_id, filing.about(draft.wish.title, lines)))
        except NotFound:  # not reached any more
            return []

    async def _shown(self, tx: Transaction, draft: TicketDraft, head: ThreadHead) -> dict[str, Any]:
        wish = draft.wish
        lines = await still_there(tx, head.id, wish.lines)
        repository = await access_repository(tx, wish.repository_id) if wish.repository_id is not None else None
        signature = filing.signature_for(repository, await signature_of(tx, head))
        publishes = await publishes_of(tx, self.request, head)
        offered = await publishing.offers(tx, head.id, [line.message_id for line in lines], publishes)
        chosen = [one for one in offered if one.attachment_id in wish.publish]
        called = speaker_names(lines, signature, self.texts)
        names = await ticket_names(tx)
        return {
            "lines": [
                DraftLine(
                    line.message_id,
                    line.speaker,
                    called[line.speaker],
                    hidden(line.text, self.texts),
                    hidden(line.quoted, self.texts),
                    line.sent_at,
                    tuple(one for one in offered if one.message_id == line.message_id),
                )
                for line in lines
            ],
            "published": {one.attachment_id for one in chosen},
            "publishing_words": published_words(chosen, repository, self.texts) if repository and chosen else "",
            "files_named": await self._why_named(tx, head, lines, publishes),
            "lost": len(wish.lines) - len(lines),
            "covered": covered_words(lines, self.texts),
            "repository": repository,
            "repositories": [row for row in names.repositories.values() if not row.archived],
            "labels": names.labels,
            "owners": await agent_names(tx, head.inbox_id),
            "tickets": [one for one in await tickets_about(tx, self.access, head.id) if not one.over],
            "due_date": wish.due_at.astimezone(self.texts.zone).date() if wish.due_at else "",
        }

    async def _why_named(
        self, tx: Transaction, head: ThreadHead, lines: Sequence[FrozenLine], publishes: PublishFiles
    ) -> str:
        """Why pictures and files of these messages are only named, where there are some that might be published."""
        if publishes == "all" or not await publishing.offers(tx, head.id, [line.message_id for line in lines], "all"):
            return ""
        settings: DeskSettings = self.request.app.state.desk
        if not settings.surveys.usable:
            return self.texts("图片和文件只写名称：这里还没有设公网地址（ZHIBAN_URL），没法公开。")
        return self.texts("这个群设的是：{what}。", what=self.texts(GROUP_PUBLISHES[publishes]))


async def publishes_of(tx: Transaction, request: Request, head: ThreadHead) -> PublishFiles:
    """What everybody may see of its files: as the group chose; of a chat of two, what a colleague picks."""
    settings: DeskSettings = request.app.state.desk
    if not settings.surveys.usable:
        return "never"
    return await publishes(tx, head.id)


async def signature_of(tx: Transaction, head: ThreadHead) -> str:
    """How the speakers of a conversation are named outside of it."""
    return (await chat_of(tx, head.id)).policy.signature if head.kind == "group" else GroupPolicy().signature


@router.get("/conversations/{conversation_id}/pickable")
async def pickable(request: Request, agent: CurrentAgent, conversation_id: int, first: int = 0) -> JSONResponse:
    """Which messages from `first` on may be put into a ticket, and why others may not."""
    page = DraftPage(request, agent)
    async with page.transaction() as tx:
        head = await access_conversation_to_answer(tx, page.access, known(conversation_id))
        said = await spoken_before(tx, head.id, LARGEST_ID, limit=LOOKED_AT)
    told = {one.id: unusable(one, group=head.kind == "group") for one in said if may_pick(one) and one.id >= first}
    return JSONResponse(
        {
            "yes": [id_ for id_, why in told.items() if why is None],
            "no": {id_: page.texts(UNUSABLE_WORDS[why]) for id_, why in told.items() if why is not None},
            "most": MOST,
        }
    )


@router.post("/conversations/{conversation_id}/ticket-drafts")
async def begin(request: Request, agent: CurrentAgent, conversation_id: int) -> Response:
    """Freeze the messages that were picked; what comes of them is decided on the draft's page."""
    page = DraftPage(request, agent)
    form = TicketForm(await page.form())
    async with page.transaction() as tx:
        head = await access_conversation_to_answer(tx, page.access, known(conversation_id))
        draft, is_new = await _begin(tx, page, head, form)
    if is_new:
        await _name(page, draft)
    return page.back(f"/ticket-drafts/{draft.id}", join="1" if form.last("join") else "")


async def _begin(tx: Transaction, page: DraftPage, head: ThreadHead, form: TicketForm) -> tuple[TicketDraft, bool]:
    """The draft, and whether it was begun by this call."""
    ids = form.numbers("message")
    if len(ids) > MOST:
        raise Conflict(mark(f"A ticket begins with at most {MOST} messages."))
    group = head.kind == "group"
    said = [one for one in await spoken(tx, head.id, ids) if may_pick(one) and unusable(one, group=group) is None]
    if not said:
        raise Conflict(mark("None of these messages can be put into a ticket."))
    before = await drafts.begun_of(tx, head.id, page.agent.id, [one.id for one in said], now=page.now)
    if before is not None:
        return before, False
    lines = await freeze(tx, head.id, said, page.texts)
    linked = [row for row in await repositories_of(tx, head.id) if not row.archived] if group else []
    publish: tuple[int, ...] = ()
    if linked:
        offered = await publishing.offers(tx, head.id, ids, await publishes_of(tx, page.request, head))
        publish = tuple(one.attachment_id for one in offered)
    naming = extracted(lines, page.texts)
    key = f"desk-{page.agent.id}-{head.id}-{form.last('key')[:64] or page.now.timestamp()}"
    draft = await drafts.begin(
        tx,
        head.id,
        Requester(None, page.agent.name, agent_id=page.agent.id),
        Wish(
            lines,
            naming.title,
            naming.summary,
            repository_id=linked[0].id if linked else None,
            publish=publish,
        ),
        message_id=lines[-1].message_id,
        key=key,
        locale=page.texts.locale,
        life=DESK_LIFE,
        now=page.now,
    )
    return (draft, True) if draft is not None else (await drafts.draft_keyed(tx, key), False)  # sent twice


async def _name(page: DraftPage, draft: TicketDraft) -> None:
    """Let a model call it better, if it does so while somebody may wait for the page."""
    settings: DeskSettings = page.request.app.state.desk
    naming = await proposed(draft.wish.lines, page.texts, settings.naming, seconds=DESK_SECONDS)
    if naming == Naming(draft.wish.title, draft.wish.summary):
        return
    async with page.transaction() as tx:
        await drafts.decide(tx, draft.id)
        # What was recalled meanwhile is not to be in it either.
        if (now := await drafts.read_draft(tx, draft.id)).wish == draft.wish and page.waits(now):
            await drafts.rewrite(tx, now, title=naming.title, summary=naming.summary)


@router.get("/ticket-drafts/{draft_id}")
async def draft(request: Request, agent: CurrentAgent, draft_id: int) -> Response:
    """What would become a ticket, as it would be read."""
    agent.access.check(Permission.ANSWER)
    return await DraftPage(request, agent, known(draft_id)).show()


@router.post("/ticket-drafts/{draft_id}")
async def act(request: Request, agent: CurrentAgent, draft_id: int) -> Response:
    """Keep what was changed; then open the ticket, put it to another one or to an issue, or drop it."""
    agent.access.check(Permission.ANSWER)
    page = DraftPage(request, agent, known(draft_id))
    form = TicketForm(await page.form())
    try:
        async with page.transaction() as tx:
            await _save(tx, page, form)
        # What was typed is kept, also where something then stands in the way.
        async with page.transaction() as tx:
            where = await _act(tx, page, form)
    except (Conflict, NotFound) as error:
        return await page.show(status=422, trouble=page.words(error))
    return page.back(where)


async def _save(tx: Transaction, page: DraftPage, form: TicketForm) -> None:
    await drafts.decide(tx, page.id)
    draft, head = await page.read(tx)
    if not page.waits(draft) or form.last("do") == "cancel":
        return
    there = await still_there(tx, head.id, draft.wish.lines)
    wanted = set(form.numbers("message"))
    kept = [line for line in there if line.message_id in wanted]
    if not kept:
        raise Conflict(mark("At least one message has to stay."))
    title, summary = shortened_title(form.last("title").strip()), form.last("summary").strip()
    naming = confirming.naming_of(draft, kept, page.texts)
    if title == draft.wish.title:  # nobody wrote it: it is not to say what was left out
        title = naming.title
    if summary == draft.wish.summary:
        summary = naming.summary
    owner_id, repository_id = form.number("owner"), form.number("repository")
    if owner_id is not None:
        await service.check_may_own(tx, owner_id, head.inbox_id)
    if repository_id is not None:
        await access_repository(tx, repository_id)
    wish = Wish(
        kept,
        title or extracted(kept, page.texts).title,
        clean(summary)[: service.LONGEST_NOTE],
        note=clean(form.last("note"))[: service.LONGEST_NOTE],
        priority=Priority(form.choice("priority", most=4)),
        owner_id=owner_id,
        labels=tuple(form.numbers("label")),
        repository_id=repository_id,
        due_at=form.day("due", page.texts),
        publish=tuple(form.numbers("file")),
    )
    await drafts.revise(tx, draft, wish)


async def _act(tx: Transaction, page: DraftPage, form: TicketForm) -> str:
    """Returns where to go on."""
    await drafts.decide(tx, page.id)
    draft, head = await page.read(tx)
    if draft.ticket_id is not None:  # said twice
        return f"/tickets/{draft.ticket_id}"
    what, _, which = form.last("do").partition(":")
    if what == "cancel":
        await drafts.end(tx, draft, "cancelled", by=page.actor, now=page.now)
        return f"/conversations/{head.id}"
    if not page.waits(draft):
        raise Conflict(mark("This draft is over."))
    lines = await still_there(tx, head.id, draft.wish.lines)
    if not lines:
        raise Conflict(mark("None of these messages can be put into a ticket."))
    yes = Confirmation(
        draft,
        lines,
        _asker(draft, lines),
        head.inbox_id,
        await signature_of(tx, head),
        page.texts if draft.requester.agent_id is not None else Texts(draft.locale),
        page.actor,
        page.now,
        await publishes_of(tx, page.request, head),
    )
    match what:
        case "open":
            ticket, _ = await confirming.file_draft(tx, yes)
        case "join":
            ticket = await confirming.join_draft(tx, yes, await _numbered(tx, page, which or form.last("number")))
        case "issue":
            ticket = await _join_issue(tx, page, yes, number_of(which) or 0)
        case _:
            return page.path
    return f"/tickets/{ticket.id}"


def _asker(draft: TicketDraft, lines: Sequence[FrozenLine]) -> TicketRequester:
    """Who asked for it in the chat; for whom a colleague asks, who spoke first."""
    if draft.requester.contact_id is not None:
        return TicketRequester(draft.requester.contact_id, draft.requester.name)
    asked = next((line for line in lines if line.contact_id is not None), None)
    return TicketRequester(asked.contact_id, asked.alias or asked.name) if asked is not None else TicketRequester()


async def _numbered(tx: Transaction, page: DraftPage, number: str) -> Ticket:
    found = await ticket_numbered(tx, number_of(number.strip().lstrip("#")) or 0)
    ticket = await access_ticket(tx, page.access, found.id if found else 0, lock=True)
    if ticket.state is TicketState.CANCELLED:
        raise Conflict(mark("This ticket was cancelled."))
    return ticket


async def _join_issue(tx: Transaction, page: DraftPage, yes: Confirmation, issue_id: int) -> Ticket:
    """Put it to the issue: with a ticket of the issue that the reader sees, or a new one."""
    issue = await access_issue(tx, issue_id)
    repository = await access_repository(tx, issue.repository_id)
    if repository.id != yes.draft.wish.repository_id:
        raise NotFound("There is no such issue.")
    for ticket in await tickets_of_issue(tx, issue.id):
        seen = ticket.inbox_id is None or page.access.sees(ticket.inbox_id)
        if seen and ticket.state is not TicketState.CANCELLED:
            return await confirming.join_draft(tx, yes, ticket, issue, repository)
    return await confirming.join_draft(tx, yes, None, issue, repository)

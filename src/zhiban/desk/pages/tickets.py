"""Tickets at the desk: the list, the board, one ticket, and opening one that comes from no conversation."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from zhiban.conversations.access import access_conversation, access_conversation_to_answer
from zhiban.conversations.models import Priority
from zhiban.conversations.published_files import PublishedFile, published_for, withdraw_file
from zhiban.conversations.spoken import spoken_before
from zhiban.conversations.transcript_words import KIND_LABELS
from zhiban.desk.labels import PRIORITY_LABELS
from zhiban.desk.page import LARGEST_ID, FormPage, known
from zhiban.desk.ticket_csv import MOST_EXPORTED, export_tickets
from zhiban.desk.ticket_form import TicketForm, number_of
from zhiban.desk.ticket_view import (
    PUBLISH_WORDS,
    STATE_TONES,
    STATE_WORDS,
    UNUSABLE_WORDS,
    actor_words,
    history_words,
    ticket_line,
    ticket_lines,
    ticket_names,
)
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound, ZhibanError
from zhiban.notifications.service import read_about_ticket
from zhiban.people.auth import CurrentAgent
from zhiban.people.permissions import Permission
from zhiban.tickets import file_links, filing, involving, service
from zhiban.tickets.freezing import may_pick, unusable
from zhiban.tickets.masking import partly
from zhiban.tickets.models import UNFINISHED, Audience, NewTicket, Ticket, TicketState
from zhiban.tickets.queries import (
    Filter,
    Order,
    access_ticket,
    comments_of,
    conversations_of,
    history_of,
    readable_messages,
    ticket_counts,
    ticket_list,
    watcher_ids,
)
from zhiban.tickets.rendering import shortened_title
from zhiban.tickets.windows import MOST
from zhiban.web.file_response import csv_response
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/tickets"
PICKED_FROM = 60  # the last messages that may be picked

Text = Annotated[str, Query(max_length=100)]


class TicketPage(FormPage):
    """One request about tickets. `asked` is the list that is looked at, as the address names it."""

    section = "tickets"

    def __init__(self, request: Request, agent: CurrentAgent) -> None:
        super().__init__(request, agent)
        self.asked = {
            name: request.query_params.get(name, "")[:100] for name in ("state", "owner", "label", "due", "q")
        }
        self.opened: int | None = None

    def filter(self) -> Filter:
        asked = self.asked
        states = UNFINISHED
        if asked["state"] in STATE_WORDS:
            states = (TicketState(asked["state"]),)
        elif asked["state"] == "all":
            states = tuple(TicketState)
        owner = {"me": self.agent.id, "nobody": 0}.get(asked["owner"], number_of(asked["owner"]))
        return Filter(states, owner, number_of(asked["label"]), asked["due"], text=asked["q"])

    async def show(self, *, status: int = 200, trouble: str = "", **values: Any) -> Response:
        """The list with one ticket opened: this one, or none."""
        async with self.transaction() as tx:
            names = await ticket_names(tx)
            rows = await ticket_list(tx, self.access, self.filter(), now=self.now)
            shown: dict[str, Any] = {
                "lines": await ticket_lines(tx, rows, names, self.texts, now=self.now),
                "counts": await ticket_counts(tx, self.access, now=self.now),
                "one": await self._one(tx, names) if self.opened is not None else None,
            }
        return await self.whole(
            "tickets/list.html",
            status=status,
            view="list",
            trouble=trouble,
            names=names,
            **self.common,
            **shown,
            **values,
        )

    async def board(self) -> Response:
        async with self.transaction() as tx:
            names = await ticket_names(tx)
            asked = self.filter()
            columns = []
            for state in (*UNFINISHED, TicketState.DONE):
                kept = Filter((state,), asked.owner, asked.label, asked.due, text=asked.text)
                order = Order.NEWEST if state.over else Order.DUE
                rows = await ticket_list(tx, self.access, kept, order=order, now=self.now, limit=50)
                columns.append((state.value, await ticket_lines(tx, rows, names, self.texts, now=self.now)))
            counts = await ticket_counts(tx, self.access, now=self.now)
        return await self.whole(
            "tickets/board.html", view="board", trouble="", names=names, columns=columns, counts=counts, **self.common
        )

    @property
    def common(self) -> dict[str, Any]:
        return {
            "asked": self.asked,
            "query": urlencode({name: value for name, value in self.asked.items() if value and name != "state"}),
            "opened": self.opened is not None,
            "states": STATE_WORDS,
            "tones": STATE_TONES,
            "priorities": PRIORITY_LABELS,
            "writes": self.access.may(Permission.ANSWER),
            "partly": partly,
        }

    async def _one(self, tx: Transaction, names: Any) -> dict[str, Any]:
        ticket = await access_ticket(tx, self.access, self.opened or 0)
        await read_about_ticket(tx, self.agent.id, ticket.id, now=self.now)
        facts = [
            (said, actor_words(fact, names, self.texts), fact.at)
            for fact in await history_of(tx, ticket.id)
            if (said := history_words(fact, names, self.texts, now=self.now))
        ]
        heads = []
        for conversation_id in await conversations_of(tx, ticket.id):
            try:
                heads.append(await access_conversation(tx, self.access, conversation_id))
            except NotFound:
                continue
        watching = await watcher_ids(tx, ticket.id)
        return {
            "line": await ticket_line(tx, ticket, names, self.texts, now=self.now),
            "messages": await readable_messages(tx, self.access, ticket.id),
            "comments": await comments_of(tx, ticket.id),
            "facts": facts,
            "conversations": heads,
            "watchers": [(id_, names.agents[id_]) for id_ in watching if id_ in names.agents],
            "origin": ticket.conversation_id,
            "watched": self.agent.id in watching,
            "files": await self._files(tx, ticket),
            "repository": names.repositories.get(ticket.repository_id or 0),
            "due_date": ticket.due_at.astimezone(self.texts.zone).date() if ticket.due_at else "",
        }

    async def _files(self, tx: Transaction, ticket: Ticket) -> list[tuple[PublishedFile, str]]:
        """What was to be published of it, each with how it stands."""
        seen = {one.message_id for one in await readable_messages(tx, self.access, ticket.id)}
        files = [one for one in await published_for(tx, ticket.id) if one.message_id in seen]
        return [(one, self.texts(PUBLISH_WORDS[one.state])) for one in files]


@router.get(HERE)
async def page(request: Request, agent: CurrentAgent, view: Text = "") -> Response:
    asked = TicketPage(request, agent)
    return await asked.board() if view == "board" else await asked.show()


# -------------------------------------------------------------------------------------------------------- opening


async def _new(
    page: TicketPage, conversation_id: int | None, *, status: int = 200, trouble: str = "", form: TicketForm
) -> Response:
    async with page.transaction() as tx:
        names = await ticket_names(tx)
        head, said = None, []
        if conversation_id is not None:
            head = await access_conversation_to_answer(tx, page.access, known(conversation_id))
            found = await spoken_before(tx, head.id, LARGEST_ID, limit=PICKED_FROM)
            said = [(one, unusable(one, group=head.kind == "group")) for one in found if may_pick(one)]
    return await page.whole(
        "tickets/new.html",
        status=status,
        trouble=trouble,
        names=names,
        head=head,
        said=said,
        picked=set(form.values.get("message", ())),
        typed={name: values[-1] for name, values in form.values.items() if values},
        chosen=set(form.values.get("label", ())),
        most=MOST,
        kinds=KIND_LABELS,
        why_not=UNUSABLE_WORDS,
        **page.common,
    )


@router.get(HERE + "/new")
async def new(request: Request, agent: CurrentAgent, conversation: Annotated[int | None, Query()] = None) -> Response:
    """A form for a ticket of its own; of a conversation, its messages to pick from."""
    agent.access.check(Permission.ANSWER)
    return await _new(TicketPage(request, agent), conversation, form=TicketForm([]))


@router.post(HERE)
async def open_ticket(request: Request, agent: CurrentAgent) -> Response:
    """A new ticket that comes from no conversation."""
    agent.access.check(Permission.ANSWER)
    page = TicketPage(request, agent)
    form = TicketForm(await page.form())
    try:
        async with page.transaction() as tx:
            ticket_id = await _open(tx, page, form)
    except (Conflict, NotFound) as error:
        return await _new(page, None, status=422, trouble=page.words(error), form=form)
    return page.back(f"{HERE}/{ticket_id}")


async def _open(tx: Transaction, page: TicketPage, form: TicketForm) -> int:
    owner_id = form.number("owner")
    if owner_id is not None:
        await service.check_may_own(tx, owner_id, None)
    ticket = await service.open_ticket(
        tx,
        NewTicket(
            shortened_title(form.last("title").strip()),
            note=form.last("note"),
            priority=Priority(form.choice("priority", most=4)),
            owner_id=owner_id,
            due_at=form.day("due", page.texts),
            labels=tuple(form.numbers("label")),
            repository_id=form.number("repository"),
        ),
        key=f"desk-{page.agent.id}-{form.last('key') or page.now.timestamp()}",
        by=page.actor,
        now=page.now,
    )
    await filing.file(tx, ticket, source="", texts=page.texts, by=page.actor, now=page.now)
    return ticket.id


@router.post(HERE + "/export")
async def export(request: Request, agent: CurrentAgent) -> Response:
    """The list that is looked at as CSV."""
    agent.access.check(Permission.ANSWER)
    page = TicketPage(request, agent)
    page.asked |= {name: value[:100] for name, value in await page.form() if name in page.asked}
    async with page.transaction() as tx:
        names = await ticket_names(tx)
        rows = await ticket_list(tx, page.access, page.filter(), now=page.now, limit=MOST_EXPORTED)
        lines = await ticket_lines(tx, rows, names, page.texts, now=page.now)
        text = await export_tickets(tx, lines, names, page.texts, by=page.actor, now=page.now)
    return csv_response(text, f"tickets-{page.now.astimezone(page.texts.zone):%Y-%m-%d}.csv")


# ----------------------------------------------------------------------------------------------------- one ticket


@router.get(HERE + "/{ticket_id}")
async def ticket(request: Request, agent: CurrentAgent, ticket_id: int) -> Response:
    page = TicketPage(request, agent)
    page.opened = known(ticket_id)
    return await page.show()


@router.post(HERE + "/{ticket_id}")
async def change(request: Request, agent: CurrentAgent, ticket_id: int) -> Response:
    """Whatever of the ticket the form names becomes so."""
    agent.access.check(Permission.ANSWER)
    page = TicketPage(request, agent)
    page.opened = known(ticket_id)
    form = TicketForm(await page.form())
    try:
        async with page.transaction() as tx:
            found = await access_ticket(tx, page.access, page.opened, lock=True)
            await _change(tx, page, found, form)
    except ZhibanError as error:
        if not isinstance(error, Conflict | NotFound):
            raise
        return await page.refused(error, said=form.last("comment"))
    return page.back(f"{HERE}/{ticket_id}")


async def _change(tx: Transaction, page: TicketPage, ticket: Ticket, form: TicketForm) -> None:
    id_, by, now = ticket.id, page.actor, page.now
    if "title" in form:
        await service.retitle(tx, id_, form.last("title"), by=by, now=now)
    if (state := form.last("state")) in STATE_WORDS:
        await service.set_state(tx, id_, TicketState(state), by=by, now=now)
    if "owner" in form:
        await service.set_owner(tx, id_, form.number("owner"), by=by, now=now)
    if "due" in form:
        await service.set_due(tx, id_, form.day("due", page.texts), by=by, now=now)
    if "priority" in form:
        await service.set_priority(tx, id_, Priority(form.choice("priority", most=4)), by=by, now=now)
    if "labels" in form:
        await service.set_labels(tx, id_, form.numbers("label"), by=by, now=now)
    await _involve(tx, page, ticket, form)
    if (file_id := form.number("withdraw")) is not None:
        gone = await withdraw_file(tx, id_, file_id, by=by, now=now)
        await file_links.write_without(tx, gone, key=f"file-{file_id}-{now.timestamp()}", now=now)
    if "repository" in form and (repository_id := form.number("repository")) is not None:
        await filing.move_to(tx, id_, repository_id, texts=page.texts, by=by, now=now)
    if "comment" in form:
        await _comment(tx, page, ticket, form)


async def _involve(tx: Transaction, page: TicketPage, ticket: Ticket, form: TicketForm) -> None:
    """Who watches it, and which conversations have to do with it."""
    id_, by, now = ticket.id, page.actor, page.now
    if "watch" in form:
        verb = involving.watch if form.last("watch") == "yes" else involving.unwatch
        await verb(tx, id_, page.agent.id, by=by, now=now)
    for name, person in (("watcher", involving.watch), ("unwatcher", involving.unwatch)):
        if (agent_id := form.number(name)) is not None:
            if name == "watcher":
                await service.check_may_see(tx, agent_id, ticket.inbox_id)
            await person(tx, id_, agent_id, by=by, now=now)
    for name, tie in (("link", involving.link), ("unlink", involving.unlink)):
        if name in form:
            conversation_id = number_of(form.last(name).strip().lstrip("#"))
            head = await access_conversation_to_answer(tx, page.access, known(conversation_id or 0))
            await tie(tx, id_, head.id, by=by, now=now)


async def _comment(tx: Transaction, page: TicketPage, ticket: Ticket, form: TicketForm) -> None:
    key = f"desk-{page.agent.id}-{form.last('key') or page.now.timestamp()}"
    audience = Audience.ISSUE if form.last("audience") == "issue" else Audience.DESK
    text = form.last("comment")
    done = await involving.comment(
        tx, ticket.id, text, audience=audience, name=page.agent.name, key=key, by=page.actor, now=page.now
    )
    if done is not None:
        await filing.write_comment(
            tx, ticket, text, audience=audience, key=key, texts=page.texts, by=page.actor, now=page.now
        )

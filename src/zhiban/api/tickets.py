"""The JSON API of tickets: list, look at, open, change, comment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from zhiban.api.auth import Caller, TicketReader, TicketWriter
from zhiban.api.calls import IdempotencyKey, own_key, transaction_of
from zhiban.api.knowledge import TROUBLES, CleanText, Now, Rows, Trouble
from zhiban.api.ticket_models import (
    LARGEST_ID,
    TicketChangeIn,
    TicketCommentIn,
    TicketCommentOut,
    TicketDetail,
    TicketFactOut,
    TicketIn,
    TicketMessageOut,
    TicketOut,
    TicketsOut,
    TicketWords,
    priority_name,
)
from zhiban.conversations.access import access_conversation, access_conversation_to_answer, visible
from zhiban.conversations.groups import chat_of
from zhiban.conversations.labels import label_names, labels
from zhiban.conversations.models import Priority
from zhiban.conversations.spoken import subject_of
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.i18n import Texts, mark
from zhiban.people.agents import agent_rows
from zhiban.tickets import filing, involving, service
from zhiban.tickets.issues import access_issue
from zhiban.tickets.masking import partly
from zhiban.tickets.models import UNFINISHED, Audience, DueWithin, NewTicket, Ticket, TicketState, evening_of
from zhiban.tickets.queries import (
    Filter,
    Order,
    access_ticket,
    comment_keyed,
    comments_of,
    conversations_of,
    history_of,
    readable_messages,
    ticket_keyed,
    ticket_list,
    watcher_ids,
)
from zhiban.tickets.rendering import shortened_title
from zhiban.tickets.repositories import access_repository

TicketId = Annotated[int, Path(description=mark("The ticket's id."), examples=[1])]
_REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"model": Trouble, "description": mark("It makes no sense, or somebody changed the ticket meanwhile.")}
}


@cache  # describing what an endpoint takes is most of the time that an application needs to be mounted
def router(*, texts: Texts) -> APIRouter:
    """The endpoints. `texts` are the installation's words, for issues, and its zone, for days."""
    routes = APIRouter(prefix="/api", tags=["tickets"], responses=TROUBLES)
    _install_list(routes, texts)
    _install_one(routes, texts)
    return routes


def _install_list(routes: APIRouter, texts: Texts) -> None:
    @routes.get(
        "/tickets",
        summary=mark("List tickets"),
        description=mark("The newest first, page by page; without `state` those that are not finished."),
    )
    async def list_tickets(
        caller: TicketReader,
        database: Rows,
        now: Now,
        state: Annotated[list[TicketState], Query(description=mark("Only of these states."))] = [],  # noqa: B006
        owner: Annotated[
            int | None, Query(ge=0, le=LARGEST_ID, description=mark("An agent's id; 0: of nobody."))
        ] = None,
        label: Annotated[CleanText | None, Query(max_length=100, description=mark("The name of a label."))] = None,
        due: Annotated[
            DueWithin | None, Query(description=mark("Late, due within two days, or without a day."))
        ] = None,
        conversation: Annotated[
            int | None, Query(ge=1, le=LARGEST_ID, description=mark("A conversation that they have to do with."))
        ] = None,
        repository: Annotated[
            int | None, Query(ge=1, le=LARGEST_ID, description=mark("The repository of their issues."))
        ] = None,
        text: Annotated[CleanText, Query(max_length=100, description=mark("Part of the title, or the number."))] = "",
        before: Annotated[
            int | None, Query(ge=1, le=LARGEST_ID, description=mark("`next_before` of the page before."))
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200, description=mark("How many at most."))] = 50,
    ) -> TicketsOut:
        async with transaction_of(database, caller) as tx:
            if conversation is not None:
                await access_conversation(tx, caller.access, conversation)
            words = await _words(tx, texts)
            kept = Filter(
                tuple(state) or UNFINISHED,
                owner,
                _label_ids(words, [label])[0] if label is not None else None,
                due or "",
                conversation,
                repository,
                text,
                before,
            )
            found = await ticket_list(tx, caller.access, kept, order=Order.NEWEST, now=now, limit=limit)
        return TicketsOut(
            tickets=[TicketOut.of(ticket, words) for ticket in found],
            next_before=found[-1].id if len(found) == limit else None,
        )

    @routes.post(
        "/tickets",
        status_code=201,
        responses=_REFUSED,
        summary=mark("Open a ticket"),
        description=mark(
            "A ticket of its own, or of a conversation. With `Idempotency-Key` the same call opens one ticket, however "
            "often it is sent; the answer tells it as it is by now."
        ),
    )
    async def open_ticket(
        wanted: TicketIn, caller: TicketWriter, database: Rows, now: Now, key: IdempotencyKey = None
    ) -> TicketDetail:
        async with transaction_of(database, caller) as tx:
            ticket_id = await _open(tx, wanted, caller, key=own_key(caller, key), texts=texts, now=now)
            return await _detail(tx, caller, ticket_id, texts)


def _install_one(routes: APIRouter, texts: Texts) -> None:
    @routes.get(
        "/tickets/{ticket_id}",
        summary=mark("Get a ticket"),
        description=mark("One ticket with what it is about, what was said of it, and what it went through."),
    )
    async def get_ticket(ticket_id: TicketId, caller: TicketReader, database: Rows) -> TicketDetail:
        async with transaction_of(database, caller) as tx:
            return await _detail(tx, caller, ticket_id, texts)

    @routes.patch(
        "/tickets/{ticket_id}",
        responses=_REFUSED,
        summary=mark("Change a ticket"),
        description=mark(
            "Only the fields that are sent, all of them or none. With `was`, only if nobody changed those meanwhile to "
            "something else."
        ),
    )
    async def change_ticket(
        ticket_id: TicketId, wanted: TicketChangeIn, caller: TicketWriter, database: Rows, now: Now
    ) -> TicketDetail:
        async with transaction_of(database, caller) as tx:
            ticket = await _ticket(tx, caller, ticket_id, lock=True)
            await _change(tx, ticket, wanted, caller, words=await _words(tx, texts), now=now)
            return await _detail(tx, caller, ticket_id, texts)

    @routes.post(
        "/tickets/{ticket_id}/comments",
        status_code=201,
        responses=_REFUSED,
        summary=mark("Comment on a ticket"),
        description=mark("For our own people, or at its issue, too. With `Idempotency-Key` it is said once."),
    )
    async def comment_on_ticket(
        ticket_id: TicketId,
        wanted: TicketCommentIn,
        caller: TicketWriter,
        database: Rows,
        now: Now,
        key: IdempotencyKey = None,
    ) -> TicketCommentOut:
        async with transaction_of(database, caller) as tx:
            ticket = await _ticket(tx, caller, ticket_id, lock=True)
            own = f"{own_key(caller, key)}-of-{ticket.id}"
            await _comment(tx, ticket, wanted, caller, key=own, texts=texts, now=now)
            return TicketCommentOut.of(await comment_keyed(tx, own))


# --------------------------------------------------------------------------------------------------------- what is done


async def _open(tx: Transaction, wanted: TicketIn, caller: Caller, *, key: str, texts: Texts, now: datetime) -> int:
    if (there := await ticket_keyed(tx, key)) is not None:
        return there.id
    words = await _words(tx, texts)
    new = NewTicket(
        wanted.title,
        note=wanted.note,
        priority=Priority[wanted.priority.upper()],
        owner_id=wanted.owner_id,
        due_at=evening_of(wanted.due_on, texts.zone),
        labels=tuple(_label_ids(words, wanted.labels)),
        repository_id=wanted.repository_id,
    )
    if wanted.conversation_id is not None:
        new = await _of_conversation(tx, new, caller, wanted.conversation_id)
    if wanted.owner_id is not None:
        await service.check_may_own(tx, wanted.owner_id, new.inbox_id)
    if wanted.repository_id is not None:
        await access_repository(tx, wanted.repository_id)
    ticket = await service.open_ticket(tx, new, key=key, by=caller.actor, now=now)
    await _watch_exactly(tx, ticket, wanted.watcher_ids, caller, now=now)
    source = await subject_of(tx, ticket.conversation_id)
    await filing.file(tx, ticket, source=source, texts=texts, by=caller.actor, now=now)
    return ticket.id


async def _of_conversation(tx: Transaction, new: NewTicket, caller: Caller, conversation_id: int) -> NewTicket:
    """The ticket as one of that conversation, asked for by its contact; in a group nobody says by whom."""
    head = await access_conversation_to_answer(tx, caller.access, conversation_id)
    new = replace(new, conversation_id=head.id, inbox_id=head.inbox_id)
    if head.kind == "group":
        return replace(new, signature=(await chat_of(tx, head.id)).policy.signature)
    return replace(new, requester_contact_id=head.contact_id, requester=head.contact_name)


async def _change(
    tx: Transaction, ticket: Ticket, wanted: TicketChangeIn, caller: Caller, *, words: TicketWords, now: datetime
) -> None:
    """Raises Conflict, NotFound."""
    id_, by, given = ticket.id, caller.actor, wanted.given()
    there = await _values(tx, ticket, words)
    for name, saw in (wanted.was.given() if wanted.was is not None else {}).items():
        if there[name] not in (_comparable(name, saw), _comparable(name, given.get(name, saw))):
            raise Conflict(f"Somebody changed {name} meanwhile. Look at the ticket again.")
    for name, value in given.items():
        if there[name] == _comparable(name, value):
            continue  # also a title that was sent back as it was shown, with half of a number
        match name:
            case "title":
                await service.retitle(tx, id_, value, by=by, now=now)
            case "state":
                await service.set_state(tx, id_, value, by=by, now=now)
            case "priority":
                await service.set_priority(tx, id_, Priority[value.upper()], by=by, now=now)
            case "owner_id":
                await service.set_owner(tx, id_, value, by=by, now=now)
            case "due_on":
                await service.set_due(tx, id_, evening_of(value, words.texts.zone), by=by, now=now)
            case "labels":
                await service.set_labels(tx, id_, _label_ids(words, value), by=by, now=now)
            case "watcher_ids":
                await _watch_exactly(tx, ticket, value, caller, now=now)
            case _:
                raise AssertionError(name)


async def _values(tx: Transaction, ticket: Ticket, words: TicketWords) -> dict[str, Any]:
    """The columns of a ticket as the API tells them, to compare with."""
    told = {
        "title": ticket.title,
        "state": ticket.state,
        "priority": priority_name(ticket.priority),
        "owner_id": ticket.owner_id,
        "due_on": words.day(ticket.due_at),
        "labels": words.named(ticket.labels),
        "watcher_ids": await watcher_ids(tx, ticket.id),
    }
    return {name: _comparable(name, value) for name, value in told.items()}


def _comparable(name: str, value: Any) -> Any:
    match name:
        case "title":
            return partly(shortened_title(value))
        case "labels":
            return {label.casefold() for label in value}
        case "watcher_ids":
            return set(value)
        case _:
            return value


async def _watch_exactly(
    tx: Transaction, ticket: Ticket, wanted: Sequence[int], caller: Caller, *, now: datetime
) -> None:
    there = set(await watcher_ids(tx, ticket.id))
    for agent_id in sorted(set(wanted) - there):
        await service.check_may_see(tx, agent_id, ticket.inbox_id)
        await involving.watch(tx, ticket.id, agent_id, by=caller.actor, now=now)
    for agent_id in sorted(there - set(wanted)):
        await involving.unwatch(tx, ticket.id, agent_id, by=caller.actor, now=now)


async def _comment(
    tx: Transaction, ticket: Ticket, wanted: TicketCommentIn, caller: Caller, *, key: str, texts: Texts, now: datetime
) -> None:
    audience, text, by = wanted.audience, wanted.text, caller.actor
    if audience is Audience.ISSUE and not filing.has_issue(ticket):
        raise Conflict(mark("This ticket has no issue to comment on."))
    done = await involving.comment(tx, ticket.id, text, audience=audience, name=caller.name, key=key, by=by, now=now)
    if done is not None:
        await filing.write_comment(tx, ticket, text, audience=audience, key=key, texts=texts, by=by, now=now)


# --------------------------------------------------------------------------------------------------------- what is told


async def _ticket(tx: Transaction, caller: Caller, ticket_id: int, *, lock: bool = False) -> Ticket:
    if not 0 < ticket_id <= LARGEST_ID:
        raise NotFound("There is no such ticket.")
    return await access_ticket(tx, caller.access, ticket_id, lock=lock)


async def _words(tx: Transaction, texts: Texts) -> TicketWords:
    agents = {one.id: one.name for one in await agent_rows(tx)}
    return TicketWords(agents, {label.id: label.name for label in await labels(tx)}, texts)


def _label_ids(words: TicketWords, names: Sequence[str]) -> list[int]:
    """Raises NotFound."""
    known = {name.casefold(): id_ for id_, name in words.labels.items()}
    for name in names:
        if name.casefold() not in known:
            raise NotFound(f"There is no label {name}.")
    return [known[name.casefold()] for name in names]


async def _detail(tx: Transaction, caller: Caller, ticket_id: int, texts: Texts) -> TicketDetail:
    access = caller.access
    ticket = await _ticket(tx, caller, ticket_id)
    words, ever = await _words(tx, texts), await label_names(tx)
    linked = await conversations_of(tx, ticket.id)
    seen = await visible(tx, access, linked)
    return TicketDetail(
        **TicketOut.fields_of(ticket, words),
        summary=partly(ticket.summary),
        note=partly(ticket.note),
        issue_url=(await access_issue(tx, ticket.issue_id)).url if ticket.issue_id is not None else None,
        problem=ticket.problem_words(Texts("en")) if ticket.problem else "",
        messages=[TicketMessageOut.of(one) for one in await readable_messages(tx, access, ticket.id)],
        comments=[TicketCommentOut.of(one) for one in await comments_of(tx, ticket.id)],
        conversation_ids=[id_ for id_ in linked if id_ in seen],
        watcher_ids=await watcher_ids(tx, ticket.id),
        history=[TicketFactOut.of(fact, words, ever) for fact in await history_of(tx, ticket.id)],
    )

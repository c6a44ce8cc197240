"""The JSON API of conversations: list, read, reply, note, and change whose turn it is, by the verbs of the desk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from zhiban.api.auth import Caller, ConversationReader, ConversationWriter
from zhiban.api.calls import IdempotencyKey, own_key, transaction_of
from zhiban.api.conversation_models import (
    ConversationChangeIn,
    ConversationOut,
    ConversationsOut,
    MessageOut,
    MessagesOut,
    NoteIn,
    ReplyIn,
)
from zhiban.api.knowledge import TROUBLES, CleanText, Now, Rows, Trouble
from zhiban.api.ticket_models import LARGEST_ID
from zhiban.conversations import replies, service
from zhiban.conversations.access import access_conversation, access_conversation_to_answer
from zhiban.conversations.browsing import (
    ConversationFilter,
    browse,
    browsed_conversation,
    messages_before,
    messages_keyed,
)
from zhiban.conversations.labels import labels
from zhiban.conversations.models import Priority, Status
from zhiban.conversations.outbox import key_for
from zhiban.conversations.seen import SeenMessage
from zhiban.conversations.transitions import lock
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.i18n import mark
from zhiban.people.teams import access_team
from zhiban.ports import Limits

ConversationId = Annotated[int, Path(description=mark("The conversation's id."), examples=[1])]
LimitsOf = Callable[[str], Limits]
_REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"model": Trouble, "description": mark("It makes no sense now, or somebody said something meanwhile.")}
}


@cache  # describing what an endpoint takes is most of the time that an application needs to be mounted
def router(*, limits_of: LimitsOf) -> APIRouter:
    """The endpoints. `limits_of` says what the channel of an inbox takes."""
    routes = APIRouter(prefix="/api", tags=["conversations"], responses=TROUBLES)
    _install_reading(routes)
    _install_writing(routes, limits_of)
    return routes


def _install_reading(routes: APIRouter) -> None:
    @routes.get(
        "/conversations",
        summary=mark("List conversations"),
        description=mark("The newest first, page by page, whatever their status."),
    )
    async def list_conversations(
        caller: ConversationReader,
        database: Rows,
        status: Annotated[list[Status], Query(description=mark("Only of these statuses."))] = [],  # noqa: B006
        inbox: Annotated[int | None, Query(ge=1, le=LARGEST_ID, description=mark("An inbox's id."))] = None,
        assignee: Annotated[
            int | None, Query(ge=0, le=LARGEST_ID, description=mark("An agent's id; 0: of nobody."))
        ] = None,
        team: Annotated[int | None, Query(ge=0, le=LARGEST_ID, description=mark("A team's id; 0: of none."))] = None,
        label: Annotated[CleanText | None, Query(max_length=100, description=mark("The name of a label."))] = None,
        contact: Annotated[int | None, Query(ge=1, le=LARGEST_ID, description=mark("A contact's id."))] = None,
        before: Annotated[
            int | None, Query(ge=1, le=LARGEST_ID, description=mark("`next_before` of the page before."))
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200, description=mark("How many at most."))] = 50,
    ) -> ConversationsOut:
        async with transaction_of(database, caller) as tx:
            named = await _label_names(tx)
            wanted = ConversationFilter(
                status,
                inbox,
                assignee,
                team,
                _label_ids(named, [label])[0] if label is not None else None,
                contact,
                before,
            )
            found = await browse(tx, caller.access, wanted, limit=limit)
        return ConversationsOut(
            conversations=[ConversationOut.of(one, named) for one in found],
            next_before=found[-1].id if len(found) == limit else None,
        )

    @routes.get(
        "/conversations/{conversation_id}",
        summary=mark("Get a conversation"),
        description=mark("Where it stands; its messages are listed on their own."),
    )
    async def get_conversation(
        conversation_id: ConversationId, caller: ConversationReader, database: Rows
    ) -> ConversationOut:
        async with transaction_of(database, caller) as tx:
            await access_conversation(tx, caller.access, _id(conversation_id))
            return await _told(tx, conversation_id)

    @routes.get(
        "/conversations/{conversation_id}/messages",
        summary=mark("List a conversation's messages"),
        description=mark("What was said, and the notes of colleagues: the last ones, page by page towards the start."),
    )
    async def list_messages(
        conversation_id: ConversationId,
        caller: ConversationReader,
        database: Rows,
        before: Annotated[
            int | None, Query(ge=1, le=LARGEST_ID, description=mark("`next_before` of the page before."))
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200, description=mark("How many at most."))] = 50,
    ) -> MessagesOut:
        async with transaction_of(database, caller) as tx:
            await access_conversation(tx, caller.access, _id(conversation_id))
            found = await messages_before(tx, conversation_id, before=before, limit=limit)
        return MessagesOut(
            messages=[MessageOut.of(one) for one in reversed(found)],
            next_before=found[-1].id if len(found) == limit else None,
        )


def _install_writing(routes: APIRouter, limits_of: LimitsOf) -> None:
    @routes.post(
        "/conversations/{conversation_id}/messages",
        status_code=201,
        responses=_REFUSED,
        summary=mark("Reply to a contact"),
        description=mark(
            "Sent by the channel, within what it allows. With `Idempotency-Key` it is said once, however often it is "
            "sent."
        ),
    )
    async def reply(
        conversation_id: ConversationId,
        wanted: ReplyIn,
        caller: ConversationWriter,
        database: Rows,
        now: Now,
        key: IdempotencyKey = None,
    ) -> MessagesOut:
        async with transaction_of(database, caller) as tx:
            head = await access_conversation_to_answer(tx, caller.access, _id(conversation_id))
            sent = key_for("api", tx.workspace_id, conversation_id, own_key(caller, key))
            limits = limits_of(head.channel)
            queued = await _reply(tx, conversation_id, wanted, caller, key=sent, limits=limits, now=now)
            told = await messages_keyed(tx, conversation_id, sent, queued)
        return MessagesOut(messages=[MessageOut.of(one) for one in told], next_before=None)

    @routes.post(
        "/conversations/{conversation_id}/notes",
        status_code=201,
        responses=_REFUSED,
        summary=mark("Add a note"),
        description=mark("For colleagues only, never sent. With `Idempotency-Key` it is noted once."),
    )
    async def add_note(
        conversation_id: ConversationId,
        wanted: NoteIn,
        caller: ConversationWriter,
        database: Rows,
        now: Now,
        key: IdempotencyKey = None,
    ) -> MessageOut:
        async with transaction_of(database, caller) as tx:
            await access_conversation_to_answer(tx, caller.access, _id(conversation_id))
            own = key_for("note", tx.workspace_id, conversation_id, own_key(caller, key))
            await replies.add_note(tx, conversation_id, text=wanted.text, by=caller.actor, now=now, client_key=own)
            (note,) = await messages_keyed(tx, conversation_id, own)
        return MessageOut.of(note)

    @routes.patch(
        "/conversations/{conversation_id}",
        responses=_REFUSED,
        summary=mark("Change a conversation"),
        description=mark(
            "Assign, give to a team, label, set its priority, resolve, reopen, snooze: only the fields that are sent, "
            "all of them or none, the status last. An assignee opens what was not open, unless a status is sent, too."
        ),
    )
    async def change_conversation(
        conversation_id: ConversationId,
        wanted: ConversationChangeIn,
        caller: ConversationWriter,
        database: Rows,
        now: Now,
    ) -> ConversationOut:
        async with transaction_of(database, caller) as tx:
            await access_conversation_to_answer(tx, caller.access, _id(conversation_id))
            await _change(tx, conversation_id, wanted, caller, now=now)
            return await _told(tx, conversation_id)


# --------------------------------------------------------------------------------------------------------- what is done


async def _reply(
    tx: Transaction,
    conversation_id: int,
    wanted: ReplyIn,
    caller: Caller,
    *,
    key: str,
    limits: Limits,
    now: datetime,
) -> str:
    """Returns the key under which the parts were queued. An agent's session answers as the agent does at the desk."""
    said: dict[str, Any] = {"text": wanted.text, "limits": limits, "now": now}
    said |= {"seen": wanted.seen, "files": wanted.files, "reply_to": wanted.reply_to}
    if caller.actor.kind == "agent":
        await replies.reply(tx, conversation_id, by=caller.access.agent_id, client_key=key, **said)
        return key_for("reply", tx.workspace_id, conversation_id, key)
    await replies.send_as_program(tx, conversation_id, by=caller.actor, key=key, from_person=wanted.from_person, **said)
    return key


async def _change(
    tx: Transaction, conversation_id: int, wanted: ConversationChangeIn, caller: Caller, *, now: datetime
) -> None:
    """Raises Conflict, NotFound."""
    given, by = wanted.given(), caller.actor
    if wanted.seen is not None and given.get("status") is not Status.RESOLVED:
        raise Conflict("What was seen decides about the status resolved alone: send both or none.")
    if (wanted.snoozed_until is not None) != (given.get("status") is Status.SNOOZED):
        raise Conflict("A conversation is snoozed until a time: send the status snoozed and snoozed_until together.")
    if "labels" in given:
        await lock(tx, conversation_id)  # exactly these, whatever somebody else puts on meanwhile
        has = frozenset((await browsed_conversation(tx, conversation_id)).labels)
        kept = frozenset(_label_ids(await _label_names(tx), given["labels"]))
        await service.change_labels(tx, conversation_id, add=kept, remove=has - kept, by=by, now=now)
    if "priority" in given:
        priority = Priority[str(given["priority"]).upper()]
        await service.set_priority(tx, conversation_id, priority=priority, by=by, now=now)
    if "team_id" in given:
        if given["team_id"] is not None:
            await access_team(tx, given["team_id"])
        await service.assign_team(tx, conversation_id, to=given["team_id"], by=by, now=now)
    status = given.get("status")
    if status is Status.OPEN:
        await _reopen(tx, conversation_id, caller, assigned="assignee_id" in given, now=now)
    if "assignee_id" in given:
        await _assign(tx, conversation_id, given["assignee_id"], caller, opens=status is None, now=now)
    match status:
        case Status.RESOLVED:
            read = None if wanted.seen is None else SeenMessage(wanted.seen)
            await service.resolve(tx, conversation_id, by=by, now=now, reason="agent", seen=read)
        case Status.SNOOZED:
            await service.snooze(tx, conversation_id, until=given["snoozed_until"], by=by, now=now)
        case Status.PENDING:
            await service.return_to_assistant(tx, conversation_id, by=by, now=now)


async def _reopen(tx: Transaction, conversation_id: int, caller: Caller, *, assigned: bool, now: datetime) -> None:
    """An agent who reopens it has it, as at the desk; a program has nothing in hand."""
    if caller.actor.kind == "agent" and not assigned:
        await service.reopen(tx, conversation_id, by=caller.access.agent_id, now=now)
    else:
        await service.open_for_people(tx, conversation_id, actor=caller.actor, now=now, reason="reopened")


async def _assign(
    tx: Transaction, conversation_id: int, to: int | None, caller: Caller, *, opens: bool, now: datetime
) -> None:
    if to is not None and opens:
        await service.give(tx, conversation_id, to=to, by=caller.actor, now=now)
    else:
        await service.assign(tx, conversation_id, to=to, by=caller.actor, now=now)


# --------------------------------------------------------------------------------------------------------- what is told


def _id(conversation_id: int) -> int:
    if not 0 < conversation_id <= LARGEST_ID:
        raise NotFound("There is no such conversation.")
    return conversation_id


async def _told(tx: Transaction, conversation_id: int) -> ConversationOut:
    return ConversationOut.of(await browsed_conversation(tx, conversation_id), await _label_names(tx))


async def _label_names(tx: Transaction) -> Mapping[int, str]:
    return {one.id: one.name for one in await labels(tx)}


def _label_ids(named: Mapping[int, str], names: list[str]) -> list[int]:
    """Raises NotFound."""
    known = {name.casefold(): id_ for id_, name in named.items()}
    for name in names:
        if name.casefold() not in known:
            raise NotFound(f"There is no label {name}.")
    return [known[name.casefold()] for name in names]

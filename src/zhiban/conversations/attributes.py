"""What an organisation fills in of conversations: fields of its own, as of contacts, and their values.

A value is a business column of its conversation: it is changed by `transitions` alone, and each change is a fact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from zhiban.conversations import transitions
from zhiban.conversations.changes import SetAttributes
from zhiban.events import DIRECT, Actor, Cause, ConversationFieldAdded, ConversationFieldRemoved
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.people.contact_fields import ContactField, FieldKind, new_field
from zhiban.people.ownership import in_turn


@frozen_dataclass
class _StoredField:
    id: int
    name: str
    kind: str
    choices: list[str]


async def conversation_fields(tx: Transaction) -> list[ContactField]:
    """What can be filled in of every conversation, in the order in which it was added."""
    rows = await tx.objects(
        _StoredField, "select id, name, kind, choices from conversation_field where removed_at is null order by id"
    )
    return [ContactField(row.name, FieldKind(row.kind), tuple(row.choices), row.id) for row in rows]


async def add_conversation_field(
    tx: Transaction, *, name: str, kind: str, choices: Sequence[str] = (), by: Actor, now: datetime
) -> int:
    """Raises Conflict where the name is taken or there is nothing to choose from."""
    await in_turn(tx, "conversation fields")
    made = new_field(name, kind, choices, known=await conversation_fields(tx), taken=frozenset())
    id_ = int(
        await tx.value(
            "insert into conversation_field (workspace_id, name, kind, choices, created_at) "
            "values (%(workspace)s, %(name)s, %(kind)s, %(choices)s, %(now)s) returning id",
            workspace=tx.workspace_id,
            name=made.name,
            kind=made.kind,
            choices=list(made.choices),
            now=now,
        )
    )
    await event_log.append(tx, ConversationFieldAdded(actor=by, at=now, field_id=id_, name=made.name, field_kind=kind))
    return id_


async def remove_conversation_field(tx: Transaction, field_id: int, *, by: Actor, now: datetime) -> None:
    """It is no longer offered; what was filled in stays with the conversations. Raises NotFound."""
    removed = await tx.run(
        "update conversation_field set removed_at = %(now)s where id = %(id)s and removed_at is null",
        id=field_id,
        now=now,
    )
    if not removed:
        raise NotFound("There is no such field.")
    await event_log.append(tx, ConversationFieldRemoved(actor=by, at=now, field_id=field_id))


async def attributes_of(tx: Transaction, conversation_id: int) -> dict[str, str]:
    """What is filled in, by the names of fields, also of those that are offered no more."""
    found: dict[str, str] | None = await tx.value(
        "select attributes from conversation where id = %(id)s", id=conversation_id
    )
    return found or {}


async def fill_in(
    tx: Transaction,
    conversation_id: int,
    values: Mapping[str, str],
    was: Mapping[str, str],
    *,
    by: Actor,
    now: datetime,
) -> None:
    """Fill in what somebody changed in a form. `was` is what it showed, for fields of which it said that.

    Fields that were left alone stay as they are by now. Raises as `set_attributes`, Conflict also where somebody else
    changed a field meanwhile to something else.
    """
    await transitions.lock(tx, conversation_id)
    there = await attributes_of(tx, conversation_id)
    changed = {name: typed for name, typed in values.items() if was.get(name) != typed}
    for name, typed in changed.items():
        if there.get(name, "") not in (was.get(name, there.get(name, "")), typed):
            raise Conflict(mark(f"Somebody changed {name} meanwhile. Look at it again."))
    if changed:
        await set_attributes(tx, conversation_id, changed, by=by, now=now)


async def set_attributes(
    tx: Transaction,
    conversation_id: int,
    values: Mapping[str, str],
    *,
    by: Actor,
    now: datetime,
    cause: Cause = DIRECT,
) -> transitions.Applied:
    """Fill in what is typed under the names of fields; an empty text takes away what stood there.

    Raises Conflict where there is no such field, or a text is no value of it; NotFound.
    """
    fields = {field.name: field for field in await conversation_fields(tx)}
    checked = []
    for name, typed in values.items():
        if name not in fields:
            raise Conflict(mark(f"There is no field {name} of conversations."))
        checked.append((name, fields[name].value(typed)))
    return await transitions.apply(tx, conversation_id, SetAttributes(tuple(checked)), actor=by, now=now, cause=cause)

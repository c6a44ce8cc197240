"""Which labels contacts bear: those of conversations, put on by people, rules and macros."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from zhiban.conversations import transitions
from zhiban.conversations.changes import NoteContactLabels
from zhiban.conversations.labels import Label, check_labels
from zhiban.conversations.models import ConversationState
from zhiban.events import DIRECT, Actor, Cause, MemberLabelsChanged
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.i18n import mark
from zhiban.people.contact_card import lock_contact
from zhiban.people.permissions import Access

# Whose label was removed is not asked for any more, here as everywhere.
_BORNE = """
select l.contact_id, l.label_id from contact_label l
join label n on n.workspace_id = l.workspace_id and n.id = l.label_id and n.removed_at is null
where l.contact_id = any(%(ids)s::bigint[]) order by l.contact_id, l.label_id"""

_HOLDS = """exists (
  select from contact_label l
  join label n on n.workspace_id = l.workspace_id and n.id = l.label_id and n.removed_at is null
  where l.workspace_id = c.workspace_id and l.contact_id = c.contact_id{which})"""

_SHOWN = """
select l.contact_id, n.id, n.name, n.color from contact_label l
join label n on n.workspace_id = l.workspace_id and n.id = l.label_id and n.removed_at is null
where l.contact_id = any(%(ids)s::bigint[]) order by lower(n.name), n.id"""

_LAST = "select c.id from conversation c where c.contact_id = %(contact)s"

_UNITE = """
with moved as (
  delete from contact_label where contact_id = %(other)s returning workspace_id, label_id)
insert into contact_label (workspace_id, contact_id, label_id)
select workspace_id, %(base)s, label_id from moved on conflict do nothing"""


async def contact_labels(tx: Transaction, contact_id: int | None) -> tuple[int, ...]:
    """The labels of a contact, by id; none for nobody."""
    return () if contact_id is None else (await labels_of_contacts(tx, [contact_id])).get(contact_id, ())


async def labels_of_contacts(tx: Transaction, ids: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """The labels of these contacts, by id; those that have none are left out."""
    found: dict[int, tuple[int, ...]] = {}
    for contact_id, label_id in await tx.rows(_BORNE, ids=list(ids)) if ids else ():
        found[contact_id] = (*found.get(contact_id, ()), label_id)
    return found


async def labels_shown_of(tx: Transaction, ids: Sequence[int]) -> dict[int, list[Label]]:
    """The labels of these contacts as they are shown, by name. One statement: between two, one may be removed."""
    found: dict[int, list[Label]] = {}
    rows = await tx.rows(_SHOWN, ids=list(ids)) if ids else ()
    for contact_id, label_id, name, color in rows:
        found.setdefault(contact_id, []).append(Label(label_id, name, color))
    return found


def is_labelled_sql(labels: str | None) -> str:
    """SQL over `conversation c`: whether its contact bears one of `labels`, an SQL array of ids, or any at all."""
    return _HOLDS.format(which="" if labels is None else f" and l.label_id = any({labels})")


async def label_contact_of(
    tx: Transaction,
    conversation_id: int,
    *,
    add: Collection[int] = (),
    remove: Collection[int] = (),
    by: Actor,
    now: datetime,
    cause: Cause = DIRECT,
) -> bool:
    """Put labels on the contact of a conversation, or take some off. One in both is put on. Whether that changed any.

    Raises NotFound where a label is not there any more, and Conflict in a group.
    """
    state = await transitions.lock(tx, conversation_id)
    if state.contact_id is None:
        raise Conflict(mark("A group is no contact; labels stand on the pages of its members."))
    return await _label(tx, state.contact_id, state, add, remove, by=by, now=now, cause=cause)


async def label_contact(
    tx: Transaction,
    access: Access,
    contact_id: int,
    *,
    add: Collection[int] = (),
    remove: Collection[int] = (),
    by: Actor,
    now: datetime,
) -> bool:
    """The same from the contact's own page; it stands in the last conversation with them that the agent sees.

    Raises NotFound where the contact or a label is not there any more.
    """
    last = await tx.value(
        f"{_LAST}{access.condition('c.inbox_id')} order by c.last_activity_at desc, c.id desc limit 1",
        contact=contact_id,
        **access.params,
    )
    state = None if last is None else await transitions.lock(tx, last)
    if state is not None and state.contact_id != contact_id:
        raise NotFound("There is no such contact.")  # merged a moment ago
    return await _label(tx, contact_id, state, add, remove, by=by, now=now, cause=DIRECT)


async def _label(
    tx: Transaction,
    contact_id: int,
    state: ConversationState | None,
    add: Collection[int],
    remove: Collection[int],
    *,
    by: Actor,
    now: datetime,
    cause: Cause,
) -> bool:
    """Conversations are locked before contacts, as everywhere; `state` is that of a locked one."""
    if add:
        await check_labels(tx, add)
    await lock_contact(tx, contact_id)
    has = set(await tx.values("select label_id from contact_label where contact_id = %(id)s", id=contact_id))
    added, removed = tuple(sorted(set(add) - has)), tuple(sorted((set(remove) & has) - set(add)))
    if not added and not removed:
        return False
    await tx.run(
        "delete from contact_label where contact_id = %(id)s and label_id = any(%(labels)s::bigint[])",
        id=contact_id,
        labels=list(removed),
    )
    await tx.run(
        "insert into contact_label (workspace_id, contact_id, label_id) "
        "select %(workspace)s, %(id)s, unnest(%(labels)s::bigint[])",
        workspace=tx.workspace_id,
        id=contact_id,
        labels=list(added),
    )
    if state is None:
        fact = MemberLabelsChanged(actor=by, at=now, cause=cause, contact_id=contact_id, added=added, removed=removed)
        await event_log.append(tx, fact)
    else:
        await transitions.apply_to(tx, state, NoteContactLabels(added, removed), actor=by, now=now, cause=cause)
    return True


async def unite_labels(tx: Transaction, base_id: int, other_id: int) -> None:
    """`base_id`, who stands for `other_id` from now on, bears the labels of both."""
    await tx.run(_UNITE, base=base_id, other=other_id)

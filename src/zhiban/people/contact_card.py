"""One contact as people of ours keep them: read, changed, and made one with another whom they turn out to be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from zhiban.events import Actor, ContactEdited, ContactsMerged
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.kit.json_safe import json_safe
from zhiban.kit.text import clean
from zhiban.people.contact_fields import STANDARD, contact_fields
from zhiban.people.contact_search import index_contacts

LONGEST_NAME = 80

_CARD = """
select c.id, c.name, c.remark, c.attributes, c.blocked_at is not null as blocked, c.merged_into, c.created_at,
  array(select i.external_id from identity i where i.workspace_id = c.workspace_id and i.contact_id = c.id
        order by i.id) as external_ids
from contact c where c.id = any(%(ids)s::bigint[]) order by c.id"""

# What is empty on the base is taken from the other; of attributes each by itself.
_TAKE_OVER = """
update contact b set name = coalesce(nullif(b.name, ''), o.name), remark = coalesce(nullif(b.remark, ''), o.remark),
  avatar_url = coalesce(b.avatar_url, o.avatar_url), attributes = o.attributes || b.attributes,
  created_at = least(b.created_at, o.created_at), updated_at = %(now)s
from contact o where b.id = %(base)s and o.workspace_id = b.workspace_id and o.id = %(other)s"""


@frozen_dataclass
class ShownContact:
    """What a form showed of a contact before somebody typed into it; fields by their names."""

    name: str
    remark: str
    values: Mapping[str, str]


class ContactChangedMeanwhile(Conflict):
    """Somebody else changed what is to be changed. `name`, `remark` and `values` say what stands there now of it."""

    def __init__(self, *, name: str | None, remark: str | None, values: Mapping[str, str]) -> None:
        super().__init__(mark("Somebody changed the same details meanwhile. Look at them again."))
        self.name = name
        self.remark = remark
        self.values = values


@frozen_dataclass
class ContactCard:
    """A contact. Where `merged_into` is set, that one stands for them."""

    id: int
    name: str
    remark: str
    attributes: dict[str, object]
    blocked: bool
    merged_into: int | None
    created_at: datetime
    external_ids: list[str]

    @property
    def called(self) -> str:
        return self.remark or self.name


async def contact_card(tx: Transaction, contact_id: int) -> ContactCard:
    """Raises NotFound."""
    found = await tx.object(ContactCard, _CARD, ids=[contact_id])
    if found is None:
        raise NotFound("There is no such contact.")
    return found


async def change_contact(
    tx: Transaction,
    contact_id: int,
    *,
    name: str,
    remark: str,
    values: Mapping[str, str],
    by: Actor,
    now: datetime,
    shown: ShownContact | None = None,
) -> bool:
    """What our people know. A value left out of `values` stays, an empty one goes. Whether anything changed.

    With `shown`, what was left as the form showed it stays as it is by now. Raises NotFound, Conflict where a value is
    none of its kind, and ContactChangedMeanwhile.
    """
    fields = {field.name: field for field in (*STANDARD, *await contact_fields(tx))}
    wanted = {key: fields[key].value(text) for key, text in values.items() if key in fields}
    name, remark = (" ".join(clean(text).split()) for text in (name, remark))
    if max(len(name), len(remark)) > LONGEST_NAME:
        raise Conflict(mark(f"A name has at most {LONGEST_NAME} characters here."))
    card = (await _locked(tx, contact_id))[0]
    if shown is not None:
        name, remark, wanted = _changes(shown, card, name, remark, wanted)
    changed = [what for what, new, old in (("name", name, card.name), ("remark", remark, card.remark)) if new != old]
    changed += [key for key, text in wanted.items() if text != str(card.attributes.get(key) or "")]
    if not changed:
        return False
    await tx.run(
        "update contact set name = %(name)s, remark = %(remark)s, updated_at = %(now)s, "
        "attributes = (attributes || %(set)s::jsonb) - %(gone)s::text[] where id = %(id)s",
        id=contact_id,
        name=name,
        remark=remark,
        set=json_safe({key: text for key, text in wanted.items() if text}),
        gone=[key for key, text in wanted.items() if not text],
        now=now,
    )
    await index_contacts(tx, [contact_id])
    await event_log.append(tx, ContactEdited(actor=by, at=now, contact_id=contact_id, fields=tuple(changed)))
    return True


def _changes(
    shown: ShownContact, card: ContactCard, name: str, remark: str, wanted: Mapping[str, str]
) -> tuple[str, str, dict[str, str]]:
    """What is to stand there, of fields only those that were changed. Raises ContactChangedMeanwhile."""

    def is_lost(typed: str, was: str, there: str) -> bool:
        return typed != was and there not in (was, typed)

    there = {key: str(card.attributes.get(key) or "") for key in wanted}
    was = {**there, **shown.values}
    lost = {key: there[key] for key, typed in wanted.items() if is_lost(typed, was[key], there[key])}
    lost_name = card.name if is_lost(name, shown.name, card.name) else None
    lost_remark = card.remark if is_lost(remark, shown.remark, card.remark) else None
    if lost or lost_name is not None or lost_remark is not None:
        raise ContactChangedMeanwhile(name=lost_name, remark=lost_remark, values=lost)
    kept_name = card.name if name == shown.name else name
    kept_remark = card.remark if remark == shown.remark else remark
    return kept_name, kept_remark, {key: typed for key, typed in wanted.items() if shown.values.get(key) != typed}


async def merge_into(tx: Transaction, base_id: int, other_id: int, *, by: Actor, now: datetime) -> None:
    """Let `base_id` stand for `other_id`: it keeps what it has and takes over what it has not, with the identities.

    Their conversations are `conversations.merging`'s. Raises NotFound, Conflict.
    """
    if base_id == other_id:
        raise Conflict(mark("A contact cannot be merged with itself."))
    one, two = await _locked(tx, base_id, other_id)
    if one.blocked != two.blocked:
        raise Conflict(mark("One of the two is blocked. Unblock them first, or block both."))
    await tx.run(_TAKE_OVER, base=base_id, other=other_id, now=now)
    await tx.run("update identity set contact_id = %(base)s where contact_id = %(other)s", base=base_id, other=other_id)
    await tx.run(
        "update contact set merged_into = %(base)s, updated_at = %(now)s "
        "where id = %(other)s or merged_into = %(other)s",
        base=base_id,
        other=other_id,
        now=now,
    )
    await tx.run("delete from contact_search where contact_id = %(other)s", other=other_id)
    await index_contacts(tx, [base_id])
    await event_log.append(tx, ContactsMerged(actor=by, at=now, contact_id=base_id, merged_id=other_id))


async def lock_contact(tx: Transaction, contact_id: int) -> ContactCard:
    """A contact, until the transaction ends. Raises NotFound, also for one that was merged."""
    return (await _locked(tx, contact_id))[0]


async def _locked(tx: Transaction, *ids: int) -> list[ContactCard]:
    """These contacts until the transaction ends, in the order of their ids. Raises NotFound, also for merged ones."""
    found = await tx.objects(ContactCard, _CARD + " for update of c", ids=list(ids))
    if len(found) < len(ids) or any(one.merged_into is not None for one in found):
        raise NotFound("There is no such contact.")
    return found

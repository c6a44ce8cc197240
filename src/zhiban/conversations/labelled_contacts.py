"""Contacts by a label that they bear, those known last first."""

from __future__ import annotations

from zhiban.conversations.message_search import ContactHit, contact_hits
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.word_search import Query
from zhiban.people.contact_search import contacts_as_found
from zhiban.people.permissions import Access

_AT_ONCE = 100
MOST_LOOKED_AT = 2_000  # for one page, however few of them are what is looked for

_BEARING = """
select contact_id from contact_label where label_id = %(label)s and contact_id < %(before)s
order by contact_id desc limit %(limit)s"""


@frozen_dataclass
class LabelledContacts:
    """A page of them; `before` begins the next, None: there are no more."""

    hits: tuple[ContactHit, ...]
    before: int | None = None


async def labelled_contacts(
    tx: Transaction, access: Access, label_id: int, query: Query, *, most: int, before: int | None = None
) -> LabelledContacts:
    """Who bears this label, and holds the words of `query` if it has any. Whoever sees some inboxes only finds those
    who wrote there."""
    found: list[ContactHit] = []
    upper, seen = before or 2**62, 0
    while seen < MOST_LOOKED_AT:
        ids = await tx.values(_BEARING, label=label_id, before=upper, limit=_AT_ONCE)
        some = [one for one in await contacts_as_found(tx, ids) if not query or query.holds(" \n ".join(one.texts))]
        found += await contact_hits(tx, some, access)
        if len(found) > most:
            return LabelledContacts(tuple(found[:most]), found[most - 1].contact.id)
        if len(ids) < _AT_ONCE:
            return LabelledContacts(tuple(found))
        upper, seen = ids[-1], seen + len(ids)
    return LabelledContacts(tuple(found), upper)

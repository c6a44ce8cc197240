"""Contacts by words: their name, the remark, the attributes, and their ids at vendors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime, timedelta

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.word_search import Query, keys, text_terms

BATCH = 500
# A contact is entered when the transaction that made it, and those that changed it while it was new, have ended: none
# may last longer than half a minute. So the message of somebody new costs nothing here.
NEW, SETTLED = timedelta(seconds=25), timedelta(seconds=60)
AT_ONCE = 20
TAIL = 300  # of the newest contacts, those that are not entered yet are read

_TEXTS = """
select c.id, concat_ws(' ', nullif(c.name, ''), nullif(c.remark, ''),
  (select string_agg(value, ' ') from jsonb_each_text(c.attributes)),
  (select string_agg(i.external_id, ' ' order by i.id) from identity i
   where i.workspace_id = c.workspace_id and i.contact_id = c.id)) as text
from contact c"""

_WRITE = """
insert into contact_search (workspace_id, contact_id, keys)
select %(workspace)s, id, keys::integer[] from unnest(%(ids)s::bigint[], %(keys)s::text[]) as t(id, keys)
on conflict (workspace_id, contact_id) do update set keys = excluded.keys"""

_FOUND = """
select c.id, c.name, c.remark, c.attributes, c.blocked_at is not null as blocked,
  array(select i.external_id from identity i where i.workspace_id = c.workspace_id and i.contact_id = c.id
        order by i.id limit 5) as external_ids
from """
_BY_ID = "contact c where c.id = any(%(ids)s::bigint[]) order by c.id desc"
_LIVING = "contact c where c.id = any(%(ids)s::bigint[]) and c.merged_into is null order by c.id desc"
_TAIL = f"""(select * from contact order by id desc limit {TAIL}) c
where c.merged_into is null
  and not exists (select from contact_search s where s.workspace_id = c.workspace_id and s.contact_id = c.id)
order by c.id desc"""


@frozen_dataclass
class _ContactText:
    id: int
    text: str


@frozen_dataclass
class FoundContact:
    """A contact as a search shows them."""

    id: int
    name: str
    remark: str
    attributes: dict[str, object]
    blocked: bool
    external_ids: list[str]

    @property
    def texts(self) -> tuple[str, ...]:
        """What they can be found by."""
        values = (str(value) for value in self.attributes.values() if value not in (None, ""))
        return tuple(text for text in (self.name, self.remark, *values, *self.external_ids) if text)


async def index_contacts(tx: Transaction, ids: Sequence[int]) -> None:
    """Enter these contacts as they are now. Whoever changes what a contact is found by calls this."""
    if ids:
        await _write(tx, await tx.objects(_ContactText, _TEXTS + " where c.id = any(%(ids)s::bigint[])", ids=list(ids)))


async def index_new(tx: Transaction, *, after: int, now: datetime) -> int | None:
    """Enter some of those that came after this id. Returns the last of them, None when there are none."""
    rows = await tx.objects(
        _ContactText,
        f"{_TEXTS} where c.id > %(after)s and c.merged_into is null and c.created_at < %(before)s "
        f"order by c.id limit {BATCH}",
        after=after,
        before=now - SETTLED,
    )
    await _write(tx, rows)
    return rows[-1].id if rows else None


async def _write(tx: Transaction, rows: Sequence[_ContactText]) -> None:
    terms = [(one.id, text_terms(one.text)) for one in rows]
    if terms:
        await tx.run(
            _WRITE,
            workspace=tx.workspace_id,
            ids=[id_ for id_, _ in terms],
            keys=["{" + ",".join(map(str, keys(tx.workspace_id, id_, found))) + "}" for id_, found in terms],
        )


async def contacts_as_found(tx: Transaction, ids: Sequence[int]) -> list[FoundContact]:
    """These contacts as a search shows them, the highest id first; those that were merged are left out."""
    return await tx.objects(FoundContact, _FOUND + _LIVING, ids=list(ids))


async def find_contacts(tx: Transaction, query: Query) -> AsyncIterator[list[FoundContact]]:
    """Contacts all of whose words of the query stand in what they can be found by, those known last first.

    A few at a time, until the caller has enough.
    """
    if not query:
        return
    yield _holding(query, await tx.objects(FoundContact, _FOUND + _TAIL))
    upper = int(await tx.value("select coalesce(max(id), 0) + 1 from contact"))
    came = AT_ONCE
    while came == AT_ONCE:
        ids = await tx.values(
            "select id from search_contacts(%(wanted)s::bigint[], null, null, %(before)s, %(most)s)",
            wanted=list(query.terms),
            before=upper,
            most=AT_ONCE,
        )
        yield _holding(query, await tx.objects(FoundContact, _FOUND + _BY_ID, ids=ids))
        came, upper = len(ids), ids[-1] if ids else 0


def _holding(query: Query, contacts: Iterable[FoundContact]) -> list[FoundContact]:
    return [one for one in contacts if query.holds(" \n ".join(one.texts))]

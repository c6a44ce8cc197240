"""Messages and notes by words, newest first, grouped by conversation.

Candidates come from the index (`search_index`); what it has not come to yet is read here. Whether a text is what was
asked for is decided by the text itself, and whether it may be shown by the row as it is now: what was recalled, or
dropped before it was sent, is not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from zhiban.conversations import search_index
from zhiban.conversations.search_index import COLUMNS, SEARCHABLE, writer_of
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.word_search import Query
from zhiban.people.contact_search import FoundContact, find_contacts
from zhiban.people.permissions import Access

CONVERSATIONS = 20  # on one page
HITS = 3  # shown of one conversation
MOST_HITS = 300  # on one page, shown or counted
MOST_CANDIDATES = 3_000  # looked at for one page
TAIL = 500  # messages behind the index that are read
_FIRST, _AT_ONCE = 40, 100  # candidates: the first are enough where most are hits of different conversations
_HISTORY, _LONGEST, _AHEAD = timedelta(days=1830), timedelta(days=14_610), timedelta(days=2)
_END = 2**62


@frozen_dataclass
class SearchFilter:
    """What a search is narrowed to. `writer`: contact, assistant or people; `notes`: with, without or only."""

    inbox_id: int | None = None
    conversation_id: int | None = None
    agent_id: int | None = None
    writer: str = ""
    notes: str = "with"
    since: datetime | None = None
    until: datetime | None = None


@frozen_dataclass
class Hit:
    """A message that was found. `text` includes the names of its files."""

    id: int
    conversation_id: int
    author: str
    agent_id: int | None
    agent_name: str | None
    direction: str
    sent_at: datetime
    text: str
    inbox_id: int


@frozen_dataclass
class FoundConversation:
    """Where hits stand."""

    id: int
    kind: str
    name: str
    tag: str
    external_id: str
    channel: str
    inbox_name: str
    status: str
    blocked: bool
    last_activity_at: datetime


@frozen_dataclass
class HitGroup:
    """Hits of one conversation, newest first; `more`: how many further ones were seen and are not shown."""

    conversation: FoundConversation
    hits: tuple[Hit, ...]
    more: int = 0


@frozen_dataclass
class SearchPage:
    """One page; `before` continues where it ends, None at the end. `share`: of older messages that can be found."""

    groups: tuple[HitGroup, ...] = ()
    before: int | None = None
    share: float = 1.0


EVERYTHING = SearchFilter()

_HITS = f"""
select {COLUMNS}, coalesce(a.name, m.content ->> 'program') as agent_name
from message m left join agent a on a.workspace_id = m.workspace_id and a.id = m.agent_id
where {SEARCHABLE} and m.recalled_at is null and m.state <> 'dropped'
  and (%(notes)s or m.direction <> 'internal') and (not %(only_notes)s or m.direction = 'internal')
  and (%(inbox)s::bigint is null or m.inbox_id = %(inbox)s)
  and (%(conversation)s::bigint is null or m.conversation_id = %(conversation)s)
  and (%(agent)s::bigint is null or m.agent_id = %(agent)s)
  and (%(since)s::timestamptz is null or m.sent_at >= %(since)s)
  and (%(until)s::timestamptz is null or m.sent_at < %(until)s)"""

_CONVERSATIONS = """
select c.id, c.kind, coalesce(nullif(p.remark, ''), nullif(p.name, ''), nullif(c.subject, ''), '') as name,
  upper(right(c.external_id, 4)) as tag, c.external_id, i.kind as channel, i.name as inbox_name, c.status,
  p.blocked_at is not null as blocked, c.last_activity_at
from conversation c join inbox i on i.workspace_id = c.workspace_id and i.id = c.inbox_id
left join contact p on p.workspace_id = c.workspace_id and p.id = c.contact_id """


@dataclass(slots=True)
class _HitCollector:
    """Collects hits, newest first, until a page is full; `rest` is then where the next one begins."""

    picked: dict[int, list[Hit]] = field(default_factory=dict)
    count: int = 0
    rest: int | None = None

    def add(self, hits: Iterable[Hit]) -> bool:
        """Whether all of them had room."""
        for hit in hits:
            new = hit.conversation_id not in self.picked
            if self.count == MOST_HITS or (new and len(self.picked) == CONVERSATIONS):
                self.rest = hit.id + 1
                return False
            self.picked.setdefault(hit.conversation_id, []).append(hit)
            self.count += 1
        return True


@frozen_dataclass
class _Search:
    """One search: the words, what it is narrowed to, and for whom."""

    query: Query
    narrowed: SearchFilter
    access: Access
    notes: bool

    async def hits(self, tx: Transaction, condition: str, **values: Any) -> list[Hit]:
        """Those messages under the condition that were asked for and may be shown."""
        rows = await tx.objects(
            Hit,
            f"{_HITS}{self.access.condition('m.inbox_id')} and {condition}",
            notes=self.notes and self.narrowed.notes != "without",
            only_notes=self.narrowed.notes == "only",
            inbox=self.narrowed.inbox_id,
            conversation=self.narrowed.conversation_id,
            agent=self.narrowed.agent_id,
            since=self.narrowed.since,
            until=self.narrowed.until,
            **self.access.params,
            **values,
        )
        writer = self.narrowed.writer
        return [row for row in rows if (not writer or writer_of(row.author) == writer) and self.query.holds(row.text)]

    def wanted(self) -> list[int]:
        """The terms that a message must have."""
        narrowed, index = self.narrowed, search_index
        also = [
            None if narrowed.inbox_id is None else index.inbox_term(narrowed.inbox_id),
            None if narrowed.conversation_id is None else index.conversation_term(narrowed.conversation_id),
            None if narrowed.agent_id is None else index.agent_term(narrowed.agent_id),
            index.writer_term(narrowed.writer) if narrowed.writer else None,
            index.note_term() if narrowed.notes == "only" else None,
        ]
        return [*self.query.terms, *(one for one in also if one is not None)]

    def inboxes(self) -> list[int] | None:
        """Of which it must have one, None when the reader sees all inboxes."""
        seen = self.access.inbox_ids
        return None if seen is None else [search_index.inbox_term(id_) for id_ in seen]

    async def times(self, tx: Transaction, now: datetime) -> list[int] | None:
        """Of which it must have one, None when the time does not matter."""
        since, until = self.narrowed.since, self.narrowed.until
        if since is None and until is None:
            return None
        if since is None:
            # What came first may tell of earlier days, but not of days this long ago.
            first: datetime | None = await tx.value("select sent_at from message order by id limit 1")
            since = (first or now) - _HISTORY
        since = max(since, now - _LONGEST)
        return search_index.times(since, min(until or now + _AHEAD, now + _AHEAD))


async def search(
    tx: Transaction,
    query: Query,
    *,
    access: Access,
    now: datetime,
    narrowed: SearchFilter = EVERYTHING,
    before: int | None = None,
    notes: bool = True,
) -> SearchPage:
    """One page of what was found, from the message before `before` on. Without `notes` none is looked at."""
    known = await search_index.progress(tx)
    page, share = _HitCollector(), known.share if known else await _share_read(tx)
    if not query or (narrowed.notes == "only" and not notes):
        return SearchPage(share=share)
    asked = _Search(query, narrowed, access, notes)
    indexed_to = known.indexed_to if known else 0
    upper = before or _END
    roomy = True
    if upper > indexed_to + 1:
        behind = "m.id > %(after)s and m.id < %(before)s order by m.id desc limit %(most)s"
        roomy = page.add(await asked.hits(tx, behind, after=indexed_to, before=upper, most=TAIL))
    if roomy:
        await _add_indexed(tx, page, asked, min(upper, indexed_to + 1), now=now)
    heads = await conversations(tx, list(page.picked))
    groups = tuple(
        HitGroup(heads[id_], tuple(hits[:HITS]), max(len(hits) - HITS, 0)) for id_, hits in page.picked.items()
    )
    return SearchPage(groups, page.rest, share)


async def _share_read(tx: Transaction) -> float:
    """Before the first round of the indexer: whether what is read without it is all there is."""
    return 0.0 if await tx.value(f"select 1 from message offset {TAIL} limit 1") else 1.0


async def _add_indexed(tx: Transaction, page: _HitCollector, asked: _Search, upper: int, *, now: datetime) -> None:
    wanted, times, seen, most = asked.wanted(), await asked.times(tx, now), 0, _FIRST
    while True:
        ids = await tx.values(
            "select id from search_messages(%(wanted)s::bigint[], %(times)s::bigint[], %(inboxes)s::bigint[], "
            "%(before)s, %(most)s)",
            wanted=wanted,
            times=times,
            inboxes=asked.inboxes(),
            before=upper,
            most=most,
        )
        if not page.add(await asked.hits(tx, "m.id = any(%(ids)s::bigint[]) order by m.id desc", ids=ids)):
            return
        if len(ids) < most:
            return
        seen, upper, most = seen + len(ids), ids[-1], _AT_ONCE
        if seen >= MOST_CANDIDATES:
            page.rest = upper
            return


async def conversations(tx: Transaction, ids: Sequence[int]) -> dict[int, FoundConversation]:
    """These conversations, by id."""
    if not ids:
        return {}
    rows = await tx.objects(FoundConversation, _CONVERSATIONS + "where c.id = any(%(ids)s::bigint[])", ids=list(ids))
    return {row.id: row for row in rows}


@frozen_dataclass
class ContactHit:
    """A contact that was found, with the last of their conversations that the reader sees, newest first."""

    contact: FoundContact
    conversations: tuple[FoundConversation, ...]


async def search_contacts(tx: Transaction, query: Query, *, access: Access, most: int) -> list[ContactHit]:
    """Contacts by words. Whoever sees some inboxes only finds those who wrote there."""
    found: list[ContactHit] = []
    async for some in find_contacts(tx, query):
        found += await contact_hits(tx, some, access)
        if len(found) >= most:
            break
    return found[:most]


async def contact_hits(tx: Transaction, contacts: Sequence[FoundContact], access: Access) -> list[ContactHit]:
    """These contacts, as far as the reader sees them, each with their last conversations."""
    known = await _last_conversations(tx, [one.id for one in contacts], access)
    return [
        ContactHit(one, tuple(known.get(one.id, ()))) for one in contacts if access.inbox_ids is None or one.id in known
    ]


async def _last_conversations(
    tx: Transaction, contact_ids: Sequence[int], access: Access
) -> dict[int, list[FoundConversation]]:
    found: dict[int, list[FoundConversation]] = {}
    seen = access.condition("c.inbox_id")
    rows = await tx.rows(
        "select w.id, c.id from unnest(%(ids)s::bigint[]) as w(id) cross join lateral (select id from ("
        f"select c.id, c.last_activity_at from conversation c where c.contact_id = w.id{seen} union all "
        "select c.id, c.last_activity_at from participant g join conversation c "
        f"on c.workspace_id = g.workspace_id and c.id = g.conversation_id where g.contact_id = w.id{seen}) every "
        "order by last_activity_at desc limit 3) c",
        ids=list(contact_ids),
        **access.params,
    )
    known = await conversations(tx, [id_ for _, id_ in rows])
    for contact_id, id_ in rows:
        if id_ in known:  # else erased between the two statements
            found.setdefault(contact_id, []).append(known[id_])
    return found

"""The write side of message search: texts become keys after the fact, so that no message waits for it.

The index follows the table by ids, and what it has not come to yet the search reads itself. What was there before the
index is taken up backwards, newest first. An id may be given out long before its row is committed: such rows are looked
for once every transaction that may hold one has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.word_search import keys, term, text_terms
from zhiban.people import contact_search

BATCH = 100  # messages in one transaction; their terms keep the processor for five milliseconds, and pages waiting
SETTLING = timedelta(minutes=1)

# What is never shown as words of somebody is not looked for.
# The question how it was holds a link that is for the contact alone.
SEARCHABLE = "m.kind not in ('activity', 'move') and not m.content ? 'survey'"

# Files are found by their names.
COLUMNS = (
    "m.id, m.conversation_id, m.inbox_id, m.direction, m.author, m.agent_id, m.sent_at, "
    "case when m.kind in ('text', 'note', 'menu') then m.text else concat_ws(' ', m.text, "
    "(select string_agg(a.filename, ' ' order by a.id) from attachment a "
    "where a.workspace_id = m.workspace_id and a.message_id = m.id)) end as text"
)


@frozen_dataclass
class IndexedMessage:
    """What of a message is indexed; `text` includes the names of its files."""

    id: int
    conversation_id: int
    inbox_id: int
    direction: str
    author: str
    agent_id: int | None
    sent_at: datetime
    text: str


# ------------------------------------------------------------------- what a search may be narrowed to, as terms


def inbox_term(inbox_id: int) -> int:
    return term(f"\x00inbox {inbox_id}")


def conversation_term(conversation_id: int) -> int:
    return term(f"\x00conversation {conversation_id}")


def agent_term(agent_id: int) -> int:
    return term(f"\x00agent {agent_id}")


def writer_term(writer: str) -> int:
    """`writer`: contact, assistant or people."""
    return term(f"\x00writer {writer}")


def note_term() -> int:
    return term("\x00note")


def day_term(day: date) -> int:
    """A day in UTC."""
    return term(f"\x00day {day:%Y-%m-%d}")


def month_term(day: date) -> int:
    """The month of a day in UTC."""
    return term(f"\x00month {day:%Y-%m}")


def times(since: datetime, until: datetime) -> list[int]:
    """Terms of which every message between the two has at least one: whole months, and days at both ends."""
    first, last = since.astimezone(UTC).date(), until.astimezone(UTC).date()
    found = []
    while first <= last:
        following = (first.replace(day=1) + timedelta(days=31)).replace(day=1)
        whole = first.day == 1 and following <= last
        found.append(month_term(first) if whole else day_term(first))
        first = following if whole else first + timedelta(days=1)
    return found


def writer_of(author: str) -> str:
    """Who the search says has written: contact, assistant (with whatever else the product sends), or people."""
    return {"contact": "contact", "agent": "people", "servicer": "people"}.get(author, "assistant")


def narrowing_terms(message: IndexedMessage) -> set[int]:
    """What of a message a search may be narrowed to."""
    day = message.sent_at.astimezone(UTC).date()
    found = {
        inbox_term(message.inbox_id),
        conversation_term(message.conversation_id),
        writer_term(writer_of(message.author)),
        day_term(day),
        month_term(day),
    }
    if message.agent_id is not None:
        found.add(agent_term(message.agent_id))
    if message.direction == "internal":
        found.add(note_term())
    return found


def message_terms(message: IndexedMessage) -> set[int]:
    """The terms of a message, none when it has no words."""
    words = text_terms(message.text)
    return words | narrowing_terms(message) if words else words


# ----------------------------------------------------------------------------------------------------- progress


@frozen_dataclass
class SearchProgress:
    """How far the index of a workspace has come."""

    indexed_to: int
    settled_to: int
    settling_to: int
    settling_since: datetime | None
    settled: bool  # every transaction that ran when `settling_to` was read has ended
    backfill_from: int
    backfilled_to: int
    contacts_to: int

    @property
    def share(self) -> float:
        """How much of what was there before the index is in it, 0 to 1."""
        return 1.0 if self.backfilled_to <= 1 else 1 - self.backfilled_to / max(self.backfill_from, 1)


_PROGRESS = """
select indexed_to, settled_to, settling_to, settling_since,
  coalesce(pg_snapshot_xmin(pg_current_snapshot()) >= settling_xid, true) as settled,
  backfill_from, backfilled_to, contacts_to
from search_progress"""

# Behind the newest message there is, so that what is written next comes first. Some that are being written now may have
# smaller ids; the first settling looks as far back as these can lie.
_BEGIN = """
insert into search_progress (workspace_id, indexed_to, settled_to, settling_to, backfill_from, backfilled_to)
select %(workspace)s, newest, greatest(newest - 10000, 0), greatest(newest - 10000, 0), newest + 1, newest + 1
from (select coalesce(max(id), 0) as newest from message) found on conflict do nothing"""

_WRITE = """
insert into message_search (workspace_id, message_id, keys)
select %(workspace)s, id, keys::integer[] from unnest(%(ids)s::bigint[], %(keys)s::text[]) as t(id, keys)
on conflict do nothing"""

_MISSED = f"""
select {COLUMNS} from message m
left join message_search s on s.workspace_id = m.workspace_id and s.message_id = m.id
where m.id > %(after)s and m.id <= %(until)s and {SEARCHABLE} and s.message_id is null and m.text <> ''"""


async def progress(tx: Transaction) -> SearchProgress | None:
    """None before the first round."""
    return await tx.object(SearchProgress, _PROGRESS)


async def index_some(tx: Transaction, *, now: datetime) -> bool:
    """One round: what is new, then what may have been missed, then some of what was there before.

    Whether there is more to do at once. Another process that is at it goes on alone.
    """
    found = await tx.object(SearchProgress, _PROGRESS + " for update skip locked")
    if found is None:
        return bool(await tx.run(_BEGIN, workspace=tx.workspace_id))
    newest = int(await tx.value("select coalesce(max(id), 0) from message"))
    if newest > found.indexed_to:
        return await _index_fresh(tx, found, newest)
    await _settle(tx, found, now=now)
    known = await contact_search.index_new(tx, after=found.contacts_to, now=now)
    if known is not None:
        await tx.run("update search_progress set contacts_to = %(to)s", to=known)
    return await _backfill(tx, found) or known is not None


async def _index_fresh(tx: Transaction, found: SearchProgress, newest: int) -> bool:
    """Up to `newest`, which was read first: what has been committed since has no part in it."""
    rows = await tx.objects(
        IndexedMessage,
        f"select {COLUMNS} from message m where m.id > %(after)s and m.id <= %(newest)s and {SEARCHABLE} "
        f"order by m.id limit {BATCH}",
        after=found.indexed_to,
        newest=newest,
    )
    await _write(tx, rows)
    whole = len(rows) == BATCH
    await tx.run("update search_progress set indexed_to = %(to)s", to=rows[-1].id if whole else newest)
    return whole


async def _settle(tx: Transaction, found: SearchProgress, *, now: datetime) -> None:
    if found.settling_since is None or (found.settled and now - found.settling_since >= SETTLING):
        if found.settled_to == found.indexed_to:
            return
        await _write(tx, await tx.objects(IndexedMessage, _MISSED, after=found.settled_to, until=found.settling_to))
        await tx.run(
            "update search_progress set settled_to = settling_to, settling_to = indexed_to, settling_since = %(now)s, "
            "settling_xid = pg_snapshot_xmax(pg_current_snapshot())",
            now=now,
        )


async def _backfill(tx: Transaction, found: SearchProgress) -> bool:
    if found.backfilled_to <= 1:
        return False
    rows = await tx.objects(
        IndexedMessage,
        f"select {COLUMNS} from message m where m.id < %(before)s and {SEARCHABLE} order by m.id desc limit {BATCH}",
        before=found.backfilled_to,
    )
    await _write(tx, rows)
    reached = rows[-1].id if len(rows) == BATCH else 1
    await tx.run("update search_progress set backfilled_to = %(to)s", to=reached)
    return reached > 1


async def _write(tx: Transaction, messages: Iterable[IndexedMessage]) -> None:
    await write(tx, [(one.id, found) for one in messages if (found := message_terms(one))])


async def write(tx: Transaction, rows: Sequence[tuple[int, set[int]]]) -> None:
    """Enter messages, by id, with their terms; one that is entered already stays as it is."""
    if rows:
        await tx.run(
            _WRITE,
            workspace=tx.workspace_id,
            ids=[id_ for id_, _ in rows],
            keys=[array(keys(tx.workspace_id, id_, found)) for id_, found in rows],
        )


def array(numbers: Iterable[Any]) -> str:
    """As PostgreSQL writes an array."""
    return "{" + ",".join(map(str, numbers)) + "}"

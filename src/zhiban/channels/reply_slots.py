"""The slots in which messages may be answered, where a vendor lets nothing be said otherwise. Rows, for all processes.

A slot carries one message, and a message has one slot at a time: its key is written into the row before anything
leaves. Whoever is killed in between finds it there again, and posts nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg

from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, DatabaseUnavailable, Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.jobs import Job, enqueue
from zhiban.kit.json_safe import json_safe
from zhiban.ports import IncomingMessage, TakenSlot, TryLater

# What the vendor was given because nobody had an answer in time is a message of ours, too.
NOTE_UNANSWERED = Job("note_unanswered_slot", attempts=5)

KEPT = timedelta(days=1)
ASKED_WITHIN = timedelta(seconds=10)  # a vendor that has not asked for so long has ceased to
_NOTED_EVERY = timedelta(seconds=2)

_OPEN = """
insert into reply_slot (workspace_id, connection_id, key, inbox_id, thread, message, how, address, otherwise,
  superseded, opened_at, until)
select %(workspace)s, %(connection)s, key, %(inbox)s, thread, message, how, address, otherwise,
  superseded, %(now)s, until
from json_to_recordset(%(rows)s::json) as t(key text, thread text, message text, how text, address text,
  otherwise text, superseded text, until timestamptz)
on conflict do nothing"""

_FORGET = "delete from reply_slot where connection_id = %(connection)s and until < %(before)s"

_SLOT = "key, how, address, given_at is not null as given, tried_at is not null as tried, until"

_IS_FREE = """s.connection_id = %(connection)s and s.thread = %(thread)s and s.message_key is null
    and s.closed_at is null and s.until > %(now)s
    and (s.how = 'posted' or coalesce(s.asked_at, s.opened_at) > %(asked)s)"""

_MINE = f"""
select {_SLOT} from reply_slot where connection_id = %(connection)s and message_key = %(key)s and closed_at is null"""

# It waits for who has the row at this moment: the vendor that asks for the best slot leaves it free.
_TAKE = f"""
with free as (
  select s.key from reply_slot s where {_IS_FREE}
  order by s.message = %(answers)s desc, s.how, s.opened_at desc, s.key limit 1 for update)
update reply_slot s set message_key = %(key)s, text = case when s.how = 'fetched' then %(text)s end
from free where s.connection_id = %(connection)s and s.key = free.key
returning s.key, s.how, s.address, false as given, false as tried, s.until, s.superseded, s.opened_at"""

# In a chat of two, an answer further down is meant for everything above it.
_SUPERSEDE = """
update reply_slot set text = superseded, closed_at = %(now)s
where connection_id = %(connection)s and thread = %(thread)s and how = 'fetched' and message_key is null
  and closed_at is null and superseded <> '' and opened_at <= %(opened)s"""

_FETCH = """
select inbox_id, thread, text, otherwise, until, asked_at, given_at from reply_slot
where connection_id = %(connection)s and key = %(key)s and how = 'fetched' for update"""


@frozen_dataclass
class _FetchedSlot:
    inbox_id: int
    thread: str
    text: str | None
    otherwise: str
    until: datetime
    asked_at: datetime | None
    given_at: datetime | None


@frozen_dataclass
class _Taken:
    key: str
    how: Any
    address: str
    given: bool
    tried: bool
    until: datetime
    superseded: str = ""
    opened_at: datetime | None = None

    @property
    def slot(self) -> TakenSlot:
        return TakenSlot(self.key, self.how, self.address, self.given, self.tried, self.until)


async def open_slots(
    tx: Transaction, connection_id: int, inbox_id: int, messages: Sequence[IncomingMessage], *, now: datetime
) -> None:
    """Keep where these messages may be answered. Slots that are known stay as they are."""
    rows = [
        {
            "key": slot.key,
            "thread": message.thread,
            "message": message.external_id,
            "how": slot.how,
            "address": slot.address,
            "otherwise": slot.otherwise,
            "superseded": slot.superseded,
            "until": slot.until,
        }
        for message in messages
        for slot in message.slots
    ]
    if rows:
        await tx.run(
            _OPEN,
            workspace=tx.workspace_id,
            connection=connection_id,
            inbox=inbox_id,
            now=now,
            rows=json_safe(rows),
        )
        await tx.run(_FORGET, connection=connection_id, before=now - KEPT)


async def free_slots(tx: Transaction, connection_id: int, thread: str, *, now: datetime) -> int:
    """How many more things can be said in this thread as it is now."""
    found = await tx.value(
        f"select count(*) from reply_slot s where {_IS_FREE}",
        connection=connection_id,
        thread=thread,
        now=now,
        asked=now - ASKED_WITHIN,
    )
    return int(found)


async def forget_old(tx: Transaction, *, now: datetime) -> None:
    """Delete slots that are over for a day, with what was said in them."""
    await tx.run("delete from reply_slot where until < %(before)s", before=now - KEPT)


async def fetch(tx: Transaction, connection_id: int, key: str, *, now: datetime) -> str | None:
    """What the vendor is given that asks for this slot; None while there is nothing to be given.

    A vendor that lost our answer asks again, and is given the same.
    """
    asked = await tx.object(_FetchedSlot, _FETCH, connection=connection_id, key=key)
    if asked is None:
        return None
    values: dict[str, Any] = {"connection": connection_id, "key": key, "now": now}
    if asked.text is not None:
        if asked.given_at is None:
            await tx.run(
                "update reply_slot set given_at = %(now)s where connection_id = %(connection)s and key = %(key)s",
                **values,
            )
        return asked.text
    if now >= asked.until and asked.otherwise:
        await tx.run(
            "update reply_slot set text = otherwise, message_key = %(key)s, given_at = %(now)s "
            "where connection_id = %(connection)s and key = %(key)s",
            **values,
        )
        await enqueue(
            tx, NOTE_UNANSWERED.of(inbox_id=asked.inbox_id, thread=asked.thread, slot=key, text=asked.otherwise)
        )
        return asked.otherwise
    if asked.asked_at is None or asked.asked_at < now - _NOTED_EVERY:
        await tx.run(
            "update reply_slot set asked_at = %(now)s where connection_id = %(connection)s and key = %(key)s", **values
        )
    return None


class SharedReplySlots:
    """The slots of one connection, as a vendor uses them."""

    def __init__(self, database: Database, clock: Clock, *, workspace_id: int, connection_id: int) -> None:
        self._database = database
        self._clock = clock
        self._workspace_id = workspace_id
        self._connection_id = connection_id

    async def take(self, thread: str, message_key: str, text: str, *, answers: str | None = None) -> TakenSlot | None:
        now = self._clock.now()
        values: dict[str, Any] = {
            "connection": self._connection_id,
            "thread": thread,
            "key": message_key,
            "text": text,
            "answers": answers or "",
            "now": now,
            "asked": now - ASKED_WITHIN,
        }
        try:
            async with self._database.transaction(self._workspace_id) as tx:
                known = await tx.object(_Taken, _MINE, **values)
                if known is not None:
                    return known.slot
                taken = await tx.object(_Taken, _TAKE, **values)
                if taken is None:
                    return None
                await tx.run(_SUPERSEDE, **values, opened=taken.opened_at)
                return taken.slot
        except (psycopg.Error, DatabaseUnavailable) as error:
            raise TryLater("The slots for answers cannot be read.") from error

    async def given(self, slot: TakenSlot) -> bool:
        found = await self._value("select given_at is not null from reply_slot where ", slot)
        return bool(found)

    async def close(self, slot: TakenSlot) -> bool:
        closed = await self._value(
            "update reply_slot set closed_at = %(now)s, message_key = null, text = coalesce(nullif(superseded, ''), "
            "otherwise) where given_at is null and ",
            slot,
            " returning true",
        )
        return bool(closed)

    async def trying(self, slot: TakenSlot) -> None:
        await self._value("update reply_slot set tried_at = %(now)s where ", slot, " returning true")

    async def untried(self, slot: TakenSlot) -> None:
        await self._value("update reply_slot set tried_at = null where ", slot, " returning true")

    async def done(self, slot: TakenSlot) -> None:
        await self._value("update reply_slot set given_at = %(now)s where ", slot, " returning true")

    async def _value(self, sql: str, slot: TakenSlot, after: str = "") -> Any:
        try:
            async with self._database.transaction(self._workspace_id) as tx:
                return await tx.value(
                    f"{sql}connection_id = %(connection)s and key = %(key)s{after}",
                    connection=self._connection_id,
                    key=slot.key,
                    now=self._clock.now(),
                )
        except (psycopg.Error, DatabaseUnavailable) as error:
            raise TryLater("The slots for answers cannot be read.") from error

"""Tests that people send from the settings: each stands in the log, and there are only so many in an hour."""

from __future__ import annotations

from datetime import datetime, timedelta

from zhiban.events import Actor, NotifierTested
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark

HOUR = timedelta(hours=1)
MOST_OF_ONE = 10
MOST_OF_ALL = 30  # of a workspace

_LOCK = 0x5A55  # class of the advisory lock under which they are counted

_LATELY = """
select count(*)::int as everybody, (count(*) filter (where actor_kind = %(kind)s and actor_id = %(id)s))::int as own
from event where kind = %(fact)s and at > %(since)s"""


@frozen_dataclass
class _Lately:
    everybody: int
    own: int


async def note_test(tx: Transaction, to: str, *, by: Actor, now: datetime) -> None:
    """A test is about to be sent to this address, which others will read. Raises Conflict where it is one too many."""
    await tx.run("select pg_advisory_xact_lock(%(lock)s, %(id)s::int)", lock=_LOCK, id=tx.workspace_id % 2**31)
    lately = await tx.object(
        _Lately, _LATELY, kind=by.kind, id=by.id, fact=NotifierTested.kind(), since=now - HOUR
    ) or _Lately(0, 0)
    if lately.own >= MOST_OF_ONE or lately.everybody >= MOST_OF_ALL:
        raise Conflict(mark(f"{MOST_OF_ONE} tests an hour at most, {MOST_OF_ALL} of all together. Try again later."))
    await event_log.append(tx, NotifierTested(actor=by, at=now, to=to))

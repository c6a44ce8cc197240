"""Reading the log of facts backwards: by kind, by who brought them about, by time, by words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass

PAGE = 50


@frozen_dataclass
class AuditRow:
    """One fact. `data` is what its kind has besides the columns that all share."""

    id: int
    kind: str
    at: datetime
    actor_kind: str
    actor_id: int | None
    actor_ref: str | None
    conversation_id: int | None
    inbox_id: int | None
    data: dict[str, Any]


@frozen_dataclass
class AuditFilter:
    """Which facts. `kinds` empty: none. `agent_id` is who did it; `since` and `until` bound the time, `until` excluded;
    `text` stands somewhere in what was recorded. `before` is the last fact of the page before: its time and id."""

    kinds: Sequence[str]
    agent_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    before: tuple[datetime, int] | None = None


# For each kind its newest, by the index on kind and time, and of these the newest: a log of millions of messages is
# not looked through for ten sign-ins. Words are looked for along the way.
_LOG = """
select e.id, e.kind, e.at, e.actor_kind, e.actor_id, e.actor_ref, e.conversation_id, e.inbox_id, e.data
from unnest(%(kinds)s::text[]) as k(kind), lateral (
  select * from event where kind = k.kind{condition} order by at desc, id desc limit %(limit)s) e
order by e.at desc, e.id desc limit %(limit)s"""

# What somebody did is found by the index on who and time.
_LOG_OF_AGENT = """
select id, kind, at, actor_kind, actor_id, actor_ref, conversation_id, inbox_id, data from event
where actor_kind = 'agent' and actor_id = %(agent)s and kind = any(%(kinds)s::text[]){condition}
order by at desc, id desc limit %(limit)s"""

_SINCE = " and at >= %(since)s"
_UNTIL = " and at < %(until)s"
_TEXT = " and (data::text ilike %(text)s or actor_ref ilike %(text)s)"
_BEFORE = " and at <= %(at)s and (at, id) < (%(at)s, %(id)s)"


async def audit_rows(tx: Transaction, asked: AuditFilter, *, limit: int = PAGE) -> list[AuditRow]:
    """The newest facts that are asked for, the newest first."""
    at, id_ = asked.before or (None, None)
    conditions = (
        (_SINCE, asked.since),
        (_UNTIL, asked.until),
        (_TEXT, asked.text or None),
        (_BEFORE, at),
    )
    return await tx.objects(
        AuditRow,
        (_LOG if asked.agent_id is None else _LOG_OF_AGENT).format(
            condition="".join(sql for sql, value in conditions if value is not None)
        ),
        kinds=list(asked.kinds),
        agent=asked.agent_id,
        since=asked.since,
        until=asked.until,
        text=f"%{_literal(asked.text)}%",
        at=at,
        id=id_,
        limit=limit,
    )


def _literal(text: str) -> str:
    """The text as a pattern of `like` that means itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")

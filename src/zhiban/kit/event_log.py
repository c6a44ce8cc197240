"""Writes facts into the log, in the transaction of the change, and lets the rest of the program react to them.

Reactions are of two kinds, named in typed tables by `bootstrap`: handlers run at once, in the same transaction and in
the order of the table; jobs are enqueued in the same transaction and run after the commit. A handler may bring about
further facts, which name the first as their cause; at a depth of five the chain is cut, so that two handlers that
answer each other cannot go on for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any, Protocol

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.jobs import Enqueued, enqueue_many
from zhiban.kit.json_safe import json_safe

log = logging.getLogger(__name__)

DEEPEST = 5


class LoggedActor(Protocol):
    """Who brought a fact about; `zhiban.events.Actor` is one."""

    @property
    def kind(self) -> str: ...

    @property
    def id(self) -> int | None: ...

    @property
    def ref(self) -> str | None: ...


class LoggedCause(Protocol):
    """What led to a fact; `zhiban.events.Cause` is one."""

    @property
    def kind(self) -> str: ...

    @property
    def id(self) -> int | None: ...

    @property
    def depth(self) -> int: ...


class Loggable(Protocol):
    """What the log needs of a fact; `zhiban.events.Event` offers it."""

    @classmethod
    def kind(cls) -> str: ...

    @property
    def actor(self) -> LoggedActor: ...

    @property
    def at(self) -> datetime: ...

    @property
    def cause(self) -> LoggedCause: ...

    def column(self, name: str) -> int | None:
        """The value of a column that the row keeps, None where the fact has no such field."""
        ...

    def data(self) -> Mapping[str, Any]:
        """All other fields, as values that JSON takes."""
        ...

    def logged(self, id_: int) -> Loggable:
        """The same fact, known by the id of its row."""
        ...


Handler = Callable[[Transaction, Any], Awaitable[None]]
JobsOf = Callable[[Any], Iterable[Enqueued]]


@frozen_dataclass
class Reactions:
    """Who reacts to what. Both tables are keyed by the fact's class; nothing is looked up by a string.

    `cut` is told of a fact that nothing reacts to any more because it stands too deep in a chain.
    """

    handlers: Mapping[type, Sequence[Handler]] = field(default_factory=dict)
    jobs: Mapping[type, Sequence[JobsOf]] = field(default_factory=dict)
    cut: Handler | None = None


_INSERT = """
insert into event (workspace_id, kind, at, actor_kind, actor_id, actor_ref, cause_kind, cause_id, cause_depth,
  conversation_id, message_id, contact_id, inbox_id, cycle, assignee_id, team_id, data)
select %(workspace)s, kind, at, actor_kind, actor_id, actor_ref, cause_kind, cause_id, cause_depth,
  conversation_id, message_id, contact_id, inbox_id, cycle, assignee_id, team_id, data
from rows from (json_to_recordset(%(facts)s::json) as (kind text, at timestamptz, actor_kind text, actor_id bigint,
  actor_ref text, cause_kind text, cause_id bigint, cause_depth smallint, conversation_id bigint, message_id bigint,
  contact_id bigint, inbox_id bigint, cycle int, assignee_id bigint, team_id bigint, data jsonb))
  with ordinality as t(kind, at, actor_kind, actor_id, actor_ref, cause_kind, cause_id, cause_depth, conversation_id,
    message_id, contact_id, inbox_id, cycle, assignee_id, team_id, data, n)
where {condition} order by n returning id"""

_APPEND = _INSERT.format(condition="true")

_COLUMNS = ("conversation_id", "message_id", "contact_id", "inbox_id", "cycle", "assignee_id", "team_id")


async def append(tx: Transaction, *events: Loggable) -> None:
    """Append to the log in this order, run the handlers, enqueue the jobs. All of it is undone by a rollback."""
    if not events:
        return
    await react(tx, events, await tx.values(_APPEND, workspace=tx.workspace_id, facts=facts(events)))


async def last_event(tx: Transaction) -> int:
    """The id of the newest event, 0 before the first. Others may commit later and have a lower one."""
    return int(await tx.value("select coalesce(max(id), 0) from event"))


async def forget(tx: Transaction, *, after: int, limit: int, now: datetime) -> tuple[int | None, int]:
    """Delete facts whose time is over, of the next `limit` behind `after`: see `forget_events` in the migrations.

    Returns how far it has looked, None where nothing older is left, and how many are gone.
    """
    found = await tx.rows(
        "select looked_to, forgotten from forget_events(%(after)s, %(limit)s, %(now)s)",
        after=after,
        limit=limit,
        now=now,
    )
    ((looked_to, forgotten),) = found
    return looked_to, forgotten


async def forget_words(tx: Transaction, until: Mapping[int, datetime]) -> None:
    """Blank what contacts said in facts of conversations, up to a moment in each: see the migrations."""
    await tx.value(
        "select forget_words(%(ids)s, %(until)s::timestamptz[])", ids=list(until), until=list(until.values())
    )


async def count_before(tx: Transaction, before: datetime, *, most: int) -> int:
    """How many facts are older than that; `most` stands for that many or more."""
    return int(
        await tx.value(
            "select count(*) from (select at from event order by id limit %(most)s) e where at < %(before)s",
            before=before,
            most=most,
        )
    )


def log_with(condition: str = "true") -> str:
    """A part of a statement, named `logged`, that appends `%(facts)s` (see `facts`) where the condition holds.

    For changes that are made so often that a statement of its own would cost too much. Whoever uses it selects the ids
    from `logged`, sets `%(workspace)s`, and calls `react` with them, in ascending order.
    """
    return f"logged as ({_INSERT.format(condition=condition)})"


def facts(events: Sequence[Loggable]) -> str:
    """The events as the parameter of `log_with`."""
    return json_safe([_row(event) for event in events])


async def react(tx: Transaction, events: Sequence[Loggable], ids: Sequence[int]) -> None:
    """Run the handlers of events that were logged under these ids, and enqueue their jobs."""
    reactions = tx.reactions
    if reactions is None:
        return
    jobs: list[Enqueued] = []
    for event, id_ in zip(events, ids, strict=True):
        kind = type(event)
        handlers, jobs_of = reactions.handlers.get(kind, ()), reactions.jobs.get(kind, ())
        if not handlers and not jobs_of:
            continue
        known = event.logged(id_)
        if event.cause.depth >= DEEPEST:
            log.warning(
                "Event %s (%s) is %s reactions deep: nothing reacts to it any more.", id_, kind.__name__, DEEPEST
            )
            if reactions.cut is not None:
                await reactions.cut(tx, known)
            continue
        for handle in handlers:
            await handle(tx, known)
        jobs += [job for each in jobs_of for job in each(known)]
    await enqueue_many(tx, jobs)


def _row(event: Loggable) -> dict[str, Any]:
    actor, cause = event.actor, event.cause
    row: dict[str, Any] = {
        "kind": event.kind(),
        "at": event.at,
        "actor_kind": actor.kind,
        "actor_id": actor.id,
        "actor_ref": actor.ref,
        "cause_kind": cause.kind or None,
        "cause_id": cause.id,
        "cause_depth": cause.depth,
        "data": event.data(),
    }
    for name in _COLUMNS:
        row[name] = event.column(name)
    return row

"""Writes facts into the log, in the transaction of the change, and lets the rest of the program react to them.

Reactions are of two kinds, named in typed tables by `bootstrap`: handlers run at once, in the same transaction and in
the order of the table; jobs are enqueued in the same transaction and run after the commit. A handler may bring about
further facts, which name the first as their cause; at a depth of five the chain is cut, so that two handlers that
answer each other cannot go on for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from zhiban.kit.db import Transaction
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


Handler = Callable[[Transaction, Any], Awaitable[None]]
JobsOf = Callable[[Any], Iterable[Enqueued]]


@dataclass(frozen=True, slots=True)
class Reactions:
    """Who reacts to what. Both tables are keyed by the fact's class; nothing is looked up by a string."""

    handlers: Mapping[type, Sequence[Handler]] = field(default_factory=dict)
    jobs: Mapping[type, Sequence[JobsOf]] = field(default_factory=dict)


_INSERT = """
insert into event (workspace_id, kind, at, actor_kind, actor_id, actor_ref, cause_kind, cause_id, cause_depth,
  conversation_id, message_id, contact_id, inbox_id, cycle, assignee_id, team_id, data)
select %(workspace)s, kind, at, actor_kind, actor_id, actor_ref, cause_kind, cause_id, cause_depth,
  conversation_id, message_id, contact_id, inbox_id, cycle, assignee_id, team_id, data
from unnest(%(kind)s::text[], %(at)s::timestamptz[], %(actor_kind)s::text[], %(actor_id)s::bigint[],
  %(actor_ref)s::text[], %(cause_kind)s::text[], %(cause_id)s::bigint[], %(cause_depth)s::smallint[],
  %(conversation_id)s::bigint[], %(message_id)s::bigint[], %(contact_id)s::bigint[], %(inbox_id)s::bigint[],
  %(cycle)s::int[], %(assignee_id)s::bigint[], %(team_id)s::bigint[], %(data)s::jsonb[])
  with ordinality as t(kind, at, actor_kind, actor_id, actor_ref, cause_kind, cause_id, cause_depth, conversation_id,
    message_id, contact_id, inbox_id, cycle, assignee_id, team_id, data, n)
order by n returning id"""

_COLUMNS = ("conversation_id", "message_id", "contact_id", "inbox_id", "cycle", "assignee_id", "team_id")


async def append(tx: Transaction, *events: Loggable) -> None:
    """Append to the log in this order, run the handlers, enqueue the jobs. All of it is undone by a rollback."""
    if not events:
        return
    rows = await tx.rows(_INSERT, workspace=tx.workspace_id, **_values(events))
    reactions = tx.reactions
    if reactions is None:
        return
    jobs: list[Enqueued] = []
    for event, (id_,) in zip(events, rows, strict=True):
        kind = type(event)
        handlers, jobs_of = reactions.handlers.get(kind, ()), reactions.jobs.get(kind, ())
        if not handlers and not jobs_of:
            continue
        if event.cause.depth >= DEEPEST:
            log.warning(
                "Event %s (%s) is %s reactions deep: nothing reacts to it any more.", id_, kind.__name__, DEEPEST
            )
            continue
        known = replace(event, id=int(id_))  # type: ignore[type-var]
        for handle in handlers:
            await handle(tx, known)
        jobs += [job for each in jobs_of for job in each(known)]
    await enqueue_many(tx, jobs)


def _values(events: Sequence[Loggable]) -> dict[str, list[Any]]:
    values: dict[str, list[Any]] = {
        "kind": [event.kind() for event in events],
        "at": [event.at for event in events],
        "actor_kind": [event.actor.kind for event in events],
        "actor_id": [event.actor.id for event in events],
        "actor_ref": [event.actor.ref for event in events],
        "cause_kind": [event.cause.kind or None for event in events],
        "cause_id": [event.cause.id for event in events],
        "cause_depth": [event.cause.depth for event in events],
        "data": [json_safe(event.data()) for event in events],
    }
    for name in _COLUMNS:
        values[name] = [event.column(name) for event in events]
    return values

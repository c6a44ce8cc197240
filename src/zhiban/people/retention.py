"""How long an organisation keeps what grows: what its owner has chosen, and the run that carries it out.

The deleting itself is in workers/retention.py, which asks each module to forget its own rows.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta

from zhiban.events import Actor, ClockDoubted, DataForgotten, RetentionChanged
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.kit.json_safe import json_safe

SHORTEST, SHORTEST_DELIVERIES, LONGEST = 30, 4, 36_500  # days; vendors repeat a delivery for three at most
EVERY = timedelta(days=1)
LEAP = timedelta(days=3)  # a clock that is further ahead than this may be wrong …
DOUBTED = timedelta(days=1)  # … and is believed when it has stayed so for this long

log = logging.getLogger(__name__)


@frozen_dataclass
class RetentionTimes:
    """Days; None for ever. Messages of the last cycle count from when it was over, everything else by its own time."""

    messages: int | None = None
    turns: int | None = None
    rule_runs: int | None = None
    tickets: int | None = None  # their words, since they were finished
    events: int | None = None
    failed_deliveries: int | None = None
    deliveries: int = SHORTEST_DELIVERIES

    def before(self, what: str, *, now: datetime) -> datetime | None:
        """What is older than this may go; None: nothing may."""
        days: int | None = getattr(self, what)
        return None if days is None else now - timedelta(days=days)


NAMES = tuple(field.name for field in fields(RetentionTimes))


@frozen_dataclass
class RetentionRun:
    """The last run, or the one under way: `finished_at` None. `counts` is what it has deleted so far, by kind."""

    started_at: datetime
    finished_at: datetime | None
    counts: dict[str, int]
    messages_at: datetime
    messages_id: int
    events_id: int
    earlier_id: int
    doubted_at: datetime | None


def shortest(what: str) -> int:
    """The least days that may be chosen."""
    return SHORTEST_DELIVERIES if what == "deliveries" else SHORTEST


async def retention_times(tx: Transaction) -> RetentionTimes:
    """What was chosen; everything for ever where nobody has chosen yet, but for handled deliveries."""
    columns = ", ".join(f"{name}_days as {name}" for name in NAMES)
    return await tx.object(RetentionTimes, f"select {columns} from retention") or RetentionTimes()


async def set_retention(tx: Transaction, wanted: RetentionTimes, *, by: Actor, now: datetime) -> None:
    """What is older goes with the next run, and never comes back. Raises Conflict out of bounds."""
    for name in NAMES:
        days: int | None = getattr(wanted, name)
        least = shortest(name)
        if days is not None and not least <= days <= LONGEST:
            raise Conflict(mark(f"Keep it for between {least} and {LONGEST} days, or for ever."))
    await _make_row(tx)
    await tx.value("select 1 from retention for update")
    before = await retention_times(tx)
    changed = [name for name in NAMES if getattr(before, name) != getattr(wanted, name)]
    if not changed:
        return
    values = {name: getattr(wanted, name) for name in NAMES}
    await tx.run("update retention set " + ", ".join(f"{name}_days = %({name})s" for name in NAMES), **values)
    was = {f"{name}_days": getattr(before, name) for name in changed}
    became = {f"{name}_days": values[name] for name in changed}
    await event_log.append(tx, RetentionChanged(actor=by, at=now, before=was, after=became))


# ------------------------------------------------------------------------------------------------------------ runs


_RUN = (
    "select started_at, finished_at, counts, messages_at, messages_id, events_id, earlier_id, doubted_at from retention"
)

# By the facts before there was a run; by the runs themselves since then, because facts are told by the same clock.
_NEWEST = "select max(at) from (select at from event order by id desc limit 100) e"


async def _make_row(tx: Transaction) -> None:
    await tx.run(
        "insert into retention (workspace_id) values (%(workspace)s) on conflict do nothing", workspace=tx.workspace_id
    )


async def last_run(tx: Transaction) -> RetentionRun | None:
    return await tx.object(RetentionRun, _RUN + " where started_at is not null")


async def earliest(tx: Transaction, now: datetime) -> datetime:
    """The earlier of this moment and the database's own."""
    reading: datetime = await tx.value("select least(%(now)s, now())", now=now)
    return reading


async def begin_run(tx: Transaction, *, by: Actor, now: datetime, due_only: bool) -> bool:
    """Whether there is a run to carry on: one under way, or a new one, a day after the last began (`due_only`).

    A clock that has leapt ahead is doubted for a day before anything is deleted by it, unless a person asks for it.
    """
    run = await last_run(tx)
    if run is not None and run.finished_at is None:
        return True
    now = await earliest(tx, now)
    if due_only and run is not None and run.started_at <= now < run.started_at + EVERY:
        return False
    await _make_row(tx)
    if due_only and not await _believed(tx, run, by=by, now=now):
        return False
    began = await tx.run(
        "update retention set started_at = %(now)s, finished_at = null, counts = '{}', events_id = 0, earlier_id = 0, "
        "doubted_at = null where started_at is not distinct from %(last)s",
        now=now,
        last=run and run.started_at,
    )
    return bool(began)


async def _believed(tx: Transaction, run: RetentionRun | None, *, by: Actor, now: datetime) -> bool:
    """Whether this moment is near the last one that is known, or has been doubted for long enough."""
    doubted_at: datetime | None = await tx.value("select doubted_at from retention for update")
    if doubted_at is not None and doubted_at <= now:
        return now >= doubted_at + DOUBTED
    newest: datetime | None = run.started_at if run is not None else await tx.value(_NEWEST)
    if newest is None or now <= newest + LEAP:
        return True
    await tx.run("update retention set doubted_at = %(now)s", now=now)
    await event_log.append(tx, ClockDoubted(actor=by, at=now, newest=newest))
    log.warning(
        "Nothing is deleted until %s: it is %s by the clock, and the last moment known was %s.",
        now + DOUBTED,
        now,
        newest,
    )
    return False


async def lock_run(tx: Transaction) -> RetentionRun | None:
    """The run under way, for one step of it. None where another process is at it, or has brought it to its end."""
    run = await tx.object(RetentionRun, _RUN + " where started_at is not null for update skip locked")
    return run if run is not None and run.finished_at is None else None


async def note_step(
    tx: Transaction,
    run: RetentionRun,
    counts: Mapping[str, int],
    *,
    messages: tuple[datetime, int] | None = None,
    events_id: int | None = None,
    earlier_id: int | None = None,
) -> None:
    """What one step has deleted, and how far it has come, in the step's own transaction."""
    summed = {name: run.counts.get(name, 0) + counts.get(name, 0) for name in {**run.counts, **counts}}
    at, id_ = messages or (run.messages_at, run.messages_id)
    await tx.run(
        "update retention set counts = %(counts)s::jsonb, messages_at = %(at)s, messages_id = %(id)s, "
        "events_id = %(events)s, earlier_id = %(earlier)s",
        counts=json_safe(summed),
        at=at,
        id=id_,
        events=run.events_id if events_id is None else events_id,
        earlier=run.earlier_id if earlier_id is None else earlier_id,
    )


async def end_run(tx: Transaction, run: RetentionRun, *, by: Actor, now: datetime) -> None:
    """The run has come to its end; what it has deleted is a fact of the log."""
    now = await earliest(tx, now)
    await tx.run("update retention set finished_at = %(now)s", now=now)
    deleted = {name: n for name, n in run.counts.items() if n}
    if deleted:
        await event_log.append(tx, DataForgotten(actor=by, at=now, **deleted))  # type: ignore[arg-type]  # numbers

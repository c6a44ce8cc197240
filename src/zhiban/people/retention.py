"""How long an organisation keeps what grows: what its owner has chosen, and the run that carries it out.

The deleting itself is in workers/retention.py, which asks each module to forget its own rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta

from zhiban.events import Actor, DataForgotten, RetentionChanged
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.kit.json_safe import json_safe

SHORTEST, SHORTEST_DELIVERIES, LONGEST = 30, 4, 36_500  # days; vendors repeat a delivery for three at most
EVERY = timedelta(days=1)


@frozen_dataclass
class RetentionTimes:
    """Days; None for ever. Messages count from when their conversation was over, everything else from its own time."""

    messages: int | None = None
    turns: int | None = None
    rule_runs: int | None = None
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


_RUN = "select started_at, finished_at, counts, messages_at, messages_id, events_id from retention"


async def _make_row(tx: Transaction) -> None:
    await tx.run(
        "insert into retention (workspace_id) values (%(workspace)s) on conflict do nothing", workspace=tx.workspace_id
    )


async def last_run(tx: Transaction) -> RetentionRun | None:
    return await tx.object(RetentionRun, _RUN + " where started_at is not null")


async def begin_run(tx: Transaction, *, now: datetime, due_only: bool) -> bool:
    """Whether there is a run to carry on: one under way, or a new one, a day after the last began (`due_only`)."""
    run = await last_run(tx)
    if run is not None and run.finished_at is None:
        return True
    if run is not None and due_only and now < run.started_at + EVERY:
        return False
    await _make_row(tx)
    began = await tx.run(
        "update retention set started_at = %(now)s, finished_at = null, counts = '{}', events_id = 0 "
        "where started_at is not distinct from %(last)s",
        now=now,
        last=run and run.started_at,
    )
    return bool(began)


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
) -> None:
    """What one step has deleted, and how far it has come, in the step's own transaction."""
    summed = {name: run.counts.get(name, 0) + counts.get(name, 0) for name in {**run.counts, **counts}}
    at, id_ = messages or (run.messages_at, run.messages_id)
    await tx.run(
        "update retention set counts = %(counts)s::jsonb, messages_at = %(at)s, messages_id = %(id)s, "
        "events_id = %(events)s",
        counts=json_safe(summed),
        at=at,
        id=id_,
        events=run.events_id if events_id is None else events_id,
    )


async def end_run(tx: Transaction, run: RetentionRun, *, by: Actor, now: datetime) -> None:
    """The run has come to its end; what it has deleted is a fact of the log."""
    await tx.run("update retention set finished_at = %(now)s", now=now)
    deleted = {name: n for name, n in run.counts.items() if n}
    if deleted:
        await event_log.append(tx, DataForgotten(actor=by, at=now, **deleted))  # type: ignore[arg-type]  # numbers

"""Reads the sums of reports: which of them an agent may see, and by what they are grouped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from zhiban.insights.models import RECIPE, STORED_TIMES, Measure, ReportClock, TrackedAgent
from zhiban.insights.numbers import Numbers
from zhiban.insights.periods import Period, hour_of_week
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.event_log import last_event
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.permissions import Access

_MEASURES = {int(measure): measure for measure in Measure}
LEVELS = {"open": Measure.OPEN, "snoozed": Measure.SNOOZED}


class Dimension(StrEnum):
    """By what a report can be taken apart."""

    AGENT = "agent"
    TEAM = "team"
    INBOX = "inbox"
    LABEL = "label"
    CHANNEL = "channel"


# A channel is a kind of inbox, and labels come in sets: what is read is finer than what is shown.
_KEYS = {
    Dimension.AGENT: "agent_id",
    Dimension.TEAM: "team_id",
    Dimension.INBOX: "inbox_id",
    Dimension.LABEL: "label_set",
    Dimension.CHANNEL: "inbox_id",
}


@frozen_dataclass
class ReportFilter:
    """Which facts a report is about. None: all of them."""

    inbox_id: int | None = None
    team_id: int | None = None
    agent_id: int | None = None
    label_id: int | None = None

    def check(self, access: Access) -> None:
        """Raises NotFound for an inbox that whoever asks does not see."""
        if self.inbox_id is not None and not access.sees(self.inbox_id):
            raise NotFound("There is no such inbox.")


@frozen_dataclass
class ReportQuery:
    """One report: whose eyes, which facts, when, and by which clock times are taken."""

    access: Access
    period: Period
    only: ReportFilter = ReportFilter()
    clock: ReportClock = ReportClock.WALL

    @property
    def tells_presence(self) -> bool:
        """Whether it is about agents as a whole: nobody is there for one inbox, team or label alone."""
        only = self.only
        return self.access.inbox_ids is None and (only.inbox_id, only.team_id, only.label_id) == (None, None, None)

    def where(
        self, measures: Sequence[Measure], *, clocked: bool = True, ended: bool = True
    ) -> tuple[str, dict[str, Any]]:
        """A condition over `report_sum`, with what it refers to; without `ended` also of what came after the period."""
        only, (first, end) = self.only, self.period.quarters
        chosen = {"inbox_id": only.inbox_id, "team_id": only.team_id, "agent_id": only.agent_id}
        parts = [
            "measure = any(%(measures)s::smallint[]) and quarter >= %(first)s",
            *(["and quarter < %(end)s"] if ended else []),
            *(f"and {name} = %({name})s" for name, value in chosen.items() if value is not None),
        ]
        if clocked:
            parts.append("and clock = any(%(clocks)s::smallint[])")
        if only.label_id is not None:
            parts.append("and label_set = any(array(select id from report_label_set where %(label)s = any(labels)))")
        params: dict[str, Any] = {
            **{name: value for name, value in chosen.items() if value is not None},
            "measures": [int(measure) for measure in measures],
            "first": first,
            "end": end,
            "clocks": [int(ReportClock.ALWAYS), int(self.clock)],
            "label": only.label_id,
            **self.access.params,
        }
        return " ".join(parts) + self.access.condition("inbox_id"), params


async def prepare(tx: Transaction) -> None:
    """Let what this transaction reads be added up in memory, on one processor, as the period asks for it.

    With the usual memory PostgreSQL sorts the sums of a period on the disk. It would read all of them with every
    processor there is, also where an index finds the few that are asked for, while messages wait for one. And a plan
    that it keeps for any period knows nothing of this one's measures and bounds, which it compares with every sum.
    """
    await tx.run(
        "select set_config('work_mem', '32MB', true), set_config('max_parallel_workers_per_gather', '0', true), "
        "set_config('plan_cache_mode', 'force_custom_plan', true)"
    )


@frozen_dataclass
class CounterState:
    """How far reports tell: up to this moment, and whether more of the past is still to come."""

    until: datetime | None
    behind: int  # events that are not counted yet


async def counter_state(tx: Transaction) -> CounterState:
    row = await tx.row(
        "select counted_at, greatest(settled_to - counted_to, 0), recipe from report_progress",
    )
    if row is None:
        return CounterState(None, await last_event(tx))
    at, behind, recipe = row
    return CounterState(at, behind if recipe == RECIPE else max(behind, 1))


async def by_step_and_key(
    tx: Transaction, asked: ReportQuery, dimension: Dimension, measures: Sequence[Measure]
) -> tuple[list[Numbers], dict[int, Numbers]]:
    """The numbers of each step of the period, and those by agent, team, inbox (also for channels) or set of labels.

    0 stands for none. Both in one statement, which reads each sum once.
    """
    where, params = asked.where(measures)
    rows = await tx.rows(
        "select step, key, measure, bucket, sum(n)::bigint, sum(total)::bigint from (select measure, bucket, n, total, "
        f"width_bucket(quarter, %(bounds)s::integer[]) as step, {_KEYS[dimension]} as key from report_sum "
        f"where {where}) found group by grouping sets ((step, measure, bucket), (key, measure, bucket))",
        bounds=asked.period.bounds,
        **params,
    )
    steps = [Numbers() for _ in asked.period.starts]
    by_key: dict[int, Numbers] = {}
    for step, key, measure, bucket, n, seconds in rows:
        numbers = steps[step - 1] if step is not None else by_key.get(key) or by_key.setdefault(key, Numbers())
        numbers.add(_MEASURES[measure], bucket, n, seconds)
    return steps, by_key


async def counted_by_hours(tx: Transaction, asked: ReportQuery) -> bool:
    """Whether a time in this report was taken by business hours, also by some that are gone by now."""
    where, params = asked.where(STORED_TIMES, clocked=False)
    return bool(
        await tx.value(
            f"select exists (select from report_sum where {where} and clock = %(business)s)",
            business=int(ReportClock.BUSINESS),
            **params,
        )
    )


async def whole(tx: Transaction, asked: ReportQuery, measures: Sequence[Measure]) -> Numbers:
    """The numbers of the period as one."""
    where, params = asked.where(measures)
    rows = await tx.rows(
        f"select measure, bucket, sum(n)::bigint, sum(total)::bigint from report_sum where {where} group by 1, 2",
        **params,
    )
    numbers = Numbers()
    for measure, bucket, n, seconds in rows:
        numbers.add(Measure(measure), bucket, n, seconds)
    return numbers


async def label_sets(tx: Transaction) -> dict[int, tuple[int, ...]]:
    """The labels of each set that was ever counted."""
    return {id_: tuple(labels) for id_, labels in await tx.rows("select id, labels from report_label_set")}


async def resolvers(tx: Transaction, asked: ReportQuery) -> dict[str, int]:
    """How many conversations were resolved by which kind of actor."""
    where, params = asked.where([Measure.RESOLVED])
    rows = await tx.rows(
        f"select who, sum(n)::bigint from report_sum where {where} group by 1 having sum(n) <> 0", **params
    )
    return dict(rows)


async def busiest_hours(tx: Transaction, asked: ReportQuery) -> list[list[int]]:
    """How many messages contacts wrote, for each weekday (Monday first) by hour of the zone's clock."""
    where, params = asked.where([Measure.RECEIVED])
    starts, offsets = asked.period.offsets()
    rows = await tx.rows(
        "select ((quarter + (%(offsets)s::integer[])[width_bucket(quarter, %(starts)s::integer[])]) / 4) %% 168, "
        f"sum(n)::bigint from report_sum where {where} group by 1",
        offsets=offsets,
        starts=starts,
        **params,
    )
    week = [[0] * 24 for _ in range(7)]
    for number, n in rows:
        day, hour = hour_of_week(int(number))
        week[day][hour] += n
    return week


async def levels(tx: Transaction, asked: ReportQuery, *, now: datetime) -> dict[str, list[int | None]]:
    """How many conversations were open, and snoozed, when each step ended; None of steps that have not begun.

    Reckoned back from those that are now, as far as the counter has come.
    """
    only, period = asked.only, asked.period
    conditions = "".join(
        f" and {name} = %({name})s"
        for name, value in (("inbox_id", only.inbox_id), ("team_id", only.team_id), ("agent_id", only.agent_id))
        if value is not None
    )
    label = "" if only.label_id is None else " and %(label)s = any(labels)"
    where, params = asked.where(list(LEVELS.values()), clocked=False, ended=False)
    standing: dict[str, int] = dict(
        await tx.rows(
            "select status, count(*) from report_conversation where status <> 'resolved' "
            f"and status = any(%(statuses)s::text[]){conditions}{label}{asked.access.condition('inbox_id')} group by 1",
            statuses=list(LEVELS),
            **params,
        )
    )
    rows = await tx.rows(
        "select width_bucket(quarter, %(bounds)s::integer[]), measure, sum(n)::bigint from report_sum "
        f"where {where} group by 1, 2",
        bounds=[*period.bounds, period.quarters[1]],
        **params,
    )
    changes = {(step, measure): n for step, measure, n in rows}
    found: dict[str, list[int | None]] = {}
    for name, measure in LEVELS.items():
        level = int(standing.get(name, 0)) - changes.get((len(period.starts) + 1, int(measure)), 0)
        curve: list[int | None] = []
        for step in range(len(period.starts), 0, -1):
            curve.append(level if period.starts[step - 1] <= now else None)
            level -= changes.get((step, int(measure)), 0)
        found[name] = curve[::-1]
    return found


async def there_now(tx: Transaction) -> list[TrackedAgent]:
    """Agents who are there since a moment, and have not left yet."""
    return await tx.objects(TrackedAgent, "select agent_id, status, since from report_agent where status <> 'offline'")


async def presence_sums(tx: Transaction, asked: ReportQuery) -> Counter[tuple[int, Measure]]:
    """Seconds for which agents were online, and busy, by agent and measure. They belong to no inbox."""
    first, end = asked.period.quarters
    only = "" if asked.only.agent_id is None else " and agent_id = %(agent)s"
    rows = await tx.rows(
        "select agent_id, measure, sum(total)::bigint from report_sum where measure = any(%(measures)s::smallint[]) "
        f"and quarter >= %(first)s and quarter < %(end)s{only} group by 1, 2",
        measures=[int(Measure.ONLINE), int(Measure.BUSY)],
        first=first,
        end=end,
        agent=asked.only.agent_id,
    )
    return Counter({(agent_id, Measure(measure)): seconds for agent_id, measure, seconds in rows})

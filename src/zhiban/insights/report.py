"""A whole report, as pages, exports and the API show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from zhiban.channels.business_hours import Hours, has_hours
from zhiban.channels.inboxes import InboxConfig, inboxes_ever
from zhiban.channels.policy import Policy
from zhiban.insights import queries
from zhiban.insights.counting import presence
from zhiban.insights.models import NULL_ID, STORED_COUNTS, STORED_TIMES, Measure, TrackedAgent
from zhiban.insights.numbers import Numbers, total
from zhiban.insights.periods import quarter_of
from zhiban.insights.queries import CounterState, Dimension, ReportQuery
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import DEFAULT_ZONE
from zhiban.people.teams import TeamRow

MEASURES = STORED_COUNTS + STORED_TIMES
TWICE = "twice"  # the part that takes away what several labels of one conversation counted more than once


@frozen_dataclass
class Part:
    """The numbers of one agent, team, inbox, label or channel. `key` "0": of none; TWICE: see there."""

    key: str
    numbers: Numbers


@frozen_dataclass
class Presence:
    """For how many seconds an agent was online, and busy, in the period."""

    agent_id: int
    online: int
    busy: int


@frozen_dataclass
class Report:
    """What happened in a period. `steps` add up to `total`, and so do `parts`; `before` is as long, just before it,
    and ends as early as what has passed of the period.

    `levels`: how many conversations were open, and snoozed, at the end of each step. `presence` None where nobody can
    say: it belongs to agents, not to inboxes, teams or labels; nor to whoever sees some inboxes only.
    """

    asked: ReportQuery
    by: Dimension
    steps: Sequence[Numbers]
    total: Numbers
    before: Numbers
    parts: Sequence[Part]
    resolvers: Mapping[str, int]
    resolvers_before: Mapping[str, int]
    week: Sequence[Sequence[int]]
    levels: Mapping[str, Sequence[int | None]]
    presence: Sequence[Presence] | None
    counter: CounterState


async def report(tx: Transaction, asked: ReportQuery, *, by: Dimension, now: datetime) -> Report:
    """Read it from the sums. Raises NotFound for an inbox that whoever asks does not see."""
    asked.only.check(asked.access)
    await queries.prepare(tx)
    steps, parts = await queries.by_step_and_key(tx, asked, by, MEASURES)
    earlier = ReportQuery(asked.access, asked.period.before(now), asked.only, asked.clock)
    return Report(
        asked=asked,
        by=by,
        steps=steps,
        total=total(steps),
        before=await queries.whole(tx, earlier, MEASURES),
        parts=await _parts(tx, by, parts),
        resolvers=await queries.resolvers(tx, asked),
        resolvers_before=await queries.resolvers(tx, earlier),
        week=await queries.busiest_hours(tx, asked),
        levels=await queries.levels(tx, asked, now=now),
        presence=await _presence(tx, asked, now=now) if asked.tells_presence else None,
        counter=await queries.counter_state(tx),
    )


async def _parts(tx: Transaction, by: Dimension, found: Mapping[int, Numbers]) -> list[Part]:
    """Those with most resolved conversations first, what belongs to none last."""
    match by:
        case Dimension.LABEL:
            parts = _by_label(found, await queries.label_sets(tx))
        case Dimension.CHANNEL:
            kinds = {row.id: row.kind for row in await inboxes_ever(tx)}
            parts = _by_channel(found, kinds)
        case _:
            parts = [Part(str(key), numbers) for key, numbers in found.items()]
    last = (str(NULL_ID), TWICE)
    return sorted(
        parts, key=lambda part: (part.key in last, part.key == TWICE, -part.numbers.resolved, -_size(part), part.key)
    )


def _size(part: Part) -> int:
    return sum(part.numbers.counts.values())


def _by_channel(found: Mapping[int, Numbers], kinds: Mapping[int, str]) -> list[Part]:
    by_kind: dict[str, list[Numbers]] = {}
    for inbox_id, numbers in found.items():
        by_kind.setdefault(kinds.get(inbox_id, str(NULL_ID)), []).append(numbers)
    return [Part(kind, total(numbers)) for kind, numbers in by_kind.items()]


def _by_label(found: Mapping[int, Numbers], sets: Mapping[int, Sequence[int]]) -> list[Part]:
    """What bore several labels counts with each of them, and is taken away as often as it counted too much."""
    by_label: dict[str, list[Numbers]] = {}
    twice = []
    for label_set, numbers in found.items():
        labels = sets.get(label_set, ()) or (NULL_ID,)
        for label in labels:
            by_label.setdefault(str(label), []).append(numbers)
        if len(labels) > 1:
            twice.append(total([numbers], factor=1 - len(labels)))
    parts = [Part(label, total(numbers)) for label, numbers in by_label.items()]
    return [*parts, Part(TWICE, total(twice))] if twice else parts


async def _presence(tx: Transaction, asked: ReportQuery, *, now: datetime) -> list[Presence]:
    """Who was there, and for how long; who still is, until now."""
    found = await queries.presence_sums(tx, asked)
    since, end = asked.period.quarters
    for agent in await queries.there_now(tx):
        for fact in presence(agent, until=now):
            if since <= quarter_of(fact.at) < end and _is_asked_for(asked, agent):
                found[agent.agent_id, fact.measure] += fact.seconds or 0
    ids = sorted({agent_id for agent_id, _ in found})
    rows = [Presence(id_, found[id_, Measure.ONLINE], found[id_, Measure.BUSY]) for id_ in ids]
    return sorted(rows, key=lambda row: (-row.online, -row.busy, row.agent_id))


def _is_asked_for(asked: ReportQuery, agent: TrackedAgent) -> bool:
    return asked.only.agent_id in (None, agent.agent_id)


# ------------------------------------------------------------------------------------------------------- time zones


def zone_of(rows: Sequence[InboxConfig], inbox_id: int | None) -> ZoneInfo:
    """The time zone in which a report tells its days: that of the inbox, or else of most of these inboxes."""
    zones = Counter(_zone(row) for row in rows if inbox_id in (None, row.id) and row.archived_at is None)
    chosen = zones.most_common(1) or Counter(_zone(row) for row in rows if row.id == inbox_id).most_common(1)
    return ZoneInfo(chosen[0][0]) if chosen else DEFAULT_ZONE


def _zone(row: InboxConfig) -> str:
    return Policy.model_validate(row.policy).hours.timezone


def any_hours(rows: Sequence[InboxConfig], teams: Sequence[TeamRow]) -> bool:
    """Whether times within business hours differ from others in one of these inboxes or for one of these teams."""
    of_teams = [Hours.model_validate(team.hours) for team in teams if team.hours is not None]
    return any(map(has_hours, [*(Policy.model_validate(row.policy).hours for row in rows), *of_teams]))

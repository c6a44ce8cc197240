"""The JSON API of reports: what happened in a period, as the page of the desk shows it."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from zhiban.api.auth import ReportReader
from zhiban.api.knowledge import TROUBLES, Now, Rows, Trouble
from zhiban.automation.queries import names
from zhiban.channels.inboxes import inboxes_ever
from zhiban.conversations.labels import label_names
from zhiban.insights.models import TIMES, Measure, ReportClock
from zhiban.insights.numbers import Numbers
from zhiban.insights.periods import period
from zhiban.insights.queries import Dimension, ReportFilter, ReportQuery
from zhiban.insights.report import Report, report, zone_of
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import mark

DAYS = 14  # when nobody says since when

Id = Annotated[int | None, Query(ge=1, le=2**62)]

_TIMES: JsonDict = {"n": 12, "median": 102.0, "nine_of_ten": 640.0, "mean": 180.5}
_NUMBERS: JsonDict = {
    "conversations": 20,
    "begun": 17,
    "resumed": 3,
    "received": 64,
    "written": 58,
    "came_to_people": 12,
    "handed_off": 9,
    "assigned": 12,
    "resolved": 18,
    "resolved_assisted": 18,
    "resolved_handed_off": 9,
    "surveyed": 10,
    "rated": 6,
    "rating": 4.5,
    "stars": {"1": 0, "2": 0, "3": 1, "4": 1, "5": 4},
    "queued": _TIMES,
    "first_reply": _TIMES,
    "reply": _TIMES,
    "resolution": _TIMES,
}


class TimesOut(BaseModel):
    """Seconds; null of nothing."""

    n: int
    median: float | None
    nine_of_ten: float | None = Field(description=mark("Nine of ten were no longer."))
    mean: float | None


class NumbersOut(BaseModel):
    conversations: int = Field(description=mark("Begun and resumed."))
    begun: int
    resumed: int = Field(description=mark("Went on after having been resolved."))
    received: int
    written: int
    came_to_people: int
    handed_off: int = Field(description=mark("By the assistant."))
    assigned: int
    resolved: int
    resolved_assisted: int = Field(description=mark("Of the resolved, those that the assistant had."))
    resolved_handed_off: int = Field(description=mark("Of the resolved, those that the assistant handed off."))
    surveyed: int = Field(description=mark("Contacts who were asked how it was."))
    rated: int
    rating: float | None = Field(description=mark("Average stars, 1 to 5."))
    stars: dict[int, int]
    queued: TimesOut = Field(description=mark("From when one lay open without an assignee until it was taken."))
    first_reply: TimesOut
    reply: TimesOut
    resolution: TimesOut = Field(description=mark("From when people first had it until it was resolved."))

    model_config = ConfigDict(json_schema_extra={"examples": [_NUMBERS]})

    @classmethod
    def of(cls, numbers: Numbers) -> NumbersOut:
        times = {
            measure: TimesOut(
                n=numbers[measure],
                median=numbers.median(measure),
                nine_of_ten=numbers.most(measure),
                mean=numbers.mean(measure),
            )
            for measure in TIMES
        }
        return cls(
            conversations=numbers.conversations,
            begun=numbers[Measure.BEGUN],
            resumed=numbers[Measure.RESUMED],
            received=numbers[Measure.RECEIVED],
            written=numbers[Measure.WRITTEN],
            came_to_people=numbers[Measure.CAME_TO_PEOPLE],
            handed_off=numbers[Measure.HANDED_OFF],
            assigned=numbers[Measure.ASSIGNED],
            resolved=numbers[Measure.RESOLVED],
            resolved_assisted=numbers[Measure.RESOLVED_ASSISTED],
            resolved_handed_off=numbers[Measure.RESOLVED_HANDED_OFF],
            surveyed=numbers[Measure.SURVEYED],
            rated=numbers[Measure.RATED],
            rating=numbers.rating,
            stars=numbers.stars,
            queued=times[Measure.QUEUED],
            first_reply=times[Measure.FIRST_REPLY],
            reply=times[Measure.REPLY],
            resolution=times[Measure.RESOLUTION],
        )


class StepOut(BaseModel):
    start: datetime
    open: int | None = Field(description=mark("Open when the step ended; null before it has begun."))
    snoozed: int | None
    numbers: NumbersOut


class PartOut(BaseModel):
    key: str = Field(
        description=mark(
            "An id, or the kind of a channel; `0` of none, `twice` what several labels of one conversation counted "
            "too much."
        )
    )
    name: str | None
    numbers: NumbersOut


class PresenceOut(BaseModel):
    agent_id: int
    name: str | None
    online: int = Field(description=mark("Seconds."))
    busy: int = Field(description=mark("Seconds."))


class ReportOut(BaseModel):
    since: date
    until: date
    zone: str
    counted_until: datetime | None = Field(description=mark("Up to when events are counted."))
    behind: int = Field(description=mark("Events that are not counted yet."))
    total: NumbersOut
    before: NumbersOut = Field(description=mark("As many days, just before."))
    steps: list[StepOut]
    parts: list[PartOut]
    resolvers: dict[str, int] = Field(description=mark("Who resolved how many."))
    week: list[list[int]] = Field(description=mark("Messages received by weekday, Monday first, and hour."))
    presence: list[PresenceOut] | None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "since": "2026-11-07",
                    "until": "2026-11-20",
                    "zone": "Asia/Shanghai",
                    "counted_until": "2026-11-20T10:00:00+08:00",
                    "behind": 0,
                    "total": _NUMBERS,
                    "before": _NUMBERS,
                    "steps": [{"start": "2026-11-07T00:00:00+08:00", "open": 3, "snoozed": 0, "numbers": _NUMBERS}],
                    "parts": [{"key": "1", "name": "林晓", "numbers": _NUMBERS}],
                    "resolvers": {"agent": 10, "assistant": 8},
                    "week": [[0] * 24] * 7,
                    "presence": [{"agent_id": 1, "name": "林晓", "online": 25200, "busy": 1800}],
                }
            ]
        }
    )


@cache  # describing what an endpoint takes is most of the time that an application needs to be mounted
def router() -> APIRouter:
    """The endpoint of reports."""
    routes = APIRouter(prefix="/api", tags=["reports"], responses=TROUBLES)

    @routes.get(
        "/reports",
        responses={409: {"model": Trouble, "description": mark("The period makes no sense.")}},
        summary=mark("Read a report"),
        description=mark(
            "What happened from one day to another, both included: counts, times, who resolved, and how much was open. "
            "Steps add up to the total, and so do parts."
        ),
    )
    async def get_report(
        caller: ReportReader,
        database: Rows,
        now: Now,
        since: Annotated[date | None, Query(description=mark("The first day; without it two weeks."))] = None,
        until: Annotated[date | None, Query(description=mark("The last day; without it today."))] = None,
        inbox: Id = None,
        team: Id = None,
        agent: Id = None,
        label: Id = None,
        by: Annotated[Dimension, Query(description=mark("By what it is taken apart."))] = Dimension.AGENT,
        business: Annotated[bool, Query(description=mark("Times within business hours only."))] = False,
    ) -> ReportOut:
        access = caller.access
        only = ReportFilter(inbox, team, agent, label)
        async with database.page_transaction(caller.workspace_id) as tx:
            only.check(access)
            zone = zone_of([row for row in await inboxes_ever(tx) if access.sees(row.id)], inbox)
            last = until or now.astimezone(zone).date()
            first = since or date.fromordinal(max(last.toordinal() - DAYS + 1, 1))
            clock = ReportClock.BUSINESS if business else ReportClock.WALL
            asked = ReportQuery(access, period(first, last, zone), only, clock)
            return await _told(tx, await report(tx, asked, by=by, now=now))

    return routes


async def _told(tx: Transaction, found: Report) -> ReportOut:
    period_ = found.asked.period
    called = await _names(tx, found.by)
    people = await _names(tx, Dimension.AGENT)
    steps = zip(period_.starts, found.levels["open"], found.levels["snoozed"], found.steps, strict=True)
    return ReportOut(
        since=period_.first,
        until=period_.last,
        zone=period_.zone.key,
        counted_until=found.counter.until,
        behind=found.counter.behind,
        total=NumbersOut.of(found.total),
        before=NumbersOut.of(found.before),
        steps=[
            StepOut(start=start.astimezone(period_.zone), open=open_, snoozed=snoozed, numbers=NumbersOut.of(numbers))
            for start, open_, snoozed, numbers in steps
        ],
        parts=[
            PartOut(key=part.key, name=called.get(part.key), numbers=NumbersOut.of(part.numbers))
            for part in found.parts
        ],
        resolvers=dict(found.resolvers),
        week=[list(day) for day in found.week],
        presence=None
        if found.presence is None
        else [
            PresenceOut(agent_id=one.agent_id, name=people.get(str(one.agent_id)), online=one.online, busy=one.busy)
            for one in found.presence
        ],
    )


async def _names(tx: Transaction, by: Dimension) -> dict[str, str]:
    """What people call whom the parts of a report name, those who are gone included."""
    match by:
        case Dimension.LABEL:
            held = dict(await label_names(tx))
        case Dimension.INBOX:
            held = {row.id: row.name for row in await inboxes_ever(tx)}
        case Dimension.CHANNEL:
            return {}
        case _:
            found = await names(tx)
            held = dict(found.agents if by is Dimension.AGENT else found.teams)
    return {str(id_): name for id_, name in held.items()}

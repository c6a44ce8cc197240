"""When people are there: weekly hours in a timezone, holidays, and days that differ.

All arithmetic is done on moments, so that the night in which the clock is set forward or back counts as long as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from zhiban.channels.calendars import DayKind, day_in_china
from zhiban.kit.i18n import mark

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_NAMES = {
    **{name: index for index, name in enumerate(DAYS)},
    **{name: index for index, name in enumerate(
        ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"))},
    **{prefix + sign: index for prefix in ("周", "星期") for index, sign in enumerate("一二三四五六日")},
    "周天": 6, "星期天": 6,
}  # fmt: skip
_RANGES = {"daily": (0, 6), "every day": (0, 6), "每天": (0, 6), "工作日": (0, 4), "weekdays": (0, 4), "周末": (5, 6),
           "weekend": (5, 6)}  # fmt: skip
_SPAN = re.compile(r"\s*(\d{1,2}):(\d{2})\s*(?:-|–|—|~|至|到)\s*(\d{1,2}):(\d{2})\s*", re.ASCII)
_FULL_DAY = 24 * 60
_HORIZON = 400  # days to look ahead for an opening


class Span(BaseModel):
    """An interval of a day in minutes after midnight. An end at or before the start lies on the next day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: int = Field(ge=0, lt=_FULL_DAY)
    end: int = Field(gt=0, le=_FULL_DAY)

    def __str__(self) -> str:
        return "-".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (self.start, self.end))


def _span(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = _SPAN.fullmatch(value.replace("：", ":"))
    if match is None:
        raise ValueError(mark(f'"{value}" is no interval; write it as "09:00-18:00"'))
    start, end = (int(match[part]) * 60 + int(match[part + 1]) for part in (1, 3))
    if int(match[2]) > 59 or int(match[4]) > 59 or start >= _FULL_DAY or end > _FULL_DAY:
        raise ValueError(mark(f'"{value}" has a time that no day has'))
    if start == end:
        raise ValueError(mark(f'"{value}" is empty; for the whole day write "00:00-24:00"'))
    return {"start": start, "end": end or _FULL_DAY}


def _spans(value: object) -> object:
    return [value] if isinstance(value, str) and value.strip() else ([] if value in ("", None) else value)


Interval = Annotated[Span, BeforeValidator(_span, json_schema_input_type=str), PlainSerializer(str, return_type=str)]
Intervals = Annotated[tuple[Interval, ...], BeforeValidator(_spans, json_schema_input_type=str | list[str])]


def _days(value: object) -> object:
    """`mon-fri: …` becomes one entry a day."""
    if not isinstance(value, Mapping):
        return value
    named: dict[str, object] = {}
    for key, spans in value.items():
        for index in _day_range(str(key)):
            if DAYS[index] in named:
                raise ValueError(mark(f"{DAYS[index]} is named twice"))
            named[DAYS[index]] = spans
    return {day: named[day] for day in DAYS if day in named}


def _day_range(written: str) -> list[int]:
    name = written.strip().lower()
    if name in _RANGES:
        first, last = _RANGES[name]
        return list(range(first, last + 1))
    ends = [_DAY_NAMES.get(part.strip()) for part in re.split(r"[-–—~至到]", name)]
    if len(ends) > 2 or any(end is None for end in ends):
        raise ValueError(mark(f'"{written}" is no day; write mon … sun, mon-fri or daily'))
    first, last = ends[0] or 0, ends[-1] or 0
    return [(first + step) % 7 for step in range((last - first) % 7 + 1)]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a folder of zones, a path, an unknown name
        raise ValueError(mark(f'"{name}" is no timezone; write it as "Asia/Shanghai"')) from None
    return name


def _holidays(value: object) -> object:
    """`2026-10-01..2026-10-07` becomes seven days."""
    if not isinstance(value, list | tuple):
        return value
    days: list[object] = []
    for item in value:
        first, mark, last = str(item).partition("..")
        days.extend(_each_day(first, last) if mark else [item])
    return days


def _each_day(first: str, last: str) -> Iterator[date]:
    try:
        day, end = date.fromisoformat(first.strip()), date.fromisoformat(last.strip())
    except ValueError:
        raise ValueError(mark(f'"{first}..{last}" is no range; write it as "2026-10-01..2026-10-07"')) from None
    if not timedelta(0) <= end - day <= timedelta(days=100):
        raise ValueError(mark(f'"{first}..{last}" must run forward, over at most 100 days'))
    while day <= end:
        yield day
        day += timedelta(days=1)


class DayReason(Enum):
    """Why people are there or not on a day."""

    OWN_HOURS = "own_hours"  # the day has hours of its own
    CLOSED = "closed"  # one of the holidays of the inbox
    PUBLIC_HOLIDAY = "public_holiday"
    WORKED_INSTEAD = "worked_instead"  # 调休
    WEEKDAY = "weekday"


class Hours(BaseModel):
    """Business hours. Without `weekly` people are always there, except on holidays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timezone: Annotated[str, AfterValidator(_zone)] = "Asia/Shanghai"
    weekly: Annotated[
        dict[str, Intervals] | None,
        BeforeValidator(_days, json_schema_input_type=dict[str, str | list[str]] | None),
    ] = Field(
        default=None,
        description='Day or days → intervals: {"mon-fri": ["09:00-12:00", "13:30-18:00"], "sat": "10:00-16:00"}',
    )
    holidays: Annotated[tuple[date, ...], BeforeValidator(_holidays, json_schema_input_type=list[str])] = Field(
        default=(), description='Closed days: "2026-10-01" or "2026-10-01..2026-10-07"', max_length=1000
    )
    calendar: Literal["CN"] | None = Field(
        default=None,
        description="CN: the public holidays of mainland China are closed, and a weekend day that is worked instead "
        "(调休) has Monday's hours",
    )
    days: dict[date, Intervals] = Field(
        default_factory=dict, description="Days with hours of their own, such as a Saturday that is worked (调休)"
    )

    @model_validator(mode="before")
    @classmethod
    def _always(cls, value: Any) -> Any:
        return {} if value in ("always", "全天", None) else value

    def of(self, day: date) -> tuple[Span, ...]:
        """The intervals that begin on a day: `days` win over `holidays`, these over the calendar, it over the week."""
        reason = self.reason(day)
        match reason:
            case DayReason.OWN_HOURS:
                return self.days[day]
            case DayReason.CLOSED | DayReason.PUBLIC_HOLIDAY:
                return ()
        if self.weekly is None:
            return (Span(start=0, end=_FULL_DAY),)
        return self.weekly.get(DAYS[0 if reason is DayReason.WORKED_INSTEAD else day.weekday()], ())

    def reason(self, day: date) -> DayReason:
        """What decides about a day."""
        if day in self.days:
            return DayReason.OWN_HOURS
        if day in self.holidays:
            return DayReason.CLOSED
        match day_in_china(day) if self.calendar == "CN" else None:
            case DayKind.HOLIDAY:
                return DayReason.PUBLIC_HOLIDAY
            case DayKind.WORKED:
                return DayReason.WORKED_INSTEAD
        return DayReason.WEEKDAY


def hours_of(team: Mapping[str, Any] | None, inbox: Hours) -> Hours:
    """The business hours that hold for a conversation: of its team where that has its own, else of its inbox."""
    return inbox if team is None else Hours.model_validate(team)


def is_open(hours: Hours, now: datetime) -> bool:
    """Whether people are there at this moment."""
    today = now.astimezone(ZoneInfo(hours.timezone)).date()
    return any(start <= now < end for day in _around(today, 1, 1) for start, end in _moments(hours, day))


def has_hours(hours: Hours) -> bool:
    """Whether there are times at which nobody is there."""
    return hours.weekly is not None or bool(hours.holidays or hours.days) or hours.calendar is not None


def open_seconds(hours: Hours, since: datetime, until: datetime) -> float:
    """How much of the time between two moments lies within business hours, in seconds; 0 where they are reversed."""
    zone = ZoneInfo(hours.timezone)
    day, last = since.astimezone(zone).date() - timedelta(days=1), until.astimezone(zone).date()
    total, counted_to = 0.0, since
    while day <= last:
        for start, end in sorted(_moments(hours, day)):
            start, end = max(start, counted_to), min(end, until)  # what two intervals share counts once
            if start < end:
                total += (end - start).total_seconds()
                counted_to = end
        day += timedelta(days=1)
    return total


def next_opening(hours: Hours, now: datetime) -> datetime | None:
    """The next moment (UTC) at which people are there: `now` itself when they are, None when not within 400 days."""
    if is_open(hours, now):
        return now.astimezone(UTC)
    today = now.astimezone(ZoneInfo(hours.timezone)).date()
    for day in _around(today, 1, _HORIZON):
        later = [start for start, _ in _moments(hours, day) if start > now]
        if later:
            return min(later)
    return None


def _around(day: date, before: int, after: int) -> Iterator[date]:
    for step in range(-before, after + 1):
        try:
            yield day + timedelta(days=step)
        except OverflowError:
            continue


def _moments(hours: Hours, day: date) -> Iterator[tuple[datetime, datetime]]:
    zone = ZoneInfo(hours.timezone)
    for span in hours.of(day):
        over_night = 0 if span.end > span.start else 1
        start = _moment(day, span.start, zone, fold=0)
        # An end that the clock shows twice is the second one: never shorter than promised.
        end = max(_moment(day + timedelta(days=over_night), span.end, zone, fold=fold) for fold in (0, 1))
        if start < end:
            yield start, end


def _moment(day: date, minutes: int, zone: ZoneInfo, *, fold: int) -> datetime:
    if minutes == _FULL_DAY:
        day, minutes = day + timedelta(days=1), 0
    return datetime.combine(day, time(minutes // 60, minutes % 60, fold=fold), zone).astimezone(UTC)

"""The period of a report: days of a time zone, cut into steps, and the hours of a week in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from zhiban.insights.models import QUARTER
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark

EARLIEST = date(2000, 1, 1)
LONGEST = 366 * 10  # days
WEEK_HOURS = 7 * 24


class PeriodStep(StrEnum):
    """What one point of a curve stands for."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Preset(StrEnum):
    """Periods that are chosen by name; all end with today."""

    TODAY = "today"
    YESTERDAY = "yesterday"
    WEEK = "7d"
    FORTNIGHT = "14d"
    MONTH = "30d"
    QUARTER = "90d"
    YEAR = "365d"

    def days(self, today: date) -> tuple[date, date]:
        """The first and the last day."""
        match self:
            case Preset.TODAY:
                return today, today
            case Preset.YESTERDAY:
                return today - timedelta(days=1), today - timedelta(days=1)
            case _:
                return today - timedelta(days=int(self.value.removesuffix("d")) - 1), today


@frozen_dataclass
class Period:
    """Whole days in a time zone, `first` and `last` among them, and the moments at which its steps begin."""

    first: date
    last: date
    zone: ZoneInfo
    step: PeriodStep
    starts: tuple[datetime, ...]
    end: datetime

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def since(self) -> datetime:
        return self.starts[0]

    @property
    def quarters(self) -> tuple[int, int]:
        """The first quarter of an hour, and the first after the period."""
        return quarter_of(self.since), quarter_of(self.end)

    @property
    def bounds(self) -> list[int]:
        """The quarters of an hour at which steps begin."""
        return [quarter_of(start) for start in self.starts]

    def before(self, now: datetime) -> Period:
        """As many days, just before; no more of them than has passed of this period, so that both can be compared."""
        earlier = period(self.first - timedelta(days=self.days), self.first - timedelta(days=1), self.zone)
        if now >= self.end:
            return earlier
        return replace(earlier, end=min(earlier.end, earlier.since + max(now - self.since, timedelta())))

    def offsets(self) -> tuple[list[int], list[int]]:
        """From which quarters on how many quarters local clocks are ahead of UTC."""
        since, end = self.quarters
        at, starts, offsets = since, [since], [self._offset(since)]
        while at < end:
            following = min(at + 96, end)
            if self._offset(following) != offsets[-1]:
                change = next(one for one in range(at, following + 1) if self._offset(one) != offsets[-1])
                starts.append(change)
                offsets.append(self._offset(change))
                following = change
            at = following
        return starts, offsets

    def _offset(self, quarter: int) -> int:
        ahead = datetime.fromtimestamp(quarter * QUARTER, self.zone).utcoffset() or timedelta()
        return int(ahead.total_seconds()) // QUARTER


def quarter_of(at: datetime) -> int:
    """The quarter of an hour since 1970 in which a moment lies."""
    return int(at.timestamp()) // QUARTER


def hour_of_week(number: int) -> tuple[int, int]:
    """Weekday (Monday is 0) and hour of local time, from its hours since 1970 modulo those of a week."""
    return (number // 24 + 3) % 7, number % 24  # the first of January 1970 was a Thursday


def period(first: date, last: date, zone: ZoneInfo) -> Period:
    """The days from `first` to `last`, in steps that suit their number. Raises Conflict where they make no sense."""
    if last < first:
        raise Conflict(mark("The period ends before it begins."))
    if first < EARLIEST or (last - first).days >= LONGEST or last.year > 9000:
        raise Conflict(mark("A period lies after 1999 and has at most ten years."))
    days = (last - first).days + 1
    step = (
        PeriodStep.HOUR
        if days <= 2
        else PeriodStep.DAY
        if days <= 92
        else PeriodStep.WEEK
        if days <= 731
        else PeriodStep.MONTH
    )
    since, end = midnight(first, zone), midnight(last + timedelta(days=1), zone)
    return Period(first, last, zone, step, tuple(_starts(first, last, zone, step, since, end)), end)


def _starts(
    first: date, last: date, zone: ZoneInfo, step: PeriodStep, since: datetime, end: datetime
) -> list[datetime]:
    if step is PeriodStep.HOUR:  # by the clock on which an hour is an hour
        return [since + timedelta(hours=n) for n in range(int((end - since).total_seconds() + 3599) // 3600)]
    starts, day = [], first
    while day <= last:
        starts.append(midnight(day, zone))
        match step:
            case PeriodStep.DAY:
                day += timedelta(days=1)
            case PeriodStep.WEEK:
                day += timedelta(days=7 - day.weekday())
            case _:
                day = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
    return starts


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The moment at which a day begins, in UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)

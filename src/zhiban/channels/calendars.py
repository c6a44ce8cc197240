"""Public holidays that a country announces year by year, and the weekends that are worked instead (调休)."""

from __future__ import annotations

from datetime import date
from enum import Enum


class DayKind(Enum):
    """What a calendar says of a day that is not as its weekday is."""

    HOLIDAY = "holiday"
    WORKED = "worked"  # a Saturday or Sunday on which people work


def day_in_china(day: date) -> DayKind | None:
    """What the State Council announced for the day; None for an ordinary one, and for years not known yet.

    The library is imported here: few inboxes ask.
    """
    import chinese_calendar

    try:
        off, holiday = chinese_calendar.get_holiday_detail(day)
    except NotImplementedError:
        return None
    if off:
        return DayKind.HOLIDAY if holiday else None
    return DayKind.WORKED if day.weekday() >= 5 else None

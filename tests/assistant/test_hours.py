"""When people are there, around nights, holidays and the clock's own jumps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.channels.business_hours import DAYS, Hours, is_open, next_opening

SHOP = Hours.model_validate(
    {
        "weekly": {"mon-fri": ["09:00-12:00", "13:30-18:00"], "sat": "22:00-02:00"},
        "holidays": ["2026-10-01..2026-10-07"],
        "days": {"2026-10-10": "10:00-16:00", "2026-11-23": []},
    }
)


def at(text: str, zone: str = "Asia/Shanghai", fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "there"),
    [
        ("2026-11-20T09:00", True),  # a Friday
        ("2026-11-20T08:59", False),
        ("2026-11-20T12:00", False),
        ("2026-11-20T13:30", True),
        ("2026-11-20T17:59", True),
        ("2026-11-20T18:00", False),
        ("2026-11-21T23:00", True),  # Saturday night …
        ("2026-11-22T01:59", True),  # … runs into Sunday
        ("2026-11-22T02:00", False),
        ("2026-11-22T23:00", False),
        ("2026-10-01T10:00", False),  # a holiday
        ("2026-10-08T10:00", True),
        ("2026-10-10T10:30", True),  # a Saturday that is worked
        ("2026-10-10T23:00", False),  # with hours of its own
        ("2026-11-23T10:00", False),  # a Monday without any
    ],
)
def test_open_or_not(moment: str, there: bool) -> None:
    assert is_open(SHOP, at(moment)) is there


OFFICE = Hours.model_validate(
    {"weekly": {"mon": "09:00-18:00", "tue-fri": "10:00-18:00", "sat": "20:00-21:00"}, "calendar": "CN"}
)


@pytest.mark.parametrize(
    ("moment", "there"),
    [
        ("2026-10-01T11:00", False),  # National Day
        ("2026-10-03T20:30", False),  # the Saturday within the holidays
        ("2026-10-07T11:00", False),  # a Wednesday off for a Saturday worked
        ("2026-10-10T09:30", True),  # that Saturday, with Monday's hours
        ("2026-10-10T20:30", False),
        ("2026-09-20T09:30", True),  # a Sunday that is worked
        ("2026-10-17T20:30", True),  # an ordinary Saturday
        ("2026-10-09T09:30", False),  # an ordinary Friday
        ("2003-10-01T11:00", True),  # a year that the calendar does not hold is like any other
        ("2199-10-01T11:00", True),
    ],
)
def test_the_calendar_knows_holidays_and_worked_weekends(moment: str, there: bool) -> None:
    assert is_open(OFFICE, at(moment)) is there


def test_a_listed_day_wins_over_the_calendar() -> None:
    hours = OFFICE.model_copy(update={"days": SHOP.days, "holidays": SHOP.holidays})
    assert is_open(hours, at("2026-10-10T15:00"))
    assert not is_open(hours, at("2026-10-10T17:00"))


@pytest.mark.parametrize(
    ("moment", "opening"),
    [
        ("2026-11-20T08:00", "2026-11-20T09:00"),
        ("2026-11-20T10:00", "2026-11-20T10:00"),
        ("2026-11-20T12:30", "2026-11-20T13:30"),
        ("2026-11-20T20:00", "2026-11-21T22:00"),
        ("2026-11-22T03:00", "2026-11-24T09:00"),  # Monday is closed
        ("2026-09-30T19:00", "2026-10-08T09:00"),  # the golden week
    ],
)
def test_the_next_opening(moment: str, opening: str) -> None:
    assert next_opening(SHOP, at(moment)) == at(opening)


def test_without_weekly_hours_people_are_always_there() -> None:
    hours = Hours.model_validate("always")
    assert is_open(hours, at("2026-11-22T03:00"))
    assert next_opening(hours, at("2026-11-22T03:00")) == at("2026-11-22T03:00")


def test_people_who_never_come() -> None:
    assert next_opening(Hours.model_validate({"weekly": {}}), at("2026-11-22T03:00")) is None


BERLIN = Hours.model_validate({"timezone": "Europe/Berlin", "weekly": {"daily": "02:15-02:45"}})


def test_the_hour_that_does_not_exist() -> None:
    """2026-03-29 jumps from 02:00 to 03:00; the interval counts as if the clock had not been touched."""
    assert next_opening(BERLIN, at("2026-03-29T01:59", "Europe/Berlin")) == at("2026-03-29T03:15", "Europe/Berlin")
    assert is_open(BERLIN, at("2026-03-29T03:20", "Europe/Berlin"))
    assert not is_open(BERLIN, at("2026-03-29T03:50", "Europe/Berlin"))


def test_the_hour_that_comes_twice() -> None:
    """2026-10-25 repeats 02:00-03:00: open from the first 02:15 to the second 02:45."""
    assert is_open(BERLIN, at("2026-10-25T02:20", "Europe/Berlin", fold=0))
    assert is_open(BERLIN, at("2026-10-25T02:50", "Europe/Berlin", fold=0))
    assert is_open(BERLIN, at("2026-10-25T02:20", "Europe/Berlin", fold=1))
    assert not is_open(BERLIN, at("2026-10-25T02:45", "Europe/Berlin", fold=1))


def test_a_whole_day_is_as_long_as_it_is() -> None:
    hours = Hours.model_validate({"timezone": "Europe/Berlin", "weekly": {"sun": "00:00-24:00"}})
    start = at("2026-10-25T00:00", "Europe/Berlin")
    assert is_open(hours, start)
    assert is_open(hours, start + timedelta(hours=24, minutes=59))
    assert not is_open(hours, start + timedelta(hours=25))


MINUTES = st.integers(0, 1439)
SPANS = st.tuples(MINUTES, MINUTES).filter(lambda ends: ends[0] != ends[1])
WEEKS = st.dictionaries(st.sampled_from(DAYS), st.lists(SPANS, min_size=1, max_size=2), max_size=7)


@given(
    week=WEEKS,
    zone=st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    now=st.integers(0, 366 * 86400).map(lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)),
)
def test_the_next_opening_is_open_and_nothing_before_it_is(
    week: dict[str, list[tuple[int, int]]], zone: str, now: datetime
) -> None:
    written = {
        day: [f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}" for start, end in spans]
        for day, spans in week.items()
    }
    hours = Hours.model_validate({"timezone": zone, "weekly": written})
    opening = next_opening(hours, now)
    if opening is None:
        assert not week
        return
    assert opening >= now
    assert is_open(hours, opening)
    if opening > now:
        assert not is_open(hours, now)
        assert not is_open(hours, opening - timedelta(seconds=1))
        assert not is_open(hours, now + (opening - now) / 2)


@pytest.mark.parametrize("nearly", [datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC)])
def test_the_ends_of_time_are_no_trouble(nearly: datetime) -> None:
    assert is_open(Hours(), nearly)

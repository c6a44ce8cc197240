"""Until when an agent puts a conversation off: what the menu offers, or a date and time of their own."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from zhiban.conversations.service import LONGEST_SNOOZE
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import mark


def snooze_times(now: datetime, zone: ZoneInfo) -> tuple[tuple[str, str, datetime], ...]:
    """What the snooze menu offers: a key, its words, and when the conversation comes back."""
    local = now.astimezone(zone)
    evening = local.replace(hour=20, minute=0, second=0, microsecond=0)
    morning = (local + timedelta(days=1)).replace(hour=9, minute=0, second=0, microsecond=0)
    offers = [("hour", mark("1小时后"), now + timedelta(hours=1)), ("three", mark("3小时后"), now + timedelta(hours=3))]
    if evening - local > timedelta(hours=1):
        offers.append(("tonight", mark("今晚"), evening))
    offers.append(("morning", mark("明天早上"), morning))
    return tuple(offers)


def snooze_until(choice: str, at: str, *, now: datetime, zone: ZoneInfo) -> datetime:
    """The time that was chosen: `choice` by its key, else `at`, as a field for date and time says it, in `zone`.

    Raises Conflict when it is none, has passed, or is more than a year ahead.
    """
    if not choice:
        return _written(at, now=now, zone=zone)
    until = {key: offered for key, _words, offered in snooze_times(now, zone)}.get(choice)
    if until is None:
        raise Conflict(mark("The time to come back must lie ahead."))
    return until


def _written(at: str, *, now: datetime, zone: ZoneInfo) -> datetime:
    try:
        found = datetime.fromisoformat(at)
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise Conflict(mark("Choose a date and a time."))
    until = found.replace(tzinfo=zone)
    if until <= now:
        raise Conflict(mark("The time to come back must lie ahead."))
    if until > now + LONGEST_SNOOZE:
        raise Conflict(mark("The time to come back must lie within a year."))
    return until

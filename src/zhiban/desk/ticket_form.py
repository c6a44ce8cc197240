"""What a form about tickets says: each of its fields as what it means."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import Texts, mark
from zhiban.tickets.models import evening_of


class TicketForm:
    """The fields that were sent, each as often as it was."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        self.values: dict[str, list[str]] = {}
        for name, value in fields:
            self.values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def last(self, name: str) -> str:
        return self.values.get(name, [""])[-1]

    def number(self, name: str) -> int | None:
        return number_of(self.last(name))

    def numbers(self, name: str) -> list[int]:
        return [number for value in self.values.get(name, ()) if (number := number_of(value)) is not None]

    def choice(self, name: str, *, most: int) -> int:
        """A number up to `most`; 0 for anything else."""
        number = self.number(name)
        return number if number is not None and number <= most else 0

    def day(self, name: str, texts: Texts) -> datetime | None:
        """The evening of that day where the reader is. Raises Conflict."""
        written = self.last(name)
        if not written:
            return None
        try:
            day = datetime.strptime(written, "%Y-%m-%d")  # noqa: DTZ007 -- a day of the reader's own calendar
        except ValueError:
            raise Conflict(mark("A day is written as 2027-01-31.")) from None
        return evening_of(day.date(), texts.zone)


def number_of(text: str) -> int | None:
    """An id or a count; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None

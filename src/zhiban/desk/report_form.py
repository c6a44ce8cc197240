"""What the address of a report says: period, filter, clock, and by what it is taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import date, datetime
from urllib.parse import urlencode

from zhiban.channels.inboxes import InboxConfig
from zhiban.insights.models import ReportClock
from zhiban.insights.periods import Period, Preset, period
from zhiban.insights.queries import Dimension, ReportFilter, ReportQuery
from zhiban.insights.report import zone_of
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.people.permissions import Access

CUSTOM = "custom"
PRESETS = {
    Preset.TODAY: mark("今天"),
    Preset.YESTERDAY: mark("昨天"),
    Preset.WEEK: mark("最近7天"),
    Preset.FORTNIGHT: mark("最近14天"),
    Preset.MONTH: mark("最近30天"),
    Preset.QUARTER: mark("最近90天"),
    Preset.YEAR: mark("最近365天"),
}


@frozen_dataclass
class ReportForm:
    """The fields as they were sent. What nobody can read counts as not chosen."""

    period: str = Preset.FORTNIGHT.value
    since: str = ""
    until: str = ""
    inbox: str = ""
    team: str = ""
    agent: str = ""
    label: str = ""
    clock: str = ""
    by: str = Dimension.AGENT.value

    @property
    def dimension(self) -> Dimension:
        return Dimension(self.by) if self.by in set(Dimension) else Dimension.AGENT

    @property
    def business(self) -> bool:
        """Whether only time within business hours counts."""
        return self.clock == "business"

    @property
    def only(self) -> ReportFilter:
        return ReportFilter(_id(self.inbox), _id(self.team), _id(self.agent), _id(self.label))

    def asked(self, access: Access, rows: Sequence[InboxConfig], *, now: datetime) -> ReportQuery:
        """The report that is wished for. `rows` are the inboxes that may be seen. Raises Conflict, NotFound."""
        only = self.only
        only.check(access)
        clock = ReportClock.BUSINESS if self.business else ReportClock.WALL
        return ReportQuery(access, self._period(rows, only, now=now), only, clock)

    def _period(self, rows: Sequence[InboxConfig], only: ReportFilter, *, now: datetime) -> Period:
        zone = zone_of(rows, only.inbox_id)
        today = now.astimezone(zone).date()
        if self.period == CUSTOM:
            return period(_day(self.since), _day(self.until), zone)
        preset = Preset(self.period) if self.period in set(Preset) else Preset.FORTNIGHT
        return period(*preset.days(today), zone)

    def address(self, **other: str) -> str:
        """These fields, some of them otherwise, as the query of an address."""
        values = {one.name: getattr(self, one.name) for one in fields(self)} | other
        return urlencode({name: value for name, value in values.items() if value})


def _id(written: str) -> int | None:
    return int(written) if written.isdecimal() and written.isascii() and len(written) < 19 else None


def _day(written: str) -> date:
    try:
        return date.fromisoformat(written)
    except ValueError:
        raise Conflict(mark("Say on which days the period begins and ends.")) from None

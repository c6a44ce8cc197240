"""A report as CSV that a spreadsheet opens, and runs nothing of."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from zhiban.desk.report_view import DIMENSIONS, ReportNames
from zhiban.events import Actor, DataExported
from zhiban.insights.models import TIMES, Measure
from zhiban.insights.numbers import Numbers
from zhiban.insights.report import TWICE, Report
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import Texts, mark
from zhiban.kit.spreadsheets import csv_text

COUNTS = (
    Measure.BEGUN,
    Measure.RESUMED,
    Measure.RECEIVED,
    Measure.WRITTEN,
    Measure.CAME_TO_PEOPLE,
    Measure.HANDED_OFF,
    Measure.RESOLVED,
    Measure.RESOLVED_ASSISTED,
    Measure.RESOLVED_HANDED_OFF,
    Measure.ASSIGNED,
    Measure.SURVEYED,
    Measure.RATED,
)
WORDS = {
    Measure.BEGUN: mark("新会话"),
    Measure.RESUMED: mark("解决后又来的会话"),
    Measure.RECEIVED: mark("收到的消息"),
    Measure.WRITTEN: mark("发出的消息"),
    Measure.CAME_TO_PEOPLE: mark("来到同事手里"),
    Measure.HANDED_OFF: mark("助手转人工"),
    Measure.RESOLVED: mark("解决数"),
    Measure.RESOLVED_ASSISTED: mark("解决：助手接待过"),
    Measure.RESOLVED_HANDED_OFF: mark("解决：助手转过人工"),
    Measure.ASSIGNED: mark("分到的会话"),
    Measure.SURVEYED: mark("请人评价"),
    Measure.RATED: mark("收到的评价"),
    Measure.QUEUED: mark("等人接手"),
    Measure.FIRST_REPLY: mark("首次回复"),
    Measure.REPLY: mark("每次回复"),
    Measure.RESOLUTION: mark("解决用时"),
}


async def export_report(
    tx: Transaction,
    report: Report,
    names: ReportNames,
    texts: Texts,
    *,
    what: str,
    by: Actor,
    now: datetime,
) -> str:
    """`what`: steps, or the parts of the report. The log remembers who took it out."""
    rows = list(_steps(report) if what == "steps" else _parts(report, names, texts))
    head = texts("从") if what == "steps" else texts(DIMENSIONS[report.by])
    told_rows = [
        (name, *_cells(numbers, timed=timed)) for name, numbers, timed in (*rows, (texts("合计"), report.total, True))
    ]
    period = report.asked.period
    told = f"report {what} {period.first} {period.last}"
    await event_log.append(tx, DataExported(actor=by, at=now, what=told, rows=len(rows)))
    return csv_text([(head, *_heads(texts)), *told_rows])


def _steps(report: Report) -> Iterable[tuple[str, Numbers, bool]]:
    zone = report.asked.period.zone
    for start, numbers in zip(report.asked.period.starts, report.steps, strict=True):
        yield start.astimezone(zone).isoformat(timespec="minutes"), numbers, True


def _parts(report: Report, names: ReportNames, texts: Texts) -> Iterable[tuple[str, Numbers, bool]]:
    for part in report.parts:
        yield names.of(report.by, part.key, texts), part.numbers, part.key != TWICE


def _heads(texts: Texts) -> Iterable[str]:
    yield from (texts(WORDS[measure]) for measure in COUNTS)
    yield texts("满意度")
    for measure in TIMES:
        what = texts(WORDS[measure])
        yield texts("{what}：次数", what=what)
        yield texts("{what}：中位数，秒", what=what)
        yield texts("{what}：九成以内，秒", what=what)
        yield texts("{what}：平均，秒", what=what)


def _cells(numbers: Numbers, *, timed: bool) -> Iterable[object]:
    """What is taken away again has no times of its own."""
    yield from (numbers[measure] for measure in COUNTS)
    yield f"{numbers.rating:.2f}" if timed and numbers.rating is not None else ""
    for measure in TIMES:
        yield numbers[measure]
        times = (numbers.median(measure), numbers.most(measure), numbers.mean(measure)) if timed else (None,) * 3
        yield from (None if one is None else round(one) for one in times)

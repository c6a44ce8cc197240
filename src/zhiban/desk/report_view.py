"""How a report reads: its numbers in words, its tables, and what its charts are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from zhiban.conversations.surveys import RATING_LABELS
from zhiban.insights.models import NULL_ID, Measure
from zhiban.insights.numbers import Numbers, share
from zhiban.insights.periods import Period, PeriodStep
from zhiban.insights.queries import Dimension
from zhiban.insights.report import TWICE, Part, Report
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark

DIMENSIONS = {
    Dimension.AGENT: mark("按同事"),
    Dimension.TEAM: mark("按小组"),
    Dimension.INBOX: mark("按收件箱"),
    Dimension.LABEL: mark("按标签"),
    Dimension.CHANNEL: mark("按渠道"),
}
NONE_OF = {
    Dimension.AGENT: mark("不归哪位同事"),
    Dimension.TEAM: mark("没有小组"),
    Dimension.INBOX: mark("没有收件箱"),
    Dimension.LABEL: mark("没有标签"),
    Dimension.CHANNEL: mark("渠道已不在"),
}
NONE = str(NULL_ID)
TWICE_WORDS = mark("减去重复：带几个标签的会话")
GONE = mark("已删除，编号{id}")
# Who resolved, in the order and with the colours of the chart; whatever kind is not named is the last.
RESOLVERS: tuple[tuple[str, str, int, frozenset[str]], ...] = (
    ("assistant", mark("助手"), 2, frozenset({"assistant"})),
    ("people", mark("我们的同事"), 1, frozenset({"agent", "servicer"})),
    ("timer", mark("超时自动"), 6, frozenset({"timer"})),
    ("rule", mark("规则"), 3, frozenset({"rule"})),
    ("api", mark("接口"), 4, frozenset({"api"})),
    ("other", mark("其他"), 5, frozenset()),
)
TIMES = {
    Measure.FIRST_REPLY: mark("首次回复"),
    Measure.REPLY: mark("每次回复"),
    Measure.QUEUED: mark("等人接手"),
    Measure.RESOLUTION: mark("解决用时"),
}
COLUMNS = (Measure.FIRST_REPLY, Measure.REPLY, Measure.RESOLUTION)  # of the table that takes a report apart
STARS = {5: "c4", 4: "c4/.5", 3: "fill-2", 2: "c5/.5", 1: "c5"}  # the colour of each answer, with its opacity
WEEKDAYS = (mark("一"), mark("二"), mark("三"), mark("四"), mark("五"), mark("六"), mark("日"))
HEAT = 5  # shades of the busiest hours besides none


@frozen_dataclass
class ReportNames:
    """What people call whom a report names by id."""

    agents: Mapping[int, str]
    teams: Mapping[int, str]
    inboxes: Mapping[int, str]
    labels: Mapping[int, str]
    channels: Mapping[str, str]

    def of(self, by: Dimension, key: str, _: Texts) -> str:
        if key == TWICE:
            return _(TWICE_WORDS)
        if key == NONE:
            return _(NONE_OF[by])
        if by is Dimension.CHANNEL:
            return self.channels.get(key, key)
        held = {
            Dimension.AGENT: self.agents,
            Dimension.TEAM: self.teams,
            Dimension.INBOX: self.inboxes,
            Dimension.LABEL: self.labels,
        }[by]
        return held.get(int(key)) or _(GONE, id=key)


def duration(seconds: float | None, _: Texts) -> str:
    """1分42秒; a dash where there is none."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return _("{s}秒", s=whole)
    if whole < 3600:
        return _("{m}分{s}秒", m=whole // 60, s=whole % 60)
    minutes = round(whole / 60)
    if minutes < 1440:
        return _("{h}小时{m}分", h=minutes // 60, m=minutes % 60)
    hours = round(whole / 3600)
    return _("{d}天{h}小时", d=hours // 24, h=hours % 24)


def percent(part: float | None) -> str:
    return "–" if part is None else f"{part * 100:.0f}%"


# -------------------------------------------------------------------------------------------------- what stands out


@frozen_dataclass
class Highlight:
    """One number above all. `change` compares it with the days before; `good`: whether that is good news."""

    label: str
    value: str
    change: str = ""
    good: bool | None = None


def highlights(report: Report, _: Texts) -> list[Highlight]:
    now, before, days = report.total, report.before, report.asked.period.days
    return [
        Highlight(_("会话数"), f"{now.conversations:,}", _more(now.conversations, before.conversations, days, _)),
        *(
            Highlight(_(label), duration(now.median(measure), _), *_faster(now, before, measure, _))
            for measure, label in (
                (Measure.FIRST_REPLY, mark("首次回复，中位数")),
                (Measure.RESOLUTION, mark("解决用时，中位数")),
            )
        ),
        _share_of(_("助手独立解决"), assistant_share(report), _before_share(report), _, better=True),
        _share_of(_("助手转人工"), now.handoff_share, before.handoff_share, _, better=None),
        *([_satisfaction(now, before, _)] if now[Measure.SURVEYED] or now[Measure.RATED] else ()),
    ]


def assistant_share(report: Report) -> float | None:
    """Of all that was resolved, what the assistant resolved alone."""
    return share(report.resolvers.get("assistant", 0), report.total.resolved)


def _before_share(report: Report) -> float | None:
    return share(report.resolvers_before.get("assistant", 0), report.before.resolved)


def stars(rating: float | None) -> str:
    return "–" if rating is None else f"{rating:.1f}"


def _satisfaction(now: Numbers, before: Numbers, _: Texts) -> Highlight:
    said = _.n("{n}人评价", now[Measure.RATED])
    one, other = now.rating, before.rating
    if one is None or other is None or stars(one) == stars(other):
        return Highlight(_("满意度"), stars(one), said)
    difference = f"{abs(round(one, 1) - round(other, 1)):.1f}"
    if one > other:
        return Highlight(_("满意度"), stars(one), _("高了{n}，{said}", n=difference, said=said), True)
    return Highlight(_("满意度"), stars(one), _("低了{n}，{said}", n=difference, said=said), False)


def _more(now: int, before: int, days: int, _: Texts) -> str:
    if not before:
        return ""
    change = round((now - before) * 100 / before)
    if change == 0:
        return _.n("和前{n}天一样多", days)
    if change > 0:
        return _.n("比前{n}天多{p}%", days, p=change)
    return _.n("比前{n}天少{p}%", days, p=-change)


def _faster(now: Numbers, before: Numbers, measure: Measure, _: Texts) -> tuple[str, bool | None]:
    one, other = now.median(measure), before.median(measure)
    if one is None or other is None or round(one) == round(other):
        return "", None
    span = duration(abs(one - other), _)
    return (_("快了{span}", span=span), True) if one < other else (_("慢了{span}", span=span), False)


def _share_of(label: str, now: float | None, before: float | None, _: Texts, *, better: bool | None) -> Highlight:
    if now is None or before is None or round(now * 100) == round(before * 100):
        return Highlight(label, percent(now))
    points = abs(round(now * 100) - round(before * 100))
    words = _("多了{n}个百分点", n=points) if now > before else _("少了{n}个百分点", n=points)
    return Highlight(label, percent(now), words, None if better is None else (now > before) is better)


# ------------------------------------------------------------------------------------------------------------ tables


@frozen_dataclass
class ReportRow:
    """One row of the table that takes the report apart."""

    key: str
    name: str
    numbers: Numbers
    width: int  # of the bar beside the resolved ones, per cent of the longest; none has no bar
    taken_away: bool = False  # how often labels counted too much; it has no times


def rows(report: Report, names: ReportNames, _: Texts) -> list[ReportRow]:
    longest = max((part.numbers.resolved for part in report.parts if part.key not in (NONE, TWICE)), default=0)
    return [_row(part, report.by, names, _, longest=longest) for part in report.parts]


def _row(part: Part, by: Dimension, names: ReportNames, _: Texts, *, longest: int) -> ReportRow:
    bar = longest and part.key not in (NONE, TWICE)
    width = round(max(part.numbers.resolved, 0) * 100 / longest) if bar else 0
    return ReportRow(part.key, names.of(by, part.key, _), part.numbers, width, part.key == TWICE)


@frozen_dataclass
class Heat:
    """How many messages came in one hour of the week, and how dark that is shown."""

    n: int
    shade: int


def heat(week: Sequence[Sequence[int]]) -> list[list[Heat]]:
    most = max((n for day in week for n in day), default=0)
    return [[Heat(n, -(-n * HEAT // most) if most else 0) for n in day] for day in week]


# ------------------------------------------------------------------------------------------------------------ charts


def step_label(period: Period, start: datetime, _: Texts) -> str:
    local = start.astimezone(period.zone)
    match period.step:
        case PeriodStep.HOUR:
            return f"{local:%H:%M}" if period.days == 1 else f"{local:%m-%d %H:%M}"
        case PeriodStep.MONTH:
            return f"{local:%Y-%m}"
        case _:
            return f"{local:%m-%d}" if period.first.year == period.last.year else f"{local:%Y-%m-%d}"


def charts(report: Report, _: Texts) -> dict[str, Any]:
    """What the page's script draws, by the id of the place; every word is said here."""
    period, steps = report.asked.period, report.steps
    labels = [step_label(period, start, _) for start in period.starts]
    resolved = report.total.resolved
    shares = resolver_shares(report)
    return {
        "labels": labels,
        "flow": {
            "kind": "flow",
            "bars": [_("会话数"), [one.conversations for one in steps]],
            "line": [_("解决数"), [one.resolved for one in steps]],
        },
        "resolvers": {
            "kind": "pie",
            "total": f"{resolved:,}",
            "caption": _("已解决"),
            "parts": [[_(words), n, color, percent(share(n, resolved))] for words, n, color in shares if n],
        },
        "replies": {
            "kind": "times",
            "lines": [
                [_("一半在此以内"), 1, [_minutes(one.median(Measure.FIRST_REPLY)) for one in steps]],
                [_("九成在此以内"), 3, [_minutes(one.most(Measure.FIRST_REPLY)) for one in steps]],
            ],
        },
        "messages": {
            "kind": "lines",
            "lines": [
                [_("收到"), 1, [one[Measure.RECEIVED] for one in steps]],
                [_("发出"), 3, [one[Measure.WRITTEN] for one in steps]],
            ],
        },
        "ratings": {
            "kind": "stack",
            "bars": [[_(RATING_LABELS[n]), look, [one.stars[n] for one in steps]] for n, look in STARS.items()],
        },
        "backlog": {
            "kind": "lines",
            "lines": [
                [_("进行中"), 1, list(report.levels["open"])],
                [_("搁置"), 6, list(report.levels["snoozed"])],
            ],
        },
    }


def resolver_shares(report: Report) -> list[tuple[str, int, int]]:
    """Words, how many, and the colour: they add up to all that was resolved."""
    named = frozenset(kind for _, _, _, kinds in RESOLVERS for kind in kinds)
    found = []
    for _key, words, color, kinds in RESOLVERS:
        mine = kinds or (frozenset(report.resolvers) - named)
        found.append((words, sum(report.resolvers.get(kind, 0) for kind in mine), color))
    return found


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 60, 2)

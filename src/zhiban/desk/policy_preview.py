"""What a contact will be told, and when: the words of a policy at a moment, as the assistant would choose them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from zhiban.assistant.decide import Facts, HandOffReason, hand_off
from zhiban.channels.business_hours import DAYS, DayReason, Hours, is_open, next_opening
from zhiban.channels.policy import Policy
from zhiban.desk.policy_form import DAY_LABELS
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark
from zhiban.ports.channels import Welcomes

Situation = Literal["first", "handoff", "away", "resolved", "idle"]
SITUATIONS: dict[Situation, str] = {
    "first": mark("第一次来"),
    "handoff": mark("转人工时"),
    "away": mark("发给同事时"),
    "resolved": mark("解决以后"),
    "idle": mark("自动解决时"),
}
# Under the field of the welcome, by when the channel lets it be said.
WELCOME_HINTS: dict[Welcomes, str] = {
    "entering": mark("空着就不发。一句最多2000字节，约660个汉字"),
    "first_message": mark("对方第一次写来时，先说这一句再回答；空着就不发。一句最多2000字节，约660个汉字"),
    "itself": mark("这个渠道不发这一句：机器人有自己的欢迎语，写在它的连接里"),
}
REASONS = {
    DayReason.OWN_HOURS: mark("单独定的"),
    DayReason.CLOSED: mark("休息日"),
    DayReason.PUBLIC_HOLIDAY: mark("法定节假日"),
    DayReason.WORKED_INSTEAD: mark("调休上班"),
    DayReason.WEEKDAY: "",
}
AHEAD = 7  # days whose hours are shown


@frozen_dataclass
class Bubble:
    """One message on the contact's phone. `field` of the form it comes from; empty: it is only there to be answered."""

    text: str
    field: str = ""
    mine: bool = False  # the contact's own


@frozen_dataclass
class DayAhead:
    label: str
    hours: str
    why: str


@frozen_dataclass
class PolicyPreview:
    """`moment` says what time it is there and whether people are; `nothing` why the phone stays empty."""

    moment: str
    open: bool
    bubbles: list[Bubble]
    days: list[DayAhead]
    nothing: str = ""


def policy_preview(
    policy: Policy,
    situation: Situation,
    *,
    hours: Hours,
    at: datetime,
    texts: Texts,
    welcomes: Welcomes = "entering",
) -> PolicyPreview:
    """What somebody sees who is in this situation at this moment, where people keep these hours and the channel lets
    newcomers be welcomed in this way."""
    there = is_open(hours, at)
    bubbles, nothing = _bubbles(policy, situation, there=there, texts=texts, welcomes=welcomes)
    moment = _moment(hours, at, there=there, texts=texts)
    return PolicyPreview(moment, there, bubbles, _days(hours, at, texts), nothing)


def hours_preview(hours: Hours, *, at: datetime, texts: Texts) -> PolicyPreview:
    """Whether people are there, when they are back, and the hours of the days ahead; no words to a contact."""
    there = is_open(hours, at)
    return PolicyPreview(_moment(hours, at, there=there, texts=texts), there, [], _days(hours, at, texts))


def _bubbles(
    policy: Policy, situation: Situation, *, there: bool, texts: Texts, welcomes: Welcomes
) -> tuple[list[Bubble], str]:
    match situation:
        case "first":
            return _first_bubbles(policy, texts, welcomes)
        case "handoff":
            facts = Facts(pending=(), policy=policy, people_there=there)
            notice = hand_off(facts, HandOffReason.ASKED).notice
            field = "handoff.text" if there else "handoff.text_out_of_hours"
            asked = Bubble(texts("我要转人工"), mine=True)
            return ([asked, Bubble(notice, field)], "") if notice else ([asked], texts("不说什么，会话直接到同事那里"))
        case "away":
            wrote = Bubble(texts("在吗？"), mine=True)
            if there:
                return [wrote], texts("同事在，什么也不发")
            if policy.away:
                return [wrote, Bubble(policy.away, "away")], ""
            return [wrote], texts("不说什么")
        case "resolved":
            asks = [Bubble(policy.survey.text, "survey.text")] if policy.survey.ask else []
            ends = [Bubble(policy.closing, "closing")] if policy.closing else []
            return [*asks, *ends], "" if asks or ends else texts("不发结束语")
        case "idle":
            return _idle_bubbles(policy, texts)


def _first_bubbles(policy: Policy, texts: Texts, welcomes: Welcomes) -> tuple[list[Bubble], str]:
    if welcomes == "itself":
        return [], texts("机器人说自己的欢迎语")
    wrote = [Bubble(texts("在吗？"), mine=True)] if welcomes == "first_message" else []
    if policy.welcome:
        return [*wrote, Bubble(policy.welcome, "welcome")], ""
    return wrote, texts("不发欢迎语")


def _idle_bubbles(policy: Policy, texts: Texts) -> tuple[list[Bubble], str]:
    """In the order in which they arrive: words of its own are said before it is resolved, the closing ones after."""
    idle = policy.auto_resolve
    if idle.answered_hours is None and idle.open_hours is None:
        return [], texts("从不自动解决")
    asks = [Bubble(policy.survey.text, "survey.text")] if policy.survey.ask else []
    if idle.text:
        return [Bubble(idle.text, "auto_resolve.text"), *asks], ""
    ends = [Bubble(policy.closing, "closing")] if policy.closing else []
    return [*asks, *ends], "" if asks or ends else texts("不说什么")


def _moment(hours: Hours, at: datetime, *, there: bool, texts: Texts) -> str:
    local = at.astimezone(ZoneInfo(hours.timezone))
    day, clock = texts(DAY_LABELS[DAYS[local.weekday()]]), f"{local:%H:%M}"
    if there:
        return texts("{date} {day} {clock}：同事在", date=f"{local:%Y-%m-%d}", day=day, clock=clock)
    opening = next_opening(hours, at)
    if opening is None:
        return texts("{date} {day} {clock}：没有人，往后一年也没有", date=f"{local:%Y-%m-%d}", day=day, clock=clock)
    back = opening.astimezone(ZoneInfo(hours.timezone))
    return texts(
        "{date} {day} {clock}：下班了，{next}回来",
        date=f"{local:%Y-%m-%d}",
        day=day,
        clock=clock,
        next=f"{back:%m-%d %H:%M}",
    )


def _days(hours: Hours, at: datetime, texts: Texts) -> list[DayAhead]:
    today = at.astimezone(ZoneInfo(hours.timezone)).date()
    found = []
    for day in (today + timedelta(days=step) for step in range(AHEAD)):
        spans = hours.of(day)
        why = REASONS[hours.reason(day)]
        label = f"{day:%m-%d} {texts(DAY_LABELS[DAYS[day.weekday()]])}"
        found.append(DayAhead(label, ", ".join(map(str, spans)) or texts("休息"), texts(why) if why else ""))
    return found

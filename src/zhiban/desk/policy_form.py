"""The policy of an inbox as a form: what stands in its fields, and what was typed as the fields of a policy file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from zhiban.channels.business_hours import DAYS, Hours
from zhiban.channels.policy import SURVEY_TEXT, Policy, PolicyMistake, Problem
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark
from zhiban.ports.notifiers import public_name

DAY_LABELS = {
    "mon": mark("星期一"),
    "tue": mark("星期二"),
    "wed": mark("星期三"),
    "thu": mark("星期四"),
    "fri": mark("星期五"),
    "sat": mark("星期六"),
    "sun": mark("星期日"),
}
TARGETS = {
    "desk": mark("留在工作台，同事在这里回复"),
    "pool": mark("平台的待接入池，由接入的同事在那里回复"),
    "servicer": mark("平台上指定的接待人员"),
}
# What is wrong with a whole part stands beside its first field.
_BESIDE = {
    "zones": "zones.answer",
    "hours": "hours.timezone",
    "hours.weekly": "hours.weekly.mon",
    "auto_resolve": "auto_resolve.answered_hours",
    "handoff": "handoff.text",
    "survey": "survey.text",
}
_TIMEZONES = ("Asia/Shanghai", "Asia/Hong_Kong", "Asia/Taipei", "Asia/Singapore", "Asia/Tokyo", "Europe/London", "UTC")
_SEPARATORS = re.compile(r"[,，、;；\n]+")
OPERATORS_ADDRESS = mark(
    "an address that names a host, such as mailto:// or json://, is set by the operator: zhiban inbox apply"
)
LONGEST = 20_000  # characters of one field

Typed = Mapping[str, Sequence[str]]  # every value of every field, as it was sent


@frozen_dataclass
class Recipient:
    """Somebody who is told of handoffs: by kind and digest, as the address holds a key."""

    name: str
    kept: bool = True


@cache
def known_timezones() -> tuple[str, ...]:
    """Those offered that this machine knows: all that it knows are looked up once, which takes it 20 ms."""
    known = available_timezones()
    return tuple(zone for zone in _TIMEZONES if zone in known)


def of_policy(policy: Policy, addresses: Sequence[str]) -> dict[str, Any]:
    """What stands in the fields, by their names."""
    handoff, idle = policy.handoff, policy.auto_resolve
    kind, _, servicer = handoff.to.partition(":")
    return {
        "assistant": policy.assistant,
        "welcome": policy.welcome,
        "closing": policy.closing,
        "away": policy.away,
        "survey.ask": policy.survey.ask,
        "survey.text": policy.survey.text,
        "handoff.words": "\n".join(handoff.words),
        "handoff.max_failures": str(handoff.max_failures),
        "handoff.when_upset": handoff.when_upset,
        "handoff.to": kind,
        "servicer": servicer,
        "handoff.text": handoff.text,
        "handoff.text_out_of_hours": handoff.text_out_of_hours,
        "told": [Recipient(public_name(one)) for one in addresses],
        "handoff.notify": "",
        **of_hours(policy.hours),
        "auto_resolve.answered_hours": _number(idle.answered_hours),
        "auto_resolve.open_hours": _number(idle.open_hours),
        "auto_resolve.text": idle.text,
        "auto_resolve.label": str(idle.label or ""),
        "own_zones": policy.zones is not None,
        "zones.answer": _number(policy.zones.answer if policy.zones else None),
        "zones.suggest": _number(policy.zones.suggest if policy.zones else None),
    }


def of_hours(hours: Hours) -> dict[str, Any]:
    """What stands in the fields about business hours, by their names."""
    weekly = hours.weekly or {}
    return {
        "weekly": hours.weekly is not None,
        **{f"hours.weekly.{day}": ", ".join(map(str, weekly.get(day, ()))) for day in DAYS},
        "hours.timezone": hours.timezone,
        "hours.calendar": hours.calendar == "CN",
        "hours.holidays": "\n".join(_runs(hours.holidays)),
        "hours.days": "\n".join(f"{day} {', '.join(map(str, spans))}" for day, spans in sorted(hours.days.items())),
    }


def of_typed(typed: Typed, addresses: Sequence[str]) -> dict[str, Any]:
    """What was typed, as it stands in the fields again."""
    shown: dict[str, Any] = of_policy(Policy(), ())
    for name, before in shown.items():
        if isinstance(before, str):
            shown[name] = _one(typed, name)
        elif isinstance(before, bool):
            shown[name] = name in typed
    kept = set(typed.get("told", ()))
    shown["told"] = [Recipient(name, name in kept) for name in map(public_name, addresses)]
    return shown


def values_of(typed: Typed, before: Policy, addresses: Sequence[str]) -> dict[str, Any]:
    """The fields of a policy file that say what was typed. What the form does not show stays as it is.

    `addresses` are those that are told now: the form names them without their keys, and only says which stay.
    """
    kept = set(typed.get("told", ()))
    to = _one(typed, "handoff.to")
    idle = ("answered_hours", "open_hours", "label")
    said: dict[str, Any] = before.model_dump(mode="json")
    said |= {
        "assistant": "assistant" in typed,
        "welcome": _one(typed, "welcome"),
        "closing": _one(typed, "closing"),
        "away": _one(typed, "away"),
        "auto_resolve": {
            **{name: _one(typed, f"auto_resolve.{name}").strip() or None for name in idle},
            "text": _one(typed, "auto_resolve.text"),
        },
        "survey": {"ask": "survey.ask" in typed, "text": _one(typed, "survey.text").strip() or SURVEY_TEXT},
        "zones": None,
    }
    said["handoff"] |= {
        "words": _listed(_one(typed, "handoff.words")),
        "max_failures": _one(typed, "handoff.max_failures").strip(),
        "when_upset": "handoff.when_upset" in typed,
        "to": f"servicer:{_one(typed, 'servicer').strip()}" if to == "servicer" else to,
        "text": _one(typed, "handoff.text"),
        "text_out_of_hours": _one(typed, "handoff.text_out_of_hours"),
        "notify": [
            *(one for one in addresses if public_name(one) in kept),
            *_one(typed, "handoff.notify").split(),
        ],
    }
    said["hours"] |= hours_values(typed)
    if "own_zones" in typed:
        said["zones"] = {name: _one(typed, f"zones.{name}").strip() for name in ("answer", "suggest")}
    return said


def hours_values(typed: Typed) -> dict[str, Any]:
    """The business hours that were typed, as a policy file says them."""
    return {
        "timezone": _one(typed, "hours.timezone").strip(),
        "weekly": _weekly(typed) if "weekly" in typed else None,
        "calendar": "CN" if "hours.calendar" in typed else None,
        "holidays": _listed(_one(typed, "hours.holidays")),
        "days": _own_days(_one(typed, "hours.days")),
    }


def check_new_addresses(typed: Typed, addresses: Sequence[str], is_hosted: Callable[[str], bool]) -> None:
    """An agent adds addresses of services alone: one that names a host could lead into our own network.

    `addresses` are those that are told now, and may be typed again. Raises PolicyMistake, Misconfigured.
    """
    added = [one for one in _one(typed, "handoff.notify").split() if one not in addresses]
    if not all(map(is_hosted, added)):
        raise PolicyMistake([Problem(None, "handoff.notify", OPERATORS_ADDRESS)])


def beside(problems: Sequence[Problem], texts: Texts) -> dict[str, str]:
    """Each mistake beside the field of the form where it was made; the first of a field."""
    fields = of_policy(Policy(), ())
    found: dict[str, str] = {}
    for problem in problems:
        path = problem.field
        while path and path not in fields and path not in _BESIDE:
            path = path.rpartition(".")[0]
        name = _BESIDE.get(path, path) or "welcome"
        found.setdefault(name, texts.error(problem.message))
    return found


def _one(typed: Typed, name: str) -> str:
    """What stands in the field, with the line breaks of our own files."""
    return (typed.get(name) or ("",))[0][:LONGEST].replace("\r\n", "\n")


def _listed(text: str) -> list[str]:
    return [one.strip() for one in _SEPARATORS.split(text) if one.strip()]


def _weekly(typed: Typed) -> dict[str, list[str]]:
    written = {day: _listed(_one(typed, f"hours.weekly.{day}")) for day in DAYS}
    return {day: spans for day, spans in written.items() if spans}


def _own_days(text: str) -> dict[str, list[str]]:
    """One day a line: the date, and its hours; none: closed."""
    found: dict[str, list[str]] = {}
    for line in filter(None, (one.strip() for one in text.split("\n"))):
        day, _, spans = line.replace("：", ":").partition(" ")
        found[day.rstrip(":")] = _listed(spans)
    return found


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _runs(days: Sequence[Any]) -> list[str]:
    """Days that follow each other as `first..last`."""
    runs: list[list[Any]] = []
    for day in days:
        if runs and (day - runs[-1][-1]).days == 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return [str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs]

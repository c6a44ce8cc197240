"""Texts for people, in Chinese and in English, and times as people say them.

A text of the interface is written in Chinese where it is used; `locale/en.po` translates it. A sentence of an
error is English where it is raised; `locale/zh.po` translates it. Both catalogues are read once, from the .po
files themselves. No text carries a typed space between Chinese and Latin: the browser draws it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from zhiban.kit import po_file
from zhiban.kit.frozen_dataclass import frozen_dataclass

Locale = Literal["zh", "en"]
LOCALES: tuple[Locale, ...] = ("zh", "en")
FOLDER = Path(__file__).resolve().parent.parent / "locale"
DEFAULT_ZONE = ZoneInfo("Asia/Shanghai")

_HOLE = re.compile(r"\{(\w*)\}")
_CODED = re.compile(r"(?P<reason>.+?) \((?P<code>-?\d+)\)\.(?: (?P<hint>.*))?", re.DOTALL)  # a vendor's refusal
_ENGLISH_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def mark(text: str) -> str:
    """Name a text that is translated later, where it is shown. Returns it unchanged."""
    return text


def to_locale(wish: str | None, default: Locale = "zh") -> Locale:
    """The language that a tag or an Accept-Language header asks for first among ours."""
    for part in (wish or "").lower().split(","):
        tag = part.split(";")[0].strip()
        if tag.startswith("zh"):
            return "zh"
        if tag.startswith("en"):
            return "en"
    return default


@frozen_dataclass
class Catalogue:
    """What one .po file says: plain texts, and texts with a plural."""

    plain: Mapping[str, str] = field(default_factory=dict)
    counted: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def _pattern(msgid: str) -> re.Pattern[str]:
    """A sentence with holes, as a pattern that finds what was put into them."""
    parts: list[str] = []
    end = 0
    for number, hole in enumerate(_HOLE.finditer(msgid)):
        parts.append(re.escape(msgid[end : hole.start()]))
        parts.append(f"(?P<{hole.group(1) or f'_{number}'}>.+?)" if _first(msgid, hole) else ".+?")
        end = hole.end()
    parts.append(re.escape(msgid[end:]))
    return re.compile("".join(parts), re.DOTALL)


def _first(msgid: str, hole: re.Match[str]) -> bool:
    return msgid.find(hole.group(0)) == hole.start()


@cache
def catalogue(locale: Locale) -> Catalogue:
    plain: dict[str, str] = {}
    counted: dict[str, tuple[str, str]] = {}
    for message in po_file.messages(FOLDER / f"{locale}.po"):
        if message.fuzzy or not message.strings or not all(message.strings):
            continue
        if message.plural is not None:
            counted[message.id] = (message.strings[0], message.strings[-1])
            continue
        plain[message.id] = message.strings[0]
    return Catalogue(plain, counted)


@cache
def _sentences_with_holes() -> list[tuple[re.Pattern[str], str]]:
    """English sentences as patterns, with their translations: made for the first error that needs one."""
    return [(_pattern(english), chinese) for english, chinese in catalogue("zh").plain.items() if _HOLE.search(english)]


def _fill(text: str, values: Mapping[str, object]) -> str:
    """Put values into `{holes}`; a hole without a value stays: a wrong translation never breaks a page."""
    if not values:
        return text
    return _HOLE.sub(lambda hole: str(values.get(hole.group(1), hole.group(0))), text)


@frozen_dataclass
class Texts:
    """The words for one reader: language and time zone."""

    locale: Locale = "zh"
    zone: ZoneInfo = DEFAULT_ZONE

    def __call__(self, msgid: str, **values: object) -> str:
        """The text in the reader's language, with `{name}` filled from `values`."""
        return _fill(catalogue(self.locale).plain.get(msgid, msgid), values)

    def n(self, msgid: str, n: int, *, most: int | None = None, **values: object) -> str:
        """A text with a number in it: `{n}`. English chooses between its singular and its plural.

        `most`: where counting stopped; so many are that many or more.
        """
        forms = catalogue(self.locale).counted.get(msgid)
        text = msgid if forms is None else forms[0 if n == 1 else 1]
        return _fill(text, {"n": n if most is None or n < most else f"{most:,}+", **values})

    def error(self, sentence: str) -> str:
        """A raised sentence in the reader's language; one that nobody translated stays English."""
        if self.locale != "zh":
            return sentence
        known = catalogue("zh")
        if sentence in known.plain:
            return known.plain[sentence]
        coded = _CODED.fullmatch(sentence)
        if coded and coded["reason"] in known.plain:
            hint = self.error(coded["hint"]) if coded["hint"] else ""
            return f"{known.plain[coded['reason']]}（{coded['code']}）。{hint}"
        for pattern, translation in _sentences_with_holes():
            found = pattern.fullmatch(sentence)
            if found:
                return _fill(translation, found.groupdict())
        return sentence

    # ------------------------------------------------------------------------------------------------- times

    def clock(self, at: datetime) -> str:
        """13:57"""
        return f"{at.astimezone(self.zone):%H:%M}"

    def stamp(self, at: datetime) -> str:
        """2026-11-21 13:57"""
        return f"{at.astimezone(self.zone):%Y-%m-%d %H:%M}"

    def date(self, at: datetime, now: datetime) -> str:
        """9月12日 within this year, 2027-03-31 otherwise."""
        local = at.astimezone(self.zone)
        if local.year != now.astimezone(self.zone).year:
            return f"{local:%Y-%m-%d}"
        if self.locale == "en":
            return f"{local.day} {_ENGLISH_MONTHS[local.month - 1]}"
        return f"{local.month}月{local.day}日"

    def day(self, at: datetime, now: datetime) -> str:
        """今天, 昨天, or the date."""
        days = (now.astimezone(self.zone).date() - at.astimezone(self.zone).date()).days
        if days == 0:
            return self("今天")
        if days == 1:
            return self("昨天")
        return self.date(at, now)

    def when(self, at: datetime, now: datetime) -> str:
        """刚刚, 13:57, 昨天, 9月12日, 2025-03-31: how long ago, as short as it can be said."""
        if timedelta(0) <= now - at < timedelta(minutes=1):
            return self("刚刚")
        day = self.day(at, now)
        return self.clock(at) if day == self("今天") else day

    def due(self, at: datetime, now: datetime) -> str:
        """今天 09:04, 明天 09:00, 11月30日 09:00: a time that something waits for, or waited for."""
        days = (at.astimezone(self.zone).date() - now.astimezone(self.zone).date()).days
        day = self("明天") if days == 1 else self.day(at, now)
        return f"{day} {self.clock(at)}"

    def waiting(self, since: datetime, now: datetime) -> str:
        """等2分, 等3小时, 等2天: how long somebody has been waiting for us."""
        minutes = int((now - since).total_seconds() // 60)
        if minutes < 1:
            return self("刚刚")
        if minutes < 60:
            return self("等{n}分", n=minutes)
        if minutes < 60 * 24:
            return self("等{n}小时", n=minutes // 60)
        return self("等{n}天", n=minutes // (60 * 24))

    def span(self, left: timedelta) -> str:
        """47小时, 35分: a time that is left, rounded down, never below a minute."""
        minutes = int(left.total_seconds() // 60)
        if minutes < 60:
            return self("{n}分", n=max(1, minutes))
        return self("{n}小时", n=minutes // 60)

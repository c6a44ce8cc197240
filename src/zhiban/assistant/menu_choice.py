"""A menu entry chosen by writing instead of tapping: its number, its place, or its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zhiban.assistant.clauses import folded
from zhiban.kit.patterns import lazy_pattern

_FEWEST = 3  # letters of a label that name it without the rest
_NUMERALS = "一二三四五六七八九"
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_NUMBER = lazy_pattern(
    r"(?:我)?(?:想)?(?:选择?|要|点|问|看|就|是)*(?:的是)?(?:第|no|number|option)?(?P<number>[1-9]|[一二三四五六七八九])"
    r"(?:个|项|条|号|点|题|种)?(?:的?那个|那个|问题|选项)?(?:吧|啊|的|呢|谢谢)*"
)
_LAST = lazy_pattern(r"(?:我)?(?:选择?|要|点|就)*最后(?:一|那)?(?:个|项|条)?(?:吧|的)?")
_ORDINAL = lazy_pattern(rf"(?:the )?(?P<number>{'|'.join(_ORDINALS)})(?: one| option)?(?: please)?")


def chosen_by_words(text: str, offered: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The id of the offered entry that the text names; None when it names none, or not clearly one."""
    written = folded(text).strip()
    if not written or not offered:
        return None
    ids = list(offered)
    number = _number(written, len(ids))
    if number is not None:
        return ids[number - 1] if 0 < number <= len(ids) else None
    return _by_label(
        _letters(written), [(id_, _letters(folded(str(entry["label"])))) for id_, entry in offered.items()]
    )


def _number(written: str, entries: int) -> int | None:
    letters = _letters(written)
    if found := _NUMBER.fullmatch(letters):
        digit = found["number"]
        return int(digit) if digit.isdecimal() else _NUMERALS.index(digit) + 1
    if _LAST.fullmatch(letters):
        return entries
    if found := _ORDINAL.fullmatch(written.strip(" .!")):
        return _ORDINALS.index(found["number"]) + 1
    return None


def _letters(text: str) -> str:
    return "".join(char for char in text if char.isalnum())


def _by_label(letters: str, labels: Sequence[tuple[str, str]]) -> str | None:
    """The entry with exactly these words, else the only one that has them among its own."""
    exact = [id_ for id_, label in labels if label == letters]
    if exact:
        return exact[0]
    part = [id_ for id_, label in labels if letters in label] if len(letters) >= _FEWEST else []
    return part[0] if len(part) == 1 else None

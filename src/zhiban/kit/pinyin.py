"""The first letters of Chinese words, by which people look for a name without leaving the keyboard's letters.

GB 2312 orders its 3,755 common characters by their pinyin, so the place of a character tells its initial. A character
with several readings has one place, and one that is not common none.
"""

from __future__ import annotations

from bisect import bisect_right

_FIRST = "啊芭擦搭蛾发噶哈击喀垃妈拿哦啪期然撒塌挖昔压匝"  # the first of each initial, as the standard orders them
_LETTERS = "abcdefghjklmnopqrstwxyz"
_PLACES = [one.encode("gb2312") for one in _FIRST]
_LAST = "座".encode("gb2312")


def initials(text: str) -> str:
    """`发票说明` → `fpsm`; letters and digits stay, in lower case, and everything else is left out."""
    return "".join(_initial(one) for one in text.lower())


def _initial(character: str) -> str:
    if character.isascii():
        return character if character.isalnum() else ""
    place = character.encode("gb2312", errors="ignore")
    if not _PLACES[0] <= place <= _LAST:
        return ""
    return _LETTERS[bisect_right(_PLACES, place) - 1]

"""Text in its simplest letters beside the text itself, so that what is found in the one is known in the other."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from zhiban.assistant.normalising import visible
from zhiban.kit.frozen_dataclass import frozen_dataclass

_DASHES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d")


@frozen_dataclass
class Folded:
    """`text` in simple letters; `places[n]` is where its n-th character stands in what was written."""

    text: str
    places: range | list[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where text[start:end], which is not empty, stands in what was written."""
        return self.places[start], self.places[end - 1] + 1


def folded(text: str) -> Folded:
    """Half-width, digits of all scripts as 0 to 9, one kind of dash and blank, without what nobody sees."""
    if text.isascii() and text.isprintable():
        return Folded(text, range(len(text)))
    parts = [_simple(char) for char in text]
    return Folded("".join(parts), [place for place, part in enumerate(parts) for _ in part])


@lru_cache(maxsize=20_000)
def _simple(char: str) -> str:
    if char in "\r\u2028\u2029":
        return "\n"
    if char in _DASHES:
        return "-"
    if not visible(char) or unicodedata.category(char) in ("Mn", "Me"):
        return ""
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    return "".join("-" if part in _DASHES else part for part in unicodedata.normalize("NFKC", char))

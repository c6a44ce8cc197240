"""One spelling for texts that are compared, and the runs of characters that they are cut into."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING

from zhiban.kit.patterns import lazy_pattern

if TYPE_CHECKING:
    from opencc import OpenCC

HAN_FIRST, HAN_LAST = 0x3400, 0x9FFF


@cache
def _simplifier() -> OpenCC:
    # Four megabytes that a process has no need of before the first text; then 25 ms, once.
    from opencc import OpenCC

    return OpenCC("t2s")


def simplify(text: str) -> str:
    """Traditional characters as Simplified ones."""
    simplified: str = _simplifier().convert(text)
    return simplified


def normalise(text: str) -> str:
    """One spelling: NFKC, lower case, Simplified characters."""
    return simplify(unicodedata.normalize("NFKC", text).lower())


def is_han(character: str) -> bool:
    return HAN_FIRST <= ord(character[0]) <= HAN_LAST


# Han; Latin letters (also accented); digits; runs of any other script.
RUNS = lazy_pattern(r"[\u3400-\u9fff]+|[a-z\u00df-\u024f]+|\d+|[^\W\d_a-z\u00df-\u024f\u3400-\u9fff]+")

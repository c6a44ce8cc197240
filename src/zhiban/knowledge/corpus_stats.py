"""How common each term is in Chinese at large.

A base of eighty entries cannot know that 退 is an ordinary word and 螺 a telling one; the language at large
can. Part of a term's weight comes from here. `term_priors.bin` lies beside this file; `tools/term_priors.py`
derives it from the word frequencies of jieba (MIT, see NOTICE).
"""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from mmap import ACCESS_READ, mmap
from pathlib import Path

from zhiban.kit.errors import Misconfigured
from zhiban.knowledge.tokenizer import characters_of_pair

FILE = Path(__file__).with_name("term_priors.bin")
MEETING = 10.0  # how much likelier neighbours are than chance; measured on the shop questions of the bench
_MAGIC = b"ZBTP0002"
_HEAD = len(_MAGIC) + 12


class TermPriors:
    """How often each term occurs. `rarity(term)` is between 0 (everywhere) and 1 (never seen)."""

    def __init__(self, numbers: Sequence[int], times: Sequence[int], total: int) -> None:
        """`numbers` are terms in rising order, `times` how often each was counted among `total` words."""
        self._numbers = numbers
        self._times = times
        self._total = total
        self._most = math.log(1 + total)
        self.rarity = lru_cache(maxsize=32_768)(self._rarity)  # a question's terms are asked for again and again
        self._of_character = lru_cache(maxsize=4_096)(self.times)  # most pairs are new, their characters are not

    def __len__(self) -> int:
        return len(self._numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TermPriors) and self._content() == other._content()

    __hash__ = None  # type: ignore[assignment]  # compared by content, never a key

    def _content(self) -> tuple[Sequence[int], Sequence[int], int]:
        return self._numbers, self._times, self._total

    def times(self, term: int) -> int:
        at = bisect_left(self._numbers, term)
        return self._times[at] if at < len(self._numbers) and self._numbers[at] == term else 0

    def _rarity(self, term: int) -> float:
        expected: float = self.times(term)
        characters = characters_of_pair(term)
        if characters is not None:
            # A list of words never shows the pairs that arise where two words meet; common characters meet often.
            first, second = characters
            expected += MEETING * self._of_character(first) * self._of_character(second) / self._total
        return math.log(1 + self._total / (1 + expected)) / self._most

    def dumped(self) -> bytes:
        """The table as `loaded` reads it: the terms, then how often each was counted, all little-endian."""
        numbers = b"".join(_little_endian(array("I", each)).tobytes() for each in (self._numbers, self._times))
        return _MAGIC + len(self).to_bytes(4, "little") + self._total.to_bytes(8, "little") + numbers

    @classmethod
    def loaded(cls, content: bytes | mmap) -> TermPriors:
        """The table within `content`, which is not copied. Raises ValueError when this is none, or a damaged one."""
        if content[: len(_MAGIC)] != _MAGIC:
            raise ValueError("This is no table of term frequencies.")
        size = 4 * int.from_bytes(content[len(_MAGIC) : _HEAD - 8], "little")
        if len(content) != _HEAD + 2 * size:
            raise ValueError("The table of term frequencies is cut off.")
        numbers, total = memoryview(content)[_HEAD:], int.from_bytes(content[_HEAD - 8 : _HEAD], "little")
        return cls(_read(numbers[:size]), _read(numbers[size:]), total)


def _little_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _read(content: memoryview) -> Sequence[int]:
    return content.cast("I") if sys.byteorder == "little" else _little_endian(array("I", content.tobytes()))


@cache
def term_priors() -> TermPriors:
    """The language at large, opened once in a process. Raises Misconfigured when the installation is incomplete.

    The file is mapped: pages of it come into memory as terms are looked up, and all processes share them.
    """
    try:
        with FILE.open("rb") as file:
            return TermPriors.loaded(mmap(file.fileno(), 0, access=ACCESS_READ))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{FILE.name} is missing or damaged. Install Zhiban again.") from error


def alike(one: Iterable[int], other: Iterable[int]) -> float:
    """How much of their telling terms two questions share, from 0 to 1. What is everywhere tells nothing."""
    first, second = frozenset(one), frozenset(other)
    rarity = term_priors().rarity
    together = sum(rarity(term) ** 2 for term in first | second)
    return sum(rarity(term) ** 2 for term in first & second) / together if together else 0.0

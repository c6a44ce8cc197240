"""How common each term is in Chinese at large, from the word frequencies that jieba ships (MIT).

A base of eighty entries cannot know that 退 is an ordinary word and 螺 a telling one; the language at large
can. Half of a term's weight comes from here. Built once from jieba's list and kept as two flat arrays in the
data folder.
"""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from array import array
from bisect import bisect_left
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

from zhiban.kit.errors import Misconfigured
from zhiban.knowledge.tokenizer import character_term, characters_of_pair, pair_term

FILE = "background-1.bin"  # a new number whenever terms or weights change
_MAGIC = b"ZBKG0001" + sys.byteorder.encode()[:1]
MEETING = 10.0  # how much likelier neighbours are than chance; measured on the shop questions of the bench


def _is_han(text: str) -> bool:
    return all("\u3400" <= character <= "\u9fff" for character in text)


class TermPriors:
    """How often each term occurs. `rarity(term)` is between 0 (everywhere) and 1 (never seen)."""

    def __init__(self, numbers: array[int], times: array[int], total: int) -> None:
        self._numbers = numbers
        self._times = times
        self._total = total
        self._most = math.log(1 + total)
        self.rarity = lru_cache(maxsize=32_768)(self._rarity)  # a question's terms are asked for again and again

    def __len__(self) -> int:
        return len(self._numbers)

    def times(self, term: int) -> int:
        at = bisect_left(self._numbers, term)
        return self._times[at] if at < len(self._numbers) and self._numbers[at] == term else 0

    def _rarity(self, term: int) -> float:
        expected: float = self.times(term)
        characters = characters_of_pair(term)
        if characters is not None:
            # A list of words never shows the pairs that arise where two words meet; common characters meet often.
            first, second = characters
            expected += MEETING * self.times(first) * self.times(second) / self._total
        return math.log(1 + self._total / (1 + expected)) / self._most

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        head = _MAGIC + len(self._numbers).to_bytes(4, "big") + self._total.to_bytes(8, "big")
        unfinished.write_bytes(head + self._numbers.tobytes() + self._times.tobytes())
        unfinished.replace(path)

    @classmethod
    def read(cls, path: Path) -> TermPriors | None:
        """What was saved there, or None when there is nothing usable."""
        try:
            content = path.read_bytes()
        except OSError:
            return None
        head = len(_MAGIC) + 12
        size = int.from_bytes(content[len(_MAGIC) : head - 8], "big")
        if not content.startswith(_MAGIC) or len(content) != head + size * 8:
            return None
        numbers, times = array("I"), array("I")
        numbers.frombytes(content[head : head + size * 4])
        times.frombytes(content[head + size * 4 :])
        return cls(numbers, times, int.from_bytes(content[head - 8 : head], "big"))


def build(word_list: Path) -> TermPriors:
    """Count characters and pairs over a list of `word frequency tag` lines."""
    seen: defaultdict[int, int] = defaultdict(int)
    total = 0
    with word_list.open(encoding="utf-8") as lines:
        for line in lines:
            word, frequency = line.split(" ", 2)[:2]
            times = int(frequency)
            total += times
            if not _is_han(word):
                continue
            for character in set(word):
                seen[character_term(character)] += times
            for pair in {word[at : at + 2] for at in range(len(word) - 1)}:
                seen[pair_term(pair)] += times
    ordered = sorted(seen)
    return TermPriors(array("I", ordered), array("I", (seen[term] for term in ordered)), total)


def word_list() -> Path:
    """jieba's dictionary, found without importing jieba (which takes half a second and 30 MB)."""
    found = importlib.util.find_spec("jieba")
    if found is None or found.origin is None:
        raise Misconfigured("The package jieba is missing. Install Zhiban again.")
    return Path(found.origin).parent / "dict.txt"


_loaded: dict[Path | None, TermPriors] = {}


def term_priors(folder: Path | None = None) -> TermPriors:
    """The background of this process, kept in `folder` between starts."""
    if folder not in _loaded:
        path = folder / FILE if folder else None
        found = TermPriors.read(path) if path else None
        if found is None:
            found = build(word_list())
            if path:
                found.save(path)
        _loaded[folder] = found
    return _loaded[folder]

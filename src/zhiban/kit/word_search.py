"""Finding texts by words: the terms under which a text stands in an index, and what a query asks of a text.

Han text is found by any part of it, from one character on; words and numbers by their beginnings (one letter or digit
only where it stands alone), numbers of seven digits or more also by their last four and however they are grouped
(138 1234 5678). Traditional and Simplified, full-width and half-width, capital and small are the same. The words of a
query, divided by spaces, may stand in any order; each must stand in the text as it was typed.

Terms only choose candidates; `Query.holds` decides. So a collision of two terms costs time and shows nothing wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from unicodedata import normalize
from zlib import crc32

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.patterns import lazy_pattern
from zhiban.kit.tokens import RUNS, is_han, normalise, simplify

SEARCHED = 20_000  # characters of one text; what stands further down is not found
LONGEST = 200  # characters of a query that are looked at
SEGMENT = 17  # 2^17 neighbouring ids share the keys of a term; so a search reads the newest part of a long list only

_LENGTHS = (*range(2, 13), 16, 20, 24, 32)  # of the beginnings of a word that are indexed
_MOST_TERMS = 16  # of a query; more would choose no better
_NUMBER = 7  # digits from which on groups of them are one number
_TAIL = 4
_GROUPED = lazy_pattern(r"(?<!\d)\d+(?:[- ]\d+)+(?!\d)")
_LATIN, _OTHER = r"[a-z\u00df-\u024f]", r"[^\W\d_a-z\u00df-\u024f\u3400-\u9fff]"  # as in RUNS
_BETWEEN = r"[\W_]{0,2}"  # may stand between two runs of one word: a hyphen, a dot, an at sign
_WORKSPACE_STEP, _SEGMENT_STEP, _WORD, _SIGN = 0x9E3779B1, 0x85EBCA6B, 0xFFFFFFFF, 0x80000000


@lru_cache(maxsize=65536)
def term(word: str) -> int:
    """The number of a word, between 0 and 2^32."""
    return crc32(word.encode("utf-8", "surrogatepass"))


def keys(workspace_id: int, id_: int, terms: Iterable[int]) -> list[int]:
    """The terms as they are indexed for this id. SQL has the same sum, see `search_keys` in the migrations."""
    offset = workspace_id * _WORKSPACE_STEP + (id_ >> SEGMENT) * _SEGMENT_STEP
    return sorted({((one + offset) & _WORD) - _SIGN for one in terms})


def text_terms(text: str) -> set[int]:
    """Everything that a text can be found by."""
    spelt = normalise(text[:SEARCHED])
    found: set[str] = set()
    for run in RUNS.findall(spelt):
        if is_han(run):
            found.update(run)
            found.update(one + two for one, two in pairwise(run))
        else:
            _add_word(found, run)
    for grouped in _GROUPED.findall(spelt):
        number = re.sub(r"[- ]", "", grouped)
        if len(number) >= _NUMBER:
            _add_word(found, number)
    return {term(word) for word in found}


def _add_word(found: set[str], word: str) -> None:
    found.update(word[:length] for length in _LENGTHS if length <= len(word))
    if len(word) == 1:
        found.add(word)
    if len(word) >= _NUMBER and word.isdecimal():
        found.add(word[-_TAIL:])
        if word.startswith("86") and len(word) == 13:  # a Chinese mobile number with its country
            _add_word(found, word[2:])


@frozen_dataclass
class Query:
    """What somebody looks for. `terms` choose candidates; every one of `patterns` has to be in a text that is found."""

    typed: str
    terms: tuple[int, ...]
    patterns: tuple[re.Pattern[str], ...]

    def __bool__(self) -> bool:
        """Whether there is anything to look for: punctuation alone is nothing."""
        return bool(self.patterns)

    def holds(self, text: str) -> bool:
        """Whether the text is what is looked for."""
        spelt = normalise(text[:SEARCHED])
        return all(pattern.search(spelt) for pattern in self.patterns)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where the words stand in the text as it was written, in order and without overlaps."""
        spelt, places = _with_places(text[:SEARCHED])
        found = sorted(
            (places[match.start()][0], places[match.end() - 1][1])
            for pattern in self.patterns
            for match in pattern.finditer(spelt)
            if match.end() > match.start()
        )
        joined: list[tuple[int, int]] = []
        for start, end in found:
            if joined and start <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(end, joined[-1][1])
            else:
                joined.append((start, end))
        return joined


def _with_places(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The normalised text, and of each of its characters where it stands in the text as written."""
    spelt: list[str] = []
    places: list[tuple[int, int]] = []
    for at, character in enumerate(text):
        same = normalize("NFKC", character).lower()
        spelt.append(same)
        places += [(at, at + 1)] * len(same)
    before = "".join(spelt)
    after = simplify(before)
    return (after if len(after) == len(before) else before), places


@lru_cache(maxsize=256)
def query(typed: str) -> Query:
    """What the words ask for. Nothing of what a person may type is an error."""
    spelt = _GROUPED.sub(_joined, normalise(typed[:LONGEST]).strip())
    terms: dict[str, None] = {}
    patterns: list[re.Pattern[str]] = []
    for phrase in spelt.split():
        runs = RUNS.findall(phrase)
        if not runs:
            continue
        patterns.append(re.compile(_BETWEEN.join(_pattern(run, first=n == 0) for n, run in enumerate(runs))))
        for run in runs:
            terms.update(dict.fromkeys(_wanted(run, alone=len(runs) == 1)))
    chosen = sorted(terms, key=len, reverse=True)[:_MOST_TERMS]
    return Query(typed.strip(), tuple(sorted({term(word) for word in chosen})), tuple(patterns))


def _joined(found: re.Match[str]) -> str:
    number = re.sub(r"[- ]", "", found[0])
    return number if len(number) >= _NUMBER else found[0]


def _wanted(run: str, *, alone: bool) -> Sequence[str]:
    """The indexed words that a text must have to have this run."""
    if is_han(run):
        return [one + two for one, two in pairwise(run)] or [run]
    if len(run) == 1:
        return [run] if alone else []
    return [run[: max(length for length in _LENGTHS if length <= len(run))]]


def _pattern(run: str, *, first: bool) -> str:
    if is_han(run):
        return run
    if not run.isdecimal():
        same = _LATIN if re.match(_LATIN, run) else _OTHER
        whole = f"(?!{same})" if len(run) == 1 and first else ""
        return (f"(?<!{same})" if first else "") + re.escape(run) + whole
    if not first:
        return run
    if len(run) == 1:
        return rf"(?<!\d){run}(?!\d)"
    digits = "[- ]?".join(run)
    beginning = rf"(?<!\d)(?:86[- ]?)?{digits}"
    tail = rf"|(?<=\d{{{_NUMBER - _TAIL}}}){run}(?!\d)" if len(run) == _TAIL else ""
    return f"(?:{beginning}{tail})"

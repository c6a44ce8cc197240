"""Text to terms: the one way in which questions, similar questions and passages become comparable.

A term is a Han character, a pair of neighbouring ones, or a whole run of other letters or digits. A run counts
twice, as a Han word counts as character and pair. Terms are numbers, because that is what the index stores:
characters and pairs have numbers of their own; runs and synonym groups share the rest of the room by a stable
hash, where a collision (about one in 235 million for a pair of words) merges two words and harms nobody.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

from zhiban.kit.tokens import HAN_FIRST, HAN_LAST, normalise

# Words that ask the same are written the same. Order matters: what a later line folds may come from an earlier one.
_FOLDS: tuple[tuple[str, str], ...] = (
    ("怎么 怎样 如何 咋样 咋 怎麽 咋整 咋弄 怎么弄 怎么办理 怎么操作 怎么搞 怎么处理 咋办 怎么办", "怎么"),
    ("为什么 为啥 为何 怎么回事 什么原因 咋回事", "为什么"),
    ("什么时候 啥时候 何时 多久 多长时间 几天 多少天 啥时 几号", "多久"),
    ("能不能 可不可以 可以不 能否 是否可以 可否 是不是可以 行不行 能不 可以 能", "可以"),
    ("哪里 哪儿 哪个地方 何处 在哪", "哪里"),
    ("什么 啥", "什么"),
    ("没有 没 未 无法 不能 无", "没"),
    ("吗 么 呢 啊 呀 吧 哦 嘛 请问 你好 您好 麻烦 我想 我要 想要 想 一下 帮我 给我", " "),
)


def _alternatives(words: Iterable[str]) -> re.Pattern[str]:
    """Any of the words, the longest that fits."""
    return re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))))


_FOLDING = tuple((_alternatives(words.split()), folded) for words, folded in _FOLDS)

HAN = HAN_LAST - HAN_FIRST + 1
PAIRS = 1 + HAN  # pairs are numbered from here, characters from 1
_HASHED = PAIRS + HAN * HAN
TERM_LIMIT = 1_000_000_000  # pgvector's sparsevec has no more dimensions

# Han; Latin letters (also accented); numbers; runs of any other script.
WORDS = r"[a-z\u00df-\u024f]+|\d+(?:\.\d+)?|[^\W\d_a-z\u00df-\u024f\u3400-\u9fff]+"
_SEGMENTS = re.compile(rf"[\u3400-\u9fff]+|{WORDS}")


def fold(text: str) -> str:
    """Normalised text with question words folded and words of politeness gone."""
    folded = normalise(text)
    for pattern, word in _FOLDING:
        folded = pattern.sub(word, folded)
    return folded


@lru_cache(maxsize=65536)
def hashed(word: str) -> int:
    digest = blake2b(word.encode(), digest_size=8).digest()
    return _HASHED + int.from_bytes(digest, "big") % (TERM_LIMIT - _HASHED)


def character_term(character: str) -> int:
    return ord(character) - HAN_FIRST + 1


def pair_term(pair: str) -> int:
    return PAIRS + (ord(pair[0]) - HAN_FIRST) * HAN + ord(pair[1]) - HAN_FIRST


def is_word(term: int) -> bool:
    """Whether the term is a run of letters or digits, or a synonym group: no Han character, and no pair of them."""
    return term >= _HASHED


def characters_of_pair(term: int) -> tuple[int, int] | None:
    """The terms of the two characters when `term` is a pair."""
    if not PAIRS <= term < _HASHED:
        return None
    first, second = divmod(term - PAIRS, HAN)
    return first + 1, second + 1


class Synonyms:
    """Groups of words that mean the same in one base. Each word of a group also stands for the group."""

    def __init__(self, groups: Mapping[int, Sequence[str]] | None = None) -> None:
        self._terms: dict[str, list[int]] = {}
        for group, words in (groups or {}).items():
            term = hashed(f"§{group}")
            for word in {fold(word).strip() for word in words} - {""}:
                self._terms.setdefault(word, []).append(term)
        self._pattern = _alternatives(self._terms) if self._terms else None

    def found(self, folded: str) -> list[int]:
        if self._pattern is None:
            return []
        return [term for word in self._pattern.findall(folded) for term in self._terms[word]]


NO_SYNONYMS = Synonyms()


def terms(text: str, synonyms: Synonyms = NO_SYNONYMS) -> list[int]:
    """Every term of the text, repeated as often as it stands there."""
    folded = fold(text)
    found: list[int] = []
    for segment in _SEGMENTS.findall(folded):
        if "\u3400" <= segment[0] <= "\u9fff":
            codes = [ord(character) - HAN_FIRST for character in segment]
            found += [code + 1 for code in codes]
            if len(codes) == 1:
                found.append(codes[0] + 1)
            else:
                found += [PAIRS + one * HAN + two for one, two in pairwise(codes)]
        else:
            term = hashed(segment)
            found += (term, term)
    if synonyms is not NO_SYNONYMS:
        found += synonyms.found(folded)
    return found


def length(text: str, synonyms: Synonyms = NO_SYNONYMS) -> int:
    """How many `terms` the text has."""
    folded = fold(text)
    found = 0 if synonyms is NO_SYNONYMS else len(synonyms.found(folded))
    for segment in _SEGMENTS.findall(folded):
        # As many characters as Han ones, and one pair less; a run counts twice, and so does a lonely character.
        found += max(2, 2 * len(segment) - 1) if "\u3400" <= segment[0] <= "\u9fff" else 2
    return found


@lru_cache(maxsize=2_048)
def term_set(text: str, synonyms: Synonyms = NO_SYNONYMS) -> frozenset[int]:
    """The terms of a text that is read again and again, as phrasings are: kept for the last 2,000 of them."""
    return frozenset(terms(text, synonyms))


def counts(text: str, synonyms: Synonyms = NO_SYNONYMS) -> Counter[int]:
    return Counter(terms(text, synonyms))

"""Numbers of people – of their telephones, identity cards and bank cards – in text that is folded already.

They are put together from groups of digits, however these are set apart. Where the groups are not as people set such
a number, it is one of several other numbers side by side: an address of a network, a time, a list of sizes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

from zhiban.kit.patterns import lazy_pattern

NumberKind = Literal["mobile", "id_card", "bank_card"]

_LONGEST = 19  # digits of a bank card
_SHORTEST = 11  # of a mobile telephone
_HAN = "零一二三四五六七八九"
_OTHER_HAN = {
    "〇": "0", "○": "0", "幺": "1", "壹": "1", "贰": "2", "叁": "3", "肆": "4", "伍": "5", "陆": "6", "柒": "7",
    "捌": "8", "玖": "9",
}  # fmt: skip
_DIGIT = rf"[0-9{_HAN}{''.join(_OTHER_HAN)}]"
_SPELT = lazy_pattern(rf"{_DIGIT}(?:[^\w\n]{{0,3}}+{_DIGIT}){{10,40}}+")
_SPELT_DIGITS = str.maketrans({char: str(n) for n, char in enumerate(_HAN)} | _OTHER_HAN)
_GROUP = re.compile(r"[0-9]+")
_GAP = re.compile(r"[^\w\n]{1,3}|_")
_CHECK_X = re.compile(r"[^\w\n]{0,3}[Xx]")
_MOBILE = re.compile(r"((?:00)?86|0)?1[3-9][0-9]{9}")
_PLUS_86 = re.compile(r"(?:\+|(?<![0-9])00)?(?<![0-9])86[^\w\n]{0,3}\Z|\+\Z")
_USUAL = frozenset(((11,), (3, 4, 4), (3, 8), (7, 4), (4, 4, 3), (3, 3, 5)))
_PLAIN_GAP = re.compile(r"[ \-_.·()/]{0,3}")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"


def private_numbers(text: str) -> Iterator[tuple[NumberKind, int, int]]:
    """The kind and place of each; those in Chinese digits come twice or after the others."""
    for numbers in dict.fromkeys((text, with_digits(text))):
        yield from _in_digits(numbers)


def _in_digits(numbers: str) -> Iterator[tuple[NumberKind, int, int]]:
    row: list[tuple[int, int]] = []  # groups that stand close together
    for match in _GROUP.finditer(numbers):
        if row and not _GAP.fullmatch(numbers, row[-1][1], match.start()):
            yield from _in_row(numbers, row)
            row = []
        row.append(match.span())
    yield from _in_row(numbers, row)


def _in_row(numbers: str, row: Sequence[tuple[int, int]]) -> Iterator[tuple[NumberKind, int, int]]:
    left = sum(end - start for start, end in row)
    done = 0
    for first, (start, stop) in enumerate(row):
        if left < _SHORTEST:
            return
        left -= stop - start
        found = _number(numbers, row, first) if start >= done else None
        if found is not None:
            kind, done = found
            before = _PLUS_86.search(numbers, max(0, start - 8), start)
            yield kind, before.start() if before and kind == "mobile" else start, done


def with_digits(text: str) -> str:
    """Long numbers in Chinese digits become digits, character by character."""
    return _SPELT.sub(lambda run: run[0].translate(_SPELT_DIGITS), text)


def _number(numbers: str, row: Sequence[tuple[int, int]], first: int) -> tuple[NumberKind, int] | None:
    """What begins with this group, and where it ends; the longest that fits."""
    digits, found = "", None
    for place in range(first, len(row)):
        start, end = row[place]
        digits += numbers[start : min(end, start + _LONGEST + 1)]
        if len(digits) > _LONGEST:
            break
        if len(digits) < _SHORTEST:
            continue
        kind = _kind(digits, numbers, row[first : place + 1])
        if kind is not None:
            found = kind, end
        elif len(digits) == 17 and (check := _CHECK_X.match(numbers, end)) and is_id_card(f"{digits}X"):
            found = "id_card", check.end()
    return found


def _kind(digits: str, numbers: str, groups: Sequence[tuple[int, int]]) -> NumberKind | None:
    if len(digits) < 16:
        mobile = _MOBILE.fullmatch(digits)
        return "mobile" if mobile and _is_set_as_mobile(numbers, groups, len(mobile[1] or "")) else None
    if len(digits) == 18 and is_id_card(digits):
        return "id_card"
    lengths = [end - start for start, end in groups]
    usual = len(lengths) == 1 or min(lengths[:-1]) >= 4 or max(lengths) == 1
    return "bank_card" if usual and is_bank_card(digits) else None


def _is_set_as_mobile(numbers: str, groups: Sequence[tuple[int, int]], code: int) -> bool:
    """Whether somebody would write a telephone number in these groups. `code`: digits of the country's."""
    kept = [end - start for start, end in groups]
    apart = [numbers[before[1] : group[0]] for before, group in pairwise(groups)]
    if code and kept[0] == code:
        kept, apart = kept[1:], apart[1:]
    elif code > kept[0]:
        return False
    elif code:
        kept[0] -= code
    if tuple(kept) in ((11,), (3, 4, 4)) or max(kept) == 1:
        return True
    if not all(_PLAIN_GAP.fullmatch(gap) for gap in apart):
        return False
    return tuple(kept) in _USUAL or len(kept) == 2 or (max(kept) == 2 and len(set(apart)) == 1)


def is_id_card(digits: str) -> bool:
    """Whether 18 characters are a Chinese identity number: a date of birth and the check digit of GB 11643."""
    if not digits[:17].isdecimal():
        return False
    month, day = int(digits[10:12]), int(digits[12:14])
    if digits[6:8] not in ("18", "19", "20") or not (1 <= month <= 12 and 1 <= day <= 31):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(digits[:17], _WEIGHTS, strict=True))
    return _CHECK_DIGITS[total % 11] == digits[17]


def is_bank_card(digits: str) -> bool:
    """Whether 16 to 19 digits are a card's: a known first digit and the check digit of Luhn."""
    if digits[0] not in "3456" or len(set(digits)) == 1:
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (2 if place % 2 else 1)
        total += number - 9 if number > 9 else number
    return total % 10 == 0

"""How many, as people write it before 条 or 分钟: 5 ５ 五 伍 十二 廿 俩 仨."""

from __future__ import annotations

from zhiban.assistant.numerals import DIGITS, UNITS, value

# What may stand where a count is expected, wrong ones included, so that they are asked about rather than overlooked.
COUNT = rf"(?:[-−]?[0-9]{{1,9}}(?:\.[0-9]{{1,4}})?|[{''.join((*DIGITS, *UNITS))}俩仨廿卅]{{1,8}})"

_COLLOQUIAL = {"俩": "二", "仨": "三"}
_TENS = {"廿": "二十", "卅": "三十"}


def count_of(written: str) -> int | None:
    """The number, or None for what is no count: 0.5, -3, 五五 (which might be 5, 10 or 55), 百百."""
    if written.isascii():
        return int(written) if written.isdecimal() else None
    written = _COLLOQUIAL.get(written, written)
    for char, spelt in _TENS.items():
        written = written.replace(char, spelt)
    if len(written) > 1 and all(char in DIGITS for char in written):
        return None
    number = value(written)
    return int(number) if number is not None and number == number.to_integral_value() else None

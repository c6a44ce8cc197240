"""Numbers as people write them, so that 七天 and 7天 are the same fact."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

DIGITS = {
    "零": 0, "〇": 0, "一": 1, "幺": 1, "壹": 1, "二": 2, "两": 2, "貳": 2, "贰": 2, "三": 3, "叁": 3, "四": 4,
    "肆": 4, "五": 5, "伍": 5, "六": 6, "陆": 6, "七": 7, "柒": 7, "八": 8, "捌": 8, "九": 9, "玖": 9,
}  # fmt: skip
UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
GROUPS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}

HAN = "".join((*DIGITS, *UNITS, *GROUPS))
# One number as people write it: 1,299.5 or 1.5万 or 三百二十 or 半. For use inside other patterns.
NUMBER = (
    r"(?:\d{1,3}(?:,\d{3}){1,5}(?:\.\d{1,9})?|\d{1,18}(?:\.\d{1,9})?)[万亿千百]?"
    rf"|[{HAN}]{{1,20}}(?:点[{''.join(DIGITS)}]+)?"
)


def value(written: str) -> Decimal | None:
    """The number that `written` means, or None: "1,299" 1299, "1.5万" 15000, "三百二" 320, "半" 0.5."""
    written = written.replace(",", "").strip()
    if len(written) > 40:
        return None
    if written == "半":
        return Decimal("0.5")
    if written[:1].isdecimal():
        factor = 1
        while written and written[-1] in (*GROUPS, *UNITS):
            factor *= GROUPS.get(written[-1]) or UNITS[written[-1]]
            written = written[:-1]
        try:
            return (Decimal(written) * factor).normalize()
        except InvalidOperation:
            return None
    return _chinese(written)


def _chinese(written: str) -> Decimal | None:
    whole, _, fraction = written.partition("点")
    if not whole or any(char not in HAN for char in whole) or any(char not in DIGITS for char in fraction):
        return None
    number = _digit_by_digit(whole) if all(char in DIGITS for char in whole) else _with_units(whole)
    if number is None:
        return None
    tail = "".join(str(DIGITS[char]) for char in fraction)
    return Decimal(f"{number}.{tail}" if tail else number).normalize()


def _digit_by_digit(written: str) -> int:
    return int("".join(str(DIGITS[char]) for char in written))


def _with_units(written: str) -> int | None:
    """三百二十 and the spoken 三百二 (320), 一万五 (15000). None for what is no number, such as 百百."""
    total = section = 0
    digit: int | None = None
    last = 0  # the unit before, for the spoken short form
    for char in written:
        if char in DIGITS:
            if digit:
                return None
            digit = DIGITS[char]
            if digit == 0:
                last = 0
        elif char in UNITS:
            section += (1 if digit is None else digit) * UNITS[char]
            digit, last = None, UNITS[char]
        else:
            group = GROUPS[char]
            total = (total + section + (digit or 0)) * group
            section, digit, last = 0, None, group
    if digit and last > 10:
        digit *= last // 10
    return total + section + (digit or 0)

"""Numbers as people write them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.assistant.numerals import plain, value


@pytest.mark.parametrize(
    ("written", "number"),
    [("7", "7"), ("1,299.50", "1299.5"), ("1.5万", "15000"), ("3千", "3000"), ("12亿", "1200000000"), ("七", "7"),
     ("十五", "15"), ("二十", "20"), ("三百二", "320"), ("三百零二", "302"), ("一万五", "15000"), ("两千零五", "2005"),
     ("一百二十三万四千", "1234000"), ("二零二六", "2026"),
     ("三点五", "3.5"), ("半", "0.5"), ("零", "0"), ("壹佰贰拾", "120")],
)  # fmt: skip
def test_values(written: str, number: str) -> None:
    assert value(written) == Decimal(number)


@pytest.mark.parametrize("written", ["", "点", "三三百", "abc", "1.2.3", "亿" * 50, "元"])
def test_what_is_no_number(written: str) -> None:
    assert value(written) is None


def test_plain_text() -> None:
    assert plain("７天１００，２００") == "7天100、200"
    assert plain("①打开②点击") == "\n打开\n点击"
    assert plain("电话一三八零零一三八零零零") == "电话13800138000"
    assert plain("1️⃣ 打开") == "  打开"


@given(st.text())
def test_any_text_is_made_plain_and_any_number_tried(text: str) -> None:
    plain(text)
    value(text)


_DIGITS = "零一二三四五六七八九"


def _written(number: int) -> str:
    """The textbook form of 1 … 9999."""
    out, zero = "", False
    for unit, sign in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = number // unit % 10
        if digit:
            out += ("零" if zero and out else "") + _DIGITS[digit] + sign
            zero = False
        else:
            zero = True
    return out


@given(st.integers(1, 9999))
def test_textbook_numbers_are_read(number: int) -> None:
    assert value(_written(number)) == number

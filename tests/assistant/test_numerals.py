"""Numbers as people write them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.assistant.normalising import plain, visible
from zhiban.assistant.numerals import value


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


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("７天１００，２００", "7天100、200"),
        ("①打开②点击", "\n打开\n点击"),
        ("1️⃣ 打开", "\n 打开"),
        ("①⑤天", "15天"),
        ("⑦天内", "7天内"),
        ("1️⃣3️⃣9️⃣0️⃣0️⃣1️⃣3️⃣8️⃣0️⃣0️⃣0️⃣", "13900138000"),
        ("❶❸❾", "139"),
        ("1\ufe0f3\ufe0f9", "139"),
        ("1\u03363\u03369", "139"),
        ("१३९", "139"),
        ("𝟏𝟑𝟗", "139"),
        ("电话一三八零零一三八零零零", "电话13800138000"),
        ("一 三 九 零 零 一 三 八", "13900138"),
        ("1三9零零1三8零0零", "13900138000"),
        ("1 3 9 0 0 1 3 8 0 0 0", "13900138000"),
        ("1-3-9-0-0-1-3-8-0-0-0", "13900138000"),
        ("13 90 01 38 00 0", "13900138000"),
        ("139OO138OOO", "13900138000"),
        ("evil。com", "evil.com"),
        ("evil点com", "evil.com"),
        ("evil dot com", "evil.com"),
        ("evil [.] com", "evil.com"),
        ("refund at evil dot com", "refund@evil.com"),
        ("refund(at)evil.com", "refund@evil.com"),
        ("еvіl.com", "evil.com"),
        ("请看。com 不是中文", "请看.com 不是中文"),
        ("2026-12-31 10:00", "2026-12-31 10:00"),
        ("三点到五点，一二三楼", "三点到五点、一二三楼"),
    ],
)
def test_plain_text(written: str, read: str) -> None:
    assert plain(written) == read


def test_what_is_sent_has_nothing_invisible() -> None:
    assert visible("可以\u200b退\u2060货\ufe0f，\u202e谢谢\u115f\n好\t") == "可以退货，谢谢\n好\t"


@given(st.text())
def test_any_text_is_made_plain_and_any_number_tried(text: str) -> None:
    plain(text)
    visible(text)
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

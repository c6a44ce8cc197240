"""What a text is found by, as a table: the rules that the desk's page about searching promises."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.kit.word_search import LONGEST, SEARCHED, keys, query, text_terms

TYPED = [
    # Chinese: any part of it, from one character on; Traditional and Simplified are the same
    ("退款", "我要退款", ["退款"]),
    ("退", "我要退款", ["退"]),
    ("退款", "請問怎麼申請退款？", ["退款"]),
    ("申请退款", "請問怎麼申請退款？", ["申請退款"]),
    ("國", "国家", ["国"]),
    ("退款", "我要退貨款", None),
    ("退款 发票", "发票开错了，要退款", ["发票", "退款"]),
    ("发票开", "发票 开", None),
    ("𠮷野", "𠮷野家", ["𠮷野"]),
    # full and half width, capitals
    ("ＳＯ２０２６", "订单so20260412", ["so2026"]),
    ("so20260412", "订单ＳＯ２０２６０４１２", ["ＳＯ２０２６０４１２"]),
    ("ｱｲｳ", "アイウエ", ["アイウ"]),
    # words by their beginnings, from two letters on; one letter only where it stands alone
    ("refu", "A Refund, please", ["Refu"]),
    ("fund", "A Refund, please", None),
    ("a", "A Refund", ["A"]),
    ("a", "About", None),
    ("Größe", "die GRÖSSE, große", None),
    ("grö", "die Größe", ["Grö"]),
    # numbers by their beginnings, and long ones by their last four; however they are grouped
    ("138", "13812345678", ["138"]),
    ("5678", "13812345678", ["5678"]),
    ("345678", "13812345678", None),
    ("13812345678", "电话 138-1234-5678。", ["138-1234-5678"]),
    ("138 1234 5678", "电话13812345678", ["13812345678"]),
    ("13812345678", "+8613812345678", ["8613812345678"]),
    ("7", "7天无理由", ["7"]),
    ("7", "17天", None),
    ("20261129103344556677", "单号20261129103344556677", ["20261129103344556677"]),
    ("12.5", "12.50元", ["12.5"]),
    # addresses, ids, mixtures
    ("li.wei@exam", "发到 Li.Wei@example.com", ["Li.Wei@exam"]),
    ("example.com", "发到 Li.Wei@example.com", ["example.com"]),
    ("wx_12", "微信号wx_123", ["wx_12"]),
    ("苹果15", "苹果 15 Pro", ["苹果 15"]),
    ("iphone15", "iPhone 15", ["iPhone 15"]),
    ("合同.pdf", "采购合同.PDF", ["合同.PDF"]),
    # what a person may type besides
    ("退款？", "要退款！", ["退款"]),
    ("<b>", "<b>粗</b>", ["b", "b"]),
    ("50%", "打50%折", ["50"]),
    ("(a|b)*", "a|b", ["a|b"]),
    ("\\", "\\", []),
    ("👍", "👍", []),
]


@pytest.mark.parametrize(("typed", "text", "found"), TYPED, ids=[f"{one[0]} in {one[1]}" for one in TYPED])
def test_what_is_found(typed: str, text: str, found: list[str] | None) -> None:
    asked = query(typed)
    chosen = set(asked.terms) <= text_terms(text)
    assert (chosen and asked.holds(text)) is (found is not None)
    if found is not None:
        assert [text[start:end] for start, end in asked.spans(text)] == found
        assert bool(asked) is bool(found)


LETTERS = st.sampled_from("退款訂單国國号AbＣö1234５６ -._@\n　😀")


@given(st.text(LETTERS, max_size=30), st.integers(0, 29), st.integers(1, 12))
def test_a_part_of_a_text_that_begins_with_a_word_finds_it(text: str, start: int, length: int) -> None:
    """Whatever the index leaves out, no text is missed that holds its words; and marks stay within it."""
    asked = query(text[start : start + length])
    if asked.holds(text):
        assert set(asked.terms) <= text_terms(text)
        for first, last in asked.spans(text):
            assert 0 <= first < last <= len(text)


def test_long_texts_and_queries_have_an_end() -> None:
    began = time.thread_time()
    asked = query("1" * 5_000)
    assert not asked.holds("1- " * SEARCHED)
    assert len(asked.terms) <= 16
    assert asked.typed == "1" * 5_000
    assert not query("甲" * SEARCHED).holds("甲" * (LONGEST - 1))
    assert not query("乙").holds("甲" * SEARCHED + "乙")
    assert time.thread_time() - began < 2


def test_keys_of_another_workspace_and_of_another_part_are_others() -> None:
    terms = text_terms("退款")
    assert keys(1, 1, terms) == keys(1, 2, terms)
    assert not set(keys(1, 1, terms)) & set(keys(2, 1, terms))
    assert not set(keys(1, 1, terms)) & set(keys(1, 1 << 17, terms))
    assert all(-(2**31) <= key < 2**31 for key in keys(2**40, 2**50, terms))

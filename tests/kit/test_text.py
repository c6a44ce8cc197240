"""Splitting and cutting by bytes."""

from __future__ import annotations

import json
import time

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from zhiban.kit.text import clean, cut_bytes, size_of, split_text

FAMILY = "👨‍👩‍👧‍👦"
bits = ["退", "a", " ", "\n", "\r\n", "。", "👋🏽", FAMILY, "🇨🇳", "é", "e\u0301", "\u200d", "\u202e", "각", "”", "."]
odd = st.lists(st.sampled_from(bits), max_size=120).map("".join) | st.text(max_size=200)


def graphemes(text: str) -> list[str]:
    return regex.findall(r"\X", text)


@given(odd, st.integers(4, 80))
def test_pieces_join_back_and_fit(text: str, limit: int) -> None:
    pieces = split_text(text, limit, size=size_of)
    assert "".join(pieces) == text
    assert all(size_of(piece) <= limit for piece in pieces)
    assert pieces == [""] or all(pieces)


@given(odd, st.integers(4, 80))
def test_no_grapheme_is_divided_unless_it_alone_is_too_large(text: str, limit: int) -> None:
    whole, place, cuts = set(), 0, set()
    for grapheme in graphemes(text):
        if size_of(grapheme) > limit:
            whole.update(range(place, place + len(grapheme)))
        place += len(grapheme)
        whole.add(place)
    place = 0
    for piece in split_text(text, limit, size=size_of):
        place += len(piece)
        cuts.add(place)
    assert cuts <= whole | {0}


@given(odd, st.integers(1, 60))
def test_cutting_fits_and_keeps_the_beginning(text: str, limit: int) -> None:
    cut = cut_bytes(text, limit)
    assert size_of(cut) <= limit
    assert cut == text or text.startswith(cut.removesuffix("…"))


@pytest.mark.parametrize("size", [2047, 2048, 2049])
def test_hostile_46_the_limit_itself(size: int) -> None:
    text = "a" * (size - 4) + "😀"
    pieces = split_text(text, 2048, size=size_of)
    assert "".join(pieces) == text
    assert [len(piece.encode()) for piece in pieces] == ([size] if size <= 2048 else [2045, 4])


def test_hostile_45_what_a_reader_sees_as_one_stays_one() -> None:
    for one in (FAMILY, "🇨🇳", "👋🏽", "e\u0301", "✈️"):
        pieces = split_text(one * 9, size_of(one) * 2 + 1, size=size_of)
        assert all(piece in (one, one * 2) for piece in pieces)


def test_hostile_47_a_megabyte_of_one_emoji_is_split_in_time() -> None:
    started = time.thread_time()
    pieces = split_text("😀" * 250_000, 2000, size=size_of)
    assert len(pieces) == 500
    assert time.thread_time() - started < 5


def test_a_paragraph_is_preferred_to_a_sentence_and_a_sentence_to_a_word() -> None:
    assert split_text("一二三四五六。\n\n七八九十", 30, size=size_of)[0] == "一二三四五六。\n\n"
    assert split_text("一二三四五六。七八九十,百千万", 30, size=size_of)[0] == "一二三四五六。"
    assert split_text("one two three four five", 12, size=size_of) == ["one two ", "three four ", "five"]
    assert split_text("他说:“好。”然后走了很远", 24, size=size_of)[0] == "他说:“好。”"


def test_hostile_45_what_the_database_refuses_is_dropped() -> None:
    assert clean("a\x00b" + json.loads('"\\ud83d"') + "c😀") == "abc😀"
    assert size_of(json.loads('"\\ud83d"')) == 3

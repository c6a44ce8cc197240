"""Which messages a window means, whatever else was said."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.tickets.windows import (
    MOST,
    Between,
    ChosenMessages,
    FromQuoted,
    FromSpeaker,
    LastMessages,
    LastMinutes,
    LastOf,
    QuotedMessage,
    Said,
    Segment,
    Unclear,
    UnclearCount,
    Window,
    WindowQuestion,
    choose,
)

AT = datetime(2026, 11, 27, 5, 52, tzinfo=UTC)


def said(id_: int, who: str, text: str, minutes: float, **rest: object) -> Said:
    names = {"老杨": ("老杨", "杨帆"), "陆知行": ("陆知行",), "贝壳": ("贝壳",)}
    author = "contact" if who in names else who
    one = Said(id_, author, hash(who) % 1000, names.get(who, (who,)), "text", text, AT - timedelta(minutes=minutes))
    return replace(one, **rest)  # type: ignore[arg-type]


TALK = [
    said(1, "贝壳", "断点存在哪里", 40),
    said(2, "assistant", "在 checkpoint 表", 40),
    said(3, "老杨", "昨晚主库切了一次", 4),
    said(4, "陆知行", "我这边也是", 4),
    said(5, "贝壳", "", 3, recalled=True),
    said(6, "老杨", "日志里有 skipped", 3),
    said(7, "陆知行", "以上2条开工单", 2.5, aside=True),
    said(8, "陆知行", "回退到 2.3.6 就没事", 2),
    said(9, "agent", "收到，我看看", 1.5),
    said(10, "贝壳", "我不想被引用", 1.2, opted_out=True),
    said(11, "system", "", 1.1, kind="activity"),
    said(12, "老杨", "+1，等修", 1),
]


@pytest.mark.parametrize(
    ("window", "ids"),
    [
        (LastMessages(1), (12,)),
        (LastMessages(3), (8, 9, 12)),
        (LastMessages(6), (3, 4, 6, 8, 9, 12)),
        (Segment(), (3, 4, 6, 8, 9, 12)),
        (LastMinutes(2), (8, 9, 12)),
        (LastMinutes(60), (1, 3, 4, 6, 8, 9, 12)),
        (LastOf("老杨", 2), (6, 12)),
        (LastOf("杨帆", 2), (6, 12)),
        (LastOf("知行", 1), (8,)),
        (LastOf("老杨"), (3, 6, 12)),
        (FromSpeaker("陆知行"), (8, 9, 12)),
        (Between("主库切"), (3, 4, 6, 8, 9, 12)),
        (Between("主库 切", "2.3.6"), (3, 4, 6, 8)),
        (QuotedMessage(), (6,)),
        (FromQuoted(), (6, 8, 9, 12)),
    ],
)
def test_what_is_meant(window: Window, ids: tuple[int, ...]) -> None:
    assert choose(window, TALK, at=AT, quoted_id=6) == ChosenMessages(ids)


@pytest.mark.parametrize(
    ("window", "question"),
    [
        (LastMessages(0), WindowQuestion(Unclear.COUNT, "0")),
        (LastMessages(51), WindowQuestion(Unclear.COUNT, "51")),
        (LastMinutes(0), WindowQuestion(Unclear.COUNT, "0")),
        (LastMinutes(100_000), WindowQuestion(Unclear.COUNT, "100000")),
        (UnclearCount("五五"), WindowQuestion(Unclear.COUNT, "五五")),
        (LastOf("王五", 2), WindowQuestion(Unclear.SPEAKER, "王五")),
        (FromSpeaker("王五"), WindowQuestion(Unclear.SPEAKER, "王五")),
        (Between("没人说过"), WindowQuestion(Unclear.WORDS, "没人说过")),
        (Between("主库", "没人说过"), WindowQuestion(Unclear.WORDS, "没人说过")),
        (Between("2.3.6", "主库"), WindowQuestion(Unclear.WORDS, "主库")),
    ],
)
def test_what_is_asked_back(window: Window, question: WindowQuestion) -> None:
    assert choose(window, TALK, at=AT) == question


def test_a_quotation_of_what_may_not_be_taken_is_asked_back() -> None:
    for quoted in (None, 2, 5, 10, 99):
        assert choose(QuotedMessage(), TALK, at=AT, quoted_id=quoted) == WindowQuestion(Unclear.QUOTE)


def test_fewer_than_wanted_are_taken_and_said() -> None:
    assert choose(LastMessages(20), TALK, at=AT) == ChosenMessages((1, 3, 4, 6, 8, 9, 12), wanted=20)
    assert choose(LastMessages(3), [], at=AT) == WindowQuestion(Unclear.NOTHING)
    assert choose(Segment(), TALK[1:2], at=AT) == WindowQuestion(Unclear.NOTHING)


def test_a_segment_ends_at_a_silence_of_more_than_ten_minutes() -> None:
    talk = [said(1, "老杨", "a", 31), said(2, "老杨", "b", 30), said(3, "老杨", "c", 20), said(4, "老杨", "d", 9.9)]
    assert choose(Segment(), talk, at=AT) == ChosenMessages((4,))
    assert choose(Segment(), talk[:3], at=AT) == ChosenMessages((1, 2, 3))


def test_a_message_that_came_twice_counts_once() -> None:
    assert choose(LastMessages(3), [*TALK, *TALK], at=AT) == ChosenMessages((8, 9, 12))


def test_a_beginning_that_somebody_named_is_not_cut_away() -> None:
    talk = [said(n, "老杨", f"第{n}句", 5) for n in range(1, 61)]
    assert choose(FromSpeaker("老杨"), talk, at=AT) == ChosenMessages((60,))
    assert choose(Between("第3句"), talk, at=AT) == WindowQuestion(Unclear.TOO_MANY, "58")
    assert choose(Segment(), talk, at=AT) == ChosenMessages(tuple(range(11, 61)), cut=True)


@given(
    st.lists(
        st.tuples(st.integers(1, 80), st.sampled_from(["老杨", "陆知行", "assistant"]), st.integers(0, 99)), max_size=80
    ),
    st.sampled_from([Segment(), LastMessages(50), LastMessages(7), LastMinutes(100), LastOf("老杨"), LastOf("老杨", 50),
                     FromSpeaker("陆知行"), Between("x"), FromQuoted()]),
)  # fmt: skip
def test_never_more_than_a_ticket_takes_and_only_eligible_ones(
    talk: list[tuple[int, str, int]], window: Window
) -> None:
    messages = [said(id_, who, "x", minutes) for id_, who, minutes in talk]
    chosen = choose(window, messages, at=AT, quoted_id=3)
    if isinstance(chosen, ChosenMessages):
        assert 1 <= len(chosen.ids) <= MOST
        assert list(chosen.ids) == sorted(set(chosen.ids))
        people = {one.id for one in messages if one.author == "contact"}
        assert set(chosen.ids) <= people

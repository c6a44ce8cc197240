"""Evidence about wordings: who counts, how often, and what the voices amount to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.knowledge.evidence import AGREEMENT, Count, Person, Voice, asks_same, count, may_be_learnt, verdict
from zhiban.knowledge.models import CandidateStatus
from zhiban.knowledge.tokenizer import terms

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
WAITING, ACTIVE = CandidateStatus.WAITING, CandidateStatus.ACTIVE


def says(contact: int, supports: bool = True, *, minute: int = 0, agent: bool = False) -> Voice:
    person: Person = ("agent" if agent else "contact", contact)
    return Voice(person, supports, AT + timedelta(minutes=minute))


def test_whoever_says_it_again_counts_once() -> None:
    assert count([says(1, minute=at) for at in range(5)]) == Count(contacts_for=1)


def test_what_somebody_said_last_counts() -> None:
    assert count([says(1), says(1, False, minute=1)]) == Count(contacts_against=1)
    assert count([says(1, False), says(1, minute=1)]) == Count(contacts_for=1)


def test_whoever_meant_another_article_speaks_against_this_one() -> None:
    own, others = [says(1), says(2), says(3)], [says(4), says(1, minute=1), says(5, False)]
    assert count(own, others) == Count(contacts_for=2, contacts_against=2)
    assert count(others, own) == Count(contacts_for=2, contacts_against=3)


@pytest.mark.parametrize(
    ("voices", "learnt"),
    [
        (Count(contacts_for=2), False),
        (Count(contacts_for=3), True),
        (Count(contacts_for=3, contacts_against=1), False),
        (Count(contacts_for=4, contacts_against=1), True),
        (Count(contacts_for=9, contacts_against=9), False),
        (Count(agents_for=1), True),
        (Count(agents_for=1, contacts_against=2), True),
        (Count(agents_for=1, contacts_against=3), False),
        (Count(agents_for=1, agents_against=1), False),
        (Count(agents_for=1, agents_against=1, contacts_for=9), False),
        (Count(agents_against=1, contacts_for=9), False),
    ],
)
def test_what_makes_a_phrasing(voices: Count, learnt: bool) -> None:
    assert (verdict(WAITING, voices) is ACTIVE) is learnt


@pytest.mark.parametrize(
    ("voices", "approved", "kept"),
    [
        (Count(contacts_for=3, contacts_against=2), False, True),
        (Count(contacts_for=3, contacts_against=3), False, False),
        (Count(contacts_for=9, contacts_against=3), False, True),
        (Count(agents_for=1, contacts_against=2), False, True),
        (Count(agents_for=1, contacts_against=3), False, False),
        (Count(contacts_for=3, agents_against=1), False, False),
        (Count(contacts_against=2), True, True),
        (Count(contacts_against=3), True, False),
        (Count(agents_against=1), True, True),
        (Count(agents_against=2), True, False),
    ],
)
def test_what_makes_a_phrasing_wait_again(voices: Count, approved: bool, kept: bool) -> None:
    assert (verdict(ACTIVE, voices, approved=approved) is ACTIVE) is kept


@pytest.mark.parametrize("status", [CandidateStatus.KNOWN, CandidateStatus.REJECTED])
def test_what_a_colleague_decided_no_voice_changes(status: CandidateStatus) -> None:
    for voices in (Count(contacts_for=99, agents_for=9), Count(contacts_against=99, agents_against=9)):
        assert verdict(status, voices) is status


VOICES = st.lists(st.builds(says, st.integers(1, 6), st.booleans(), minute=st.integers(0, 9), agent=st.booleans()))


@given(VOICES, VOICES, st.randoms())
def test_order_and_repetition_change_no_count(own: list[Voice], others: list[Voice], dice: object) -> None:
    counted = count(own, others)
    shuffled = own * 2
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    assert count(shuffled, list(reversed(others)) * 3) == counted
    people = {voice.person for voice in own} | {voice.person for voice in others if voice.supports}
    assert counted.contacts_for + counted.contacts_against + counted.agents_for + counted.agents_against == len(people)


@given(VOICES, VOICES)
def test_few_contacts_make_nothing_however_often_they_speak(own: list[Voice], others: list[Voice]) -> None:
    few = [voice for voice in own if voice.person in (("contact", 1), ("contact", 2))]
    assert len({voice.person for voice in few}) < AGREEMENT
    assert verdict(WAITING, count(few, [voice for voice in others if voice.person[0] == "contact"])) is WAITING


@given(st.builds(Count, *(st.integers(0, 9) for _ in range(4))), st.booleans())
def test_what_was_just_learnt_is_not_doubted_by_the_same_voices(voices: Count, approved: bool) -> None:
    if verdict(WAITING, voices, approved=approved) is ACTIVE:
        assert verdict(ACTIVE, voices, approved=approved) is ACTIVE
    if verdict(ACTIVE, voices, approved=approved) is WAITING:
        assert verdict(WAITING, voices, approved=approved) is WAITING


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("东西不想要了退款", "東西不想要了，退款啊！", True),
        ("钱能还我不", "钱能还给我不", True),
        ("怎么取消订单", "取消订单", True),
        ("想退款了", "不想退款了", False),
        ("可以开发票吗", "不可以开发票吗", False),
        ("7天能退吗", "15天能退吗", False),
        ("iPhone能修吗", "iPad能修吗", False),
        ("怎么取消订单", "怎么修改订单", False),
        ("怎么退款", "加微信领红包怎么退款", False),
    ],
)
def test_what_asks_the_same_counts_together(one: str, other: str, same: bool) -> None:
    assert asks_same(terms(one), terms(other)) is same


@pytest.mark.parametrize("wording", ["那运费呢", "订单88372621退款", "电话 １３８００１ 对吗", "？？", "退" * 201])
def test_what_means_nothing_to_others_is_not_learnt(wording: str) -> None:
    assert not may_be_learnt(wording)
    assert may_be_learnt("包裹卡在半路不走啦")

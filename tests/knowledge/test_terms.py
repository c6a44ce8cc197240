"""Text becomes terms: stable, comparable, whatever people type."""

from __future__ import annotations

from array import array
from collections import Counter
from struct import unpack_from

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.knowledge.bm25 import Collection, product, sparse, sparse_weights, weights
from zhiban.knowledge.corpus_stats import FILE, TermPriors, term_priors
from zhiban.knowledge.tokenizer import (
    NO_SYNONYMS,
    TERM_LIMIT,
    Synonyms,
    characters_of_pair,
    counts,
    fold,
    length,
    terms,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("錢能退給我嗎", "钱能退给我吗"),
        ("如何退款？", "怎么退款"),
        ("请问多久到账呢", "什么时候到账"),
        ("能不能开发票", "可以开发票吗"),
        ("ＡＰＰ闪退", "app 闪退"),
        ("iPhone15", "iphone 15"),
    ],
)
def test_the_same_question_in_other_words_has_the_same_terms(one: str, other: str) -> None:
    assert counts(one) == counts(other)


def test_characters_pairs_and_runs_are_all_terms() -> None:
    assert len(set(terms("退款"))) == 3
    assert counts("A1") == Counter(dict.fromkeys(set(terms("A1")), 2))
    assert len(set(terms("A1"))) == 2


def test_a_pair_knows_its_characters() -> None:
    first, second, pair = terms("退款")
    assert characters_of_pair(pair) == (first, second)
    assert characters_of_pair(first) is None


@given(st.text())
def test_any_text_has_terms_within_bounds(text: str) -> None:
    assert all(0 < term < TERM_LIMIT for term in terms(text))


@given(st.text(alphabet="退款怎么办如何多久能不能吗呢a1 。，"))
def test_folding_twice_changes_no_more_terms_than_folding_once(text: str) -> None:
    assert counts(text) == counts(text)
    assert isinstance(fold(text), str)


def test_words_of_a_group_share_a_term() -> None:
    synonyms = Synonyms({7: ["退钱", "退款"], 8: ["邮费", "运费"]})
    assert set(terms("退钱", synonyms)) & set(terms("退款", synonyms)) - set(terms("退"))
    assert not set(terms("邮费", synonyms)) & set(terms("退款", synonyms))


def test_rarity_orders_words_as_the_language_does() -> None:
    at_large = term_priors()
    the, screw = terms("的")[0], terms("螺")[0]
    assert 0 < at_large.rarity(the) < at_large.rarity(screw) <= 1
    assert at_large.rarity(TERM_LIMIT - 1) == 1


def test_a_table_is_read_as_it_was_written() -> None:
    made = TermPriors(array("I", [3, 9]), array("I", [5, 1]), 100)
    again = TermPriors.loaded(made.dumped())
    assert again == made
    assert [again.rarity(term) for term in (3, 9, 4)] == [made.rarity(term) for term in (3, 9, 4)]


@pytest.mark.parametrize("damage", [b"", b"nonsense", FILE.read_bytes()[:-9], FILE.read_bytes()[:20]])
def test_a_damaged_table_is_refused(damage: bytes) -> None:
    with pytest.raises(ValueError, match="table of term frequencies"):
        TermPriors.loaded(damage)


@given(st.lists(st.sampled_from("退款多久到账怎么"), min_size=1), st.floats(1, 200))
def test_a_packed_vector_is_the_plain_one(letters: list[str], pivot: float) -> None:
    counted = counts("".join(letters))
    plain = sparse(weights(counted, counted.total(), pivot))
    pairs = [pair.split(":") for pair in plain[1 : plain.index("}")].split(",") if pair]
    packed = sparse_weights(counted, counted.total(), pivot)
    assert unpack_from(">iii", packed) == (TERM_LIMIT, len(pairs), 0)
    assert unpack_from(f">{len(pairs)}i", packed, 12) == tuple(int(term) - 1 for term, _ in pairs)
    assert unpack_from(f">{len(pairs)}f", packed, 12 + 4 * len(pairs)) == tuple(
        array("f", [float(weight) for _, weight in pairs])
    )


def test_a_packed_vector_beyond_the_limit_keeps_its_heaviest_terms() -> None:
    packed = sparse_weights({term: 1 + (term > 10) for term in range(1, 16_011)}, 32_010, 100.0)
    assert unpack_from(">ii", packed) == (TERM_LIMIT, 16_000)
    assert unpack_from(">i", packed, 12) == (10,)


@given(st.text("退款多久abc12 。怎么么咋", max_size=30), st.booleans())
def test_the_length_of_a_text_is_the_number_of_its_terms(text: str, related: bool) -> None:
    synonyms = Synonyms({1: ["退款", "abc"]}) if related else NO_SYNONYMS
    assert length(text, synonyms) == len(terms(text, synonyms))


def test_a_vector_beyond_the_limit_keeps_its_heaviest_terms() -> None:
    vector = {term: float(term) for term in range(1, 16_011)}
    text = sparse(vector)
    assert text.count(":") == 16_000
    assert text.startswith("{11:")


def test_a_rarer_word_weighs_more() -> None:
    at_large = term_priors()
    common, rare = terms("的")[0], terms("螺")[0]
    question = Collection(100, {common: 90, rare: 1}).question([common, rare, rare], at_large)
    assert question[rare] > question[common]
    assert product(question, {rare: 1.0}) == question[rare]

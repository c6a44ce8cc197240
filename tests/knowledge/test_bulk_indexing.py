"""Many entries at once are indexed as each by itself."""

from __future__ import annotations

import random
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.knowledge.material import SHOP, lines
from zhiban.knowledge import bulk_indexing, indexing
from zhiban.knowledge.indexing import IndexEntry, Rows
from zhiban.knowledge.tokenizer import NO_SYNONYMS, Synonyms

PIVOTS = (57.3, 12.7)
GROUPS = Synonyms({1: ("退款", "退钱"), 2: ("VIP", "会员", "vip 卡")})

# What the tokeniser treats specially: Han in both spellings, pairs at the ends of texts, folded words, runs, marks that
# join what is before them, a sigma whose form depends on its neighbours, halves and wholes of width.
WORDS = "退款 怎么办 能不能 發票 VIP vip卡 É e\u0301 \u0301 Σ ΑΣ 12.5 12. .5 １２ ﷺ 안녕 \u1161 \u200d"
PIECES = st.sampled_from([*"退㐀鿿가👍_ \n\x00，?１Ａ", *WORDS.split(" ")])
TEXTS = st.lists(PIECES | st.characters(exclude_characters="\x1f", exclude_categories=("Cs",)), max_size=12).map(
    "".join
)


def contents(rows: Rows) -> dict[str, object]:
    """Everything, where the order of the keys counts for nothing."""
    return asdict(rows) | {
        "keys": [sorted(key[at : at + 4] for at in range(24, len(key), 8)) for key in rows.keys],
        "heads": [key[:20] for key in rows.keys],
    }


def same(entries: list[IndexEntry], base_id: int, synonyms: Synonyms) -> bool:
    one, _ = indexing.prepare(base_id, entries, pivots=PIVOTS, synonyms=synonyms)
    other, _ = bulk_indexing.prepare(base_id, entries, pivots=PIVOTS, synonyms=synonyms)
    return contents(one) == contents(other)


@given(
    st.lists(st.tuples(st.lists(TEXTS, max_size=3), TEXTS), min_size=1, max_size=4),
    st.sampled_from([NO_SYNONYMS, GROUPS]),
    st.integers(1, 2**33),
)
def test_whatever_is_written(said: list[tuple[list[str], str]], synonyms: Synonyms, base_id: int) -> None:
    many = [IndexEntry(at, tuple(said[at % len(said)][0]), said[at % len(said)][1]) for at in range(bulk_indexing.MANY)]
    assert same(many, base_id, synonyms)


@pytest.mark.parametrize("synonyms", [NO_SYNONYMS, GROUPS], ids=["alone", "groups"])
def test_entries_of_a_shop(synonyms: Synonyms) -> None:
    entries = [
        IndexEntry(at, (entry["text"], *entry["alts"]), entry["answer"])
        for at, entry in enumerate(lines(SHOP / "corpus.jsonl"))
    ]
    assert len(entries) >= bulk_indexing.MANY
    assert same(entries, 7, synonyms)


def test_a_passage_of_more_terms_than_a_vector_holds() -> None:
    dice = random.Random(1)
    long = "".join(chr(dice.randrange(0x4E00, 0x9FA0)) for _ in range(20_000))
    assert same([IndexEntry(at, (), long if at == 3 else "短") for at in range(bulk_indexing.MANY)], 1, NO_SYNONYMS)


def test_a_text_with_the_mark_between_texts_is_indexed_by_itself() -> None:
    assert same([IndexEntry(at, ("退\x1f款",), "钱") for at in range(bulk_indexing.MANY)], 1, NO_SYNONYMS)

"""How two texts differ is told word by word, Chinese by characters, and what stayed is folded."""

from __future__ import annotations

import random
import time

import pytest

from zhiban.desk.difference import differences


def told(before: str, after: str) -> str:
    signs = {"same": "{}", "added": "+[{}]", "removed": "-[{}]", "folded": "…{}"}
    return "".join(signs[one.what].format(one.text) for one in differences(before, after))


@pytest.mark.parametrize(
    ("before", "after", "becomes"),
    [
        ("", "", ""),
        ("一样", "一样", "一样"),
        ("", "新的", "+[新的]"),
        ("旧的", "", "-[旧的]"),
        ("3天内到账", "5天内到账", "-[3]+[5]天内到账"),
        ("refund in three days", "refund in five days", "refund in -[three]+[five] days"),
        ("退款三天到账，请放心", "退货五天到账，请放心", "退-[款三]+[货五]天到账，请放心"),
        ("甲\n乙\n丙\n", "甲\n丙\n", "甲\n-[乙\n]丙\n"),
    ],
)
def test_what_was_taken_away_and_added(before: str, after: str, becomes: str) -> None:
    assert told(before, after) == becomes


def test_both_texts_can_be_read_from_it_and_long_stretches_are_folded() -> None:
    chance = random.Random(7)
    for _ in range(200):
        before = "".join(chance.choices("退款到账三五天，。\n ab", k=chance.randrange(60)))
        after = "".join(chance.choices("退款到账三五天，。\n ab", k=chance.randrange(60)))
        found = differences(before, after)
        assert "".join(one.text for one in found if one.what != "added") == before
        assert "".join(one.text for one in found if one.what != "removed") == after
    long = "".join(f"第{n}步，点下一步。" for n in range(100))
    assert len(told(f"{long}旧", f"{long}新")) < 150
    assert told(f"{long}旧", f"{long}新").endswith("-[旧]+[新]")


@pytest.mark.parametrize("letters", ["的", "的\n", "的一是\n", "abcdefgh \n"])
def test_the_largest_texts_are_compared_in_time(letters: str) -> None:
    chance = random.Random(7)
    one, other = ("".join(chance.choices(letters, k=20_000)) for _ in range(2))
    began = time.thread_time()
    differences(one, other)
    assert time.thread_time() - began < 2

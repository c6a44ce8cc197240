"""A question that leans on the one before is recognised without a model."""

from __future__ import annotations

import pytest

from zhiban.knowledge.followups import is_follow_up, is_tiny, standalone, stripped, with_context
from zhiban.knowledge.tokenizer import terms


@pytest.mark.parametrize(
    "question",
    [
        "那运费呢？",
        "那要几天",
        "还有别的方式吗",
        "然后呢",
        "那这个呢",
        "它能洗吗",
        "谢谢，那多久到账",
        "那麼要多久？",
        "也可以吗",
    ],
)
def test_these_lean(question: str) -> None:
    assert is_follow_up(question)


@pytest.mark.parametrize(
    "question",
    ["怎么退款", "那我上周买的电热水壶坏了应该找谁去修理呢", "退货运费谁出？", "", "！！！", "多久到账"],
)
def test_these_stand_alone(question: str) -> None:
    assert not is_follow_up(question)


def test_a_tiny_question_may_lean_without_saying_so() -> None:
    assert is_tiny("多久到账")
    assert not is_tiny("退款一般多久能够到账")
    assert not is_tiny("？？")


def test_own_words_weigh_more_than_words_of_the_context() -> None:
    understood = with_context("那运费呢？", ["怎么注销账号", "怎么退货"])
    own, near, far = terms("运费")[0], terms("退货")[0], terms("注销")[0]
    assert 1 == understood.weights[own] > understood.weights[near] > understood.weights[far] > 0
    assert understood.leaning_on == ("怎么注销账号", "怎么退货")


def test_an_empty_context_changes_nothing() -> None:
    assert with_context("怎么退货", [" "]).weights == standalone("怎么退货").weights


def test_only_the_tie_is_stripped() -> None:
    assert stripped("那运费呢？") == "运费"
    assert stripped("那呢") == "那呢"

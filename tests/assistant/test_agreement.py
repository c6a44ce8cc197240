"""When an entry is surely meant, although the base has not learnt to be so sure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zhiban.assistant.agreement import MEANT, SURE, agrees
from zhiban.knowledge.retrieval import LEARNT_ALIKE, Passage


def test_a_model_is_told_the_closest_wording_unless_people_taught_it_for_another_question() -> None:
    one = entry("怎么退款？", phrasing="如何退钱")
    assert one.asked_as == "如何退钱"
    assert entry("怎么退款？", phrasing="怎么退款？").asked_as is None
    assert replace(one, learnt=True, likeness=LEARNT_ALIKE - 0.1).asked_as is None


def entry(
    title: str, answer: str | None = "好的。", *, phrasing: str | None = None, cosine: float | None = None
) -> Passage:
    return Passage(
        article_id=hash(title),
        chunk_id=hash(title),
        title=title,
        text=answer or "一段话",
        answer=answer,
        heading_path=(),
        source_name="faq.csv",
        unit="row",
        number=1,
        category=None,
        score=1.0,
        body_score=0.5,
        phrasing_score=0.5,
        cosine=cosine,
        phrasing=phrasing or title,
        likeness=0.5,
    )


APPLY = entry("怎么申请退款？", phrasing="如何退款")
ARRIVES = entry("退款多久到账？", "微信零钱当天到账，信用卡3到7个工作日。", phrasing="退款要几天")
INVOICE = entry("怎么开发票？", phrasing="我要发票")
SPECIAL = entry("能开增值税专用发票吗？", phrasing="专用发票怎么开")


def test_a_wording_that_people_taught_stands_for_its_own_spellings_only() -> None:
    question, passages = "退款怎么弄", (APPLY, ARRIVES)
    for likeness, meant in ((LEARNT_ALIKE, True), (LEARNT_ALIKE - 0.01, False)):
        taught = replace(APPLY, learnt=True, likeness=likeness)
        assert agrees(question, (taught, ARRIVES), 0.6) is meant
        assert agrees("别的", (replace(taught, cosine=MEANT), ARRIVES), SURE) is meant
    assert agrees(question, passages, 0.6)


@pytest.mark.parametrize(
    ("question", "passages"),
    [
        ("退款怎么弄", (APPLY, ARRIVES)),
        ("退款啥时候能到啊", (ARRIVES, APPLY)),
        ("退款多久會到帳", (replace(ARRIVES, phrasing="退款多久到帐"), APPLY)),
        ("信用卡退款要多久", (ARRIVES, APPLY)),  # its answer names the card
    ],
)
def test_an_entry_that_names_the_subject_and_the_side_of_it_is_meant(
    question: str, passages: tuple[Passage, ...]
) -> None:
    assert agrees(question, passages, 0.6)
    assert not agrees(question, passages, 0.4)


@pytest.mark.parametrize(
    ("question", "passages"),
    [
        ("退款怎么弄", (ARRIVES, APPLY)),  # another side
        ("花呗退款多久", (ARRIVES, APPLY)),  # nothing names 花呗
        ("发票", (INVOICE, SPECIAL)),  # both name it
        ("怎么办", (APPLY,)),  # names nothing
        ("退款多久到账", (replace(ARRIVES, answer=None),)),  # a document proves nothing
        ("退款多久到账", ()),
    ],
)
def test_otherwise_words_prove_nothing(question: str, passages: tuple[Passage, ...]) -> None:
    assert not agrees(question, passages, 1.0)


def test_a_meaning_near_enough_and_words_together_are_sure() -> None:
    near = entry("矫正要戴多久？", cosine=MEANT)
    assert agrees("牙套要戴几年", (near,), SURE)
    assert not agrees("牙套要戴几年", (near,), SURE - 0.01)
    assert not agrees("牙套要戴几年", (replace(near, cosine=MEANT - 0.01),), SURE)
    assert not agrees("牙套要戴几年", (replace(near, cosine=None),), SURE)

"""Measuring a base: the formulas, configurations, labelled questions, and what is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.knowledge.material import LetterEmbedder
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.errors import Misconfigured, NotFound
from zhiban.knowledge import service
from zhiban.knowledge.evaluation import (
    Configuration,
    Evaluator,
    LabelledQuestion,
    Traffic,
    Verdict,
    evaluate,
    measured,
    read_questions,
)
from zhiban.knowledge.retrieval import ConfidenceBand
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders

ANSWER, SUGGEST, HANDOFF = ConfidenceBand.ANSWER, ConfidenceBand.SUGGEST, ConfidenceBand.HANDOFF
USUAL = Configuration("default")


def said(confidence: float, zone: ConfidenceBand, *, right: bool = True, known: bool = True) -> Verdict:
    return Verdict("问", confidence, known, right, right or known, zone, "甲", "甲" if right else "乙")


def test_the_figures_of_a_base() -> None:
    verdicts = [
        *(said(1.2, ANSWER) for _ in range(6)), said(1.1, ANSWER, right=False), *(said(0.5, SUGGEST) for _ in range(2)),
        said(0.1, HANDOFF, right=False), said(1.3, ANSWER, right=False, known=False),
        *(said(0.2, HANDOFF, right=False, known=False) for _ in range(9)),
    ]  # fmt: skip
    found = measured(verdicts, Traffic(0.7, 0.3))
    assert (found["questions"], found["out_of_scope"]) == (10, 10)
    assert (found["r_at_1"], found["r_at_3"]) == (80.0, 100.0)
    assert (found["coverage"], found["out_of_scope_answered"]) == (70.0, 10.0)
    assert found["precision"] == round(100 * 0.42 / (0.49 + 0.03), 1)
    assert found["zones"]["answer"] == {"questions": 7, "right": 6, "in_menu": 7, "out_of_scope": 1}
    assert [point["coverage"] for point in found["curve"]][-1] == 100.0
    assert [(each["confidence"], each["taken_out"]) for each in found["wrong_answers"]] == [(1.1, False), (1.3, True)]
    assert measured([])["precision"] is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("words", Configuration("default", words=True, name="words")),
        ("vectors", Configuration("default", name="vectors")),
        ("threshold=0.6", Configuration("default", threshold=0.6, name="threshold=0.6")),
        ("base=other, words", Configuration("other", words=True, name="base=other, words", instead_of="default")),
    ],
)
def test_a_configuration_is_read(text: str, expected: Configuration) -> None:
    assert Configuration.parse(text, USUAL) == expected


@pytest.mark.parametrize(
    "text", ["", "threshold", "threshold=x", "threshold=-1", "threshold=nan", "words=1", "base=", "?"]
)
def test_what_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured):
        Configuration.parse(text, USUAL)


def test_questions_are_read_from_tables_and_lines() -> None:
    wanted = [LabelledQuestion("钱呢", ("退款多久到账？",)), LabelledQuestion("天气", ())]
    assert read_questions("\ufeffquestion,expected\n钱呢,退款多久到账？\n天气,\n") == wanted
    assert read_questions("问题,答案条目\n钱呢,退款多久到账？\n天气,\n") == wanted
    assert read_questions('{"question": "钱呢", "expected": ["退款多久到账？"]}\n\n{"question": "天气"}\n') == wanted
    for text in ("", "a,b\n1,2\n", "{", '{"question": "x"}\n[]\n'):
        with pytest.raises(Misconfigured):
            read_questions(text)


@pytest.fixture
async def evaluator(db: Database, workspace: int, embedded_sample_base: int) -> Evaluator:
    return Evaluator(lambda: db.transaction(workspace), USUAL, Embedders(LetterEmbedder()))


async def test_a_base_is_measured_by_its_phrasings_and_by_labelled_questions(evaluator: Evaluator) -> None:
    asked = [
        LabelledQuestion("钱什么时候能退给我", ("退款多久到账？",)),
        LabelledQuestion("如何退款", ("怎么申请退款？",)),
        LabelledQuestion("今天天气怎么样"),
    ]
    found = await evaluate(evaluator, asked, most=60)
    assert found.confirmed is not None
    assert found.confirmed["questions"] == 0
    assert found.phrasings is not None
    assert found.phrasings["questions"] + found.phrasings["out_of_scope"] >= 100
    assert found.phrasings["r_at_1"] <= found.phrasings["r_at_3"]
    assert found.questions is not None
    assert (found.questions["questions"], found.questions["out_of_scope"]) == (2, 1)
    assert found.questions["zones"]["answer"]["right"] >= 1
    assert found.configuration["by"] == "letters"
    assert found.configuration["promised_precision"] >= 0.88
    by_words = Evaluator(evaluator.transaction, Configuration.parse("words,threshold=0.4", USUAL), evaluator.installed)
    other = await evaluate(by_words, asked, most=60)
    assert (other.configuration["by"], other.configuration["answer_at"]) == ("words", 0.4)
    assert other.configuration["promised_precision"] is None


async def test_an_entry_or_a_base_that_there_is_not_is_said(evaluator: Evaluator) -> None:
    with pytest.raises(Misconfigured, match="没有这一条"):
        await evaluator.labelled([LabelledQuestion("如何退款", ("没有这一条",))])
    elsewhere = Evaluator(evaluator.transaction, Configuration.parse("base=nowhere", USUAL), NO_EMBEDDERS)
    with pytest.raises(NotFound):
        await evaluate(elsewhere)


async def test_a_base_of_documents_and_an_empty_one_are_measured_too(
    db: Database, workspace: int, clock: SetClock, tmp_path: Path
) -> None:
    (tmp_path / "店.txt").write_text("清溪店开在松林路上。", encoding="utf-8")
    await service.import_paths(db, workspace, "texts", [tmp_path / "店.txt"], now=clock.now())
    async with db.transaction(workspace) as tx:
        await service.base_for(tx)
    for name, right in (("texts", ("店",)), ("default", ())):
        measuring = Evaluator(lambda: db.transaction(workspace), Configuration(name), NO_EMBEDDERS)
        found = await evaluate(measuring, [LabelledQuestion("清溪店在哪", right)])
        assert found.phrasings is not None
        assert found.phrasings["questions"] == 0
        assert found.questions is not None
        assert found.questions["coverage"] == 0

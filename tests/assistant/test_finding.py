"""Which entry a question means: alone, after what was said before, and no more special than it is asked."""

from __future__ import annotations

from dataclasses import replace

from tests.assistant.test_agreement import entry

from zhiban.assistant import finding
from zhiban.assistant.finding import Found, LookUp
from zhiban.assistant.prompt import HistoryLine
from zhiban.assistant.queries import Memory
from zhiban.assistant.reading import questions_in
from zhiban.knowledge.retrieval import LEARNT_ALIKE, ConfidenceBand, Passage, SearchResult, Thresholds

INVOICE = entry("怎么开发票？")
SPECIAL = entry("能开增值税专用发票吗？", phrasing="专用发票怎么开")
FREIGHT = entry("运费怎么算？")
RETURNED = entry("退货运费谁出？", phrasing="退货运费怎么算")
SURE = Thresholds(1.0, 0.1, trusted=True)


async def found(asked: str, results: dict[str, tuple[float, list[Passage]]], memory: Memory | None = None) -> Found:
    """What is found for a message of one question, where each text that is looked up finds these."""

    async def search(text: str) -> SearchResult:
        confidence, passages = results[text]
        zone = ConfidenceBand.ANSWER if confidence >= SURE.answer_at else ConfidenceBand.SUGGEST
        return SearchResult(tuple(passages), confidence, 0.1, zone, "", SURE)

    (plan,) = finding.plan(questions_in(asked), memory)
    return await finding.find(plan, LookUp(search, lambda result: result.zone))


def after(question: str) -> Memory:
    return Memory((HistoryLine("contact", question),), (question,), question, {}, "", person_offered=False)


async def titles(
    asked: str, results: dict[str, tuple[float, list[Passage]]], memory: Memory | None = None
) -> list[str]:
    return [one.title for one in (await found(asked, results, memory)).result.passages]


async def test_who_asks_about_a_thing_is_not_told_about_a_special_kind_of_it() -> None:
    assert (await titles("发票怎么开", {"发票怎么开": (1.4, [SPECIAL, FREIGHT, INVOICE])}))[0] == INVOICE.title
    assert (await titles("专用发票怎么开", {"专用发票怎么开": (1.4, [SPECIAL, INVOICE])}))[0] == SPECIAL.title
    # Nor about what people taught for another question.
    taught = replace(INVOICE, learnt=True, likeness=LEARNT_ALIKE - 0.01)
    assert (await titles("发票怎么开", {"发票怎么开": (1.4, [SPECIAL, taught])}))[0] == SPECIAL.title
    # Another side of it is no better.
    lately = entry("发票多久能开？")
    assert (await titles("发票怎么开", {"发票怎么开": (1.4, [SPECIAL, lately])}))[0] == SPECIAL.title


async def test_who_asks_how_to_do_a_thing_is_asked_back_before_told_how_to_undo_it() -> None:
    cancel = entry("怎么取消预约？")
    assert (await found("怎么预约", {"怎么预约": (1.7, [cancel])})).zone is ConfidenceBand.SUGGEST
    assert (await found("怎么取消预约", {"怎么取消预约": (1.7, [cancel])})).zone is ConfidenceBand.ANSWER


async def test_a_whole_question_that_may_be_meant_alone_is_asked_back_about() -> None:
    one = await found(
        "买的时候运费怎么算",
        {"退货买的时候运费怎么算": (1.2, [RETURNED, FREIGHT]), "买的时候运费怎么算": (0.9, [FREIGHT, RETURNED])},
        after("怎么退货？"),
    )
    assert one.zone is ConfidenceBand.SUGGEST
    assert [passage.title for passage in one.result.passages] == [FREIGHT.title, RETURNED.title]


async def test_a_whole_question_that_is_sure_alone_is_answered_alone() -> None:
    results = {"退货发票怎么开": (1.5, [SPECIAL]), "发票怎么开": (1.4, [INVOICE])}
    assert await titles("发票怎么开", results, after("怎么退货？")) == [INVOICE.title]


async def test_a_short_one_continues_what_was_said() -> None:
    results = {"退货运费": (1.4, [RETURNED]), "运费呢": (1.39, [FREIGHT])}
    assert await titles("运费呢", results, after("怎么退货？")) == [RETURNED.title]

"""Which question stands behind a handoff."""

from __future__ import annotations

from typing import Any

import pytest

from zhiban.assistant.decide import HandOffReason
from zhiban.assistant.gap_answers import says_something
from zhiban.assistant.gap_evidence import MissingAnswer, TakenTurn, behind_handoff
from zhiban.knowledge.models import GapOrigin

REFUND = "怎么申请退款？"


def turns(*said: tuple[str, str]) -> list[TakenTurn]:
    """The turns of a conversation, given oldest first as what was said and decided; newest first."""
    menu: list[dict[str, Any]] = [{"id": "a:1", "label": REFUND}, {"id": "person", "label": "转人工"}]
    return [
        TakenTurn(number, text, decision, [], 100 + number, menu if decision == "Suggest" else None)
        for number, (text, decision) in enumerate(said)
    ][::-1]


def asked(text: str, origin: GapOrigin, message_id: int) -> MissingAnswer:
    return MissingAnswer((text,), origin, message_id)


def test_a_question_that_nothing_was_found_for() -> None:
    found = behind_handoff(turns(("能送到火星吗？", "HandOff")), HandOffReason.NOTHING_FOUND)
    assert found == asked("能送到火星吗", GapOrigin.NO_ANSWER, 100)


def test_the_wish_for_a_person_after_an_answer_is_about_that_question() -> None:
    found = behind_handoff(turns((REFUND, "Answer"), ("转人工", "HandOff")), HandOffReason.ASKED)
    assert found == asked("怎么申请退款", GapOrigin.ASKED, 100)


def test_a_complaint_is_about_the_question_before_it() -> None:
    said = ((REFUND, "Answer"), ("没用", "AskAgain"), ("还是没解决", "HandOff"))
    assert behind_handoff(turns(*said), HandOffReason.REPEATED_FAILURE) == asked(
        "怎么申请退款", GapOrigin.COMPLAINT, 100
    )
    said = ((REFUND, "Answer"), ("没用", "AskAgain"), ("转人工", "HandOff"))
    assert behind_handoff(turns(*said), HandOffReason.ASKED) == asked("怎么申请退款", GapOrigin.COMPLAINT, 100)


def test_a_complaint_with_a_question_is_about_that_one() -> None:
    said = ((REFUND, "Answer"), ("答非所问，能寄到日本吗", "HandOff"))
    assert behind_handoff(turns(*said), HandOffReason.REPEATED_FAILURE) == asked(
        "能寄到日本吗", GapOrigin.NO_ANSWER, 101
    )


def test_a_short_follow_up_says_what_it_is_about() -> None:
    said = (("怎么寄到日本？", "Answer"), ("要多久", "HandOff"))
    assert behind_handoff(turns(*said), HandOffReason.NOTHING_FOUND) == asked(
        "怎么寄到日本，要多久", GapOrigin.NO_ANSWER, 101
    )


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([("转人工", "HandOff")], HandOffReason.ASKED),
        ([("你好", "SmallTalk"), ("转人工", "HandOff")], HandOffReason.ASKED),
        ([(REFUND, "Answer"), ("谢谢", "SmallTalk"), ("转人工", "HandOff")], HandOffReason.ASKED),
        (
            [("钱能退吗", "Suggest"), (REFUND, "Answer"), ("转人工", "HandOff")],
            HandOffReason.ASKED,
        ),  # they took an entry
        ([("钱能退吗", "Suggest"), ("转人工", "HandOff")], HandOffReason.ASKED),  # the menu is found by itself
        ([(REFUND, "HandOff"), ("转人工", "HandOff")], HandOffReason.ASKED),  # it was gathered then
        ([("我要找律师", "HandOff")], HandOffReason.WORD),
        ([("", "HandOff")], HandOffReason.CANNOT_READ),
        ([], HandOffReason.ASKED),
    ],
)
def test_no_question_stands_behind_these(said: list[tuple[str, str]], reason: HandOffReason) -> None:
    assert behind_handoff(turns(*said), reason) is None


def test_an_entry_that_did_not_help_leaves_what_led_to_the_menu() -> None:
    said = (("钱能退吗", "Suggest"), (REFUND, "Answer"), ("没用", "AskAgain"), ("没解决", "HandOff"))
    found = behind_handoff(turns(*said), HandOffReason.REPEATED_FAILURE)
    assert found == asked("钱能退吗", GapOrigin.COMPLAINT, 100)


@pytest.mark.parametrize(
    "text",
    [
        "您好",
        "稍等，我帮您查一下",
        "请稍等哦",
        "您好，有什么可以帮您？",
        "我是客服小王，很高兴为您服务",
        "好的",
        "久等了",
    ],
)
def test_a_request_to_wait_is_no_answer(text: str) -> None:
    assert not says_something(text)


@pytest.mark.parametrize(
    "text", ["可以寄到日本，运费80元。", "您好，目前只送国内。", "在订单页点修改地址就行", "好的，已经给您换新的了"]
)
def test_an_answer_is_one_even_with_a_greeting(text: str) -> None:
    assert says_something(text)

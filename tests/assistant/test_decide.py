"""Every decision of the assistant, from plain facts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.assistant.decide import (
    ASK_FOR_TEXT,
    PERSON_CHOICE,
    Answer,
    AskAgain,
    AskForText,
    Facts,
    HandOff,
    HandOffReason,
    NoReply,
    NoReplyReason,
    Pending,
    SmallTalk,
    Suggest,
    TurnDecision,
    ask_for_text,
    decide,
    decide_without_search,
    question_of,
)
from zhiban.assistant.intents import SmallTalkKind
from zhiban.channels.policy import HandoffPolicy, Policy
from zhiban.knowledge.retrieval import ConfidenceBand
from zhiban.ports import Kind

POLICY = Policy(handoff=HandoffPolicy(words=("发票抬头",)))


def said(*texts: str, **more: object) -> Facts:
    facts = Facts(tuple(Pending(Kind.TEXT, text) for text in texts), POLICY, zone=ConfidenceBand.ANSWER, suggestions=3)
    return replace(facts, **more)  # type: ignore[arg-type]


def sent(kind: Kind, *texts: str, **more: object) -> Facts:
    facts = said(*texts, **more)
    return replace(facts, pending=(*facts.pending, Pending(kind)))


def _reason(decision: TurnDecision | None) -> object:
    return getattr(decision, "reason", type(decision).__name__)


@pytest.mark.parametrize(("zone", "decision"), [(ConfidenceBand.ANSWER, Answer()), (ConfidenceBand.SUGGEST, Suggest())])
def test_a_question_follows_its_zone(zone: ConfidenceBand, decision: TurnDecision) -> None:
    assert decide_without_search(said("怎么退款")) is None
    assert decide(said("怎么退款", zone=zone)) == decision


def test_who_asks_for_a_person_is_told_in_fitting_words() -> None:
    asked = decide_without_search(said("转人工"))
    assert isinstance(asked, HandOff)
    assert asked.notice.startswith("好的，为您转接人工客服")
    nothing = decide(said("你们老板的车是什么颜色", zone=None))
    assert isinstance(nothing, HandOff)
    assert nothing.notice.startswith("这个问题我为您转接人工客服")
    own = Policy(handoff=HandoffPolicy(text="马上有人来。"))
    mine = decide_without_search(said("转人工", policy=own))
    assert isinstance(mine, HandOff)
    assert mine.notice == "马上有人来。"


@pytest.mark.parametrize("zone", [ConfidenceBand.HANDOFF, None])
def test_nothing_found_goes_to_people(zone: ConfidenceBand | None) -> None:
    assert decide(said("怎么退款", zone=zone)) == HandOff(HandOffReason.NOTHING_FOUND, POLICY.handoff.text)


def test_suggestions_need_something_to_suggest_and_are_offered_once() -> None:
    assert _reason(decide(said("退款", zone=ConfidenceBand.SUGGEST, suggestions=0))) is HandOffReason.NOTHING_FOUND
    assert _reason(decide(said("退款", zone=ConfidenceBand.SUGGEST, failures=1))) is HandOffReason.REPEATED_FAILURE


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (said("怎么退款", policy=Policy(assistant=False)), NoReplyReason.ASSISTANT_OFF),
        (said("转人工", window_open=False), NoReplyReason.WINDOW_CLOSED),
        (said("", "  \n"), NoReplyReason.NOTHING_SAID),
        (said(), NoReplyReason.NOTHING_SAID),
        (said("好的"), NoReplyReason.ACKNOWLEDGED),
        (said("谢谢", allowance=1), NoReplyReason.ALLOWANCE_USED),
    ],
)
def test_when_to_keep_quiet(facts: Facts, reason: NoReplyReason) -> None:
    assert decide(facts) == NoReply(reason)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (said("转人工"), HandOffReason.ASKED),
        (said("你好", "我要找真人"), HandOffReason.ASKED),
        (said("0", person_offered=True), HandOffReason.ASKED),
        (Facts((Pending(Kind.TEXT, "人工客服", PERSON_CHOICE),), POLICY), HandOffReason.ASKED),
        (said("我的发票抬头错了"), HandOffReason.WORD),
        (said("你们是骗子"), HandOffReason.UPSET),
        (sent(Kind.ORDER), HandOffReason.ABOUT_ORDER),
        (sent(Kind.ORDER, "什么时候到"), HandOffReason.ABOUT_ORDER),
        (said("没用", failures=1), HandOffReason.REPEATED_FAILURE),
        (said("没用，怎么退款", failures=1), HandOffReason.REPEATED_FAILURE),
        (sent(Kind.IMAGE, failures=1), HandOffReason.CANNOT_READ),
        (said("怎么退款", allowance=1), HandOffReason.ALLOWANCE),
        (said("没用", allowance=1), HandOffReason.ALLOWANCE),
    ],
)
def test_when_to_hand_off(facts: Facts, reason: HandOffReason) -> None:
    decision = decide(facts)
    assert isinstance(decision, HandOff)
    assert decision.reason is reason
    asked = reason is HandOffReason.ASKED
    assert decision.notice == (POLICY.handoff.text_when_asked if asked else POLICY.handoff.text)


def test_the_notice_fits_the_hour_and_the_allowance() -> None:
    night = decide(said("转人工", people_there=False))
    assert isinstance(night, HandOff)
    assert night.notice == POLICY.handoff.text_out_of_hours
    used = decide(said("转人工", allowance=0))
    assert isinstance(used, HandOff)
    assert used.notice == ""


def test_urgency_travels_with_the_handoff() -> None:
    for text, urgent in (("转人工，很急", True), ("转人工", False), ("骗子，转人工", True)):
        decision = decide(said(text))
        assert isinstance(decision, HandOff)
        assert decision.urgent is urgent


def test_upset_people_may_be_left_to_the_assistant() -> None:
    patient = Policy(handoff=HandoffPolicy(when_upset=False))
    assert decide(said("什么破手机，怎么退款", policy=patient)) == Answer()


def test_politeness_is_answered_politely() -> None:
    decision = decide(said("你好"))
    assert isinstance(decision, SmallTalk)
    assert decision.talk is SmallTalkKind.GREETING
    assert isinstance(decide(said("你好", "在吗")), SmallTalk)
    assert decide(said("你好", "怎么退款")) == Answer()


def test_a_complaint_gets_another_try() -> None:
    assert isinstance(decide(said("没用")), AskAgain)
    assert isinstance(decide(said("没用", zone=ConfidenceBand.HANDOFF)), AskAgain)
    english = decide(said("that's not helpful"))
    assert isinstance(english, AskAgain)
    assert english.reply.startswith("Sorry")
    assert decide(said("还是不行，怎么取消订单")) == Answer()


@pytest.mark.parametrize(
    "kind", [kind for kind in Kind if kind not in (Kind.TEXT, Kind.MENU, Kind.MARKDOWN, Kind.ORDER)]
)
def test_every_kind_that_is_no_text_gets_a_fitting_reply(kind: Kind) -> None:
    decision = decide(sent(kind))
    assert isinstance(decision, AskForText)
    assert decision.kind is kind
    assert decision.reply == ask_for_text(kind)
    assert isinstance(decide(sent(kind, "你好")), AskForText)
    assert decide(sent(kind, "这个怎么退款")) == Answer()


def test_replies_differ_by_kind() -> None:
    assert len(set(ASK_FOR_TEXT.values())) == len(ASK_FOR_TEXT)
    assert set(Kind) - set(ASK_FOR_TEXT) == {Kind.TEXT, Kind.MENU, Kind.MARKDOWN, Kind.OTHER}


def test_a_tapped_suggestion_is_a_question_whatever_it_says() -> None:
    tapped = Facts((Pending(Kind.TEXT, "没用", "kb_7"),), POLICY, zone=ConfidenceBand.ANSWER)
    assert decide(tapped) == Answer()


def test_the_question_is_what_asks() -> None:
    pending = tuple(Pending(Kind.TEXT, text) for text in ("你好", "怎么退款", "在吗", "运费谁出"))
    assert question_of(pending) == "怎么退款\n运费谁出"
    assert question_of((Pending(Kind.TEXT, "你好"), Pending(Kind.IMAGE, "x"))) == "你好"


FACTS = st.builds(
    Facts,
    pending=st.lists(
        st.builds(
            Pending,
            st.sampled_from(Kind),
            st.text(max_size=20) | st.sampled_from(["转人工", "你好", "没用", "怎么退款"]),
            st.sampled_from([None, "kb_1", PERSON_CHOICE]),
        ),
        max_size=4,
    ).map(tuple),
    policy=st.sampled_from([POLICY, Policy(assistant=False)]),
    zone=st.none() | st.sampled_from(ConfidenceBand),
    failures=st.integers(0, 3),
    allowance=st.none() | st.integers(0, 5),
    window_open=st.booleans(),
    people_there=st.booleans(),
    person_offered=st.booleans(),
    suggestions=st.integers(0, 3),
)


@given(FACTS)
def test_any_facts_lead_to_one_decision_that_keeps_the_rules(facts: Facts) -> None:
    decision = decide(facts)
    if not facts.policy.assistant or not facts.window_open:
        assert isinstance(decision, NoReply)
    speaks = isinstance(decision, Answer | Suggest | SmallTalk | AskForText | AskAgain)
    if facts.allowance is not None and facts.allowance <= 1:
        assert not speaks
    if isinstance(decision, HandOff) and facts.allowance == 0:
        assert decision.notice == ""
    for words in ("reply",):
        assert getattr(decision, words, "something")
    assert (decide_without_search(facts) or decision) == decision

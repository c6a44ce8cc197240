"""What a flow makes of what contacts say: a table of answers, and of what comes next."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhiban.assistant.decide import Pending
from zhiban.automation.definition import BadDefinition
from zhiban.automation.flow_definition import load_flow
from zhiban.automation.flow_steps import load_steps
from zhiban.automation.flow_talk import (
    MOST_TRIES,
    Ask,
    AwaitAnswer,
    Finish,
    FlowProgress,
    GivenAnswer,
    Leave,
    choice_id,
    follow,
    spoken,
)
from zhiban.ports import Kind, Limits

TODAY = date(2026, 11, 20)
RUN = 7

ANSWERS: list[tuple[dict[str, Any], str, str | None]] = [
    ({"kind": "text"}, "  杯子到手就碎了，\n把手也裂了 ", "杯子到手就碎了，\n把手也裂了"),
    ({"kind": "text"}, "   ", None),
    ({"kind": "number"}, "3", "3"),
    ({"kind": "number"}, "要３个", "3"),
    ({"kind": "number"}, "两个吧", "2"),
    ({"kind": "number"}, "1,299.50元", "1299.5"),
    ({"kind": "number"}, "-5 度", "-5"),
    ({"kind": "number"}, "3个或者4个", None),
    ({"kind": "number"}, "很多", None),
    ({"kind": "phone"}, "我的手机是138 0013 8000", "13800138000"),
    ({"kind": "phone"}, "+86-13800138000", "13800138000"),
    ({"kind": "phone"}, "１３８００１３８０００", "13800138000"),
    ({"kind": "phone"}, "010-62770000", "010-62770000"),
    ({"kind": "phone"}, "（021）62770000", "021-62770000"),
    ({"kind": "phone"}, "+44 20 7946 0000", "+442079460000"),
    ({"kind": "phone"}, "1380013800", None),
    ({"kind": "phone"}, "138001380001", None),
    ({"kind": "phone"}, "订单 202611300001234", None),
    ({"kind": "email"}, "写信到 Zhou.Yuan+1@mail.example.com 吧", "Zhou.Yuan+1@mail.example.com"),
    ({"kind": "email"}, "zhou@example", None),
    ({"kind": "email"}, "@example.com", None),
    ({"kind": "date"}, "2026/2/3 下午", "2026-02-03"),
    ({"kind": "date"}, "2026年12月1日", "2026-12-01"),
    ({"kind": "date"}, "11月18号", "2026-11-18"),
    ({"kind": "date"}, "1月5日", "2027-01-05"),
    ({"kind": "date"}, "2月30日", None),
    ({"kind": "date"}, "大前天", "2026-11-17"),
    ({"kind": "date"}, "昨天下的单", "2026-11-19"),
    ({"kind": "date"}, "上个月", None),
    ({"kind": "code", "pattern": r"DD\d{8}"}, "单号dd20261130，谢谢", "dd20261130"),
    ({"kind": "code", "pattern": r"DD\d{8}"}, "DD202611301", None),
    ({"kind": "code", "pattern": r"\d{6}"}, "13800138000", None),
    ({"kind": "code", "pattern": r"(a+)+$"}, "a" * 60 + "!", None),
    ({"kind": "choice", "options": ["退货", "换货", "维修"]}, "2", "换货"),
    ({"kind": "choice", "options": ["退货", "换货", "维修"]}, "第三个", "维修"),
    ({"kind": "choice", "options": ["退货", "换货", "维修"]}, "退货", "退货"),
    ({"kind": "choice", "options": ["退货", "换货", "维修"]}, "4", None),
    ({"kind": "choice", "options": ["退货", "换货", "维修"]}, "都不是", None),
]


@pytest.mark.parametrize(("step", "said", "wanted"), ANSWERS)
def test_what_counts_as_an_answer(step: dict[str, Any], said: str, wanted: str | None) -> None:
    (asked,) = load_steps([{"question": "请问？", **step}])
    assert asked.read([Pending(Kind.TEXT, said)], today=TODAY) == wanted


def test_several_messages_are_one_answer_and_files_are_counted() -> None:
    text, phone, file = load_steps([{"question": "？", "kind": kind} for kind in ("text", "phone", "file")])
    said = [Pending(Kind.TEXT, "我叫周予安"), Pending(Kind.TEXT, "13800138000"), Pending(Kind.IMAGE)]
    assert text.read(said, today=TODAY) == "我叫周予安\n13800138000"
    assert phone.read(said, today=TODAY) == "13800138000"
    assert file.read([*said, Pending(Kind.IMAGE), Pending(Kind.VIDEO)], today=TODAY) == "图片 × 2、视频"
    assert file.read(said[:2], today=TODAY) is None
    assert text.read([Pending(Kind.VOICE)], today=TODAY) is None


STEPS = load_steps(
    [
        {"question": "要怎么处理？", "name": "处理方式", "kind": "choice", "options": ["退货", "取消", "我要投诉"]},
        {"question": "手机号是多少？", "name": "手机号", "kind": "phone", "save": "contact:phone"},
        {"question": "邮箱呢？", "name": "邮箱", "kind": "email", "optional": True},
    ]
)
FIRST, SECOND, THIRD = FlowProgress(), FlowProgress(1), FlowProgress(2)
TWICE = FlowProgress(1, MOST_TRIES - 1)


def tap(place: int, option: int, text: str = "", run: int = RUN) -> Pending:
    return Pending(Kind.MENU, text, choice_id(run, place, option))


NEXT: list[tuple[FlowProgress, Pending, bool, Any]] = [
    (FIRST, Pending(Kind.TEXT, "退货"), False, "退货"),
    (FIRST, tap(0, 1, "取消"), False, "取消"),  # an entry of ours, whatever it sounds like
    (FIRST, tap(0, 2, "我要投诉"), True, "我要投诉"),
    (FIRST, Pending(Kind.TEXT, "取消"), False, "取消"),  # an option as it stands
    (FIRST, Pending(Kind.TEXT, "我要投诉"), True, Leave(FIRST, "asked")),
    (FIRST, tap(1, 0, "退货款"), False, Ask(FlowProgress(0, 1), "请从下面选一个。")),  # of another question
    (FIRST, tap(0, 0, "算了", run=8), False, Leave(FIRST, "cancelled")),  # of another run: only words
    (SECOND, Pending(Kind.TEXT, "转人工"), True, Leave(SECOND, "asked")),
    (SECOND, Pending(Kind.TEXT, "算了。"), False, Leave(SECOND, "cancelled")),
    (SECOND, Pending(Kind.TEXT, "好的，稍等"), False, AwaitAnswer(SECOND)),
    (SECOND, Pending(Kind.TEXT, "跳过"), False, "refused"),  # it is needed
    (SECOND, Pending(Kind.TEXT, "12345"), False, "refused"),
    (SECOND, Pending(Kind.IMAGE), False, "refused"),
    (TWICE, Pending(Kind.TEXT, "12345"), False, Leave(FlowProgress(1, MOST_TRIES), "failed")),
    (TWICE, Pending(Kind.TEXT, "13800138000"), False, "13800138000"),
    (THIRD, Pending(Kind.TEXT, "跳过！"), False, Finish(FlowProgress(2))),
    (FlowProgress(2, MOST_TRIES - 1), Pending(Kind.TEXT, "没有邮箱"), False, Finish(FlowProgress(2))),
]


@pytest.mark.parametrize(("progress", "said", "wants", "wanted"), NEXT)
def test_what_comes_next(progress: FlowProgress, said: Pending, wants: bool, wanted: Any) -> None:
    found = follow(STEPS, progress, [said], run_id=RUN, wants_person=wants, today=TODAY)
    if wanted == "refused":
        assert isinstance(found, Ask)
        assert found.progress == FlowProgress(progress.step, progress.tries + 1)
        assert "电话号码" in found.problem
    elif isinstance(wanted, str):
        assert isinstance(found, Ask)
        assert (found.progress.step, found.progress.tries, found.problem) == (progress.step + 1, 0, "")
        assert [one.value for one in found.progress.answers] == [wanted]
    else:
        assert found == wanted


def test_it_keeps_all_answers_and_where_they_belong() -> None:
    progress = FlowProgress()
    for said in ("1", "13800138000", "zhou@example.com"):
        found = follow(STEPS, progress, [Pending(Kind.TEXT, said)], run_id=RUN, wants_person=False, today=TODAY)
        progress = found.progress
    assert isinstance(found, Finish)
    assert progress.answers == (
        GivenAnswer(0, "处理方式", "退货"),
        GivenAnswer(1, "手机号", "13800138000", "contact:phone"),
        GivenAnswer(2, "邮箱", "zhou@example.com"),
    )


def test_options_are_a_menu_where_the_channel_has_one_else_numbered() -> None:
    def asked(limits: Limits, problem: str = "", question: str = "要怎么处理？") -> Any:
        return spoken(STEPS[0], 0, question=question, problem=problem, run_id=RUN, limits=limits)

    menu = asked(Limits(text=2000, menus=True), "请从下面选一个。")
    assert (menu.kind, menu.text) == (Kind.MENU, "请从下面选一个。\n要怎么处理？")
    assert [(one.id, one.label) for one in menu.choices] == [("f:7:0:0", "退货"), ("f:7:0:1", "取消"),
                                                              ("f:7:0:2", "我要投诉")]  # fmt: skip
    listed = asked(Limits(text=2000))
    assert (listed.kind, listed.choices) == (Kind.TEXT, ())
    assert listed.text == "要怎么处理？\n1. 退货\n2. 取消\n3. 我要投诉\n回复序号即可。"
    assert asked(Limits(text=2000, menus=True), question="长" * 400).kind is Kind.TEXT  # no menu holds that much
    english = load_steps([{"question": "Which one?", "kind": "text", "optional": True}])[0]
    said = spoken(english, 0, question="Which one?", problem=english.problem(), run_id=1, limits=Limits(text=9))
    assert said.text == "Please answer in writing.\nWhich one? (Reply “skip” to leave it out.)"


BROKEN: list[tuple[dict[str, Any], tuple[str | int, ...]]] = [
    ({"steps": []}, ("steps",)),
    ({"steps": [{"kind": "text"}]}, ("steps", 0, "text", "question")),
    ({"steps": [{"kind": "text", "question": " "}]}, ("steps", 0, "text", "question")),
    ({"steps": [{"kind": "text", "question": "{{contact.shoe}}？"}]}, ("steps", 0, "text", "question")),
    ({"steps": [{"kind": "choice", "question": "？", "options": ["一"]}]}, ("steps", 0, "choice")),
    ({"steps": [{"kind": "choice", "question": "？", "options": ["A", "ａ"]}]}, ("steps", 0, "choice")),
    ({"steps": [{"kind": "choice", "question": "？", "options": ["一", "长" * 41]}]},
     ("steps", 0, "choice", "options", 1)),
    ({"steps": [{"kind": "code", "question": "？"}]}, ("steps", 0, "code")),
    ({"steps": [{"kind": "code", "question": "？", "pattern": "("}]}, ("steps", 0, "code", "pattern")),
    ({"steps": [{"kind": "text", "question": "？", "save": "agent:name"}]}, ("steps", 0, "text", "save")),
    ({"steps": [{"kind": "text", "question": "？"}], "actions": [{"kind": "start_flow", "flow": 1}]}, ("actions", 0)),
    ({"steps": [{"kind": "text", "question": "？"}], "minutes": 0}, ("minutes",)),
    ({"steps": [{"kind": "text", "question": "？"}], "surprise": 1}, ("surprise",)),
]  # fmt: skip


@pytest.mark.parametrize(("values", "path"), BROKEN)
def test_what_is_no_flow_says_where(values: dict[str, Any], path: tuple[str | int, ...]) -> None:
    with pytest.raises(BadDefinition) as refused:
        load_flow(values)
    assert refused.value.path == path


ANY_STEP = st.one_of(
    st.sampled_from(["text", "number", "phone", "email", "date", "file"]).map(lambda kind: {"kind": kind}),
    st.just({"kind": "code", "pattern": r"DD\d{4}"}),
    st.just({"kind": "choice", "options": ["退货", "取消", "我要投诉"]}),
)
ANY_FLOW = st.lists(st.tuples(ANY_STEP, st.booleans()), min_size=1, max_size=5)
WORDS = ("退货", "取消", "算了", "跳过", "2", "9", "13800138000", "a@b.example", "昨天", "DD1234", "好的", "在吗？", "",
         "我要投诉", "\x00\ud800", "１２３", "🙂" * 3, "长" * 3000)  # fmt: skip
ANY_SAID = st.one_of(
    st.sampled_from(WORDS).map(lambda text: Pending(Kind.TEXT, text)),
    st.text(max_size=40).map(lambda text: Pending(Kind.TEXT, text)),
    st.sampled_from([Kind.IMAGE, Kind.VOICE, Kind.LOCATION, Kind.OTHER]).map(Pending),
    st.tuples(st.integers(0, 5), st.integers(0, 4), st.sampled_from([RUN, 8])).map(
        lambda one: tap(one[0], one[1], "我要投诉", run=one[2])
    ),
)
ANY_TALK = st.lists(st.tuples(st.lists(ANY_SAID, min_size=1, max_size=3), st.booleans()), max_size=30)


@settings(max_examples=300, deadline=None)
@given(ANY_FLOW, ANY_TALK)
def test_whatever_is_said_it_goes_forward_or_ends(
    asked: list[tuple[dict[str, Any], bool]], talk: list[tuple[list[Pending], bool]]
) -> None:
    steps = load_steps([{"question": "请问？", "name": f"第{n}", **one, "optional": optional}
                        for n, (one, optional) in enumerate(asked)])  # fmt: skip
    progress, heard = FlowProgress(), 0
    for said, wants in talk:
        found = follow(steps, progress, said, run_id=RUN, wants_person=wants, today=TODAY)
        heard += not isinstance(found, AwaitAnswer)
        before, progress = progress, found.progress
        mine = choice_id(RUN, before.step, 0)[:-1]
        # A person asked for is honoured, unless the words were ours.
        if wants and not any((one.choice or "").startswith(mine) for one in said):
            assert found == Leave(before, "asked")
        # What was answered stays, in order, and nothing that PostgreSQL refuses is kept.
        assert progress.answers[: len(before.answers)] == before.answers
        places = [one.step for one in progress.answers]
        assert places == sorted(set(places))
        assert all(one.value and "\x00" not in one.value for one in progress.answers)
        match found:
            case Ask():
                assert (progress.step, progress.tries) in ((before.step + 1, 0), (before.step, before.tries + 1))
                assert progress.tries < MOST_TRIES
                assert bool(found.problem) == (progress.step == before.step)
            case AwaitAnswer():
                assert progress == before
            case Finish():
                needed = {n for n, (_, optional) in enumerate(asked) if not optional}
                assert needed <= set(places)
                return
            case Leave():
                return
    # Every time that it heard something it came one try nearer to its end.
    assert heard <= len(steps) * MOST_TRIES

"""A model that says no to everything is not believed for long."""

from __future__ import annotations

from zhiban.assistant.answering import Answered, CannotAnswer, FellBack, Why
from zhiban.assistant.declining import DeclineMemory
from zhiban.ports import Completion

COST = Completion(text="", model="m", input_tokens=1, output_tokens=1, seconds=0.1)
ANSWERED, DECLINED = Answered("可以。", (1,), COST), CannotAnswer(Why.DECLINED, cost=COST)


def believed(*outcomes: Answered | CannotAnswer | FellBack) -> bool:
    memory = DeclineMemory()
    for outcome in outcomes:
        memory.note(outcome)
    return memory.believed


def test_a_model_that_declines_some_is_believed() -> None:
    assert believed()
    assert believed(*[DECLINED] * 19)  # too few to tell
    assert believed(*[ANSWERED, ANSWERED, DECLINED] * 20)


def test_a_model_that_declines_most_is_not() -> None:
    assert not believed(*[DECLINED, DECLINED, ANSWERED] * 7)
    assert not believed(*[FellBack("可以。", (1,), Why.DECLINED, cost=COST)] * 20)  # also while it is overruled


def test_it_is_believed_again_once_it_answers() -> None:
    assert believed(*[DECLINED] * 60, *[ANSWERED] * 30)


def test_what_it_never_read_is_no_opinion() -> None:
    assert believed(*[DECLINED] * 19, *[CannotAnswer(Why.TOO_SLOW)] * 20)

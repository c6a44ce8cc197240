"""The simulated model itself: honest, deterministic, and runnable on its own."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.assistant.passages import PlainPassage
from zhiban.assistant.prompt import answer_turns, parse_answer
from zhiban.assistant.rewrite import parse_question, rewrite_turns
from zhiban.kit.http import Http
from zhiban.testing import llm, notices, telegram
from zhiban.testing.llm import KEY, LlmSimulator, reply, vector
from zhiban.testing.serving import served

REFUND = PlainPassage("怎么申请退款？", "", "点击“申请售后”。")


def _messages(question: str, passages: list[PlainPassage]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in answer_turns([question], passages)]


def test_it_answers_from_the_passage_and_cites_it() -> None:
    draft = parse_answer(reply(_messages("如何申请退款", [PlainPassage("发票", "", "联系客服开票。"), REFUND])))
    assert (draft.can_answer, draft.answer, draft.citations) == (True, "点击“申请售后”。", (2,))


def test_it_declines_when_nothing_fits() -> None:
    assert not parse_answer(reply(_messages("明天天气怎么样", [REFUND]))).can_answer


@given(st.text(), st.text())
def test_whatever_stands_in_the_prompt_its_answer_can_be_read(question: str, text: str) -> None:
    words = reply(_messages(question, [PlainPassage(text, text)]))
    assert json.loads(words)["citations"] in ([], [1])


def test_it_rewrites_when_asked_to() -> None:
    turns = rewrite_turns("那运费呢？", [])
    assert parse_question(reply([{"role": turn.role, "content": turn.content} for turn in turns])) == "运费？"


@given(st.text())
def test_every_text_has_a_direction(text: str) -> None:
    assert vector(text) == vector(text)
    assert math.isfinite(sum(map(abs, vector(text))))
    assert any(vector(text))


async def test_the_doors_want_a_key() -> None:
    simulator = LlmSimulator()
    async with served(simulator.app) as url, Http() as http:
        assert (await http.request("GET", f"{url}/v1/models")).status == 401
        allowed = await http.request("GET", f"{url}/v1/models", headers={"Authorization": f"Bearer {KEY}"})
        assert allowed.json()["data"][0]["id"] == "simulated"


@pytest.mark.parametrize("module", [llm, telegram, notices])
def test_each_simulator_explains_itself(module: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        module.main(["--help"])  # type: ignore[attr-defined]
    assert caught.value.code == 0
    assert "--port" in capsys.readouterr().out

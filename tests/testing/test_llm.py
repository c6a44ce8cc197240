"""The simulated model itself: honest, deterministic, and runnable on its own."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.assistant.passages import PlainPassage
from zhiban.assistant.prompt import HistoryLine, answer_turns, parse_answer
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


def used(question: str, passages: list[PlainPassage]) -> list[str]:
    """The titles of what its answer rests on."""
    return [passages[number - 1].title for number in parse_answer(reply(_messages(question, passages))).citations]


CLINIC = [
    PlainPassage("洗牙疼吗？", "", "一般只有酸胀感。"),
    PlainPassage("洗牙多少钱？", "", "198 元。"),
    PlainPassage("多久洗一次牙？", "", "半年到一年。"),
    PlainPassage("怎么取消预约？", "", "请提前 4 小时在公众号里取消。"),
]
STORE = [
    PlainPassage("能开增值税专用发票吗？", "", "可以，请先上传营业执照。"),
    PlainPassage("怎么开发票？", "", "点“申请发票”。"),
    PlainPassage("运费怎么算？", "", "满 79 元包邮。", asked_as="邮费是多少"),
]


@pytest.mark.parametrize(
    ("question", "passages", "titles"),
    [
        ("洗牙怎么收费", CLINIC, ["洗牙多少钱？"]),  # what is asked tells, not only what it is about
        ("洁牙痛不痛", CLINIC, ["洗牙疼吗？"]),  # ordinary words that mean the same
        ("隔多久洗個牙好呢", CLINIC, ["多久洗一次牙？"]),  # Traditional, and a word taken apart
        ("不洗牙了", CLINIC, []),  # a wish that is taken back
        ("怎么预约", CLINIC, []),  # not how to cancel
        ("你们有双眼皮手术吗", CLINIC, []),
        ("发票怎么开", STORE, ["怎么开发票？"]),  # no more special than what is asked
        ("邮费是多少", STORE, ["运费怎么算？"]),
        ("发票怎么开？运费多少？", STORE, ["怎么开发票？", "运费怎么算？"]),
        ("发票多久能收到", STORE, []),
    ],
)
def test_it_reads_as_a_small_honest_model_does(question: str, passages: list[PlainPassage], titles: list[str]) -> None:
    assert used(question, passages) == titles


def test_it_reads_a_short_question_with_the_one_before() -> None:
    turns = answer_turns(["疼吗"], CLINIC, [HistoryLine("contact", "洗牙多少钱"), HistoryLine("assistant", "198 元。")])
    draft = parse_answer(reply([{"role": turn.role, "content": turn.content} for turn in turns]))
    assert draft.citations == (1,)


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

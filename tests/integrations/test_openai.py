"""Talking with OpenAI-compatible servers that behave, misbehave and lie, over a real socket."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from zhiban.assistant.passages import PlainPassage
from zhiban.assistant.prompt import ANSWER_SCHEMA, answer_turns, parse_answer
from zhiban.integrations.openai import ModelConfig, OpenAIChat, OpenAIEmbedder
from zhiban.integrations.openai.embedder import batches
from zhiban.integrations.openai.reading import text_of
from zhiban.integrations.openai.server import backoff, retry_after
from zhiban.kit.breaker import LocalBreakers
from zhiban.kit.http import Http
from zhiban.ports import ChatTurn, ModelPaused, ModelTooSlow, ModelUnavailable
from zhiban.testing.llm import KEY, LlmSimulator, ModelFault
from zhiban.testing.serving import served

REFUND = PlainPassage("怎么申请退款？", "怎么申请退款？", "在“我的订单”中点击“申请售后”，商家会在48小时内处理。")
TURNS = answer_turns(["怎么申请退款"], [REFUND])
HELLO = [ChatTurn("user", "你好")]


class Bench:
    """A simulator that is being served, and a client of it."""

    def __init__(self, simulator: LlmSimulator, url: str, http: Http) -> None:
        self.simulator = simulator
        self.url = url
        self.http = http
        self.waits: list[float] = []

    def config(self, *, timeout: float = 5.0, tries: int = 3, key: str = KEY) -> ModelConfig:
        return ModelConfig(base=f"{self.url}/v1/", model="simulated", key=SecretStr(key), timeout=timeout, tries=tries)

    def chat(self, *, timeout: float = 5.0, tries: int = 3, key: str = KEY) -> OpenAIChat:
        return OpenAIChat(self.config(timeout=timeout, tries=tries, key=key), self.http, pause=self._pause)

    def embedder(self) -> OpenAIEmbedder:
        return OpenAIEmbedder(self.config(), self.http, pause=self._pause)

    async def until_asked(self) -> None:
        async with asyncio.timeout(30):
            while not self.simulator.asked:  # noqa: ASYNC110 - it happens over there
                await asyncio.sleep(0.005)

    async def _pause(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    simulator = LlmSimulator()
    async with served(simulator.app) as url, Http() as http:
        yield Bench(simulator, url, http)


async def test_an_answer_with_its_cost(bench: Bench) -> None:
    completion = await bench.chat().complete(TURNS, schema=ANSWER_SCHEMA, max_tokens=321)
    draft = parse_answer(completion.text)
    assert draft.can_answer
    assert draft.answer == REFUND.answer
    assert draft.citations == (1,)
    assert completion.model == "simulated"
    assert completion.input_tokens > 100
    assert completion.output_tokens > 10
    assert completion.seconds > 0
    asked = bench.simulator.asked[0]
    assert asked.body["response_format"]["json_schema"]["name"] == "answer"
    assert asked.body["max_tokens"] == 321
    assert asked.key == KEY


@pytest.mark.parametrize("fault", [ModelFault.WRONG_TYPE, ModelFault.THINKS, ModelFault.FENCED])
async def test_odd_wrappings_of_a_right_answer(bench: Bench, fault: ModelFault) -> None:
    bench.simulator.then(fault)
    completion = await bench.chat().complete(TURNS, schema=ANSWER_SCHEMA)
    assert parse_answer(completion.text).answer == REFUND.answer
    assert len(bench.simulator.asked) == 1


@pytest.mark.parametrize(
    "fault",
    [
        ModelFault.DOWN,
        ModelFault.BAD_GATEWAY,
        ModelFault.BUSY,
        ModelFault.CUT,
        ModelFault.HTML,
        ModelFault.ERROR_IN_200,
    ],
)
async def test_what_may_pass_is_tried_again(bench: Bench, fault: ModelFault) -> None:
    bench.simulator.then(fault, fault)
    completion = await bench.chat().complete(TURNS, schema=ANSWER_SCHEMA)
    assert parse_answer(completion.text).can_answer
    assert len(bench.simulator.asked) == 3
    assert len(bench.waits) == 2


@pytest.mark.parametrize(
    "fault",
    [
        ModelFault.DOWN,
        ModelFault.BAD_GATEWAY,
        ModelFault.BUSY,
        ModelFault.CUT,
        ModelFault.HTML,
        ModelFault.ERROR_IN_200,
    ],
)
async def test_the_tries_are_bounded_and_the_key_is_never_told(bench: Bench, fault: ModelFault) -> None:
    bench.simulator.always = fault
    with pytest.raises(ModelUnavailable) as caught:
        await bench.chat().complete(TURNS, schema=ANSWER_SCHEMA)
    assert len(bench.simulator.asked) == 3
    assert KEY not in caught.value.sentence
    assert "<html>" not in caught.value.sentence


@pytest.mark.parametrize(
    "fault",
    [ModelFault.NO_QUOTA, ModelFault.BAD_KEY, ModelFault.NO_CHOICES, ModelFault.NULL_CONTENT, ModelFault.ONLY_THOUGHTS],
)
async def test_what_waiting_does_not_cure_is_not_repeated(bench: Bench, fault: ModelFault) -> None:
    bench.simulator.always = fault
    with pytest.raises(ModelUnavailable) as caught:
        await bench.chat().complete(TURNS, schema=ANSWER_SCHEMA)
    assert len(bench.simulator.asked) == 1
    assert KEY not in caught.value.sentence


async def test_the_wait_that_the_server_asks_for_is_kept(bench: Bench) -> None:
    bench.simulator.retry_after = "3"
    bench.simulator.then(ModelFault.BUSY)
    await bench.chat().complete(HELLO)
    assert bench.waits == [3.0]


async def test_a_wait_too_long_for_a_chat_is_not_waited(bench: Bench) -> None:
    bench.simulator.retry_after = "120"
    bench.simulator.then(ModelFault.BUSY)
    with pytest.raises(ModelUnavailable, match="429"):
        await bench.chat().complete(HELLO)
    assert bench.waits == []


async def test_a_hanging_server_costs_no_more_than_the_timeout(bench: Bench) -> None:
    bench.simulator.then(ModelFault.HANG)
    started = asyncio.get_running_loop().time()
    with pytest.raises(ModelUnavailable):
        await bench.chat(timeout=0.3, tries=1).complete(HELLO)
    assert asyncio.get_running_loop().time() - started < 2


async def test_nobody_listening() -> None:
    async with Http() as http:
        config = ModelConfig(base="http://127.0.0.1:9/v1", model="gone", key=SecretStr(KEY), tries=2)
        waits: list[float] = []

        async def pause(seconds: float) -> None:
            waits.append(seconds)

        with pytest.raises(ModelUnavailable, match="cannot be reached"):
            await OpenAIChat(config, http, pause=pause).complete(HELLO)
        assert len(waits) == 1


@pytest.mark.parametrize(
    ("forms", "refusals"), [({"json_object", "text"}, 1), ({"text"}, 2), ({"json_schema", "text"}, 0)]
)
async def test_the_form_that_the_server_understands_is_found_once(bench: Bench, forms: set[str], refusals: int) -> None:
    bench.simulator.forms = frozenset(forms)
    chat = bench.chat()
    for _ in range(3):
        assert parse_answer((await chat.complete(TURNS, schema=ANSWER_SCHEMA)).text).can_answer
    assert len(bench.simulator.asked) == 3 + refusals


async def test_a_request_without_schema_asks_for_no_form(bench: Bench) -> None:
    await bench.chat().complete(HELLO)
    assert "response_format" not in bench.simulator.asked[0].body


async def test_embeddings_in_order_in_batches_and_of_length_one(bench: Bench) -> None:
    embedder = bench.embedder()
    assert embedder.dimensions == 0
    texts = [f"第{number}个问题：怎么退款" for number in range(150)] + ["", "x" * 20_000]
    vectors = await embedder.embed(texts)
    assert len(vectors) == 152
    assert embedder.dimensions == 256
    assert all(math.isclose(sum(part * part for part in vector), 1) for vector in vectors)
    assert bench.simulator.counts["/v1/embeddings"] == 3
    again = await embedder.embed([texts[70]], purpose="query")
    assert again[0] == pytest.approx(vectors[70])


async def test_similar_texts_are_near(bench: Bench) -> None:
    near, also, far = await bench.embedder().embed(["怎么申请退款", "如何申请退款？", "门店地址在哪里"])
    assert _cosine(near, also) > 0.5 > _cosine(near, far)


async def test_no_texts_no_call(bench: Bench) -> None:
    assert await bench.embedder().embed([]) == []
    assert bench.simulator.asked == []


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 0, "embedding": [0.0, 0.0]}],
        [{"index": 0, "embedding": None}],
        [{"index": 5, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}],
        "text",
        [None],
    ],
)
def test_what_is_no_vector(data: object) -> None:
    from zhiban.integrations.openai.embedder import _vectors

    with pytest.raises(ModelUnavailable):
        _vectors(data, 1)


def test_content_in_parts_and_thoughts_without_an_opening() -> None:
    assert text_of({"choices": [{"message": {"content": [{"type": "text", "text": "好"}, {"text": "的"}]}}]}) == "好的"
    assert text_of({"choices": [{"message": {"content": "想想</think>好的"}}]}) == "好的"
    for odd in ({}, {"choices": None}, {"choices": [None]}, {"choices": [{"message": "x"}]}, {"choices": [{}]}):
        with pytest.raises(ModelUnavailable):
            text_of(odd)


def test_retry_after_says_seconds_or_a_date() -> None:
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"Retry-After": "soon"}) is None
    assert retry_after({}) is None
    later = retry_after({"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=60))})
    assert later is not None
    assert 50 < later <= 60


def test_backoff_grows_and_is_bounded() -> None:
    for attempt in range(1, 20):
        assert 0.25 <= backoff(attempt) <= 8


@given(st.lists(st.text(max_size=50), max_size=200))
def test_batches_keep_order_and_count(texts: list[str]) -> None:
    cut = batches(texts)
    assert [text for batch in cut for text in batch] == [text.strip() or " " for text in texts]
    assert all(len(batch) <= 64 for batch in cut)


def _cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


# ------------------------------------------------------------------------------------------ leaving it alone


class Patience:
    """A clock to set, and a chat whose circuits follow it."""

    def __init__(self, bench: Bench, **config: float) -> None:
        self.now = 0.0
        self.breakers = LocalBreakers(now=lambda: self.now, chance=lambda: 0.0)
        self.chat = OpenAIChat(bench.config(**config), bench.http, breakers=self.breakers, pause=bench._pause)


async def test_a_server_that_hangs_is_waited_for_once(bench: Bench) -> None:
    patience = Patience(bench, timeout=2.0)
    bench.simulator.always = ModelFault.HANG
    with pytest.raises(ModelTooSlow):
        await patience.chat.complete(HELLO)
    for _ in range(5):
        with pytest.raises(ModelPaused):
            await patience.chat.complete(HELLO)
    assert len(bench.simulator.asked) == 1
    patience.now = 11
    bench.simulator.always = None
    got = await asyncio.gather(*(patience.chat.complete(HELLO) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(one, ModelPaused) for one in got) == 4  # while one finds out
    assert len(bench.simulator.asked) == 2
    await patience.chat.complete(HELLO)


async def test_who_waits_when_it_turns_out_to_hang_goes_on_at_once(bench: Bench) -> None:
    patience = Patience(bench, timeout=4.0)
    bench.simulator.always = ModelFault.HANG
    first = asyncio.create_task(patience.chat.complete(HELLO))
    await asyncio.sleep(2.0)
    began = asyncio.get_running_loop().time()
    with pytest.raises(ModelPaused):
        await patience.chat.complete(HELLO)
    assert asyncio.get_running_loop().time() - began < 3.5  # seconds, of the four that it would wait for itself
    with pytest.raises(ModelTooSlow):
        await first


async def test_one_slow_question_among_quick_ones_pauses_nobody(bench: Bench) -> None:
    patience = Patience(bench, timeout=2.0)
    bench.simulator.then(ModelFault.HANG)
    slow = asyncio.create_task(patience.chat.complete(HELLO))
    await bench.until_asked()
    await patience.chat.complete(HELLO)
    with pytest.raises(ModelTooSlow):
        await slow
    await patience.chat.complete(HELLO)


@pytest.mark.parametrize("fault", [ModelFault.BUSY, ModelFault.DOWN, ModelFault.NO_QUOTA, ModelFault.HTML])
async def test_a_server_that_fails_everybody_is_left_alone(bench: Bench, fault: ModelFault) -> None:
    patience = Patience(bench)
    bench.simulator.always = fault
    with pytest.raises(ModelUnavailable):
        await patience.chat.complete(HELLO)
    asked = len(bench.simulator.asked)
    assert asked <= 3
    for _ in range(10):
        with pytest.raises(ModelPaused):
            await patience.chat.complete(HELLO)
    assert len(bench.simulator.asked) == asked
    patience.now = 11
    with pytest.raises(ModelUnavailable):
        await patience.chat.complete(HELLO)
    assert len(bench.simulator.asked) == asked + 1  # the probe is one call, not three


async def test_a_server_that_says_how_long_gets_that_long(bench: Bench) -> None:
    patience = Patience(bench)
    bench.simulator.always, bench.simulator.retry_after = ModelFault.BUSY, "120"
    with pytest.raises(ModelUnavailable):
        await patience.chat.complete(HELLO)
    patience.now = 119
    with pytest.raises(ModelPaused):
        await patience.chat.complete(HELLO)
    patience.now, bench.simulator.always = 121, None
    await patience.chat.complete(HELLO)


async def test_a_refused_question_pauses_nobody(bench: Bench) -> None:
    patience = Patience(bench)
    bench.simulator.forms = frozenset()
    with pytest.raises(ModelUnavailable):
        await patience.chat.complete(HELLO, schema=ANSWER_SCHEMA)
    bench.simulator.forms = frozenset(("text",))
    await patience.chat.complete(HELLO)


async def test_an_embedder_is_waited_for_briefly_and_once_for_a_query(bench: Bench) -> None:
    embedder = OpenAIEmbedder(bench.config(), bench.http, query_seconds=0.3, pause=bench._pause)
    bench.simulator.always = ModelFault.HANG
    began = asyncio.get_running_loop().time()
    with pytest.raises(ModelTooSlow):
        await embedder.embed(["怎么退货"], purpose="query")
    for _ in range(5):
        with pytest.raises(ModelPaused):
            await embedder.embed(["怎么退货"], purpose="query")
    assert asyncio.get_running_loop().time() - began < 1.5
    # An import is not stopped by a question that was asked in a hurry.
    bench.simulator.always = None
    assert len(await embedder.embed(["怎么退货"], purpose="passage")) == 1

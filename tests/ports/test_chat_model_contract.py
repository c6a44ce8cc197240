"""What every chat model promises, whatever its server understands: over the simulated wire, and counted on the way.

There is no twin in memory: the simulator answers from the passages in our own prompts, so that whoever needs a model
in a test has it behind the adapter that the product uses.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from zhiban.assistant.metering import MeteredModel, Prices
from zhiban.integrations.openai import ModelConfig, OpenAIChat
from zhiban.kit.http import Http
from zhiban.ports import ChatModel, ChatTurn, ModelTooSlow, ModelUnavailable
from zhiban.testing.llm import KEY, LlmSimulator, ModelFault
from zhiban.testing.serving import served

TURNS = [ChatTurn("system", "简短回答。"), ChatTurn("user", "怎么申请退款？")]
SCHEMA = {"title": "answer", "type": "object", "properties": {"words": {"type": "string"}}, "required": ["words"]}
FORMS = {"schema": ("json_schema", "json_object", "text"), "object": ("json_object", "text"), "plain": ("text",)}


@dataclass
class Stand:
    """A model and the server behind it."""

    model: ChatModel
    server: LlmSimulator


async def no_pause(_seconds: float) -> None:
    """Tries follow each other at once."""


@pytest.fixture(params=[*FORMS, "metered"])
async def stand(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    server = LlmSimulator(forms=frozenset(FORMS.get(request.param, FORMS["schema"])))
    async with served(server.app) as url, Http() as http:
        config = ModelConfig(base=f"{url}/v1", model="simulated", key=SecretStr(KEY))
        model: ChatModel = OpenAIChat(config, http, pause=no_pause)
        yield Stand(MeteredModel(model, Prices(1, 2)) if request.param == "metered" else model, server)


async def test_words_come_with_what_they_cost(stand: Stand) -> None:
    stand.server.then("您好，请在订单页申请。")
    found = await stand.model.complete(TURNS)
    assert found.text == "您好，请在订单页申请。"
    assert found.model
    assert min(found.input_tokens, found.output_tokens) >= 0
    assert found.seconds >= 0
    assert stand.model.name


async def test_what_is_asked_for_in_a_shape_is_text_all_the_same(stand: Stand) -> None:
    for _ in range(2):  # what its server does not understand, it has learnt with the first
        stand.server.then(json.dumps({"words": "请在订单页申请"}))
        found = await stand.model.complete(TURNS, schema=SCHEMA)
        assert json.loads(found.text) == {"words": "请在订单页申请"}


async def test_a_shape_that_the_model_did_not_keep_is_no_error(stand: Stand) -> None:
    await stand.model.complete(TURNS, schema=SCHEMA)
    stand.server.then(ModelFault.GARBAGE)
    assert isinstance((await stand.model.complete(TURNS, schema=SCHEMA)).text, str)


@pytest.mark.parametrize(
    "fault",
    [
        ModelFault.DOWN,
        ModelFault.BAD_GATEWAY,
        ModelFault.NO_QUOTA,
        ModelFault.BAD_KEY,
        ModelFault.CUT,
        ModelFault.HTML,
        ModelFault.ERROR_IN_200,
        ModelFault.NO_CHOICES,
        ModelFault.NULL_CONTENT,
        ModelFault.ONLY_THOUGHTS,
    ],
)
async def test_whatever_goes_wrong_is_one_error_that_tells_no_key(stand: Stand, fault: ModelFault) -> None:
    stand.server.always = fault
    with pytest.raises(ModelUnavailable) as caught:
        await stand.model.complete(TURNS)
    assert KEY not in str(caught.value)


async def test_nobody_waits_longer_than_is_allowed(stand: Stand) -> None:
    stand.server.always = ModelFault.HANG
    async with asyncio.timeout(30):
        with pytest.raises(ModelTooSlow):
            await stand.model.complete(TURNS, seconds=0.1)


async def test_many_may_ask_at_once(stand: Stand) -> None:
    found = await asyncio.gather(*(stand.model.complete(TURNS) for _ in range(10)))
    assert all(one.text for one in found)

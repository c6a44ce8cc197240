"""A model may name a ticket, but may not add a fact to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from zhiban.integrations.openai import ModelConfig, OpenAIChat
from zhiban.kit.http import Http
from zhiban.kit.i18n import Texts
from zhiban.ports import ChatModel
from zhiban.testing.llm import KEY, LlmSimulator, ModelFault
from zhiban.testing.serving import served
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.titling import Naming, extracted, proposed

ZH = Texts("zh")
LINES = [
    FrozenLine(
        1,
        "a",
        "老杨",
        "",
        datetime(2026, 11, 27, tzinfo=UTC),
        "昨晚主库切了一次，增量同步丢了2秒数据，打我电话 13800006021",
    ),
    FrozenLine(2, "b", "陆知行", "", datetime(2026, 11, 27, tzinfo=UTC), "回退到 2.3.6 就没事"),
]
OWN = extracted(LINES, ZH)


@pytest.fixture
async def simulator() -> LlmSimulator:
    return LlmSimulator()


@pytest.fixture
async def model(simulator: LlmSimulator) -> AsyncIterator[ChatModel]:
    async with served(simulator.app) as url, Http() as http:
        yield OpenAIChat(ModelConfig(base=f"{url}/v1", model="m", key=SecretStr(KEY), tries=1), http)


def reply(title: str, summary: str) -> str:
    return json.dumps({"title": title, "summary": summary}, ensure_ascii=False)


async def test_it_takes_the_models_words(model: ChatModel, simulator: LlmSimulator) -> None:
    simulator.then(reply("主从切换后增量同步丢数据", "切换后丢了2秒数据，回退到 2.3.6 正常。"))
    assert await proposed(LINES, ZH, model) == Naming(
        "主从切换后增量同步丢数据", "切换后丢了2秒数据，回退到 2.3.6 正常。"
    )
    assert "13800006021" not in json.dumps([each.body for each in simulator.asked], ensure_ascii=False)


@pytest.mark.parametrize(
    "said",
    [
        reply("主从切换后丢了30秒数据", "x"),
        reply("切换后丢数据", "修复见 https://fake.example/fix"),
        reply("", "丢数据"),
        "好的",
        ModelFault.DOWN,
        ModelFault.GARBAGE,
    ],
)
async def test_what_it_invents_or_spoils_is_not_taken(
    model: ChatModel, simulator: LlmSimulator, said: str | ModelFault
) -> None:
    simulator.then(said)
    assert await proposed(LINES, ZH, model) == OWN


async def test_without_a_model_and_without_words(model: ChatModel, simulator: LlmSimulator) -> None:
    assert await proposed(LINES, ZH, None) == OWN
    assert (await proposed([], ZH, model)).title
    assert not simulator.asked


def test_a_long_talk_has_a_summary_of_its_own_words() -> None:
    said = ["昨晚主库切了一次，同步丢了数据", "我也是", "备份也失败了，打我电话 13800006021", "早", "重启以后还是报错",
            "备份也失败了", "登录超时"]  # fmt: skip
    lines = [FrozenLine(n, "a", "老杨", "", LINES[0].sent_at, text) for n, text in enumerate(said)]
    naming = extracted(lines, ZH)
    assert naming == Naming("昨晚主库切了一次，同步丢了数据", "备份也失败了，打我电话；重启以后还是报错")
    assert extracted(lines[:5], ZH).summary == ""  # they are read as soon as it
    assert extracted([replace(lines[0], recalled=True), *lines[1:]], ZH).title == "备份也失败了，打我电话"

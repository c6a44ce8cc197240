"""A model names what a command asks for: its words are shown as long as they add nothing to what was said."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from tests.tickets.chat import ASSISTANT, Chat, group_chat
from zhiban.assistant.group_turn import GroupAssistant
from zhiban.integrations.openai import ModelConfig, OpenAIChat
from zhiban.kit.db import Database
from zhiban.kit.http import Http
from zhiban.testing.llm import KEY, LlmSimulator, ModelFault
from zhiban.testing.serving import served
from zhiban.tickets.responder import TicketCommands

OWN = "昨晚主库切了一次，增量同步丢了两三秒的数据"


def named(title: str, summary: str = "") -> str:
    return json.dumps({"title": title, "summary": summary}, ensure_ascii=False)


@pytest.fixture
async def talk(db: Database, workspace: int) -> AsyncIterator[tuple[Chat, LlmSimulator]]:
    simulator = LlmSimulator()
    async with served(simulator.app) as url, Http() as http, group_chat(db, workspace) as chat:
        config = ModelConfig(base=f"{url}/v1/", model="simulated", key=SecretStr(KEY), timeout=5, tries=1)
        inner = GroupAssistant(db, chat.clock, ASSISTANT)
        chat.commands = TicketCommands(inner, db, chat.clock, OpenAIChat(config, http))
        yield chat, simulator


async def test_what_a_model_calls_it_is_shown_filed_and_read_without_secrets(talk: tuple[Chat, LlmSimulator]) -> None:
    chat, model = talk
    model.script.append(named("主库切换后增量同步丢数据", "切换后位点会跳，回退到 2.3.6 就没事。"))
    assert "标题：主库切换后增量同步丢数据" in await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "确认")
    assert await chat.rows("select title, summary from ticket") == [
        ("主库切换后增量同步丢数据", "切换后位点会跳，回退到 2.3.6 就没事。")
    ]
    assert "13800006021" not in json.dumps([one.body for one in model.asked], ensure_ascii=False)


@pytest.mark.parametrize(
    "answer",
    [
        named("主库 2.4.9 切换后丢数据"),  # nobody spoke of that version
        named("主库切换后丢数据", "详情见 https://fake.example.net/x"),
        named("主库切换后丢了 300 秒的数据"),
        named(""),
        ModelFault.GARBAGE,
        ModelFault.DOWN,
    ],
)
async def test_what_adds_a_fact_or_is_none_gives_way_to_the_words_of_the_group(
    talk: tuple[Chat, LlmSimulator], answer: str | ModelFault
) -> None:
    chat, model = talk
    model.script.append(answer)
    assert f"标题：{OWN}" in await chat.asks("liang", "以上5条开工单")
    assert len(model.asked) == 1


async def test_whoever_says_the_title_is_not_second_guessed(talk: tuple[Chat, LlmSimulator]) -> None:
    chat, model = talk
    assert "标题：丢数据" in await chat.asks("liang", "以上5条开工单，标题：丢数据")
    assert not model.asked

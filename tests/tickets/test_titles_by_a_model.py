"""A model names what a command asks for: its words are shown as long as they add nothing to what was said."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pydantic import SecretStr

from tests.tickets.cards import CardChat, card_chat
from tests.tickets.chat import ASSISTANT, FINDER, Chat, group_chat
from zhiban.assistant.group_turn import GroupAssistant
from zhiban.automation import service as rules
from zhiban.automation.definition import load_definition
from zhiban.bootstrap import reactions
from zhiban.conversations import service as conversations
from zhiban.conversations.models import Priority
from zhiban.events import SYSTEM
from zhiban.integrations.openai import ModelConfig, OpenAIChat
from zhiban.kit.db import Database
from zhiban.kit.http import Http
from zhiban.testing.llm import KEY, LlmSimulator, ModelFault
from zhiban.testing.serving import served
from zhiban.tickets.jobs import TicketJobs
from zhiban.tickets.naming_later import NAME_TICKET
from zhiban.tickets.responder import TicketCommands
from zhiban.tickets.service import retitle

OWN = "昨晚主库切了一次，增量同步丢了两三秒的数据"


def named(title: str, summary: str = "") -> str:
    return json.dumps({"title": title, "summary": summary}, ensure_ascii=False)


@pytest.fixture
async def talk(db: Database, workspace: int) -> AsyncIterator[tuple[Chat, LlmSimulator]]:
    simulator = LlmSimulator()
    async with served(simulator.app) as url, Http() as http, group_chat(db, workspace) as chat:
        config = ModelConfig(base=f"{url}/v1/", model="simulated", key=SecretStr(KEY), timeout=5, tries=1)
        inner = GroupAssistant(db, chat.clock, ASSISTANT)
        chat.commands = TicketCommands(inner, db, chat.clock, OpenAIChat(config, http), FINDER)
        yield chat, simulator


async def test_what_a_model_calls_it_is_shown_filed_and_read_without_secrets(talk: tuple[Chat, LlmSimulator]) -> None:
    chat, model = talk
    model.script.append(named("主库切换后增量同步丢数据", "切换后位点会跳，回退到 2.3.6 就没事。"))
    shown = await chat.asks("liang", "以上5条开工单")
    assert "标题：主库切换后增量同步丢数据\n摘要：切换后位点会跳，回退到 2.3.6 就没事。" in shown  # all that leaves
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


TROUBLE = "导出又失败了，打我电话 13800006021"
EXTRACTED = "导出又失败了，打我电话"


async def urgent(group: CardChat, priority: Priority = Priority.URGENT) -> None:
    """Somebody complains, and a colleague calls it urgent."""
    chat = group.chat
    await chat.says("lu", TROUBLE)
    async with chat.database.transaction(chat.workspace_id) as tx:
        await conversations.set_priority(tx, chat.conversation_id, priority=priority, by=SYSTEM, now=group.stand.now)


async def by_rule(group: CardChat) -> None:
    """A rule opens a ticket of what is said next, and its issue."""
    chat = group.chat
    asked = {"kind": "open_ticket", "messages": 2, "issue": "linked"}
    definition = load_definition({"on": ["conversation_updated"], "conditions": {"conditions": []}, "actions": [asked]})
    async with chat.database.transaction(chat.workspace_id) as tx:
        now = group.stand.now
        await rules.add(tx, name="开工单", definition=definition, enabled=True, stops=False, by=SYSTEM, now=now)
    chat.database.reactions = reactions()  # they know the rules of when they began
    await urgent(group)


async def named_later(group: CardChat, model: OpenAIChat | None) -> None:
    """The job that such a ticket leaves."""
    jobs = TicketJobs(group.stand.database, group.stand.connections, group.chat.clock, model)
    waiting = "delete from jobs.procrastinate_jobs where task_name = %(name)s returning args"
    for (args,) in await group.chat.rows(waiting, name=NAME_TICKET.name):
        await jobs.name_ticket(**args)


@pytest.mark.parametrize(
    ("answer", "title"),
    [(named("导出失败", "导出又失败了。"), "导出失败"), (named("导出 300 单失败"), EXTRACTED), (None, EXTRACTED)],
)
async def test_what_a_rule_opens_is_called_better_before_its_issue_is_opened(
    answer: str | None, title: str, db: Database, workspace: int
) -> None:
    simulator = LlmSimulator()
    async with served(simulator.app) as url, Http() as http, card_chat(db, workspace) as group:
        config = ModelConfig(base=f"{url}/v1/", model="simulated", key=SecretStr(KEY), timeout=5, tries=1)
        simulator.script.extend([answer] if answer else [])
        await by_rule(group)
        assert (await group.chat.rows("select title from ticket"))[0][0].startswith(EXTRACTED)
        await group.stand.work()
        assert not group.stand.board.issues  # nobody is asked while the rule's transaction is open, and it waits
        await named_later(group, OpenAIChat(config, http) if answer else None)
        await group.stand.work()
        (issue,) = group.stand.board.issues.values()
        assert issue.title.startswith(title)
        assert ("导出又失败了。" in issue.body.splitlines()[0]) == (title == "导出失败")
        assert "13800006021" not in json.dumps([one.body for one in simulator.asked], ensure_ascii=False) + issue.body


async def test_a_ticket_that_nobody_names_in_time_is_filed_as_it_is_called(db: Database, workspace: int) -> None:
    simulator = LlmSimulator()
    async with served(simulator.app) as url, Http() as http, card_chat(db, workspace) as group:
        config = ModelConfig(base=f"{url}/v1/", model="simulated", key=SecretStr(KEY), timeout=5, tries=1)
        await by_rule(group)
        group.chat.clock.advance(timedelta(seconds=11))
        await group.stand.work()
        (issue,) = group.stand.board.issues.values()
        assert issue.title.startswith(EXTRACTED)
        # What comes later changes the issue, as long as nobody has called it otherwise.
        simulator.script.append(named("导出失败", "导出又失败了。"))
        await named_later(group, OpenAIChat(config, http))
        await group.stand.work()
        (issue,) = group.stand.board.issues.values()
        assert issue.title == "导出失败"
        await group.chat.rows("update ticket set state = 'done' returning 1")
        await urgent(group, Priority.HIGH)
        async with group.chat.database.transaction(group.chat.workspace_id) as tx:
            newest = await tx.value("select max(id) from ticket")
            await retitle(tx, newest, "我起的名字", by=SYSTEM, now=group.stand.now)
        simulator.script.append(named("导出失败", "导出又失败了。"))
        await named_later(group, OpenAIChat(config, http))
        assert await group.chat.rows("select title, summary from ticket order by id desc limit 1") == [
            ("我起的名字", "")
        ]

"""Notices by a Telegram bot, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from zhiban.integrations.telegram import TelegramConfig, TelegramNotifier, cut_units, units, written
from zhiban.kit.http import Http
from zhiban.ports import ConnectionBroken, Notice, TryLater
from zhiban.testing.serving import served
from zhiban.testing.telegram import TOKEN, TelegramSimulator

WAITING = Notice("n-1", "王芳 需要人工处理", "问题：<b>退款</b> & 运费？", "http://127.0.0.1:8000/c/7?a=1&b=2")


@pytest.fixture
async def place() -> AsyncIterator[tuple[TelegramSimulator, TelegramNotifier]]:
    simulator = TelegramSimulator()
    async with served(simulator.app) as url, Http() as http:
        yield simulator, TelegramNotifier(TelegramConfig(token=SecretStr(TOKEN), base=url), http)


Place = tuple[TelegramSimulator, TelegramNotifier]


async def test_a_notice_arrives_as_it_was_written(place: Place) -> None:
    simulator, notifier = place
    await notifier.notify("telegram:8518085684", WAITING)
    assert [sent.text for sent in simulator.sent] == [f"{WAITING.title}\n{WAITING.text}\n{WAITING.url}"]


async def test_slow_down_is_obeyed(place: Place) -> None:
    simulator, notifier = place
    simulator.slow_down(17)
    with pytest.raises(TryLater) as caught:
        await notifier.notify("telegram:8518085684", WAITING)
    assert caught.value.after == 17


@pytest.mark.parametrize("status", [500, 502, 418])
async def test_a_broken_server_is_tried_later(place: Place, status: int) -> None:
    simulator, notifier = place
    simulator.script.append((status, {}))
    with pytest.raises(TryLater):
        await notifier.notify("8518085684", WAITING)


async def test_wrong_chats_are_said_in_words(place: Place) -> None:
    simulator, notifier = place
    simulator.blocked.add("42")
    for address in ("telegram:99", "telegram:42", "telegram:hello world", "telegram:"):
        with pytest.raises(ConnectionBroken) as caught:
            await notifier.notify(address, WAITING)
        assert TOKEN not in caught.value.sentence


async def test_a_group_that_became_a_supergroup_is_followed(place: Place) -> None:
    simulator, notifier = place
    simulator.moved["-5"] = -1005
    simulator.chats.add("-1005")
    await notifier.notify("telegram:-5", WAITING)
    assert [sent.chat for sent in simulator.sent] == ["-1005"]


async def test_a_wrong_or_missing_token() -> None:
    simulator = TelegramSimulator()
    async with served(simulator.app) as url, Http() as http:
        for token in ("1:wrong", ""):
            with pytest.raises(ConnectionBroken, match="TELEGRAM_BOT_TOKEN") as caught:
                await TelegramNotifier(TelegramConfig(token=SecretStr(token), base=url), http).notify(
                    "telegram:1", WAITING
                )
            assert "wrong" not in caught.value.sentence


async def test_nobody_listening() -> None:
    async with Http() as http:
        notifier = TelegramNotifier(TelegramConfig(token=SecretStr(TOKEN), base="http://127.0.0.1:9"), http)
        with pytest.raises(TryLater, match="TELEGRAM_API_BASE") as caught:
            await notifier.notify("telegram:8518085684", WAITING)
        assert TOKEN not in caught.value.sentence


async def test_the_longest_notice_fits(place: Place) -> None:
    simulator, notifier = place
    await notifier.notify("telegram:8518085684", Notice("n", "😀" * 500, "<&>😀" * 3000, WAITING.url))
    assert units(simulator.sent[0].text) <= 4096
    assert simulator.sent[0].text.endswith(str(WAITING.url))


@given(text=st.text(max_size=60), limit=st.integers(1, 60))
def test_cutting_keeps_the_limit(text: str, limit: int) -> None:
    assert units(cut_units(text, limit)) <= limit or units(text) <= limit


@given(st.text(), st.text())
def test_whatever_is_written_there_are_only_our_marks(title: str, text: str) -> None:
    marked = written(Notice("n", title, text))
    assert marked.count("<") == marked.count(">") == 2

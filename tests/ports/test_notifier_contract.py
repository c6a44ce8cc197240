"""What every way to our own people promises: the twin in memory and each real one, over the simulated wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from zhiban.integrations.apprise import AppriseNotifier
from zhiban.integrations.telegram import TelegramConfig, TelegramNotifier
from zhiban.integrations.wecom.robot import GroupRobot
from zhiban.kit.http import Http
from zhiban.ports import ConnectionBroken, Notice, Notifier, TryLater
from zhiban.testing.notices import NoticeBoard, NoticeHook
from zhiban.testing.serving import served
from zhiban.testing.telegram import TOKEN, TelegramSimulator
from zhiban.testing.wecom import WeComSimulator, application

CHAT = "telegram:8518085684"
KEY = "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"
WAITING = Notice("n-1", "王芳 需要人工处理", "问题：退款多久到账？\n时间：11-20 10:00", "https://desk.example.test/c/7")


@dataclass
class Way:
    """A notifier, an address that it serves, what arrived there, and a mishap to plan."""

    notifier: Notifier
    address: str
    wrong: str  # an address that is understood and leads to nobody
    arrived: Callable[[], list[str]]
    busy: Callable[[], object]


@asynccontextmanager
async def _memory() -> AsyncIterator[Way]:
    board = NoticeBoard()

    def arrived() -> list[str]:
        return [f"{notice.title}\n{notice.text}\n{notice.url or ''}" for _, notice in board.pinned]

    board.closed.add("desk:nobody")
    yield Way(board, "desk:all", "desk:nobody", arrived, lambda: board.script.append(TryLater("busy", after=1)))


@asynccontextmanager
async def _telegram() -> AsyncIterator[Way]:
    simulator = TelegramSimulator()
    async with served(simulator.app) as url, Http() as http:
        notifier = TelegramNotifier(TelegramConfig(token=SecretStr(TOKEN), base=url), http)
        sent = lambda: [one.text for one in simulator.sent]  # noqa: E731
        yield Way(notifier, CHAT, "telegram:1", sent, lambda: simulator.slow_down(5))


@asynccontextmanager
async def _robot() -> AsyncIterator[Way]:
    async with WeComSimulator() as simulator, served(application(simulator)) as url, Http() as http:
        simulator.add_robot(KEY)
        robot = GroupRobot(http, f"{url}/cgi-bin")
        yield Way(
            robot,
            f"wecom-robot:{KEY}",
            "wecom-robot:nobody",
            lambda: [str(sent.body.get("content", "")) for sent in simulator.robots.messages],
            lambda: simulator.fail("webhook/send", status=503),
        )


@asynccontextmanager
async def _apprise() -> AsyncIterator[Way]:
    hook = NoticeHook()
    notifier = AppriseNotifier(wait=10)
    async with served(hook.app) as url:
        base = url.replace("http://", "json://")
        yield Way(
            notifier,
            f"{base}/desk",
            "nosuchway://nobody",
            lambda: [f"{one['title']}\n{one['message']}" for one in hook.received],
            lambda: hook.statuses.append(503),
        )
    notifier.close()


WAYS: dict[str, Callable[[], AbstractAsyncContextManager[Way]]] = {
    "memory": _memory,
    "telegram": _telegram,
    "robot": _robot,
    "apprise": _apprise,
}


@pytest.fixture(params=WAYS)
async def way(request: pytest.FixtureRequest) -> AsyncIterator[Way]:
    async with WAYS[request.param]() as found:
        yield found


async def test_a_notice_arrives_with_all_it_says(way: Way) -> None:
    await way.notifier.notify(way.address, WAITING)
    (said,) = way.arrived()
    for words in (WAITING.title, "退款多久到账？", "11-20 10:00", "desk.example.test/c/7"):
        assert words in said


async def test_a_notice_without_an_address_arrives_too(way: Way) -> None:
    await way.notifier.notify(way.address, Notice("n-2", "测试通知", "看到这条就说明通知正常。"))
    (said,) = way.arrived()
    assert "看到这条" in said
    assert "None" not in said


async def test_a_long_notice_is_cut_rather_than_lost(way: Way) -> None:
    await way.notifier.notify(way.address, Notice("n-3", "长", "问题：" + "退款" * 20_000))
    (said,) = way.arrived()
    assert "退款退款" in said


async def test_busy_means_later(way: Way) -> None:
    way.busy()
    with pytest.raises(TryLater) as caught:
        await way.notifier.notify(way.address, WAITING)
    assert caught.value.after > 0
    assert not way.arrived()


async def test_an_address_that_leads_to_nobody_has_to_be_mended(way: Way) -> None:
    with pytest.raises(ConnectionBroken) as caught:
        await way.notifier.notify(way.wrong, WAITING)
    assert KEY not in caught.value.sentence
    assert not way.arrived()

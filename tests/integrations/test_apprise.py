"""Notices through Apprise, to a real web hook."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from zhiban.integrations.apprise import HOSTED_SCHEMES, AppriseNotifier, understands
from zhiban.ports import ConnectionBroken, Notice, TryLater
from zhiban.testing.notices import NoticeBoard, NoticeHook
from zhiban.testing.serving import served

WAITING = Notice("n-1", "王芳 需要人工处理", "问题：退款", "http://127.0.0.1:8000/c/7")


@pytest.fixture
async def notifier() -> AsyncIterator[AppriseNotifier]:
    notifier = AppriseNotifier(wait=10)
    yield notifier
    notifier.close()


async def test_a_notice_arrives(notifier: AppriseNotifier) -> None:
    hook = NoticeHook()
    async with served(hook.app) as url:
        await notifier.notify(url.replace("http://", "json://") + "/desk", WAITING)
    assert hook.received[0]["title"] == WAITING.title
    assert hook.received[0]["message"] == f"{WAITING.text}\n{WAITING.url}"
    assert any(thread.name.startswith("apprise") for thread in threading.enumerate())


async def test_a_refusal_is_tried_later_and_tells_no_address(notifier: AppriseNotifier) -> None:
    hook = NoticeHook()
    hook.statuses.append(500)
    async with served(hook.app) as url:
        address = url.replace("http://", "json://user:secret@")
        with pytest.raises(TryLater) as caught:
            await notifier.notify(address, WAITING)
    assert "secret" not in caught.value.sentence


async def test_an_address_does_not_say_how_long_and_how_carefully_we_call() -> None:
    called: list[str] = []

    async def answer(request: Request) -> Response:
        called.append(request.url.path)
        if request.url.path.startswith("/away"):
            return RedirectResponse("/there", 307)
        await asyncio.sleep(30)
        return Response()

    notifier = AppriseNotifier(wait=10, silence=0.3)
    options = "rto=100000&cto=100000&RTO=100000&%72to=100000&retry=5&wait=60&redirect=yes&verify=no"
    async with served(Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])) as url:
        for path in ("silent", "away"):
            with pytest.raises(TryLater, match="did not take"):  # its thread has come back by itself
                await notifier.notify(f"{url.replace('http://', 'json://')}/{path}?{options}", WAITING)
    notifier.close()
    assert [one.strip("/") for one in called] == ["silent", "away"]


def test_the_services_that_agents_may_enter_have_no_host_of_their_own() -> None:
    from apprise.manager_plugins import NotificationManager

    known = NotificationManager()
    for scheme in HOSTED_SCHEMES:
        assert scheme in known, scheme
        assert not any("{host}" in one or "{hostname}" in one for one in known[scheme].templates), scheme
    assert not {"json", "jsons", "xml", "form", "mailto", "mailtos", "ntfy", "syslog", "apprise"} & HOSTED_SCHEMES


async def test_an_address_that_apprise_does_not_know(notifier: AppriseNotifier) -> None:
    with pytest.raises(ConnectionBroken) as caught:
        await notifier.notify("nonsense://user:secret@x", WAITING)
    assert "secret" not in caught.value.sentence
    assert "nonsense" in caught.value.sentence


@pytest.mark.parametrize(
    "address",
    ["mailto://user:password@example.com", "feishu://a1b2c3d4e5", "dingtalk://abcdefgh12345678", "wecombot://abcdef-0123",
     "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"],
)  # fmt: skip
def test_the_usual_addresses_are_understood(address: str) -> None:
    assert understands(address)


async def test_the_board_pins_each_notice_once() -> None:
    board = NoticeBoard()
    board.script.append(TryLater("later"))
    with pytest.raises(TryLater):
        await board.notify("board:1", WAITING)
    await board.notify("board:1", WAITING)
    await board.notify("board:1", WAITING)
    assert board.pinned == [("board:1", WAITING)]

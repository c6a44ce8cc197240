"""The simulated platform itself: its callbacks, its retries, its strings from another process."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from zhiban.integrations.wecom.callback import CallbackAuthenticator
from zhiban.integrations.wecom.config import WeComConfig
from zhiban.kit.http import Http, Unreachable
from zhiban.ports import Challenge, VerifiedWebhook, Webhook
from zhiban.testing.serving import served
from zhiban.testing.wecom import AES_KEY, AGENT_ID, CORP_ID, OPEN_KFID, SECRET, TOKEN, WeComSimulator, application


class House:
    """A callback address that proves what it gets and answers with the statuses it is told to."""

    def __init__(self) -> None:
        config = WeComConfig(corp_id=CORP_ID, agent_id=AGENT_ID, secret=SECRET, token=TOKEN, encoding_aes_key=AES_KEY)
        self._door = CallbackAuthenticator(config)
        self.bells: list[VerifiedWebhook] = []
        self.statuses: list[int] = []

    async def answer(self, request: Request) -> Response:
        query = {name: request.query_params.getlist(name) for name in request.query_params}
        method: Any = request.method
        found = self._door.authenticate(Webhook(method, query, await request.body(), datetime.now(UTC)))
        if isinstance(found, Challenge):
            return PlainTextResponse(found.body)
        self.bells.append(found)
        return Response(status_code=self.statuses.pop(0) if self.statuses else 200)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/wecom/callback", self.answer, methods=["GET", "POST"])])


@pytest.fixture
def house() -> House:
    return House()


@asynccontextmanager
async def connected(house: House, simulator: WeComSimulator) -> AsyncIterator[WeComSimulator]:
    simulator.callbacks.retry_pause = 0.01
    async with simulator, served(house.app()) as address:
        simulator.configure(f"{address}/wecom/callback")
        yield simulator


async def test_saving_the_address_proves_it(house: House) -> None:
    async with connected(house, WeComSimulator()) as sim:
        assert (await sim.verify()).isdigit()
        sim.configure(sim.callbacks.envelope.target.url.replace("callback", "elsewhere"))
        with pytest.raises(RuntimeError, match="404"):
            await sim.verify()


async def test_a_message_rings_and_an_event_is_told(house: House) -> None:
    async with connected(house, WeComSimulator()) as sim:
        sim.contact_says("wmLIN", "怎么退货？")
        sim.befriend("chen", "wmLIN", state="]]>")
        await sim.callbacks.settle()
    assert {bell.pulls for bell in house.bells} == {True, False}
    assert next(bell for bell in house.bells if bell.pulls).account == OPEN_KFID


async def test_hostile_55_a_failing_address_is_asked_three_times(house: House) -> None:
    house.statuses = [500, 503, 500]
    async with connected(house, WeComSimulator()) as sim:
        sim.contact_says("wmLIN", "在吗")
        await sim.callbacks.settle()
        assert sim.callbacks.log[0].statuses == [500, 503, 500]
    assert len(house.bells) == 3
    assert len({bell.digest for bell in house.bells}) == 1


async def test_nobody_at_home_is_no_disaster() -> None:
    async with WeComSimulator() as sim:
        sim.callbacks.retry_pause = 0.01
        sim.configure("http://127.0.0.1:9/wecom/callback")
        sim.contact_says("wmLIN", "在吗")
        await sim.callbacks.settle()
        assert sim.callbacks.log[0].statuses == [None, None, None]


async def test_callbacks_may_come_often_late_and_in_any_order() -> None:
    async def heard(seed: int) -> tuple[list[bytes], list[float]]:
        house = House()
        async with connected(house, WeComSimulator()) as sim:
            sim.callbacks.seed(seed)
            sim.callbacks.times, sim.callbacks.delay, sim.callbacks.shuffle = 3, 0.01, True
            for count in range(12):
                sim.befriend("chen", f"wm{count:02d}")
            await sim.callbacks.settle()
            return [bell.digest for bell in house.bells], [delivery.pause for delivery in sim.callbacks.log]

    digests, pauses = await heard(5)
    first_heard = list(dict.fromkeys(digests))
    assert len(digests) == 36
    assert len(first_heard) == 12
    # Copies of one callback overtake each other and those of others: hardly a triple arrives in one piece.
    assert sum(len(set(digests[at : at + 3])) == 1 for at in range(34)) < 6
    last_heard = list(dict.fromkeys(reversed(digests)))[::-1]
    assert last_heard != first_heard
    assert pauses != sorted(pauses)
    assert (await heard(5))[1] == pauses
    assert (await heard(6))[1] != pauses


async def test_a_lost_callback_leaves_the_message(house: House) -> None:
    async with connected(house, WeComSimulator()) as sim:
        sim.callbacks.silent = True
        sim.contact_says("wmLIN", "在吗")
        await sim.callbacks.settle()
        assert len(sim.kf.accounts[OPEN_KFID].log) == 1
    assert not house.bells


async def test_it_can_be_mounted_and_moved_from_elsewhere(house: House) -> None:
    sim = WeComSimulator()
    app = Starlette(routes=[Mount("/sim", application(sim))])
    async with connected(house, sim), served(app) as address, Http() as http:

        async def control(verb: str, **arguments: Any) -> Any:
            answer = await http.request("POST", f"{address}/sim/control/{verb}", json=arguments)
            assert answer.status == 200, answer.text
            return answer.json()["result"]

        token = (
            await http.request("GET", f"{address}/sim/cgi-bin/gettoken?corpid={CORP_ID}&corpsecret={SECRET}")
        ).json()["access_token"]
        api = f"{address}/sim/cgi-bin/kf/send_msg?access_token={token}"
        assert await control("contact_says", contact="wmLIN", text="你好") == "m000000000001"
        await control("fail", path="kf/send_msg", errcode=45009)
        message = {
            "touser": "wmLIN",
            "open_kfid": OPEN_KFID,
            "msgid": "a",
            "msgtype": "text",
            "text": {"content": "字" * 900},
        }
        assert (await http.request("POST", api, json=message)).json()["errcode"] == 45009
        assert (await http.request("POST", api, json=message)).json() == {"errcode": 0, "errmsg": "ok", "msgid": "a"}
        assert (await http.request("POST", api, json=message)).json()["errcode"] == 95099  # whatever it may mean
        (sent,) = await control("sent", contact="wmLIN")
        assert len(sent["body"]["text"]["content"]) == 682
        assert await control("sent", since=1) == []
        assert await control("state", contact="wmLIN") == 0
        await control("servicer_takes", contact="wmLIN", servicer="chen")
        assert await control("state", contact="wmLIN") == 3
        assert (await control("journal"))["counts"]["kf/send_msg"] == 3
        await control("callbacks", times=2)
        await control("settle")
        await control("advance", seconds=10)
        await control("account", open_kfid="wkNEW", servicers=["chen"])
        await control("clear_faults", seed=3)
        assert await control("verify")
        assert len((await control("traffic", rate=500, seconds=0.1, contacts=10))["said"]) == 50
        assert await control("app_messages") == await control("robot_messages") == []
        await control("reset")
        assert await control("sent") == []
        for verb, status in (("nothing", 404), ("contact_says", 400), ("state", 400)):
            assert (await http.request("POST", f"{address}/sim/control/{verb}", json={})).status == status
        assert (await http.request("GET", f"{address}/sim/nowhere")).status == 404


async def test_planned_mishaps_can_be_drawn_by_lot() -> None:
    def struck(seed: int) -> list[bool]:
        sim = WeComSimulator()
        sim.faults.clear(seed)
        sim.fail("kf/send_msg", errcode=-1, probability=0.3, times=None)
        sim.fail("*", latency=0.01, times=2)
        return [any(not fault.only_slow for fault in sim.faults.pick("kf/send_msg")) for _ in range(200)]

    assert struck(5) == struck(5) != struck(6)
    assert 30 < sum(struck(5)) < 90


async def test_waiting_for_what_never_comes_ends() -> None:
    async with WeComSimulator() as sim:
        with pytest.raises(TimeoutError):
            await sim.until_sent("wmLIN", timeout=0.1)


async def test_two_hundred_messages_a_second_are_nothing_to_it(house: House) -> None:
    async with connected(house, WeComSimulator()) as sim:
        loop = asyncio.get_running_loop()
        started = loop.time()
        for count in range(400):
            sim.contact_says(f"wm{count:04d}", "在吗")
        await sim.callbacks.settle()
        assert loop.time() - started < 2
    assert len(house.bells) == 400


@pytest.mark.process
async def test_it_runs_as_a_program_of_its_own() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "zhiban.testing.wecom", "--port", str(port), "--latency", "0.001"
    )
    try:
        async with Http() as http, asyncio.timeout(60):
            while True:
                try:
                    answer = await http.request("GET", f"http://127.0.0.1:{port}/cgi-bin/gettoken?corpid={CORP_ID}")
                    break
                except Unreachable:
                    assert program.returncode is None
                    await asyncio.sleep(0.05)
            assert answer.json()["errcode"] == 40001
    finally:
        program.terminate()
        await program.wait()

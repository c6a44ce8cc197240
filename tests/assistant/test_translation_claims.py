"""Translations asked for in several processes: one call of the model, a claim that ends, and what it took."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from tests.kernel_desk import NOON, Desk, open_desk

from zhiban.assistant.drafting import ModelFailed
from zhiban.assistant.metering import Prices
from zhiban.assistant.translating import CLAIMED_FOR, MOST_A_MINUTE, REFUSED_FOR, ModelAdds, Translator
from zhiban.assistant.translation_calls import claim_call
from zhiban.events import Actor
from zhiban.integrations.openai import ModelConfig, OpenAIChat
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.http import Http
from zhiban.testing.llm import KEY, LlmSimulator, ModelFault
from zhiban.testing.serving import served

ASKED = "My cup arrived with a crack."
PRICES = Prices(2.0, 8.0)


@dataclass
class Office:
    """A desk, its model, and translators as two processes have them."""

    desk: Desk
    clock: SetClock
    model: LlmSimulator
    translators: list[Translator] = field(default_factory=list)

    async def written(self, text: str = ASKED) -> tuple[int, int]:
        """A conversation, and the contact's message."""
        async with self.desk.database.transaction(self.desk.workspace_id) as tx:
            state = await self.desk.writes(tx, "wm1", text, at=self.clock.now())
            return state.id, await tx.value("select max(id) from message where author = 'contact'")

    async def asks(self, process: int, message: tuple[int, int], *, agent: int | None = None) -> str:
        by = Actor("agent", self.desk.lin if agent is None else agent)
        return await self.translators[process].translate(self.desk.workspace_id, *message, "zh", by=by)

    def begins(self, process: int, message: tuple[int, int], *, agent: int | None = None) -> asyncio.Task[str]:
        return asyncio.create_task(self.asks(process, message, agent=agent))

    async def is_asked(self) -> None:
        """Wait until the model has been asked."""
        async with asyncio.timeout(30):
            while not self.model.asked:  # noqa: ASYNC110 - the simulator is asked over the wire
                await asyncio.sleep(0.01)

    async def calls(self) -> list[tuple[Any, ...]]:
        async with self.desk.database.transaction(self.desk.workspace_id) as tx:
            return await tx.rows(
                "select agent_id, outcome, model, input_tokens > 0, cost::float8 from translation_call order by id"
            )


@pytest.fixture
async def office(db: Database, workspace: int) -> AsyncIterator[Office]:
    desk, clock, model = await open_desk(db, workspace), SetClock(NOON), LlmSimulator()
    found = Office(desk, clock, model)
    async with served(model.app) as url, Http() as http:
        for timeout in (2.0, 10.0):
            config = ModelConfig(base=f"{url}/v1", model="m", key=SecretStr(KEY), tries=1, timeout=timeout)
            found.translators.append(Translator(db, clock, OpenAIChat(config, http), cost=PRICES.cost))
        yield found


async def test_two_who_ask_at_once_in_two_processes_are_one_call(office: Office) -> None:
    message = await office.written()
    office.model.latency = 0.3
    both = await asyncio.gather(office.asks(0, message), office.asks(1, message, agent=office.desk.chen))
    assert both == [f"译文：{ASKED}"] * 2
    assert len(office.model.asked) == 1
    ((_, outcome, model, read, cost),) = await office.calls()
    assert (outcome, model, read) == ("done", "m", True)
    counts = office.model.counts
    assert cost == pytest.approx((counts["input_tokens"] * 2 + counts["output_tokens"] * 8) / 1_000_000, abs=1e-6)
    assert await office.asks(1, message) == both[0]
    assert len(office.model.asked) == len(await office.calls()) == 1


async def test_a_model_that_hangs_is_waited_for_once_by_all(office: Office) -> None:
    """Whoever waited hears the same, instead of waiting as long again; who asks afterwards is answered."""
    message = await office.written()
    office.model.then(ModelFault.HANG)
    first = office.begins(0, message)
    await office.is_asked()
    second = office.begins(1, message, agent=office.desk.chen)
    assert [type(one) for one in await asyncio.gather(first, second, return_exceptions=True)] == [ModelFailed] * 2
    assert await office.calls() == [(office.desk.lin, "failed", None, False, 0.0)]
    assert await office.asks(1, message) == f"译文：{ASKED}"
    assert [outcome for _, outcome, *_ in await office.calls()] == ["failed", "done"]


async def test_the_claim_of_a_killed_process_runs_out(office: Office) -> None:
    message = await office.written()
    async with office.desk.database.transaction(office.desk.workspace_id) as tx:  # and then it was killed
        await claim_call(tx, message[1], "zh", agent_id=office.desk.lin, now=office.clock.now(), lasts=CLAIMED_FOR)
    waiting = office.begins(1, message, agent=office.desk.chen)
    assert (await asyncio.wait([waiting], timeout=0.5))[0] == set()
    assert office.model.asked == []
    office.clock.advance(CLAIMED_FOR)
    assert await waiting == f"译文：{ASKED}"
    assert [call[:2] for call in await office.calls()] == [(office.desk.lin, "lost"), (office.desk.chen, "done")]


async def test_who_was_thought_dead_changes_nothing_and_pays(office: Office) -> None:
    """A process that stood still goes on: the words that are kept stay, and what it took is counted."""
    message = await office.written()
    office.model.latency = 0.6
    office.model.then(json.dumps({"text": "我的杯子裂了。"}, ensure_ascii=False))
    slow = office.begins(1, message)
    await office.is_asked()
    office.clock.advance(CLAIMED_FOR)
    office.model.latency = 0
    assert await office.asks(0, message, agent=office.desk.chen) == f"译文：{ASKED}"
    assert await slow == f"译文：{ASKED}"
    assert [call[:4] for call in await office.calls()] == [
        (office.desk.lin, "lost", "m", True),
        (office.desk.chen, "done", "m", True),
    ]
    async with office.desk.database.transaction(office.desk.workspace_id) as tx:
        assert await tx.value("select count(*) from event where kind = 'message_translated'") == 1


async def test_who_is_stopped_leaves_no_claim(office: Office) -> None:
    message = await office.written()
    office.model.then(ModelFault.HANG)
    stopped = office.begins(1, message)
    await office.is_asked()
    waiting = office.begins(0, message, agent=office.desk.chen)
    stopped.cancel()
    with suppress(asyncio.CancelledError):
        await stopped
    assert await waiting == f"译文：{ASKED}"
    assert [call[1] for call in await office.calls()] == ["lost", "done"]


async def test_an_agent_asks_for_so_many_a_minute_in_all_processes(office: Office) -> None:
    """Also where both ask for the last one at the same moment."""
    messages = [await office.written(f"{ASKED} {number}") for number in range(MOST_A_MINUTE + 1)]
    for number in range(MOST_A_MINUTE - 1):
        await office.asks(number % 2, messages[number])
    last = await asyncio.gather(office.asks(0, messages[-1]), office.asks(1, messages[-2]), return_exceptions=True)
    (refusal,) = [one for one in last if isinstance(one, Conflict)]
    assert "a minute" in str(refusal)
    assert len(office.model.asked) == MOST_A_MINUTE
    for process in (0, 1):
        assert await office.asks(process, messages[0]) == f"译文：{ASKED} 0"  # what is kept costs nothing
    left = messages[-1] if last[0] is refusal else messages[-2]
    with pytest.raises(Conflict, match="a minute"):
        await office.asks(1, left)
    assert await office.asks(0, left, agent=office.desk.chen)
    office.clock.advance(timedelta(minutes=1))
    assert await office.asks(1, await office.written("Hello again"))


async def test_refused_words_are_not_asked_for_again_by_another_process(office: Office) -> None:
    message = await office.written()
    office.model.then(json.dumps({"text": "请看 https://evil.example/pay"}, ensure_ascii=False))
    for process in (0, 1):
        with pytest.raises(ModelAdds, match=r"evil\.example"):
            await office.asks(process, message)
    ((_, outcome, _, read, cost),) = await office.calls()
    assert (outcome, read, cost > 0) == ("refused", True, True)  # they cost all the same
    office.clock.advance(REFUSED_FOR)
    assert await office.asks(1, message) == f"译文：{ASKED}"


async def test_a_message_that_goes_meanwhile_keeps_nothing(office: Office) -> None:
    message = await office.written()
    office.model.latency = 0.3
    asking = office.begins(1, message)
    await office.is_asked()
    async with office.desk.database.transaction(office.desk.workspace_id) as tx:
        await tx.run("delete from message where id = %(id)s", id=message[1])
    with pytest.raises(NotFound):
        await asking
    assert await office.calls() == []


async def test_what_cannot_be_asked_costs_no_call(office: Office) -> None:
    for text in (" ", "cup " * 1001):
        with pytest.raises(Conflict):
            await office.asks(0, await office.written(text))
    assert (office.model.asked, await office.calls()) == ([], [])

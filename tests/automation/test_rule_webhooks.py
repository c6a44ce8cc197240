"""What rules tell: colleagues by name, and other programs, signed, a few times at most and never inside our network."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.kernel_desk import NOON, Desk, open_desk
from zhiban.automation import queries, rule_webhooks, service
from zhiban.automation.definition import BadDefinition, load_definition
from zhiban.automation.models import RuleRun
from zhiban.automation.rule_webhooks import (
    CALL_WEBHOOK,
    MOST_CALLS,
    RuleWebhooks,
    WebhookSetup,
    WebhookUnanswered,
    signing_secret,
)
from zhiban.events import SYSTEM
from zhiban.integrations.standard_webhooks import signed_headers
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.http import Http
from zhiban.kit.vault import Vault
from zhiban.notifications.queries import notifications
from zhiban.people import teams
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.testing.serving import served
from zhiban.testing.webhook import signature

VAULT = Vault(["a key for tests only"])


@dataclass
class Program:
    """Another program: `answers` holds the statuses of the next answers, oldest first. It may drip without end."""

    calls: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)
    answers: deque[int] = field(default_factory=deque)
    drips: bool = False

    def app(self) -> Starlette:
        async def drops() -> AsyncIterator[bytes]:
            while True:
                yield b"."
                await asyncio.sleep(0.05)

        async def take(request: Request) -> Response:
            self.calls.append((request.url.path, await request.body(), dict(request.headers)))
            if self.drips:
                return StreamingResponse(drops())
            status = self.answers.popleft() if self.answers else 204
            return Response(status_code=status, headers={"location": "http://127.0.0.1:9/"} if status == 302 else {})

        return Starlette(routes=[Route("/{path:path}", take, methods=["POST", "GET"])])


@dataclass
class Calling:
    desk: Desk
    program: Program
    url: str
    webhooks: RuleWebhooks

    async def fires(self, **more: Any) -> RuleRun:
        """A rule that calls acts once."""
        action = {"kind": "call_webhook", "url": more.pop("url", f"{self.url}/hook?a=1")}
        definition = load_definition({"on": ["message_created"], "actions": [action]})
        async with self.desk.database.transaction(self.desk.workspace_id) as tx:
            rule = await service.add(tx, name="告诉别人", definition=definition, enabled=True, by=SYSTEM, now=NOON)
            await self.desk.writes(tx, "wm1", "你好", at=NOON)
            (run,) = await queries.runs_of(tx, rule)
        return run

    async def job(self) -> None:
        """What a worker does of it, once."""
        async with self.desk.database.transaction(self.desk.workspace_id) as tx:
            args = await tx.value(
                "select args from jobs.procrastinate_jobs where task_name = %(name)s", name=CALL_WEBHOOK.name
            )
        await self.webhooks.call(args["workspace_id"], args["run_id"], args["position"])

    async def outcome(self, run: RuleRun) -> tuple[str, dict[str, Any]]:
        async with self.desk.database.transaction(self.desk.workspace_id) as tx:
            found = await queries.access_run(tx, run.id)
        return found.outcome, found.actions[0]


@pytest.fixture
async def calling(db: Database, workspace: int) -> AsyncIterator[Calling]:
    desk, program = await open_desk(db, workspace), Program()
    async with served(program.app()) as url, Http() as http:
        setup = WebhookSetup(signed_headers, ["127.0.0.1"], "https://desk.example.test")
        yield Calling(desk, program, url, RuleWebhooks(db, http, VAULT, SetClock(NOON), setup))


async def test_another_program_is_called_signed_and_once(calling: Calling) -> None:
    run = await calling.fires()
    assert run.actions[0]["outcome"] == "queued"
    await calling.job()
    await calling.job()  # a job may run twice
    ((path, body, headers),) = calling.program.calls
    assert path == "/hook"
    secret = signing_secret(VAULT, calling.desk.workspace_id)
    assert headers["webhook-signature"] == signature(secret, headers["webhook-id"], headers["webhook-timestamp"], body)
    for told in (
        '"name":"告诉别人"',
        '"text":"你好"',
        '"status":"pending"',
        "https://desk.example.test/conversations/",
    ):
        assert told in body.decode()
    outcome, action = await calling.outcome(run)
    assert (outcome, action["outcome"], action["calls"]) == ("acted", "delivered", 1)
    assert secret != signing_secret(VAULT, calling.desk.workspace_id + 1)


async def test_who_is_busy_is_called_again_under_the_same_id_and_at_last_left_alone(calling: Calling) -> None:
    run = await calling.fires()
    calling.program.answers.extend([503, 429])
    for _ in range(2):
        with pytest.raises(WebhookUnanswered):
            await calling.job()
    assert (await calling.outcome(run))[1]["outcome"] == "waiting"
    await calling.job()
    outcome, action = await calling.outcome(run)
    assert (outcome, action["outcome"], action["calls"], "error" in action) == ("acted", "delivered", 3, False)
    assert len({headers["webhook-id"] for _, _, headers in calling.program.calls}) == 1


async def test_the_last_attempt_ends_it(calling: Calling) -> None:
    run = await calling.fires()
    calling.program.answers.extend([500] * MOST_CALLS)
    for _ in range(MOST_CALLS - 1):
        with pytest.raises(WebhookUnanswered):
            await calling.job()
    await calling.job()
    await calling.job()
    assert len(calling.program.calls) == MOST_CALLS
    outcome, action = await calling.outcome(run)
    assert (outcome, action["outcome"], action["error"]) == ("failed", "failed", "The other program answered 500.")


@pytest.mark.parametrize("status", [302, 404])
async def test_a_refusal_is_not_repeated_and_a_redirect_not_followed(calling: Calling, status: int) -> None:
    run = await calling.fires()
    calling.program.answers.append(status)
    await calling.job()
    assert (await calling.outcome(run))[1]["error"] == f"The other program answered {status}."
    assert len(calling.program.calls) == 1


async def test_who_answers_byte_by_byte_is_left_in_time_and_keeps_nobody_else_waiting(
    calling: Calling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_webhooks, "SECONDS", 0.3)
    calling.program.drips = True
    run = await calling.fires()
    with pytest.raises(WebhookUnanswered):
        await asyncio.wait_for(calling.job(), 30)
    _, action = await calling.outcome(run)
    assert (action["outcome"], action["error"]) == ("waiting", "The other program did not answer.")
    async with calling.desk.database.transaction(calling.desk.workspace_id) as tx:
        queue = await tx.value(
            "select queue_name from jobs.procrastinate_jobs where task_name = %(name)s", name=CALL_WEBHOOK.name
        )
    assert queue == "calls"  # where nothing else waits


async def test_rules_do_not_call_into_our_network(calling: Calling) -> None:
    """Neither by name nor by number, unless an operator named the host."""
    port = calling.url.rsplit(":", 1)[1]
    run = await calling.fires(url=f"http://localhost:{port}/metrics")
    await calling.job()
    outcome, action = await calling.outcome(run)
    assert (outcome, action["outcome"], "private network" in action["error"]) == ("failed", "failed", True)
    assert calling.program.calls == []


@pytest.mark.parametrize("url", ["ftp://a.example", "https://", "https://u:p@a.example", "https://a b", "javascript:1"])
def test_what_is_no_address_is_no_rule(url: str) -> None:
    with pytest.raises(BadDefinition):
        load_definition({"on": ["message_created"], "actions": [{"kind": "call_webhook", "url": url}]})


async def told(tx: Transaction, agent: int) -> list[tuple[str, str]]:
    return [(one.kind, one.text) for one in await notifications(tx, Access(agent, Role.AGENT)) if one.kind == "rule"]


async def test_a_rule_tells_the_colleagues_it_names_and_each_once(db: Database, workspace: int) -> None:
    desk = await open_desk(db, workspace)
    async with db.transaction(workspace) as tx:
        team = await teams.create(tx, name="售后", members=[desk.lin, desk.chen], by=SYSTEM, now=NOON)
        actions = [
            {"kind": "notify_agents", "to": "teams", "teams": [team], "text": "{{contact.name}}来了"},
            {"kind": "notify_agents", "to": "assignee", "text": "你的人来了"},
        ]
        rule = await service.add(
            tx,
            name="来人了",
            definition=load_definition({"on": ["message_created"], "actions": actions}),
            enabled=True,
            by=SYSTEM,
            now=NOON,
        )
        await tx.run("update agent set inbox_ids = '{}' where id = %(id)s", id=desk.chen)
        await desk.writes(tx, "wm1", "你好")
        assert await told(tx, desk.lin) == [("rule", "来了")]
        assert await told(tx, desk.chen) == []  # what they do not see
        (run,) = await queries.runs_of(tx, rule)
        assert [one["outcome"] for one in run.actions] == ["done", "nobody"]
    with pytest.raises(BadDefinition, match="whom to tell"):
        load_definition(
            {"on": ["message_created"], "actions": [{"kind": "notify_agents", "to": "agents", "text": "x"}]}
        )

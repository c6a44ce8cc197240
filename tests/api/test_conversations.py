"""The JSON API of conversations: programs read, answer and settle them as the desk does, and every fact names them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.test_tickets import agent, conversation, label
from zhiban.automation import queries as rule_queries
from zhiban.automation.shipped import UNASSIGN_ON_RESOLVE
from zhiban.bootstrap import limits_of
from zhiban.conversations import replies, service
from zhiban.conversations.ingest import ingest
from zhiban.conversations.queries import history
from zhiban.events import Actor, ConversationResolved
from zhiban.insights.models import Measure
from zhiban.people import teams
from zhiban.people.auth import COOKIE
from zhiban.people.tokens import Scope
from zhiban.ports import IncomingMessage, Kind, SenderRole
from zhiban.workers.report_counter import ReportCounter

BOTH = (Scope.CONVERSATIONS_READ, Scope.CONVERSATIONS_WRITE)
HERE = "/api/conversations"


@pytest.fixture
async def token(api: Api) -> str:
    return await api.token("订单系统", *BOTH)


async def keyed(api: Api, path: str, token: str, body: dict[str, Any], key: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
    status, said, _ = await api.send("POST", path, json=body, headers=headers)
    return status, said


async def taken(api: Api, conversation_id: int, by: int) -> None:
    async with api.app.database.transaction(api.workspace) as tx:
        await service.take(tx, conversation_id, by=by, now=api.clock.now())


async def test_a_token_resolves_it_and_it_is_nobodys_with_the_credit_kept(api: Api, token: str) -> None:
    """The story for which rules exist: un-assigned on resolve, counted for the program, and free when they return."""
    lin = await agent(api, "林小满")
    inbox, id_ = await conversation(api)
    await taken(api, id_, lin)
    last = (await api.call("GET", f"{HERE}/{id_}", token))[1]["last_message_id"]
    asked = {"status": "resolved", "seen": last}
    status, told = await api.call("PATCH", f"{HERE}/{id_}", token, json=asked)
    assert (status, told["status"], told["assignee_id"]) == (200, "resolved", None)
    assert (await api.call("PATCH", f"{HERE}/{id_}", token, json=asked))[0] == 200  # once more is once
    async with api.app.database.transaction(api.workspace) as tx:
        (fact,) = [one for one in await history(tx, id_) if isinstance(one, ConversationResolved)]
        assert (fact.actor.kind, fact.actor.ref, fact.assignee_id) == ("api", "订单系统", lin)
        (rule,) = [one.id for one in await rule_queries.rules(tx) if one.shipped == UNASSIGN_ON_RESOLVE]
        (run,) = [one for one in await rule_queries.runs_about(tx, id_) if one.rule_id == rule]
        assert run.outcome == "acted"
        later = api.clock.now() + timedelta(days=1)
        again = IncomingMessage("m2", "周予安", "周予安", SenderRole.CONTACT, Kind.TEXT, "还有个问题", later)
        await ingest(tx, inbox, [again], now=later, process_id=1)
    back = (await api.call("GET", f"{HERE}/{id_}", token))[1]
    assert (back["status"], back["assignee_id"]) == ("pending", None)
    async with asyncio.timeout(30):
        counted: list[tuple[str, int]] = []
        while not counted:
            await ReportCounter(api.app.database, api.clock).run_once(pause=0, settling=timedelta(0))
            async with api.app.database.transaction(api.workspace) as tx:
                counted = await tx.rows("select who, n from report_sum where measure = %(m)s", m=Measure.RESOLVED.value)
    assert counted == [("api", 1)]


async def test_what_the_contact_wrote_meanwhile_is_not_resolved_away(api: Api, token: str) -> None:
    inbox, id_ = await conversation(api)
    await api.call("PATCH", f"{HERE}/{id_}", token, json={"status": "open"})
    seen = (await api.call("GET", f"{HERE}/{id_}", token))[1]["last_message_id"]
    async with api.app.database.transaction(api.workspace) as tx:
        now = api.clock.now()
        said = IncomingMessage("m2", "周予安", "周予安", SenderRole.CONTACT, Kind.TEXT, "等一下", now)
        await ingest(tx, inbox, [said], now=now, process_id=1)
    status, told = await api.call("PATCH", f"{HERE}/{id_}", token, json={"status": "resolved", "seen": seen})
    assert (status, "written again" in told["detail"]) == (409, True)
    assert (await api.call("GET", f"{HERE}/{id_}", token))[1]["status"] == "open"


async def test_one_call_changes_several_things_or_nothing(api: Api, token: str) -> None:
    chen, reader = await agent(api, "陈默"), await agent(api, "外人", inboxes=[])
    await label(api, "退款")
    await label(api, "发货")
    _, id_ = await conversation(api)
    async with api.app.database.transaction(api.workspace) as tx:
        team = await teams.create(tx, name="售后", now=api.clock.now())
    address = f"{HERE}/{id_}"
    wanted: dict[str, Any] = {"assignee_id": chen, "team_id": team, "priority": "high", "labels": ["退款", "发货"]}
    status, told = await api.call("PATCH", address, token, json=wanted)
    assert status == 200
    assert {name: told[name] for name in wanted} == wanted
    assert (told["status"], told["assignee"], told["team"], told["name"]) == ("open", "陈默", "售后", "周予安")
    for wrong, refusal in (
        ({"labels": ["退款"], "assignee_id": reader}, 409),
        ({"labels": ["没有的"]}, 404),
        ({"team_id": 4711, "priority": "low"}, 404),
        ({"status": "snoozed"}, 409),
        ({"status": "open", "seen": 1}, 409),
        ({"assignee_id": chen, "seen": 1}, 409),
        ({"status": "open", "snoozed_until": "2027-01-01T00:00:00Z"}, 409),
        ({"status": "snoozed", "snoozed_until": "2020-01-01T00:00:00Z"}, 409),
        ({"status": "snoozed", "snoozed_until": "9999-12-31T23:59:59-12:00"}, 409),  # a year that nobody reads back
        ({"status": None}, 422),
        ({"stauts": "open"}, 422),
    ):
        assert (await api.call("PATCH", address, token, json=wrong))[0] == refusal, wrong
    assert (await api.call("GET", address, token))[1]["labels"] == ["退款", "发货"]
    until = (api.clock.now() + timedelta(hours=3)).isoformat()
    _, told = await api.call("PATCH", address, token, json={"status": "snoozed", "snoozed_until": until})
    assert told["status"] == "snoozed"
    assert told["snoozed_until"] is not None
    _, told = await api.call("PATCH", address, token, json={"status": "pending", "labels": [], "team_id": None})
    assert (told["status"], told["assignee_id"], told["labels"], told["team_id"]) == ("pending", None, [], None)
    _, told = await api.call("PATCH", address, token, json={"status": "resolved", "assignee_id": None})
    assert told["status"] == "resolved"
    _, told = await api.call("PATCH", address, token, json={"status": "open"})
    assert (told["status"], told["assignee_id"]) == ("open", None)  # a program has nothing in hand
    async with api.app.database.transaction(api.workspace) as tx:
        facts = await history(tx, id_)
        ours = [one for one in facts if one.kind().startswith("conversation_") and one.actor.kind == "api"]
        assert {one.actor.ref for one in ours} == {"订单系统"}
        assert len(ours) >= 8


async def test_replies_go_out_once_and_who_waits_goes_on_waiting(api: Api, token: str) -> None:
    _, id_ = await conversation(api)
    await api.call("PATCH", f"{HERE}/{id_}", token, json={"status": "open"})
    path = f"{HERE}/{id_}/messages"
    first = await keyed(api, path, token, {"text": "包裹已到站"}, "arrived-1")
    assert first == await keyed(api, path, token, {"text": "包裹已到站"}, "arrived-1")
    status, said = first
    (message,) = said["messages"]
    assert (status, message["author"], message["author_name"], message["direction"], message["text"]) == (
        201, "api", "订单系统", "out", "包裹已到站",
    )  # fmt: skip
    other = await api.token("另一个", *BOTH)
    assert (await keyed(api, path, other, {"text": "别的"}, "arrived-1"))[1] != said  # keys are each caller's own
    told = (await api.call("GET", f"{HERE}/{id_}", token))[1]
    assert (told["status"], told["assignee_id"], told["first_reply_at"]) == ("open", None, None)
    assert told["waiting_since"] is not None
    # A person wrote this one, in another program: it is the first reply, and the contact waits no longer.
    _, said = await api.call("POST", path, token, json={"text": "我来看看", "from_person": True, "reply_to": 1})
    assert said["messages"][0]["reply_to"] == 1
    told = (await api.call("GET", f"{HERE}/{id_}", token))[1]
    assert (told["waiting_since"], told["first_reply_at"] is not None, told["assignee_id"]) == (None, True, None)
    async with api.app.database.transaction(api.workspace) as tx:
        lin = int(await tx.value("select id from agent"))
        limits = limits_of("webhook")
        await replies.reply(tx, id_, text="在", by=lin, limits=limits, now=api.clock.now())
    status, refused = await api.call("POST", path, token, json={"text": "晚了", "seen": told["last_message_id"]})
    assert (status, "has just replied" in refused["detail"]) == (409, True)
    assert (await api.call("POST", path, token, json={"text": "   "}))[0] == 409


async def test_a_key_says_it_once_also_after_it_failed_and_was_sent_again_at_the_desk(api: Api, token: str) -> None:
    _, id_ = await conversation(api)
    path, headers = f"{HERE}/{id_}/messages", {"Origin": api.url, "Cookie": f"{COOKIE}={api.cookie}"}
    for key in ("program", "session"):

        async def said(key: str = key) -> Any:
            if key == "program":
                return (await keyed(api, path, token, {"text": key}, key))[1]
            own = {**headers, "Idempotency-Key": key}
            return (await api.send("POST", path, json={"text": key}, headers=own))[1]

        ((message,),) = ((await said())["messages"],)
        async with api.app.database.transaction(api.workspace) as tx:
            lin, now = int(await tx.value("select id from agent")), api.clock.now()
            await tx.run("update message set state = 'failed' where id = %(id)s", id=message["id"])
            limits = limits_of("webhook")
            await replies.send_again(tx, message["id"], limits=limits, by=Actor("agent", lin), now=now)
        assert [one["id"] for one in (await said())["messages"]] == [message["id"]]
    async with api.app.database.transaction(api.workspace) as tx:
        assert await tx.value("select count(*) from message where direction = 'out'") == 2


async def test_a_persons_words_by_a_program_are_an_answer_to_who_writes_at_the_desk(api: Api, token: str) -> None:
    _, id_ = await conversation(api)
    seen = (await api.call("GET", f"{HERE}/{id_}", token))[1]["last_message_id"]
    path = f"{HERE}/{id_}/messages"
    await api.call("POST", path, token, json={"text": "您的包裹已到站"})
    assert (await api.ask("POST", path, json={"text": "在", "seen": seen}))[0] == 201  # a program's word is no answer
    await api.call("POST", path, token, json={"text": "我来看看", "from_person": True})
    status, refused = await api.ask("POST", path, json={"text": "我也来看看", "seen": seen})
    assert (status, "订单系统 has just replied" in refused["detail"]) == (409, True)


async def test_notes_mention_colleagues_and_stand_once(api: Api, token: str) -> None:
    chen = await agent(api, "陈默")
    _, id_ = await conversation(api)
    noted = await keyed(api, f"{HERE}/{id_}/notes", token, {"text": "@陈默 订单已退款"}, "n1")
    assert noted == await keyed(api, f"{HERE}/{id_}/notes", token, {"text": "@陈默 订单已退款"}, "n1")
    assert (noted[0], noted[1]["direction"], noted[1]["author"], noted[1]["author_name"]) == (
        201, "internal", "api", "订单系统",
    )  # fmt: skip
    async with api.app.database.transaction(api.workspace) as tx:
        assert await tx.values("select agent_id from follower") == [chen]


async def test_messages_and_lists_are_turned_page_by_page(api: Api, token: str) -> None:
    inbox, first = await conversation(api)
    now = api.clock.now()
    async with api.app.database.transaction(api.workspace) as tx:
        for number in range(4):
            who = "周予安" if number < 3 else "另一位"
            said = IncomingMessage(f"n{number}", who, who, SenderRole.CONTACT, Kind.TEXT, f"第{number}句", now)
            await ingest(tx, inbox, [said], now=now, process_id=1)
        await service.open_for_people(tx, first, actor=Actor("assistant"), now=now, reason="asked")
        await tx.run("update message set recalled_at = now() where text = '第1句'")
    texts, before = [], ""
    while before is not None:
        _, page = await api.call("GET", f"{HERE}/{first}/messages?limit=2{before}", token)
        texts = [one["text"] for one in page["messages"]] + texts
        before = None if page["next_before"] is None else f"&before={page['next_before']}"
    assert texts == ["打不开", "第0句", "", "第2句"]

    async def ids(query: str) -> list[int]:
        status, page = await api.call("GET", f"{HERE}?{query}", token)
        assert status == 200, page
        return [one["id"] for one in page["conversations"]]

    second = (await ids("limit=1"))[0]
    assert await ids("") == [second, first]
    assert await ids(f"before={second}") == [first]
    assert (await ids("status=open"), await ids("status=pending&status=open")) == ([first], [second, first])
    assert (await ids("assignee=0&team=0"), await ids("assignee=4711")) == ([second, first], [])
    assert await ids(f"inbox={inbox.inbox_id + 1}") == []
    contact = (await api.call("GET", f"{HERE}/{second}", token))[1]["contact_id"]
    assert await ids(f"contact={contact}") == [second]
    await label(api, "退款")
    await api.call("PATCH", f"{HERE}/{second}", token, json={"labels": ["退款"]})
    assert await ids("label=%E9%80%80%E6%AC%BE") == [second]
    assert (await api.call("GET", f"{HERE}?label=x", token))[0] == 404


async def test_scopes_and_an_agents_session(api: Api) -> None:
    _, id_ = await conversation(api)
    reader = await api.token("只读", Scope.CONVERSATIONS_READ)
    assert (await api.call("GET", f"{HERE}/{id_}", reader))[0] == 200
    assert (await api.call("PATCH", f"{HERE}/{id_}", reader, json={"status": "open"}))[0] == 403
    writer = await api.token("只写", Scope.CONVERSATIONS_WRITE)
    assert (await api.call("GET", f"{HERE}/{id_}", writer))[0] == 403
    # Whoever is signed in does by the API what they do at the desk, in their own name.
    status, told = await api.ask("PATCH", f"{HERE}/{id_}", json={"status": "open"})
    assert (status, told["assignee"]) == (200, "林晓")
    status, said = await api.ask("POST", f"{HERE}/{id_}/messages", json={"text": "在"})
    assert (status, said["messages"][0]["author_name"]) == (201, "林晓")
    assert (await api.call("GET", f"{HERE}/{2**60}", reader))[0] == 404

"""The JSON API of tickets: programs and colleagues list, open, change and discuss them, each as far as they may."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.twin import open_inbox
from zhiban.channels.connections import OpenInbox
from zhiban.container import ensure_workspace
from zhiban.conversations.ingest import ingest
from zhiban.conversations.labels import add_label, remove_label
from zhiban.events import SYSTEM
from zhiban.people import service as people
from zhiban.people.models import Role
from zhiban.people.tokens import Scope
from zhiban.ports import IncomingMessage, Kind, SenderRole
from zhiban.tickets import involving, service
from zhiban.tickets.models import TicketState

BOTH = (Scope.TICKETS_READ, Scope.TICKETS_WRITE)
TICKETS = "/api/tickets"


@pytest.fixture
async def token(api: Api) -> str:
    return await api.token("监控", *BOTH)


async def agent(api: Api, name: str, role: Role = Role.AGENT, inboxes: list[int] | None = None) -> int:
    async with api.app.database.transaction(api.workspace) as tx:
        id_ = await people.add_agent(tx, email=f"{name}@example.test", name=name, role=role, password_hash=None)
        await tx.run("update agent set inbox_ids = %(inboxes)s where id = %(id)s", inboxes=inboxes, id=id_)
    return id_


async def label(api: Api, name: str) -> int:
    async with api.app.database.transaction(api.workspace) as tx:
        return await add_label(tx, name=name, color=1, by=SYSTEM, now=api.clock.now())


async def conversation(api: Api, **inbox_of: Any) -> tuple[OpenInbox, int]:
    inbox = await open_inbox(api.app.database, api.workspace, **inbox_of)
    now = api.clock.now()
    async with api.app.database.transaction(api.workspace) as tx:
        message = IncomingMessage("m1", "周予安", "周予安", SenderRole.CONTACT, Kind.TEXT, "打不开", now)
        await ingest(tx, inbox, [message], now=now, process_id=1)
        await tx.run("update contact set name = '周予安'")
        return inbox, await tx.value("select id from conversation")


async def opened(api: Api, token: str, title: str = "授权码过期", key: str = "", **more: Any) -> dict[str, Any]:
    status, said, _ = await api.send(
        "POST",
        TICKETS,
        json={"title": title, **more},
        headers={"Authorization": f"Bearer {token}", **({"Idempotency-Key": key} if key else {})},
    )
    assert status == 201, said
    return dict(said)


async def events(api: Api, kind: str) -> int:
    async with api.app.database.transaction(api.workspace) as tx:
        return int(await tx.value("select count(*) from event where kind = %(kind)s", kind=kind))


async def test_a_program_opens_a_ticket_changes_it_and_comments(api: Api, token: str) -> None:
    await label(api, "缺陷")
    chen = await agent(api, "陈默")
    _, conversation_id = await conversation(api)
    ticket = await opened(
        api, token, priority="high", due_on="2026-12-04", owner_id=chen, labels=["缺陷"], note="见日志",
        conversation_id=conversation_id, watcher_ids=[chen],
    )  # fmt: skip
    assert (ticket["number"], ticket["state"], ticket["owner"], ticket["priority"]) == (1, "open", "陈默", "high")
    assert (ticket["due_on"], ticket["due_at"]) == ("2026-12-04", "2026-12-04T10:00:00Z")
    assert (ticket["requester"], ticket["labels"], ticket["conversation_ids"]) == (
        "周予安",
        ["缺陷"],
        [conversation_id],
    )
    assert ticket["watcher_ids"] == [chen]

    address = f"{TICKETS}/{ticket['id']}"
    change = {"title": "授权码三天就过期", "state": "waiting", "owner_id": None, "due_on": None, "labels": []}
    status, ticket = await api.call("PATCH", address, token, json=change | {"priority": "none", "watcher_ids": []})
    assert status == 200
    assert {name: ticket[name] for name in change} == change
    assert (ticket["priority"], ticket["watcher_ids"], ticket["note"]) == ("none", [], "见日志")
    status, comment = await api.call("POST", f"{address}/comments", token, json={"text": "打 13800006021"})
    assert (status, comment["text"], comment["name"]) == (201, "打 138****6021", "监控")
    status, ticket = await api.call("GET", address, token)
    assert (status, ticket["comments"], ticket["state"]) == (200, [comment], "waiting")
    facts = [(fact["change"], fact["before"], fact["after"]) for fact in ticket["history"]]
    assert ("state", "open", "waiting") in facts
    assert ("priority", "high", "none") in facts
    assert ("labels", ["缺陷"], []) in facts
    assert ("title", None, None) in facts  # what it was called may have been recalled
    assert {(fact["actor_kind"], fact["actor"]) for fact in ticket["history"]} == {("api", "监控")}
    status, ticket = await api.call("PATCH", address, token, json={"state": "done"})
    assert (ticket["state"], ticket["done_at"] is not None) == ("done", True)


async def test_lists_are_filtered_and_turned_page_by_page(api: Api, token: str) -> None:
    assert (await api.call("GET", TICKETS, token))[1] == {"tickets": [], "next_before": None}
    await label(api, "缺陷")
    chen = await agent(api, "陈默")
    _, conversation_id = await conversation(api)
    await opened(api, token, "一", owner_id=chen, due_on="2026-11-21", conversation_id=conversation_id)
    await opened(api, token, "二 100%_", labels=["缺陷"], due_on="2020-01-01")
    third = await opened(api, token, "三")
    await api.call("PATCH", f"{TICKETS}/{third['id']}", token, json={"state": "cancelled"})

    async def titles(query: str) -> list[str]:
        status, page = await api.call("GET", f"{TICKETS}?{query}", token)
        assert status == 200, page
        return [one["title"] for one in page["tickets"]]

    assert await titles("") == ["二 100%_", "一"]
    assert await titles("state=cancelled") == ["三"]
    assert await titles("state=cancelled&state=open") == ["三", "二 100%_", "一"]
    assert await titles(f"owner={chen}") == ["一"]
    assert await titles("owner=0") == ["二 100%_"]
    assert await titles("label=%E7%BC%BA%E9%99%B7") == ["二 100%_"]
    assert (await titles("due=soon"), await titles("due=late"), await titles("due=none")) == (["一"], ["二 100%_"], [])
    assert await titles(f"conversation={conversation_id}") == ["一"]
    assert await titles("text=%25_") == ["二 100%_"]
    assert await titles("text=%231") == ["一"]
    assert await titles("repository=1") == []
    _, page = await api.call("GET", f"{TICKETS}?limit=1&state=open&state=cancelled", token)
    await opened(api, token, "四")  # what is new is on no page that follows
    seen = [page["tickets"][0]["title"]]
    while page["next_before"] is not None:
        query = f"limit=1&state=open&state=cancelled&before={page['next_before']}"
        _, page = await api.call("GET", f"{TICKETS}?{query}", token)
        seen += [one["title"] for one in page["tickets"]]
    assert seen == ["三", "二 100%_", "一"]


async def test_the_same_key_opens_one_ticket_and_says_a_thing_once(api: Api, token: str) -> None:
    answers = await asyncio.gather(*(opened(api, token, key="告警".encode().hex()) for _ in range(4)))
    assert {one["id"] for one in answers} == {answers[0]["id"]}
    assert await events(api, "ticket_opened") == 1
    others = await asyncio.gather(*(opened(api, token) for _ in range(3)))
    assert sorted(one["number"] for one in others) == [2, 3, 4]
    theirs = await opened(api, await api.token("别的程序", *BOTH), key="告警".encode().hex())
    assert theirs["number"] == 5

    async def say(ticket: dict[str, Any], text: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "c1"}
        path = f"{TICKETS}/{ticket['id']}/comments"
        status, said, _ = await api.send("POST", path, json={"text": text}, headers=headers)
        return status, said

    first, again = await asyncio.gather(say(theirs, "好了"), say(theirs, "好了"))
    assert first == again
    other = await say(others[0], "也好了")  # the same key at another ticket is another comment
    assert (other[0], other[1]["text"]) == (201, "也好了")
    assert await events(api, "ticket_commented") == 2


async def test_what_somebody_changed_meanwhile_is_not_overwritten(api: Api, token: str) -> None:
    lin, chen = await agent(api, "苏禾"), await agent(api, "陈默")
    address = f"{TICKETS}/{(await opened(api, token, '打 13800006021'))['id']}"

    async def take(owner: int) -> int:
        wish = {"owner_id": owner, "was": {"owner_id": None}}
        return (await api.call("PATCH", address, token, json=wish))[0]

    assert sorted(await asyncio.gather(take(lin), take(chen))) == [200, 409]
    _, ticket = await api.call("GET", address, token)
    assert await take(ticket["owner_id"]) == 200  # it is so already: the same call, sent again
    wish = {"state": "done", "labels": [], "was": {"state": "open", "owner_id": None}}
    status, said = await api.call("PATCH", address, token, json=wish)
    assert (status, said["detail"]) == (409, "Somebody changed owner_id meanwhile. Look at the ticket again.")
    assert (await api.call("GET", address, token))[1]["state"] == "open"  # all or nothing
    # What was shown with half of a number is sent back: the title keeps the whole.
    back = {"title": ticket["title"], "priority": "low", "was": {"title": ticket["title"], "priority": "none"}}
    assert (await api.call("PATCH", address, token, json=back))[0] == 200
    async with api.app.database.transaction(api.workspace) as tx:
        assert await tx.rows("select title, priority from ticket") == [("打 13800006021", 1)]


async def test_whoever_may_not_is_told_and_nothing_happens(api: Api, token: str) -> None:
    inbox, conversation_id = await conversation(api)
    ticket = await opened(api, token, conversation_id=conversation_id)
    free = await opened(api, token, "不属于会话")
    address = f"{TICKETS}/{ticket['id']}"
    reader, writer = await api.token("看", Scope.TICKETS_READ), await api.token("写", Scope.TICKETS_WRITE)
    nothing = await api.token("知识")
    for method, path, body, refused, scope in (
        ("GET", TICKETS, None, (writer, nothing), "tickets:read"),
        ("GET", address, None, (writer, nothing), "tickets:read"),
        ("POST", TICKETS, {"title": "x"}, (reader, nothing), "tickets:write"),
        ("PATCH", address, {"state": "done"}, (reader, nothing), "tickets:write"),
        ("POST", f"{address}/comments", {"text": "x"}, (reader, nothing), "tickets:write"),
    ):
        for one in refused:
            status, said = await api.call(method, path, one, json=body)
            assert (status, scope in said["detail"]) == (403, True)
        assert (await api.ask(method, path, known=False, json=body))[0] == 401

    elsewhere = await ensure_workspace(api.app.database, "other", "别人", "zh")
    theirs = await api.token("别人", *BOTH, workspace=elsewhere)
    assert (await api.call("GET", TICKETS, theirs))[1]["tickets"] == []
    for method, path, body in (
        ("GET", address, None),
        ("PATCH", address, {"state": "done"}),
        ("POST", f"{address}/comments", {"text": "x"}),
        ("POST", TICKETS, {"title": "x", "conversation_id": conversation_id}),
        ("GET", f"{TICKETS}?conversation={conversation_id}", None),
    ):
        assert (await api.call(method, path, theirs, json=body))[0] == 404, path

    # A colleague by their session: as far as they see and may, from the same endpoints.
    async def become(role: Role, inboxes: list[int] | None) -> None:
        async with api.app.database.transaction(api.workspace) as tx:
            await tx.run("update agent set role = %(r)s, inbox_ids = %(i)s", r=role, i=inboxes)

    await become(Role.AGENT, [])
    assert [one["id"] for one in (await api.ask("GET", TICKETS))[1]["tickets"]] == [free["id"]]
    for method, path, body in (
        ("GET", address, None),
        ("PATCH", address, {"state": "done"}),
        ("POST", f"{address}/comments", {"text": "x"}),
        ("POST", TICKETS, {"title": "x", "conversation_id": conversation_id}),
        ("GET", f"{TICKETS}?conversation={conversation_id}", None),
    ):
        assert (await api.ask(method, path, json=body))[0] == 404, path
    async with api.app.database.transaction(api.workspace) as tx:
        await involving.link(tx, free["id"], conversation_id, by=SYSTEM, now=api.clock.now())
    assert (await api.ask("GET", f"{TICKETS}/{free['id']}"))[1]["conversation_ids"] == []
    await become(Role.AGENT, [inbox.inbox_id])
    assert (await api.ask("PATCH", address, json={"state": "in_progress"}))[1]["history"][0]["actor"] == "林晓"
    assert (await api.ask("GET", f"{TICKETS}/{free['id']}"))[1]["conversation_ids"] == [conversation_id]
    await become(Role.READ_ONLY, None)
    assert (await api.ask("GET", address))[0] == 200
    assert (await api.ask("PATCH", address, json={"state": "done"}))[0] == 403
    assert (await api.ask("POST", TICKETS, json={"title": "x"}))[0] == 403
    assert (await api.call("GET", address, token))[1]["state"] == "in_progress"


async def test_what_makes_no_sense_is_refused_in_words(api: Api, token: str) -> None:
    _, conversation_id = await conversation(api)
    blind, looks = await agent(api, "外人", inboxes=[]), await agent(api, "看客", Role.READ_ONLY)
    gone = await label(api, "旧")
    ticket = await opened(api, token, conversation_id=conversation_id, labels=["旧"])
    async with api.app.database.transaction(api.workspace) as tx:
        await remove_label(tx, gone, by=SYSTEM, now=api.clock.now())
    address = f"{TICKETS}/{ticket['id']}"
    for wish, status, words in (
        ({"title": " \u0000 "}, 409, "A ticket needs a title."),
        ({"title": None}, 422, "valid string"),
        ({"titel": "x", "title": "y"}, 422, "Extra inputs"),
        ({"title": "x", "owner_id": 10**30}, 422, "less than"),
        ({"title": "x", "owner_id": 4711}, 404, "There is no such agent."),
        ({"title": "x", "owner_id": looks}, 409, "This colleague may look at tickets, but not have one."),
        ({"title": "x", "owner_id": blind, "conversation_id": conversation_id}, 404, "There is no such agent."),
        ({"title": "x", "watcher_ids": [blind], "conversation_id": conversation_id}, 404, "There is no such agent."),
        ({"title": "x", "labels": ["旧"]}, 404, "There is no label 旧."),
        ({"title": "x", "labels": ["a"] * 21}, 422, "at most 20"),
        ({"title": "x", "due_on": "9999-12-31"}, 409, "A day lies between 2000-01-01 and 2999-12-31."),
        ({"title": "x", "due_on": "明天"}, 422, "valid date"),
        ({"title": "x", "conversation_id": 4711}, 404, "There is no such conversation."),
        ({"title": "x", "repository_id": 4711}, 404, "There is no such repository."),
    ):
        answered, said = await api.call("POST", TICKETS, token, json=wish)
        assert (answered, words in str(said["detail"])) == (status, True), (wish, said)
    for wish, status, words in (
        ({"owner_id": blind}, 404, "There is no such agent."),
        ({"state": "lost"}, 422, "Input should be"),
        ({"state": "done", "due_on": "1999-01-01"}, 409, "A day lies between"),
        ({"was": {"state": "done"}}, 409, "Somebody changed state meanwhile."),
        ({"was": {"number": 1}}, 422, "Extra inputs"),
    ):
        answered, said = await api.call("PATCH", address, token, json=wish)
        assert (answered, words in str(said["detail"])) == (status, True), (wish, said)
    for wish, status, words in (
        ({"text": " "}, 409, "A comment needs words."),
        ({"text": "x" * 20_001}, 422, "at most 20000"),
        ({"text": "x", "audience": "issue"}, 409, "This ticket has no issue to comment on."),
        ({"text": "x", "audience": "everybody"}, 422, "Input should be"),
    ):
        answered, said = await api.call("POST", f"{address}/comments", token, json=wish)
        assert (answered, words in str(said["detail"])) == (status, True), (wish, said)
    for key in ("", "x" * 201, "a b"):
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
        assert (await api.send("POST", TICKETS, json={"title": "x"}, headers=headers))[0] == 422
    for path in ("0", "4711", "x", "9" * 40):
        assert (await api.call("GET", f"{TICKETS}/{path}", token))[0] in (404, 422)
        assert (await api.call("PATCH", f"{TICKETS}/{path}", token, json={}))[0] in (404, 422)
    assert (await api.call("GET", f"{TICKETS}?label=none", token))[0] == 404
    status, now = await api.call("PATCH", address, token, json={})
    assert (status, now) == (200, ticket | {"labels": []})  # nothing of all this has happened
    assert await events(api, "ticket_opened") == 1


async def test_a_key_of_a_ticket_that_was_taken_back_opens_none_again(api: Api, token: str) -> None:
    ticket = await opened(api, token, key="k")
    async with api.app.database.transaction(api.workspace) as tx:
        await involving.undo(tx, ticket["id"], by=SYSTEM, now=api.clock.now())
    assert (await opened(api, token, key="k"))["state"] == "cancelled"
    async with api.app.database.transaction(api.workspace) as tx:
        found = await service.lock_ticket(tx, ticket["id"])
    assert (found.state, found.tracker_state.value) == (TicketState.CANCELLED, "")

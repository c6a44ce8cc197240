"""A token of some inboxes: what happens in the others does not exist for it, on every route of the API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.twin import open_inbox
from zhiban.channels.connections import OpenInbox
from zhiban.conversations import replies, service
from zhiban.conversations.ingest import ingest
from zhiban.events import SYSTEM, Actor
from zhiban.kit.errors import Conflict, NotFound
from zhiban.knowledge import queries
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.models import EvidenceKind
from zhiban.people import tokens
from zhiban.people.tokens import Scope
from zhiban.ports import IncomingMessage, Kind, SenderRole
from zhiban.tickets.models import NewTicket
from zhiban.tickets.service import open_ticket
from zhiban.workers.report_counter import ReportCounter

OURS, THEIRS = "甲店", "乙店"
SECRET = "只有乙店知道"  # in every word that was said there


@dataclass
class TwoShops:
    """Two inboxes in which the same happened, and a token that sees one."""

    api: Api
    token: str  # of our inbox
    whole: str  # of every one
    inboxes: dict[str, OpenInbox]
    conversations: dict[str, int]
    tickets: dict[str, int]
    answers: dict[str, int]  # messages of a person to the gap
    gap: int
    wording: int


async def happens(api: Api, name: str, agent: int) -> tuple[OpenInbox, int, int, int, int]:
    """Somebody asks what nobody knows, a person answers, a ticket is opened, and all is resolved."""
    inbox = await open_inbox(api.app.database, api.workspace, public_id=name, name=name)
    now, words = api.clock.now(), SECRET if name == THEIRS else "不是秘密"
    async with api.app.database.transaction(api.workspace) as tx:
        said = IncomingMessage(f"m-{name}", name, name, SenderRole.CONTACT, Kind.TEXT, f"能寄到日本吗 {words}", now)
        await ingest(tx, inbox, [said], now=now, process_id=1)
        (conversation, message, contact) = await tx.row(
            "select c.id, m.id, c.contact_id from conversation c join message m on m.conversation_id = c.id "
            "where c.inbox_id = %(inbox)s", inbox=inbox.inbox_id,
        ) or (0, 0, 0)  # fmt: skip
        gap = await knowledge.record_gap(
            tx, "能寄到日本吗", conversation_id=conversation, contact_id=contact, message_id=message, now=now
        )
        limits = inbox.channel.limits
        (answer,) = await replies.reply(tx, conversation, text=f"能，{words}", by=agent, limits=limits, now=now)
        new = NewTicket(f"寄到日本 {words}", note=words, conversation_id=conversation, inbox_id=inbox.inbox_id)
        ticket = await open_ticket(tx, new, key=f"t-{name}", by=SYSTEM, now=now)
        await service.resolve(tx, conversation, by=Actor("agent", agent), now=now + timedelta(minutes=3))
    return inbox, conversation, ticket.id, answer, gap


@pytest.fixture
async def shops(api: Api) -> TwoShops:
    async with api.app.database.transaction(api.workspace) as tx:
        agent = int(await tx.value("select id from agent"))
    there = {name: await happens(api, name, agent) for name in (OURS, THEIRS)}
    async with api.app.database.transaction(api.workspace) as tx:
        now, theirs = api.clock.now(), there[THEIRS][1]
        contact = await tx.value("select contact_id from conversation where id = %(id)s", id=theirs)
        (article, *_) = await queries.articles(tx, await knowledge.base_for(tx))
        by = Actor("contact", contact)
        wording = await knowledge.record_evidence(
            tx, article.id, "东西不想要了退款", kind=EvidenceKind.TAP, by=by, conversation_id=theirs, now=now
        )
        how: dict[str, Any] = {"scopes": tuple(Scope), "now": now}
        _, token = await tokens.create(tx, "一家店", inbox_ids=[there[OURS][0].inbox_id], **how)
        _, whole = await tokens.create(tx, "全部", **how)
    async with asyncio.timeout(60):
        done = False
        while not done:
            await ReportCounter(api.app.database, api.clock).run_once(pause=0, settling=timedelta(0))
            async with api.app.database.transaction(api.workspace) as tx:
                done = await tx.value("select counted_to >= (select max(id) from event) from report_progress")
    assert wording is not None
    inboxes, conversations, tickets, answers = ({name: row[n] for name, row in there.items()} for n in range(4))
    return TwoShops(api, token, whole, inboxes, conversations, tickets, answers, there[OURS][4], wording)  # type: ignore[arg-type]


Call = tuple[str, dict[str, Any]]  # the address and the body

# Every route, as it is asked about the other shop. What it answers there; None: whatever it does without naming it.
WALK: dict[str, tuple[Callable[[TwoShops], Call], int | None]] = {
    "GET /api/tickets": (lambda s: ("/api/tickets", {}), None),
    "POST /api/tickets": (
        lambda s: ("/api/tickets", {"title": "偷看", "conversation_id": s.conversations[THEIRS]}), 404,
    ),
    "GET /api/tickets/{ticket_id}": (lambda s: (f"/api/tickets/{s.tickets[THEIRS]}", {}), 404),
    "PATCH /api/tickets/{ticket_id}": (lambda s: (f"/api/tickets/{s.tickets[THEIRS]}", {"title": "改了"}), 404),
    "POST /api/tickets/{ticket_id}/comments": (
        lambda s: (f"/api/tickets/{s.tickets[THEIRS]}/comments", {"text": "看看"}), 404,
    ),
    "GET /api/issues/similar": (lambda _: ("/api/issues/similar?repository=1&text=x", {}), 404),
    "GET /api/conversations": (lambda s: ("/api/conversations", {}), None),
    "GET /api/conversations/{conversation_id}": (lambda s: (f"/api/conversations/{s.conversations[THEIRS]}", {}), 404),
    "GET /api/conversations/{conversation_id}/messages": (
        lambda s: (f"/api/conversations/{s.conversations[THEIRS]}/messages", {}), 404,
    ),
    "POST /api/conversations/{conversation_id}/messages": (
        lambda s: (f"/api/conversations/{s.conversations[THEIRS]}/messages", {"text": "看看"}), 404,
    ),
    "POST /api/conversations/{conversation_id}/notes": (
        lambda s: (f"/api/conversations/{s.conversations[THEIRS]}/notes", {"text": "看看"}), 404,
    ),
    "PATCH /api/conversations/{conversation_id}": (
        lambda s: (f"/api/conversations/{s.conversations[THEIRS]}", {"priority": "high"}), 404,
    ),
    "GET /api/files": (lambda s: (f"/api/files?conversation_id={s.conversations[THEIRS]}", {}), 404),
    "POST /api/files": (lambda s: (f"/api/files?conversation_id={s.conversations[THEIRS]}", {"any": "body"}), 404),
    "DELETE /api/files/{file_id}": (lambda s: ("/api/files/1", {}), 404),  # each token's own
    "GET /api/reports": (lambda s: (f"/api/reports?inbox={s.inboxes[THEIRS].inbox_id}", {}), 404),
    "GET /api/gaps": (lambda s: ("/api/gaps", {}), None),
    "GET /api/gaps/{gap_id}": (lambda s: (f"/api/gaps/{s.gap}", {}), None),
    "GET /api/gaps/{gap_id}/answers": (lambda s: (f"/api/gaps/{s.gap}/answers", {}), None),
    "POST /api/gaps/{gap_id}/close": (
        lambda s: (f"/api/gaps/{s.gap}/close", {"answer_from": s.answers[THEIRS]}), 404,
    ),
    "GET /api/learned": (lambda s: ("/api/learned", {}), None),
    "POST /api/learned/{wording_id}/approve": (lambda s: (f"/api/learned/{s.wording}/approve", {}), None),
    "POST /api/learned/{wording_id}/undo": (lambda s: (f"/api/learned/{s.wording}/undo", {}), None),
    "POST /api/knowledge/eval": (
        lambda s: ("/api/knowledge/eval", {"questions": [{"question": "退款", "expected": []}], "since_days": 7}), None,
    ),
    # Knowledge belongs to no inbox.
    "POST /api/test_kb": (lambda s: ("/api/test_kb", {"query": "能寄到日本吗"}), None),
    "GET /api/articles": (lambda s: ("/api/articles", {}), None),
    "GET /api/articles/{article_id}": (lambda s: ("/api/articles/1", {}), None),
    "POST /api/articles": (lambda s: ("/api/articles", {"title": "新的", "body": "内容"}), None),
    "DELETE /api/articles/{article_id}": (lambda s: ("/api/articles/1", {}), None),
}  # fmt: skip


def named(shops: TwoShops, said: Any) -> list[str]:
    """What of the other shop an answer names."""
    text = json.dumps(said, ensure_ascii=False)
    found = [word for word in (SECRET, THEIRS) if word in text]
    ids = {"conversation_id": shops.conversations[THEIRS], "message_id": shops.answers[THEIRS]}
    return found + [name for name, id_ in ids.items() if f'"{name}": {id_}' in text]


async def test_every_route_keeps_to_the_inboxes_of_its_token(shops: TwoShops) -> None:
    _, described = await shops.api.call("GET", "/api/openapi.json", shops.token)
    routes = {f"{method.upper()} {path}" for path, verbs in described["paths"].items() for method in verbs}
    assert routes == set(WALK), "say what a token of other inboxes gets there"
    for route in sorted(routes):
        asked, expected = WALK[route]
        address, body = asked(shops)
        status, said = await shops.api.call(route.split()[0], address, shops.token, **({"json": body} if body else {}))
        assert named(shops, said) == [], route
        assert status == expected if expected is not None else status < 500, (route, status, said)


async def test_a_token_of_every_inbox_goes_on_seeing_them(shops: TwoShops) -> None:
    """As all did that were made before inboxes could be chosen."""
    api, whole = shops.api, shops.whole
    assert {one["title"] for one in (await api.call("GET", "/api/tickets", whole))[1]["tickets"]} == {
        f"寄到日本 {SECRET}", "寄到日本 不是秘密",
    }  # fmt: skip
    assert {one["title"] for one in (await api.call("GET", "/api/tickets", shops.token))[1]["tickets"]} == {
        "寄到日本 不是秘密"
    }
    for token, resolved in ((whole, 2), (shops.token, 1)):
        status, report = await api.call("GET", "/api/reports", token)
        assert (status, report["total"]["resolved"]) == (200, resolved)
        _, told = await api.call("GET", f"/api/gaps/{shops.gap}/answers", token)
        assert (len(told["askers"]), len(told["answers"])) == (resolved, resolved)
    (wording,) = (await api.call("GET", "/api/learned", whole))[1]["wordings"]
    assert wording["evidence"][0]["conversation_id"] == shops.conversations[THEIRS]
    # Nothing of the other's was changed by the calls that were refused.
    ticket = (await api.call("GET", f"/api/tickets/{shops.tickets[THEIRS]}", whole))[1]
    assert (ticket["title"], ticket["comments"]) == (f"寄到日本 {SECRET}", [])


async def test_what_a_token_of_some_inboxes_may_do_there(shops: TwoShops) -> None:
    api, token = shops.api, shops.token
    wanted = {"title": "退货", "conversation_id": shops.conversations[OURS]}
    assert (await api.call("POST", "/api/tickets", token, json=wanted))[0] == 201
    assert (await api.call("POST", "/api/tickets", token, json={"title": "不属于会话"}))[0] == 201
    closed = await api.call("POST", f"/api/gaps/{shops.gap}/close", token, json={"answer_from": shops.answers[OURS]})
    assert closed[0] == 200
    reader = await api.token("只读", Scope.TICKETS_READ)
    assert (await api.call("POST", "/api/tickets", reader, json=wanted))[0] == 403


async def test_which_inboxes_can_be_chosen(api: Api) -> None:
    inbox = await open_inbox(api.app.database, api.workspace)
    async with api.app.database.transaction(api.workspace) as tx:
        for chosen, error in (([], Conflict), ([4711], NotFound)):
            with pytest.raises(error):
                await tokens.create(tx, "一家店", inbox_ids=chosen, now=api.clock.now())
        made, _ = await tokens.create(tx, "一家店", inbox_ids=[inbox.inbox_id] * 2, now=api.clock.now())
        assert (made.inbox_ids, made.access.sees(inbox.inbox_id), made.access.sees(4711)) == (
            (inbox.inbox_id,), True, False,
        )  # fmt: skip
        stored = await tx.value("select data -> 'inbox_ids' from event where kind = 'api_token_created'")
        assert stored == [inbox.inbox_id]

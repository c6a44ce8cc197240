"""What was learnt, over the API: read with one scope, decided with another."""

from __future__ import annotations

from tests.api.conftest import Api
from zhiban.events import Actor
from zhiban.knowledge import queries
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.models import EvidenceKind
from zhiban.people.contacts import ensure_contacts
from zhiban.people.tokens import Scope

ASKED = "东西不想要了退款"


async def _tapped(api: Api) -> int:
    async with api.app.database.transaction(api.workspace) as tx:
        (contact,) = (await ensure_contacts(tx, "wecom", "corp", ["wmLI"], now=api.clock.now())).values()
        (article, *_) = await queries.articles(tx, await knowledge.base_for(tx))
        found = await knowledge.record_evidence(
            tx, article.id, ASKED, kind=EvidenceKind.TAP, by=Actor("contact", contact.id), now=api.clock.now()
        )
    assert found is not None
    return found


async def test_a_wording_is_listed_approved_and_undone(api: Api) -> None:
    wording = await _tapped(api)
    reader, writer = await api.token("reader", Scope.KNOWLEDGE_READ), await api.token("writer", *Scope)
    status, page = await api.call("GET", "/api/learned", reader)
    assert status == 200
    (listed,) = page["wordings"]
    assert (listed["id"], listed["text"], listed["status"], listed["people_for"]) == (wording, ASKED, "waiting", 1)
    assert listed["evidence"][0]["kind"] == "tap"
    assert (listed["evidence"][0]["contact_id"], listed["evidence"][0]["conversation_id"]) == (None, None)
    (named,) = (await api.call("GET", "/api/learned", writer))[1]["wordings"]
    assert named["evidence"][0]["contact_id"]

    assert (await api.call("POST", f"/api/learned/{wording}/approve", reader))[0] == 403
    status, approved = await api.call("POST", f"/api/learned/{wording}/approve", writer)
    assert (status, approved["status"], approved["decided_by"]) == (200, "active", "writer")
    status, found = await api.call("POST", "/api/test_kb", reader, json={"query": ASKED})
    assert found["zone"] == "answer"

    assert (await api.call("POST", f"/api/learned/{wording}/undo", reader))[0] == 403
    status, undone = await api.call("POST", f"/api/learned/{wording}/undo", writer)
    assert (status, undone["status"]) == (200, "rejected")
    assert (await api.call("GET", "/api/learned?status=active", reader))[1] == {"wordings": [], "next_before": None}
    (listed,) = (await api.call("GET", "/api/learned?status=rejected", reader))[1]["wordings"]
    assert listed["id"] == wording


async def test_pages_and_what_is_not_there(api: Api) -> None:
    wording = await _tapped(api)
    token = await api.token("writer", *Scope)
    _, page = await api.call("GET", "/api/learned?limit=1", token)
    assert page["next_before"] == wording
    _, page = await api.call("GET", f"/api/learned?limit=1&before={wording}", token)
    assert page == {"wordings": [], "next_before": None}
    for path in ("/api/learned/999/approve", f"/api/learned/{2**70}/undo"):
        assert (await api.call("POST", path, token))[0] == 404
    assert (await api.call("GET", "/api/learned?base=nothing", token))[0] == 404
